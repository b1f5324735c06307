"""Configs for tests: the smallest one of generated slices, with some keys changed."""

import copy
from collections.abc import Mapping
from typing import Any

from configs import ct_phantom
from ssinfnet_jax.config import Config, read_config


def tree(changes: Mapping[str, Any] = {}, base: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Plain data of a config that shares no part with another: `{"single.train.epochs": 9, "data.datasets.0": ...}`."""
    found = _lists(ct_phantom.get_config("tiny").to_dict() if base is None else base)
    for path, value in changes.items():
        *above, last = path.split(".")
        section = found
        for name in above:
            section = section[int(name) if isinstance(section, list) else name]
        section[int(last) if isinstance(section, list) else last] = copy.deepcopy(value)
    return found


def config(changes: Mapping[str, Any] = {}) -> Config:
    """The same as a typed config."""
    return read_config(tree(changes))


def _lists(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _lists(one) for key, one in value.items()}
    return [_lists(one) for one in value] if isinstance(value, list | tuple) else value
