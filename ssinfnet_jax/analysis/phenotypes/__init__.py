"""Radiomic phenotypes of GGO, consolidation and the whole lesion: per slice, per cohort, per patient."""

from ssinfnet_jax.analysis.phenotypes.aggregation import EMPTY_AREA, HOW, by_patient
from ssinfnet_jax.analysis.phenotypes.columns import REGIONS, names
from ssinfnet_jax.analysis.phenotypes.extraction import extract, extract_merged
from ssinfnet_jax.analysis.phenotypes.measure import Tables, measure
from ssinfnet_jax.analysis.phenotypes.rows import Item
from ssinfnet_jax.analysis.phenotypes.settings import EIGHT_BIT, HU, PRESETS, Settings, make
from ssinfnet_jax.analysis.phenotypes.tabulation import Work, merged_table, table

__all__ = [
    "EIGHT_BIT",
    "EMPTY_AREA",
    "HOW",
    "HU",
    "PRESETS",
    "REGIONS",
    "Item",
    "Settings",
    "Tables",
    "Work",
    "by_patient",
    "extract",
    "extract_merged",
    "make",
    "measure",
    "merged_table",
    "names",
    "table",
]
