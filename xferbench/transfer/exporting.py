"""What others can use of a run: weights that chgnet reads, the same as safetensors, a model file and its card."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from xferbench.errors import MissingExtraError
from xferbench.models.chgnet.checkpoint import SHIPPED, load_engine, save_network
from xferbench.records import Functional
from xferbench.references.composition import atomic_number
from xferbench.storage import sha256, write_bytes, write_text
from xferbench.transfer.evaluating import add
from xferbench.transfer.method import references_table
from xferbench.transfer.run import BASE, MODEL, SAFE, WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ase import Atoms

    from xferbench.models.chgnet.engine import CHGNetEngine
    from xferbench.models.chgnet.model import CHGNet

CARD_METHODS = {
    "finetune-trainable-refs": "tl-trainable-ref",
    "finetune-frozen-refs": "tl-frozen-ref",
    "finetune-refit-refs": "tl-refit-atomref",
    "replay": "multihead",
    "multi-fidelity": "multi-fidelity",
    "delta": "delta",
}
"""Method -> the word that model cards have for it; any other is "other"."""

TRAINED_ON = {"0.3.0": ("MPtrj",), "0.2.0": ("MPtrj",), "r2scan": ("MPtrj", "MP-r2SCAN")}
"""Data sets that shipped weights have seen."""

MODEL_FILE = '''"""{title}: for `xferbench score {file}`."""

from pathlib import Path

{imports}

MODEL_ID = "{model_id}"
MODEL_CARD = "{model_id}.toml"
WEIGHTS_SHA256 = "{sha256}"
FUNCTIONAL = "r2SCAN"
SUPPORTED_ELEMENTS = {elements}
REFERENCES = {references}


def load_model(device="cpu"):
    """The trained potential on a device."""
    {load}
'''


class Sum:
    """Two engines whose predictions are added; moments are those of the second.

    Args:
        base: The GGA model.
        change: What was learned.
    """

    def __init__(self, base: CHGNetEngine, change: CHGNetEngine) -> None:
        self.base, self.change = base, change

    def predict(self, structures: Sequence[Atoms]) -> list[dict[str, Any]]:
        """Results for each structure, as in ``models.contract``."""
        found = zip(self.base.predict(structures), self.change.predict(structures), strict=True)
        return [add(base, change) for base, change in found]


def load_sum(directory: Path, device: str = "cpu") -> Sum:
    """The potential of a ``delta`` run.

    Raises:
        StorageError: A file cannot be read.
        ModelError: A file is no checkpoint, or the device is not there.
    """
    base, change = (load_engine(directory / name, device, functional=Functional.R2SCAN) for name in (BASE, WEIGHTS))
    return Sum(base, change)


def model_id(method: str, dataset: str, subset: float, seed: int) -> str:
    """Name of the model of a run: small letters and digits joined by "-"."""
    part = "" if subset >= 1 else f"-part{subset:g}"
    return re.sub(r"[^a-z0-9.]+", "-", f"{method}-{dataset}{part}-seed{seed}".lower()).strip("-.")


def export(directory: Path, record: dict[str, Any], network: CHGNet, base: CHGNet | None) -> None:
    """Write weights, model file and card of a run.

    Args:
        directory: Of the run.
        record: Its ``run.json``.
        network: With the best weights, see ``method.plain``.
        base: To be added to it.

    Raises:
        StorageError: The disk refuses.
    """
    save_network(network, directory / WEIGHTS)
    if base is not None:
        save_network(base, directory / BASE)
    write_bytes(directory / SAFE, safetensors(network))
    write_text(directory / f"{record['model_id']}.toml", card(record, sum(p.numel() for p in network.parameters())))
    write_text(directory / MODEL, _model_file(record, network, base, sha256(directory / SAFE)))


def safetensors(network: CHGNet) -> bytes:
    """The weights as the bytes of a safetensors file.

    Raises:
        MissingExtraError: The package is not installed.
    """
    try:
        from safetensors.torch import save
    except ModuleNotFoundError as error:
        raise MissingExtraError('exporting needs safetensors; pip install "xferbench[chgnet]"') from error
    return save({name: value.contiguous() for name, value in network.state_dict().items()}, {"format": "pt"})


def _model_file(record: dict[str, Any], network: CHGNet, base: CHGNet | None, sha256: str) -> str:
    """The text of ``model.py``; the hash of the weights tells two runs of one name apart, whose predictions must not be mixed."""
    elements = record["references"]["elements"]
    table = references_table(network) + (0 if base is None else references_table(base))
    references = {symbol: float(table[atomic_number(symbol) - 1]) for symbol in elements}
    if base is None:
        imports = "from xferbench.models.chgnet.checkpoint import load_engine\nfrom xferbench.records import Functional"
        load = f'return load_engine(Path(__file__).with_name("{WEIGHTS}"), device, functional=Functional.R2SCAN)'
    else:
        imports = "from xferbench.transfer.exporting import load_sum"
        load = "return load_sum(Path(__file__).parent, device)"
    return MODEL_FILE.format(
        title=f"CHGNet after {record['method']} on {record['dataset']['name']}",
        file=MODEL,
        imports=imports,
        model_id=record["model_id"],
        sha256=sha256,
        elements=json.dumps(elements),
        references=json.dumps(references, indent=4),
        load=load,
    )


def card(record: dict[str, Any], n_parameters: int) -> str:
    """The model card, whose authors are to be filled in before it is shared.

    Args:
        record: ``run.json``.
        n_parameters: Of the network.
    """
    dataset, config, method = record["dataset"], record["config"], record["method"]
    start = None if method == "scratch" else config["start"]
    seen = TRAINED_ON.get(start, (start,)) if start is not None else ()
    lines = [
        f"model_id = {json.dumps(record['model_id'])}",
        f"model_name = {json.dumps(f'CHGNet {method}'[:60])}",
        f"model_version = {json.dumps(dataset['fingerprint'][7:15])}",
        f"functional = {json.dumps(Functional.R2SCAN.value)}",
        'authors = ["to be filled in"]',
        f"training_sets = {json.dumps([*seen, dataset['name']])}",
        'outputs = ["energy", "forces", "stress", "magmoms"]',
        "conservative = true",
        f"model_params = {n_parameters}",
        f"notes = {json.dumps(_notes(record), ensure_ascii=False)}",
        f"citation = {json.dumps('@misc{' + record['model_id'] + ', title = {CHGNet ' + method + '}}')}",
    ]
    if start is not None:
        parent = f"chgnet-{start}" if start in SHIPPED else re.sub(r"[^a-z0-9.]+", "-", start.lower()).strip("-.")
        lines.append(f"base_model = {json.dumps(parent)}")
    lines += ["", "[license]", 'code = "MIT"', 'checkpoint = "as its starting weights and training data"']
    if start is not None:
        word = CARD_METHODS.get(method, "other")
        lines += ["", "[transfer]", f"method = {json.dumps(word)}", f"n_train = {record['training']['frames']}"]
    return "\n".join(lines) + "\n"


def _notes(record: dict[str, Any]) -> str:
    references = record["references"]
    return (
        f"Trained with the method {record['method']}, seed {record['config']['seed']}, on {record['training']['frames']} frames "
        f"of {record['training']['materials']} materials of {record['dataset']['name']} {record['dataset']['version']}. "
        f"References: {references['how']}. Magnetic moments are absolute values."
    )
