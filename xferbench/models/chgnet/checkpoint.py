"""Checkpoints of chgnet -> network of this package, unchanged weights.

A checkpoint is a ``.pth.tar`` written by chgnet: ``{"model": {"state_dict": …, "model_args": …}, …}``.
"""

from __future__ import annotations

import pickle
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from xferbench.errors import MissingExtraError, ModelError, StorageError, UsageError
from xferbench.models.chgnet.engine import ROWS_CPU, ROWS_GPU, CHGNetEngine
from xferbench.models.chgnet.frozen import FrozenCHGNet
from xferbench.models.chgnet.model import CHGNet, Settings
from xferbench.models.chgnet.reference import FUNCTIONALS, atom_references, check_device

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xferbench.records import Functional

SHIPPED = {
    "0.3.0": "0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar",
    "0.2.0": "0.2.0/chgnet_0.2.0_e30f77s348m32.pth.tar",
    "r2scan": "r2scan/chgnet_r2scan_transfer_learning_e15f36s161m23.pth.tar",
}
"""Weights inside the ``chgnet`` package, by variant."""

WITHOUT_EFFECT = frozenset(
    {
        "version",
        "graph_converter_algorithm",
        "converter_verbose",
        "skip_connection",
        "cutofff_coeff",
        "composition_model",
    }
)
"""Arguments in checkpoints that chgnet does not read (the misspelt one included), or that the weights tell better."""


def load_engine(
    checkpoint: str | Path,
    device: str = "cpu",
    *,
    functional: Functional | None = None,
    dtype: str = "float32",
    max_rows: int | None = None,
    isolated: str = "raise",
) -> CHGNetEngine:
    """A CHGNet ready to predict.

    Args:
        checkpoint: A shipped variant ("0.3.0", "0.2.0", "r2scan"), or the path of a ``.pth.tar`` written by chgnet.
        device: As torch names it.
        functional: What a checkpoint file was trained on; shipped variants know it.
        dtype: "float32", or "float64" for verification.
        max_rows: Directed bonds and angles of a batch; by default what suits the device.
        isolated: "raise" or "allow" atoms without neighbours.

    Raises:
        UsageError: A checkpoint file without ``functional``, or an unknown ``dtype``.
        MissingExtraError: A variant, but ``chgnet`` with its weights is not installed.
        ModelError: The device is not there, or the checkpoint needs what this engine does not have.
        StorageError: The file cannot be read.
    """
    if dtype not in {"float32", "float64"}:
        raise UsageError(f"dtype {dtype!r} is unknown; choose float32 or float64")
    known = checkpoint in SHIPPED
    functional = FUNCTIONALS[str(checkpoint)] if known else functional
    if functional is None:
        raise UsageError(f"say what {checkpoint} was trained on: functional = PBE, PBE+U or r2SCAN")
    check_device(device)
    network = load_network(shipped_checkpoint(str(checkpoint)) if known else Path(checkpoint))
    network = network.to(device=torch.device(device), dtype=getattr(torch, dtype))
    references = atom_references(network) if network.composition_model is not None else None
    return CHGNetEngine(
        functional=functional,
        supported_elements=None if references is None else frozenset(references),
        references=references,
        network=FrozenCHGNet(network),
        max_rows=max_rows or (ROWS_CPU if torch.device(device).type == "cpu" else ROWS_GPU),
        isolated=isolated,
    )


def shipped_checkpoint(variant: str) -> Path:
    """Where the installed ``chgnet`` package keeps the weights of a variant.

    Raises:
        MissingExtraError: ``chgnet`` is not installed.
        ModelError: This installation lacks the file.
    """
    spec = find_spec("chgnet")
    if spec is None or spec.origin is None:
        raise MissingExtraError('the weights of chgnet are part of its package; pip install "xferbench[chgnet]"')
    path = Path(spec.origin).parent / "pretrained" / SHIPPED[variant]
    if not path.is_file():
        raise ModelError(f"chgnet has no file {path}; this suite knows the weights of chgnet 0.4.2")
    return path


def load_network(path: Path) -> CHGNet:
    """Network with the weights of a checkpoint, on the CPU, in single precision, in evaluation mode, weights frozen.

    Raises:
        StorageError: The file cannot be read.
        ModelError: It is no chgnet checkpoint, or asks for something this network does not have.
    """
    checkpoint = _read(path)
    try:
        arguments, weights = checkpoint["model"]["model_args"], checkpoint["model"]["state_dict"]
    except (KeyError, TypeError) as error:
        raise ModelError(
            f"{path} is no checkpoint of chgnet: it has no model with model_args and state_dict"
        ) from error
    network = CHGNet(settings(arguments, weights, name=str(path)))
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError(f"the weights in {path} do not fit its model_args: {' '.join(str(error).split())}") from error
    return network.requires_grad_(requires_grad=False).eval()


def settings(arguments: Mapping[str, Any], weights: Mapping[str, Any], *, name: str) -> Settings:
    """Settings from the arguments of a checkpoint.

    Args:
        arguments: ``model_args``.
        weights: ``state_dict``; it alone tells whether there are references and output biases.
        name: Of the checkpoint, for messages.

    Raises:
        ModelError: All arguments that this network does not have, at once.
    """
    known = {field.name for field in fields(Settings)}
    problems = [
        f"{key} = {value!r}"
        for key, value in arguments.items()
        if key not in known | WITHOUT_EFFECT | {"read_out", "conv_norm", "final_mlp"}
    ]
    if arguments.get("conv_norm") is not None:
        problems.append(f"conv_norm = {arguments['conv_norm']!r}")
    if not arguments.get("mlp_first", True) and arguments.get("read_out", "ave") != "ave":
        problems.append(f"read_out = {arguments['read_out']!r}")
    references = [key for key in weights if key.startswith("composition_model.")]
    if references not in ([], ["composition_model.fc.weight"]):
        problems.append("a composition model that is not linear")
    if problems:
        raise ModelError(
            f"{name} needs what this engine does not have: {', '.join(problems)}; use engine chgnet for it"
        )
    values: dict[str, Any] = {
        key: _hidden(value) if "hidden" in key else value for key, value in arguments.items() if key in known
    }
    composition = arguments.get("composition_model", "MPtrj")
    return Settings(
        **values
        | {
            "mlp_out_bias": any(key.endswith("mlp_out.layers.1.bias") for key in weights),
            "gated_readout": arguments.get("final_mlp", "MLP") not in {"normal", "MLP"},
            "has_references": bool(references),
            # chgnet's AtomRef.initialize_from decides this by the name of the table
            "reference_is_intensive": getattr(composition, "is_intensive", composition != "MPF"),
        }
    )


def _hidden(value: object) -> tuple[int, ...]:
    """Hidden widths as chgnet writes them (0, None, a number, a list) -> tuple."""
    if not value:
        return ()
    return (value,) if isinstance(value, int) else tuple(value)  # type: ignore[arg-type]


def _read(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}; check the path") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        raise ModelError(f"{path} cannot be read as a checkpoint: {' '.join(str(error).split())[:200]}") from error
