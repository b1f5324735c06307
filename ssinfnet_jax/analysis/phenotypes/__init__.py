"""Radiomic phenotypes of GGO, consolidation and the whole lesion: per slice, per cohort, per patient.

Names are imported on first use, so that workers, which measure slices, start without the modules for tables.
"""

import importlib

_PLACES = {
    "aggregation": ("EMPTY_AREA", "HOW", "by_patient"),
    "cohort": ("Tables", "measure"),
    "columns": ("REGIONS", "names"),
    "extraction": ("extract", "extract_merged"),
    "rows": ("Item",),
    "settings": ("EIGHT_BIT", "HU", "PRESETS", "Settings", "make"),
    "tabulation": ("Work", "merged_table", "table"),
}
_PLACE_OF = {name: place for place, names in _PLACES.items() for name in names}

__all__ = sorted(_PLACE_OF)


def __getattr__(name: str):
    if name not in _PLACE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACE_OF[name]}"), name)
