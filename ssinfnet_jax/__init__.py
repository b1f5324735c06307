"""COVID-19 lesions in chest CT: self-supervised segmentation, phenotypes and mediation analysis, in JAX."""

__version__ = "0.1.0"
