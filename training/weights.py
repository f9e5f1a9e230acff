"""A compact model's weights in a file of nothing but numbers: what fine-tuning starts from."""

import hashlib
from pathlib import Path
from pickle import UnpicklingError
from typing import TypeVar

import torch
from torch import Tensor, nn

from config.errors import SettingsError
from models.bundle import DEFAULT
from models.compact import CompactModel

Network = TypeVar("Network", bound=nn.Module)

NAME = "weights.safetensors"
"""In a bundle's folder, beside its graphs. Tables are kept in half precision, of which training
notices nothing; means and variances in single."""
DEFAULT_WEIGHTS = DEFAULT / NAME


def write_weights(model: CompactModel, path: Path) -> None:
    """All of ``model`` to ``path``."""
    from safetensors.torch import save_file

    state = model.state_dict().items()
    save_file({n: (v.half() if v.ndim >= 2 else v).contiguous() for n, v in state}, path)


def write_shipped(network: nn.Module, path: Path, image: Tensor, outputs: tuple[str, ...]) -> None:
    """A network of pictures like ``image`` to ``path`` (.onnx), with its SHA-256 beside it, as
    ``realtime.shipped`` opens it."""
    from export.graphs import Graph
    from export.onnx import write_onnx

    path.parent.mkdir(parents=True, exist_ok=True)
    write_onnx(Graph(path.stem, network.eval(), {"image": image}, outputs), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".sha256").write_text(f"{digest}  {path.name}\n", encoding="ascii")


def read_weights(path: Path) -> dict[str, Tensor]:
    """A state dictionary from a ``.safetensors`` or ``.pt`` file, float32. Raises SettingsError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, weights_only=True, map_location="cpu")
        return {n: v.float() if v.is_floating_point() else v for n, v in state.items()}
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: there is no such file of weights") from error
    except (
        *(OSError, SafetensorError, UnpicklingError, RuntimeError, ValueError, EOFError),
        AttributeError,  # what was pickled is no table of tensors
    ) as error:
        raise SettingsError(f"{path} holds no weights: {str(error).splitlines()[0]}") from error


def load(network: Network, path: Path, part: str) -> Network:
    """``network`` with the weights in ``path``: a file of its own, or of a whole compact model, of
    which it is the ``part`` so called. Raises SettingsError."""
    state, prefix = read_weights(path), f"{part}."
    own = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
    try:
        network.load_state_dict(own or state)
    except RuntimeError as error:
        raise _other(path, part) from error
    return network


def read_model(path: Path) -> CompactModel:
    """The compact model, of whichever size, whose weights are in ``path``. Raises SettingsError."""
    state = read_weights(path)
    try:
        return CompactModel.of(state).eval()
    except RuntimeError as error:
        raise _other(path, "compact network") from error


def _other(path: Path, what: str) -> SettingsError:
    return SettingsError(f"{path} holds other weights than those of the {what} as it is now")
