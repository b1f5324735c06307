"""Prepared datasets: `prepare` once, then `load`; `BUILDERS` lists them, and is where to add another."""

from ssinfnet_jax.data.datasets.registry import BUILDERS, builder_class, config_names, truth
from ssinfnet_jax.data.datasets.store import Dataset, load, prepare

__all__ = ["BUILDERS", "Dataset", "builder_class", "config_names", "load", "prepare", "truth"]
