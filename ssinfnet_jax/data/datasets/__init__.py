"""Prepared datasets: call `prepare` once, then `load`. To add a dataset, add it to `BUILDERS`."""

from ssinfnet_jax.data.datasets.registry import BUILDERS, builder_class, config_names, truth
from ssinfnet_jax.data.datasets.store import Dataset, load, prepare

__all__ = ["BUILDERS", "Dataset", "builder_class", "config_names", "load", "prepare", "truth"]
