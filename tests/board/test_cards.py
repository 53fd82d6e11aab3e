"""Cards: what is accepted, and the one line that each mistake gets."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from xferbench.board.cards import ModelCard, cards_directory, load_cards, read_card
from xferbench.errors import FormatError, StorageError
from xferbench.functionals import Functional
from xferbench.registry import MODEL_VARIANTS
from xferbench.storage import write_text

ROOT = Path(__file__).parents[2]


@pytest.fixture
def card_file(tmp_path, make_card):
    """``card_file(extra='…', old='new')`` -> the path of ``alpha.toml``, its text changed."""

    def make(extra="", replace=()):
        text = make_card(extra=extra)
        for old, new in replace:
            assert old in text
            text = text.replace(old, new)
        write_text(tmp_path / "alpha.toml", text)
        return tmp_path / "alpha.toml"

    return make


def test_a_minimal_card_is_read(card_file):
    card = read_card(card_file())
    assert card.model_id == "alpha"
    assert card.functional == Functional("r2SCAN")
    assert card.authors == ("A. Author", "B. Author")
    assert card.license.code == "MIT"
    assert card.base_model is None
    assert card.links == {}


def test_links_come_in_reading_order_and_a_doi_becomes_an_address(card_file):
    extra = 'repo = "https://example.org/code"\ndoi = "10.1000/xyz"\npaper = "https://example.org/paper"'
    assert read_card(card_file(extra)).links == {
        "paper": "https://example.org/paper",
        "DOI": "https://doi.org/10.1000/xyz",
        "code": "https://example.org/code",
    }


@pytest.mark.parametrize(
    ("replace", "message"),
    [
        ([("model_version", "model_verion")], "unknown key model_verion (did you mean model_version?)"),
        ([("conservative = true", "")], "missing key conservative"),
        ([('"r2SCAN"', '"r2scam"')], "functional: unknown functional 'r2scam'; did you mean 'r2SCAN'"),
        ([('checkpoint = "MIT"', "")], "missing key license.checkpoint"),
        ([('"alpha"', '"beta"')], "model_id 'beta' must equal the file name 'alpha'"),
        ([("'Alpha'", "''")], "model_name must be one line of 1 to 60 printable characters, not ''"),
        ([("'Alpha'", '"Al\\npha"')], "model_name must be one line of 1 to 60 printable characters, not 'Al\\npha'"),
        ([("'Alpha'", '"abc\\u202Ecba"')], "model_name must be one line of 1 to 60 printable characters"),
        ([("'Alpha'", f"'{'x' * 61}'")], "model_name must be one line of 1 to 60 printable characters"),
        ([('"forces"', '"force"')], "outputs must include energy and come from energy, forces, stress, magmoms"),
        ([('"energy", "forces"', '"forces"')], "outputs must include energy"),
        ([('"energy", "forces"', '"energy", "energy"')], "each once, not ['energy', 'energy']"),
        ([('"A. Author", "B. Author"', "")], "authors must not be empty"),
        ([('["Set"]', '[" "]')], "training_sets must not be empty"),
        ([("@article{key}", "Smith 2020")], "citation must be BibTeX (it starts with '@')"),
    ],
)
def test_a_wrong_card_is_refused_with_the_reason(card_file, replace, message):
    with pytest.raises(FormatError, match=re.escape(message)) as error:
        read_card(card_file(replace=replace))
    assert "alpha.toml" in str(error.value)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ('repo = "javascript:alert(1)"', "repo must be an https:// or http:// address, not 'javascript:alert(1)'"),
        ('paper = "example.org"', "paper must be an https:// or http:// address"),
        ('doi = "https://doi.org/10.1000/xyz"', "doi must look like 10.1038/…, without an address in front"),
        ('base_model = "beta"', "base_model and [transfer] come together"),
        ('base_model = "alpha"\ntransfer = {strategy = "other"}', "base_model is the model itself"),
        ('transfer = {strategy = "magic"}', "transfer.strategy must be one of finetune"),
        (
            'base_model = "beta"\ntransfer = {strategy = "other", n_train = 0}',
            "transfer.n_train must be positive, not 0",
        ),
        ("model_params = -5", "model_params must be positive, not -5"),
        ('lifecycle = "dead"', "lifecycle must be one of active, superseded"),
    ],
)
def test_a_wrong_optional_key_is_refused_with_the_reason(card_file, extra, message):
    with pytest.raises(FormatError, match=re.escape(message)):
        read_card(card_file(extra))


def test_all_problems_of_a_card_are_told_at_once(card_file):
    path = card_file("model_params = 0", [("@article{key}", "none"), ("'Alpha'", "''")])
    with pytest.raises(FormatError) as error:
        read_card(path)
    for part in ("model_name", "citation", "model_params"):
        assert part in str(error.value)


def test_all_cards_of_a_directory_are_checked_before_any_is_refused(tmp_path, make_card):
    write_text(tmp_path / "alpha.toml", make_card("alpha", extra="colour = 1"))
    write_text(tmp_path / "beta.toml", make_card("beta"))
    write_text(tmp_path / "gamma.toml", "not = [toml")
    with pytest.raises(FormatError) as error:
        load_cards(tmp_path)
    assert "unknown key colour" in str(error.value)
    assert "gamma.toml is not valid TOML" in str(error.value)
    assert "beta" not in str(error.value)


def test_cards_are_loaded_by_id_in_order(tmp_path, make_card):
    for name in ("beta", "alpha"):
        write_text(tmp_path / f"{name}.toml", make_card(name))
    write_text(tmp_path / "notes.txt", "not a card")
    assert list(load_cards(tmp_path)) == ["alpha", "beta"]


def test_an_absent_directory_holds_no_cards(tmp_path):
    assert load_cards(tmp_path / "nowhere") == {}


def test_an_unreadable_card_is_a_storage_error(tmp_path):
    (tmp_path / "alpha.toml").mkdir()
    with pytest.raises(StorageError, match=r"cannot read .*alpha\.toml"):
        load_cards(tmp_path)


def test_the_built_in_models_have_cards_that_say_what_they_are():
    found = load_cards(cards_directory())
    cards = {model_id: card for model_id, card in found.items() if model_id.startswith("chgnet-")}
    assert set(cards) == {f"chgnet-{variant}" for variant in MODEL_VARIANTS["chgnet"]}
    assert cards["chgnet-r2scan"].functional == Functional("r2SCAN")
    assert cards["chgnet-r2scan"].base_model in cards
    assert cards["chgnet-0.3.0"].functional.rung == "GGA"
    assert cards["chgnet-0.2.0"].lifecycle == "superseded"
    assert all(set(card.outputs) == {"energy", "forces", "stress", "magmoms"} for card in cards.values())


def test_the_card_in_the_guide_is_a_card(tmp_path):
    guide = (ROOT / "docs" / "leaderboard.md").read_text(encoding="utf-8")
    text = re.search(r"```toml\n(.*?)```", guide, re.DOTALL)[1].replace("\n   ", "\n")
    write_text(tmp_path / "my-net.toml", text)
    assert read_card(tmp_path / "my-net.toml").model_name == "MyNet"


def test_the_guide_explains_every_key_of_a_card():
    guide = (ROOT / "docs" / "leaderboard.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in guide.splitlines() if line.startswith("| `")]
    explained = {name.partition(".")[0] for row in rows for name in re.findall(r"`([\w.]+)`", row)}
    assert explained == set(ModelCard.__dataclass_fields__)


def test_parsing_a_card_never_reads_an_element_as_a_boolean(card_file):
    text = card_file(replace=[('["Set"]', '["No", "N"]')])
    assert tomllib.loads(text.read_text())["training_sets"] == ["No", "N"]
    assert read_card(text).training_sets == ("No", "N")
