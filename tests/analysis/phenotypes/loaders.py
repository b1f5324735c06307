"""Loaders at module level, so that they can be sent to worker processes."""

import os

import numpy as np


def arrays(seed: int):
    """A slice with both classes, from its seed."""
    rng = np.random.default_rng(seed)
    classes = np.zeros((24, 24), np.uint8)
    classes[2:12, 2:14], classes[14:22, 4:20] = 1, 2
    return rng.integers(40, 160, (24, 24)).astype(np.uint8), classes


def counted(seed: int, folder: str):
    """Like arrays(), but leaves a file as a trace of the call."""
    path = os.path.join(folder, f"{seed}-{len(os.listdir(folder))}")
    with open(path, "w"):
        return arrays(seed)


def broken(name: str):
    raise OSError(f"cannot read {name}")


def deadly():
    os._exit(3)  # like a crash in native code, or an out-of-memory kill
