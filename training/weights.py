"""A compact model's weights in a file of nothing but numbers: what fine-tuning starts from."""

from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from config.errors import SettingsError
from models.bundle import DEFAULT
from models.compact import CompactModel

NAME = "weights.safetensors"
"""In a bundle's folder, beside its graphs. Tables are kept in half precision, of which training
notices nothing; means and variances in single."""
SHIPPED = DEFAULT / NAME


def write_weights(model: CompactModel, path: Path) -> None:
    """All of ``model`` to ``path``."""
    from safetensors.torch import save_file

    state = model.state_dict().items()
    save_file({n: (v.half() if v.ndim >= 2 else v).contiguous() for n, v in state}, path)


def read_weights(path: Path) -> dict[str, Tensor]:
    """A state dictionary from a ``.safetensors`` or ``.pt`` file, float32. Raises SettingsError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: there is no such file of weights") from error
    except (OSError, SafetensorError, UnpicklingError, RuntimeError, ValueError, EOFError) as error:
        raise SettingsError(f"{path} holds no weights: {str(error).splitlines()[0]}") from error
    return {n: v.float() if v.is_floating_point() else v for n, v in state.items()}


def read_model(path: Path) -> CompactModel:
    """The compact model whose weights are in ``path``. Raises SettingsError."""
    model = CompactModel()
    try:
        model.load_state_dict(read_weights(path))
    except RuntimeError as error:
        raise SettingsError(
            f"{path} holds other weights than those of the compact network as it is now"
        ) from error
    return model.eval()
