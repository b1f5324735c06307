"""Aggregates phenotypes of slices to patients."""

import pandas as pd

from ssinfnet_jax.analysis.phenotypes.columns import AREA, REGIONS, phenotypes_of

HOW = ("slice_mean", "area_weighted", "merged")
EMPTY_AREA = ("zero", "missing")


def by_patient(
    slices: pd.DataFrame, how: str = "slice_mean", *, empty_area: str = "zero", merged: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Aggregates phenotypes of slices to patients, ignoring missing values.

    Args:
      slices: a table as `table()` returns it: patient_id and the phenotypes of some regions.
      how: "slice_mean", the mean over slices (the paper's); "area_weighted", the mean weighted by the area of the
        region, which is close to the value in the whole volume; "merged", all slices of a patient as one region
        (`extract_merged()`). The area itself and other features of shape2D are always plain means.
      empty_area: "zero", a slice without the region has area 0, so the area is a mean over all slices, and a patient
        without any lesion has area 0 and stays in the analysis; "missing", such slices do not count, so the area is a
        mean over slices with lesion, as when PyRadiomics refuses empty masks (the paper).
      merged: for "merged", the result of `merged_table()`.
    Returns: one row per patient, sorted: patient_id, num_slices (rows), num_failed (rows with an error), per
      region `<region>_num_slices` (slices whose phenotypes count), then the phenotypes (NaN if no slice has any).
    Raises: ValueError for an unknown option, a missing patient_id or merged table, or no phenotype column.
    Source: the paper, "Generation of image phenotypes": "we take the average of them".
    """
    if how not in HOW:
        raise ValueError(f"Unknown how {how!r}; choose one of {', '.join(HOW)}.")
    if empty_area not in EMPTY_AREA:
        raise ValueError(f"Unknown empty_area {empty_area!r}; choose one of {', '.join(EMPTY_AREA)}.")
    if "patient_id" not in slices or slices["patient_id"].isna().any():
        raise ValueError("Every slice needs a patient_id; add the column or its missing values, or drop these rows.")
    if how == "merged" and (merged is None or set(merged["patient_id"]) != set(slices["patient_id"])):
        raise ValueError("how='merged' needs a row for every patient of slices; pass merged=merged_table(...).")
    columns = {region: phenotypes_of(region, slices.columns) for region in REGIONS}
    columns = {region: names for region, names in columns.items() if f"{region}_{AREA}" in names}
    if not columns:
        raise ValueError("No phenotypes in the table (such as 'ggo_firstorder_Entropy'); make it with table().")

    slices = slices.reset_index(drop=True)
    patients = slices["patient_id"]
    counts = pd.DataFrame({"num_slices": slices.groupby("patient_id").size()})
    failed = slices["error"].fillna("") != "" if "error" in slices else pd.Series(False, slices.index)
    counts["num_failed"] = failed.groupby(patients).sum()
    means = []
    for region, names in columns.items():
        area = slices[f"{region}_{AREA}"]
        shape = [name for name in names if "_shape2D_" in name]
        features = slices[[name for name in names if name not in shape]]
        used = area > 0 if how == "merged" else features.notna().any(axis=1)
        counts[f"{region}_num_slices"] = used.groupby(patients).sum()
        # Differs from the paper, where a slice without the region does not count (empty_area="missing").
        areas = area if empty_area == "zero" else area.where(area > 0)
        means.append(slices[shape].assign(**{area.name: areas}).groupby(patients).mean())
        if how == "merged":
            means.append(merged.set_index("patient_id")[phenotypes_of(region, merged.columns)])
        elif how == "area_weighted":
            means.append(_weighted_mean(features, area, patients))
        else:
            means.append(features.groupby(patients).mean())
    # copy() defragments the table.
    return pd.concat([counts, *means], axis=1).sort_index().copy().reset_index(names="patient_id")


def _weighted_mean(features, weight, patients) -> pd.DataFrame:
    """sum(w v) / sum(w) over the slices where v is known."""
    total = features.mul(weight, axis=0).groupby(patients).sum(min_count=1)
    return total / features.notna().mul(weight, axis=0).groupby(patients).sum().where(lambda sums: sums > 0)
