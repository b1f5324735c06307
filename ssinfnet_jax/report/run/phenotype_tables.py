"""The phenotypes of a run for its page: numbers of each kind, and how slices were aggregated to patients."""

import collections
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ssinfnet_jax.analysis.phenotypes import columns
from ssinfnet_jax.report.kit import figure_style, tables
from ssinfnet_jax.report.mediation import naming

_AGGREGATIONS = {
    "slice_mean": "the mean over the patient's slices",
    "area_weighted": "the mean over the patient's slices, weighted by the region's area (shape: the plain mean)",
    "merged": "measured in all slices of the patient as one region (shape: the mean over slices)",
}


def counts(patients: pd.DataFrame) -> tables.Table | None:
    """Numbers of phenotypes of each feature class per region and filtered image, and the share of missing values.

    Args:
      patients: phenotypes/patients.csv.
    Returns: None if no column is a phenotype.
    """
    found: dict[tuple[str, str], collections.Counter] = collections.defaultdict(collections.Counter)
    missing: dict[tuple[str, str], list[float]] = collections.defaultdict(list)
    for name in patients:
        origin = columns.origin(name)
        if origin is None:
            continue
        region, image, feature_class = origin
        found[region, image][feature_class] += 1
        missing[region, image].append(float(patients[name].isna().mean()))
    if not found:
        return None
    classes = [name for name in naming.CLASSES if any(count[name] for count in found.values())]
    filtered = any(image for _, image in found)
    rows = []
    for (region, image), count in found.items():
        share = 100 * sum(missing[region, image]) / len(missing[region, image])
        kind = [tables.text_cell(figure_style.TITLES[region])]
        kind += [tables.text_cell(image or "none")] if filtered else []
        cells = [tables.number_cell(count[name]) for name in classes]
        rows.append([*kind, *cells, tables.number_cell(count.total()), tables.Cell(f"{share:.1f} %", share)])
    heads = [tables.Column("Region")] + ([tables.Column("Filter")] if filtered else [])
    titles = [naming.CLASSES[name][0].upper() + naming.CLASSES[name][1:] for name in classes]
    heads += [tables.Column(title, True) for title in (*titles, "All", "Missing values")]
    return tables.Table(f"Phenotypes per region{', filter' * filtered} and feature class.", heads, rows)


def aggregation(about: Mapping[str, Any] | None) -> str:
    """How a patient's phenotypes were computed from slices, in words; "" if unknown.

    Args:
      about: phenotypes/about.json.
    """
    return _AGGREGATIONS.get((about or {}).get("aggregation", ""), "")
