"""A network's variables as one small file, `variables.safetensors`: kernels in half precision, all else in float32."""

import hashlib
import pathlib
from typing import Any

import flax
import numpy as np
from safetensors.numpy import load, save

FILE = "variables.safetensors"
_SEPARATOR = "/"


def write(directory: pathlib.Path, variables: Any) -> str:
    """Writes `FILE`; returns its SHA-256.

    Args:
      directory: an existing folder.
      variables: {"params", "batch_stats"} of float32 arrays.
    Raises: ValueError for a kernel that overflows half precision.
    """
    tensors = {}
    for path, value in flax.traverse_util.flatten_dict(variables).items():
        name, value = _SEPARATOR.join(path), np.asarray(value)
        tensors[name] = value.astype(np.float16) if value.ndim > 1 else value
        if not np.isfinite(tensors[name]).all():
            raise ValueError(f"{name} has values up to {np.abs(value).max():g}, which overflow half precision.")
    data = save(tensors)
    (directory / FILE).write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def read(directory: pathlib.Path, sha256: str) -> Any:
    """Reads the variables as float32 arrays.

    Raises: ValueError if the file has another SHA-256.
    """
    data = (directory / FILE).read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ValueError(f"{directory / FILE} has SHA-256 {found}, but model.json says {sha256}")
    tensors = {tuple(name.split(_SEPARATOR)): value.astype(np.float32) for name, value in load(data).items()}
    return flax.traverse_util.unflatten_dict(tensors)
