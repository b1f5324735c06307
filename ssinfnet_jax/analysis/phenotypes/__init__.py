"""Radiomic phenotypes of GGO, consolidation and the whole lesion: per slice, per cohort, per patient."""

from ssinfnet_jax.analysis.phenotypes.aggregation import HOW, by_patient
from ssinfnet_jax.analysis.phenotypes.extraction import extract
from ssinfnet_jax.analysis.phenotypes.settings import EIGHT_BIT, HU, REGIONS, Settings, names
from ssinfnet_jax.analysis.phenotypes.tabulation import table

__all__ = ["EIGHT_BIT", "HOW", "HU", "REGIONS", "Settings", "by_patient", "extract", "names", "table"]
