"""Prepared datasets: call `prepare` once, then `load`. To add one, describe it (docs/own_data.md)."""

from ssinfnet_jax.data.datasets.registry import BUILDERS, PUBLIC, builder_class, config_names, truth
from ssinfnet_jax.data.datasets.store import Dataset, load, prepare, view

__all__ = ["BUILDERS", "PUBLIC", "Dataset", "builder_class", "config_names", "load", "prepare", "truth", "view"]
