"""Model cards: what a model is, in one TOML file per model, written by people and never by code.

Keys that Matbench Discovery has carry its names (``model_name``, ``training_sets``, ``license.code`` …), so a card can be
moved between the two. Scores are not in here: they are results, and are computed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from xferbench.errors import FormatError
from xferbench.functionals import Functional  # noqa: TC001 - schema.parse reads the annotations
from xferbench.models.spec import MODEL_ID
from xferbench.records import PROPERTIES
from xferbench.report.markup import is_web_address
from xferbench.schema import parse, read_toml
from xferbench.storage import disk_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xferbench.results import Result

DOI = re.compile(r"10\.\d{4,9}/\S+")
NAME_LENGTH = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class License:
    """What others may do with the code and with the weights: an SPDX identifier or a few words."""

    code: str
    checkpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """How the model came from its ``base_model``.

    Attributes:
        strategy: How its weights moved: one of ``xferbench list strategies``, or "other".
        references: Which elemental energies it started with, as ``xferbench train --references`` reads them; "other" if none of them.
        n_train: Structures of the target functional that were trained on.
    """

    strategy: Literal[
        "finetune", "head", "last-blocks", "lora", "delta", "multi-fidelity", "replay", "ewc", "zero-shot", "other"
    ]
    references: str = "other"
    n_train: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """One model, as its authors describe it.

    Attributes:
        model_id: Names the card and the result files: ``models/<model_id>.toml``.
        functional: Whose potential energy surface the model was made to reproduce.
        training_sets: Every data set the weights have seen, pre-training first.
        outputs: Which of ``PROPERTIES`` the model predicts.
        conservative: Whether forces are the exact gradient of the energy.
        citation: BibTeX.
        base_model: ``model_id`` of the pre-trained parent; a model from scratch has none.
        energy_corrections: Empirical corrections that the energies trained on hold: MP2020, or surely none.
        date_added: When the model came to the board, as ``2026-11-29``; the only date that pages show.
        notes: Anything a reader must know before comparing.

    References:
        Methods: Huang et al., npj Comput. Mater. 11, 313 (2025), doi 10.1038/s41524-025-01796-y, Table 1.
    """

    model_id: str
    model_name: str
    model_version: str
    functional: Functional
    authors: tuple[str, ...]
    training_sets: tuple[str, ...]
    license: License
    outputs: tuple[str, ...]
    conservative: bool
    citation: str
    base_model: str | None = None
    transfer: Transfer | None = None
    energy_corrections: Literal["none", "MP2020"] | None = None
    model_params: int | None = None
    doi: str | None = None
    paper: str | None = None
    repo: str | None = None
    pypi: str | None = None
    checkpoint_url: str | None = None
    date_added: str | None = None
    lifecycle: Literal["active", "superseded", "deprecated", "aborted"] = "active"
    notes: str = ""

    @property
    def links(self) -> dict[str, str]:
        """Label -> address, those the card has, in reading order."""
        addresses = {
            "paper": self.paper,
            "DOI": None if self.doi is None else f"https://doi.org/{self.doi}",
            "code": self.repo,
            "package": self.pypi,
            "weights": self.checkpoint_url,
        }
        return {label: address for label, address in addresses.items() if address is not None}


def cards_directory() -> Path:
    """Where the cards of the built-in models are: inside an installed package, else beside it in a checkout."""
    package = Path(__file__).parent.parent
    packaged = package / "_cards"
    return packaged if packaged.is_dir() else package.parent / "leaderboard" / "models"


def read_card(path: Path) -> ModelCard:
    """Read one card.

    Raises:
        StorageError: It cannot be read.
        FormatError: It breaks the schema; every problem is listed.
    """
    card = parse(ModelCard, read_toml(path), path)
    problems = _identity_problems(card, path.stem) + _content_problems(card) + _link_problems(card)
    if problems:
        raise FormatError(f"{path}: {'; '.join(problems)}")
    return card


def load_cards(directory: Path) -> dict[str, ModelCard]:
    """Read every ``*.toml`` of a directory: ``model_id`` -> card, sorted. A directory that is absent holds none.

    Raises:
        StorageError: A card cannot be read.
        FormatError: Cards break the schema; every problem of every card is listed.
    """
    with disk_errors("read", directory):
        paths = sorted(directory.glob("*.toml"))
    cards, problems = {}, []
    for path in paths:
        try:
            cards[path.stem] = read_card(path)
        except FormatError as error:
            problems.append(str(error))
    if problems:
        raise FormatError("\n".join(problems))
    return cards


QUANTITIES = {"energy": "energy", "force": "forces", "stress": "stress", "magmom": "magmoms"}
"""First word of a metric -> what a model must predict for it to have a value."""

BLANK = """\
# What readers must know of the model. Fill in what is empty; every key: docs/leaderboard.md. Scores never stand here.
model_id = {model_id}
model_name = {model_name}
model_version = ""
functional = {functional}
authors = []                 # ["Ada Lovelace"]
training_sets = []           # all of them, pre-training first: ["MPtrj", "MP-r2SCAN"]
outputs = {outputs}
# conservative = true        # are forces the exact gradient of the energy? say true or false
date_added = "{day}"
notes = ""                   # what a reader must know before comparing
citation = ""                # BibTeX: "@article{{key, title = {{…}}}}"
# model_params = 412_525
# doi = "10.1038/…"
# repo = "https://…"
# checkpoint_url = "https://…"
# base_model = "chgnet-0.3.0"   # with [transfer], for a model that was not made from scratch

[license]
code = ""                    # "MIT", or a few words
checkpoint = ""              # of the weights: "CC-BY-4.0", "not public"

# [transfer]
# strategy = "finetune"      # xferbench list strategies
# references = "fit"
# n_train = 190_560
"""


def blank_card(known: Sequence[Result], *, day: date) -> str:
    """A card to fill in: what the results of a model know of it, and examples beside what only its authors know.

    Args:
        known: Results of one model, at least one.
        day: When it comes to the board.
    """
    model = known[0].model
    measured = {metric.name.split("_")[0] for result in known for metric in result.metrics if metric.value is not None}
    outputs = [name for word, name in QUANTITIES.items() if word in measured]
    return BLANK.format(
        model_id=json.dumps(model.id),
        model_name=json.dumps(model.name[:NAME_LENGTH], ensure_ascii=False),
        functional=json.dumps(str(model.functional)),
        outputs=json.dumps(outputs),
        day=day.isoformat(),
    )


def _identity_problems(card: ModelCard, stem: str) -> list[str]:
    problems = []
    if card.model_id != stem or not MODEL_ID.fullmatch(card.model_id):
        problems.append(
            f"model_id {card.model_id!r} must equal the file name {stem!r} and be small letters and digits joined by '.' or '-'"
        )
    for key in ("model_name", "model_version"):
        text = getattr(card, key)
        if not (text.strip() and text.isprintable() and len(text) <= NAME_LENGTH):
            problems.append(f"{key} must be one line of 1 to {NAME_LENGTH} printable characters, not {text!r}")
    if card.base_model == card.model_id:
        problems.append("base_model is the model itself; leave the key out for a model from scratch")
    if (card.base_model is None) != (card.transfer is None):
        problems.append("base_model and [transfer] come together: name the parent and how the model came from it")
    return problems


def _content_problems(card: ModelCard) -> list[str]:
    problems = []
    unknown = [name for name in card.outputs if name not in PROPERTIES]
    if unknown or "energy" not in card.outputs or len(set(card.outputs)) != len(card.outputs):
        problems.append(
            f"outputs must include energy and come from {', '.join(PROPERTIES)}, each once, not {list(card.outputs)}"
        )
    problems += [
        f"{key} must not be empty"
        for key in ("authors", "training_sets")
        if not any(map(str.strip, getattr(card, key)))
    ]
    problems += [
        f"license.{key} must not be empty" for key in ("code", "checkpoint") if not getattr(card.license, key).strip()
    ]
    if card.date_added is not None and not _is_date(card.date_added):
        problems.append(f"date_added must be a day such as 2026-11-29, not {card.date_added!r}")
    if not card.citation.lstrip().startswith("@"):
        problems.append("citation must be BibTeX (it starts with '@')")
    counts = {
        "model_params": card.model_params,
        "transfer.n_train": card.transfer.n_train if card.transfer is not None else None,
    }
    problems += [f"{key} must be positive, not {n}" for key, n in counts.items() if n is not None and n < 1]
    return problems


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _link_problems(card: ModelCard) -> list[str]:
    problems = []
    for key in ("paper", "repo", "pypi", "checkpoint_url"):
        address = getattr(card, key)
        if address is not None and not is_web_address(address):
            problems.append(f"{key} must be an https:// or http:// address, not {address!r}")
    if card.doi is not None and not DOI.fullmatch(card.doi):
        problems.append(f"doi must look like 10.1038/…, without an address in front, not {card.doi!r}")
    return problems
