"""Reads files of named tensors: PyTorch (.pth, .pt), safetensors, NumPy (.npz). No reader executes code in a file."""

import contextlib
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from safetensors.numpy import load_file

WRAPPERS = ("state_dict", "model")  # keys under which training programs store the tensors
PARALLEL = "module."  # the prefix that torch's DataParallel adds to every name


def read_tensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a file as float32 arrays by name.

    Unwraps {"state_dict": ...} or {"model": ...}, and removes the prefix `module.` if all names have it.

    Raises: FileNotFoundError; ValueError for an unknown suffix, an unreadable file, or tensors that are not finite;
      ImportError for a PyTorch file without PyTorch.
    """
    if not path.is_file():
        raise FileNotFoundError(f"The checkpoint {path} does not exist.")
    if path.suffix not in READERS:
        raise ValueError(
            f"The checkpoint {path} ends in {path.suffix!r}; choose a file that ends in {', '.join(READERS)}."
        )
    tensors = {name: _as_float32(path, name, value) for name, value in READERS[path.suffix](path).items()}
    if not tensors:
        raise ValueError(f"The checkpoint {path} holds no tensors.")
    broken = [name for name, value in tensors.items() if not np.isfinite(value).all()]
    if broken:
        raise ValueError(
            f"The checkpoint {path} has values that are not finite in {', '.join(broken[:5])} ({len(broken)} tensors): "
            "its training diverged; use an earlier checkpoint."
        )
    if all(name.startswith(PARALLEL) for name in tensors):
        tensors = {name.removeprefix(PARALLEL): value for name, value in tensors.items()}
    return tensors


def _read_torch(path: pathlib.Path) -> Mapping[str, Any]:
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"Reading {path} needs PyTorch, the optional extra 'torch': .venv/bin/python -m pip install 'torch>=2.6' "
            "(or save the tensors as .safetensors or .npz on a machine with PyTorch)."
        ) from error
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 6):
        # In older versions a crafted file could run code despite weights_only (CVE-2025-32434).
        raise ImportError(f"Reading {path} safely needs PyTorch 2.6 or newer, found {torch.__version__}; upgrade it.")
    with _reading(path, "PyTorch checkpoint of tensors only"):
        tree = torch.load(path, map_location="cpu", weights_only=True)
    state = _unwrap(path, tree)
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    others = [str(name) for name in state if name not in tensors]
    if others:
        raise ValueError(
            f"The checkpoint {path} holds entries that are not tensors: {', '.join(others[:5])} ({len(others)}); save "
            f"only the network's state_dict(), or save it under one of the keys {', '.join(WRAPPERS)}."
        )
    return {name: value.float().numpy() for name, value in tensors.items()}


def _unwrap(path: pathlib.Path, tree: Any) -> Mapping[str, Any]:
    if not isinstance(tree, Mapping):
        raise ValueError(
            f"The checkpoint {path} holds a {type(tree).__name__}, not named tensors; save the network's state_dict()."
        )
    for key in WRAPPERS:
        if isinstance(tree.get(key), Mapping):
            return _unwrap(path, tree[key])
    return tree


def _read_safetensors(path: pathlib.Path) -> Mapping[str, Any]:
    with _reading(path, "safetensors file"):
        return load_file(path)


def _read_npz(path: pathlib.Path) -> Mapping[str, Any]:
    with _reading(path, "NumPy archive of arrays"), np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


READERS: dict[str, Callable[[pathlib.Path], Mapping[str, Any]]] = {
    ".pth": _read_torch,
    ".pt": _read_torch,
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
}


@contextlib.contextmanager
def _reading(path: pathlib.Path, kind: str):
    """Converts whatever a reader raises on a damaged file to one error; readers raise many kinds."""
    try:
        yield
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"{path} cannot be read as a {kind}; if it is incomplete, download it again "
            f"({type(error).__name__}: {reason})."
        ) from error


def _as_float32(path: pathlib.Path, name: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value, np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Tensor {name} of checkpoint {path} has dtype {value.dtype}, which is not numeric; remove or convert it."
        ) from error
