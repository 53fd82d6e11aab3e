"""The card: front matter that YAML and Hugging Face read, and tables that say what is in the directory."""

from __future__ import annotations

import pytest
import yaml
from huggingface_hub import DatasetCard

from xferbench.dataset.card import COLUMNS, render
from xferbench.dataset.layout import SHARD_SCHEMA, read_manifest, shards

PATTERNS = {f"data/{config}/{split}-*.parquet": (config, split) for config, split in shards([]).values()}


@pytest.fixture
def facts(synthetic_dataset):
    return synthetic_dataset.manifest


def front_matter(text):
    _, head, _ = text.split("---\n", 2)
    return yaml.safe_load(head)


def test_the_card_of_a_directory_is_rendered_from_its_manifest(synthetic_dataset, synthetic_source):
    _, values = read_manifest(synthetic_dataset.directory)
    card = (synthetic_dataset.directory / "README.md").read_text(encoding="utf-8")
    assert render(values, synthetic_source.card) == card


def test_hugging_face_reads_it(facts):
    card = DatasetCard(render(facts, "Body."))
    assert card.data.license == "mit"
    assert card.data.pretty_name == "Springs"
    assert card.data.size_categories == ["n<1K"]


def stated_shards(configs):
    return {item["path"]: (config["config_name"], item["split"]) for config in configs for item in config["data_files"]}


def test_every_shard_is_in_a_configuration_and_r2scan_is_the_default(facts):
    splits = {name: {**split, "pairs": 1} for name, split in facts["splits"].items()}
    configs = front_matter(render({**facts, "splits": splits}, ""))["configs"]
    assert [(config["config_name"], config.get("default", False)) for config in configs] == [
        ("source", False),
        ("target", True),
    ]
    assert stated_shards(configs) == PATTERNS


def test_an_empty_split_is_not_stated_because_datasets_refuses_it(facts):
    assert facts["splits"]["val"]["pairs"] == 0
    configs = front_matter(render(facts, ""))["configs"]
    assert stated_shards(configs) == {path: place for path, place in PATTERNS.items() if "/val-" not in path}


@pytest.mark.parametrize("name", ["no", "1e3", "a: b", "#x", '"quoted"', "Å, µ & 中", "{x}", "- y", "a\nb", "null"])
def test_no_title_or_licence_breaks_the_front_matter(facts, name):
    data = front_matter(render({**facts, "title": name, "licence": name}, ""))
    assert data["pretty_name"] == data["license"] == name


@pytest.mark.parametrize(
    ("pairs", "size"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (385_900, "100K<n<1M"), (10**7, "n>10M")],
)
def test_the_size_category_counts_pairs(facts, pairs, size):
    splits = {name: {**split, "pairs": 0} for name, split in facts["splits"].items()}
    splits["train"]["pairs"] = pairs
    assert front_matter(render({**facts, "splits": splits}, ""))["size_categories"] == [size]


def test_every_column_is_explained_in_the_order_of_the_files():
    assert [name for name, *_ in COLUMNS] == SHARD_SCHEMA.names


def test_every_column_has_a_row_with_its_unit(facts):
    text = render(facts, "")
    for name, kind, unit, meaning in COLUMNS:
        assert f"| `{name}` | {kind} | {unit} | {meaning} |" in text


def test_the_body_of_the_source_is_in_it(facts):
    assert "\n\nHow it was computed.\n\n" in render(facts, "\nHow it was computed.\n")


def test_splits_subsets_and_labels_are_tables(facts):
    text = render(facts, "")
    assert "| train | 27 | 9 | 4 | none |" in text
    assert "| test | 15 | 5 | 4 | none |" in text
    assert "| 100 % | 27 | 9 | 4 |" in text
    assert "| r2SCAN | 42 | 42 | 42 | 27 |" in text
    assert text.index("| 2 % |") < text.index("| 10 % |") < text.index("| 100 % |")


def test_uncovered_elements_are_named(facts):
    test = {**facts["splits"]["test"], "uncovered_elements": ["U", "Pu"]}
    text = render({**facts, "splits": {**facts["splits"], "test": test}}, "")
    assert "| test | 15 | 5 | 4 | U, Pu |" in text


def test_drops_are_a_table_with_their_meaning(facts):
    text = render({**facts, "drops": {"no_partner": 7, "unconverged": 2}}, "")
    assert "| `no_partner` | 7 | only one of the two sides is there |" in text
    assert "| `unconverged` | 2 | see the data source |" in text


def test_no_drops_are_said(facts):
    assert "## Left out\n\nNothing.\n" in render({**facts, "drops": {}}, "")


def test_a_bar_in_a_cell_does_not_open_a_column(facts):
    assert r"| `a\|b` | 1 |" in render({**facts, "drops": {"a|b": 1}}, "")


def test_licence_and_citation_close_the_card(facts):
    text = render({**facts, "licence": "cc-by-4.0", "citation": "Somebody, 2025\n"}, "")
    assert text.endswith("## Licence and citation\n\nLicence: cc-by-4.0\n\n```\nSomebody, 2025\n```\n")
