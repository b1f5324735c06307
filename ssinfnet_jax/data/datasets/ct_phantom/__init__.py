"""Generated chest CT with known lesions and a known causal structure: the embedded dataset."""

from ssinfnet_jax.data.datasets.ct_phantom.population import TRUTH

__all__ = ["TRUTH"]
