"""A network's variables as one small file, `variables.safetensors`: kernels in half precision, the rest as they are."""

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
    Raises: ValueError for a kernel that half precision cannot hold.
    """
    tensors = {}
    for path, value in flax.traverse_util.flatten_dict(variables).items():
        name, value = _SEPARATOR.join(path), np.asarray(value)
        tensors[name] = value.astype(np.float16) if value.ndim > 1 else value
        if not np.isfinite(tensors[name]).all():
            raise ValueError(f"{name} has values up to {np.abs(value).max():g}, which half precision cannot hold.")
    data = save(tensors)
    (directory / FILE).write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def read(directory: pathlib.Path, sha256: str) -> Any:
    """The variables as float32 arrays.

    Raises: ValueError for a file that is not the one that was written.
    """
    data = (directory / FILE).read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ValueError(f"{directory / FILE} has SHA-256 {found}, not {sha256} as model.json says")
    tensors = {tuple(name.split(_SEPARATOR)): value.astype(np.float32) for name, value in load(data).items()}
    return flax.traverse_util.unflatten_dict(tensors)
