"""Checkpoints of chgnet -> network of this package, and back, unchanged weights.

A checkpoint is a ``.pth.tar`` written by chgnet: ``{"model": {"state_dict": …, "model_args": …}, …}``.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import asdict, fields
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from xferbench.errors import MissingExtraError, ModelError, StorageError, UsageError
from xferbench.functionals import names
from xferbench.models.chgnet.cache import GraphCache
from xferbench.models.chgnet.engine import AHEAD_GPU, ROWS_CPU, ROWS_GPU, CHGNetEngine
from xferbench.models.chgnet.frozen import FrozenCHGNet
from xferbench.models.chgnet.graph import build
from xferbench.models.chgnet.model import CHGNet, Settings
from xferbench.models.chgnet.reference import FUNCTIONALS, atom_references, check_device
from xferbench.storage import write_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xferbench.functionals import Functional


SHIPPED = {
    "0.3.0": "0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar",
    "0.2.0": "0.2.0/chgnet_0.2.0_e30f77s348m32.pth.tar",
    "r2scan": "r2scan/chgnet_r2scan_transfer_learning_e15f36s161m23.pth.tar",
}
"""Weights inside the ``chgnet`` package, by variant."""

PRECISIONS = ("float32", "float64", "tf32", "bf16")

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
    precision: str = "float32",
    max_rows: int | None = None,
    isolated: str = "raise",
    graph_cache: Path | None = None,
) -> CHGNetEngine:
    """A CHGNet ready to predict.

    Args:
        checkpoint: A shipped variant ("0.3.0", "0.2.0", "r2scan"), or the path of a ``.pth.tar`` written by chgnet.
        device: As torch names it.
        functional: What a checkpoint file was trained on; shipped variants know it.
        precision: "float32"; "float64" for verification; "tf32" (on GPUs) and "bf16" are "float32" with shorter factors in
            the products of the convolutions.
        max_rows: Directed bonds and angles of a batch; by default what suits the device.
        isolated: "raise" or "allow" atoms without neighbours.
        graph_cache: Folder to keep graphs in; none by default, since building them is nearly as fast as reading.

    Raises:
        UsageError: A checkpoint file without ``functional``, an unknown ``precision``, or "tf32" without a GPU.
        MissingExtraError: A variant, but ``chgnet`` with its weights is not installed.
        ModelError: The device is not there, or the checkpoint needs what this engine does not have.
        StorageError: The file cannot be read.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"precision {precision!r} is unknown; choose one of {', '.join(PRECISIONS)}")
    if precision == "tf32" and torch.device(device).type != "cuda":
        raise UsageError(f"precision tf32 is of GPUs, and the device is {device}; choose float32")
    known = checkpoint in SHIPPED
    functional = FUNCTIONALS[str(checkpoint)] if known else functional
    if functional is None:
        raise UsageError(f"say what {checkpoint} was trained on: functional = one of {', '.join(names())}")
    check_device(device)
    network = load_network(shipped_checkpoint(str(checkpoint)) if known else Path(checkpoint))
    dtype = torch.float64 if precision == "float64" else torch.float32
    network = network.to(device=torch.device(device), dtype=dtype)
    references = atom_references(network) if network.composition_model is not None else None
    on_cpu = torch.device(device).type == "cpu"
    return CHGNetEngine(
        functional=functional,
        supported_elements=None if references is None else frozenset(references),
        references=references,
        network=FrozenCHGNet(network, products=precision),
        max_rows=max_rows or (ROWS_CPU if on_cpu else ROWS_GPU),
        isolated=isolated,
        ahead=0 if on_cpu else AHEAD_GPU,
        build=build if graph_cache is None else GraphCache(folder=graph_cache).build,
    )


def shipped_checkpoint(variant: str) -> Path:
    """Where the installed ``chgnet`` package keeps the weights of a variant.

    Raises:
        MissingExtraError: ``chgnet`` is not installed.
        ModelError: This installation lacks the file.
    """
    spec = find_spec("chgnet")
    if spec is None or spec.origin is None:
        raise MissingExtraError('the weights of chgnet are part of its package; pip install ".[chgnet]"')
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


def save_network(network: CHGNet, path: Path, **more: object) -> None:
    """Write a checkpoint that ``load_network`` and chgnet's ``CHGNet.from_file`` read.

    Args:
        network: With any weights; they are stored as they are, from whatever device.
        path: Usually ``….pth.tar``; replaced as a whole if it is there.
        more: Further entries beside ``model``, such as the state of an optimiser: what ``torch.load`` reads without
            running code.

    Raises:
        StorageError: The disk refuses.
    """
    state = {name: array.detach().cpu() for name, array in network.state_dict().items()}
    buffer = io.BytesIO()
    torch.save({"model": {"state_dict": state, "model_args": model_arguments(network.settings)}, **more}, buffer)
    write_bytes(path, buffer.getvalue())


def model_arguments(settings: Settings) -> dict[str, Any]:
    """The ``model_args`` that chgnet would build a network of this shape from; ``settings`` undoes it."""
    arguments: dict[str, Any] = {
        name: (list(value) or 0) if isinstance(value, tuple) else value for name, value in asdict(settings).items()
    }
    # chgnet takes from the table's name whether references are per atom; their values are in the weights
    table = "MPtrj" if arguments.pop("reference_is_intensive") else "MPF"
    arguments["composition_model"] = table if arguments.pop("has_references") else None
    arguments["final_mlp"] = "gated" if arguments.pop("gated_readout") else "MLP"
    # as chgnet itself writes them, arguments that hold nothing new are left out
    if not arguments["mlp_out_bias"]:
        del arguments["mlp_out_bias"]
    return arguments


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
