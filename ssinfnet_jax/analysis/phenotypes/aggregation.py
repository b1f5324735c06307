"""From slices to patients."""

import pandas as pd

from ssinfnet_jax.analysis.phenotypes.settings import AREA, REGIONS, names

HOW = ("slice_mean", "area_weighted")
EMPTY_AREA = ("zero", "missing")


def by_patient(slices: pd.DataFrame, how: str = "slice_mean", *, empty_area: str = "zero") -> pd.DataFrame:
    """Averages phenotypes over the slices of each patient; a slice without a value does not count.

    Args:
      slices: a table as `table()` returns it: patient_id and the columns of `names()`, of all or some
        regions.
      how: "slice_mean", each slice counts once (the paper's), or "area_weighted", each slice counts by the
        area of the region in it, which is close to the value in the whole volume. The area itself is always a
        plain mean.
      empty_area: "zero", a slice without the region counts with area 0, so that the area is a mean over all
        slices and a patient without any lesion has 0 and stays in the analysis; "missing", such slices do not
        count, so that it is a mean over the slices with lesion, as when PyRadiomics refuses empty masks (the
        paper).
    Returns: one row per patient, sorted: patient_id, num_slices (rows), num_failed (rows with an error), per
      region `<region>_num_slices` (slices whose first-order phenotypes entered), then the phenotypes (NaN
      where no slice has any).
    Raises: ValueError for an unknown option, a missing patient_id, or no phenotype column.
    Source: the paper, "Generation of image phenotypes": "we take the average of them".
    """
    if how not in HOW:
        raise ValueError(f"Unknown how {how!r}; choose one of {', '.join(HOW)}.")
    if empty_area not in EMPTY_AREA:
        raise ValueError(f"Unknown empty_area {empty_area!r}; choose one of {', '.join(EMPTY_AREA)}.")
    if "patient_id" not in slices or slices["patient_id"].isna().any():
        raise ValueError("Every slice needs a patient_id; add the column, or drop the rows without one.")
    regions = [region for region in REGIONS if set(names([region])) <= set(slices.columns)]
    if not regions:
        raise ValueError("No phenotypes in the table (such as 'ggo_firstorder_Entropy'); make it with table().")

    slices = slices.reset_index(drop=True)
    patients = slices["patient_id"]
    counts = pd.DataFrame({"num_slices": slices.groupby("patient_id").size()})
    failed = slices["error"].fillna("") != "" if "error" in slices else pd.Series(False, slices.index)
    counts["num_failed"] = failed.groupby(patients).sum()
    means = []
    for region in regions:
        features = slices[names([region])]
        area = features[f"{region}_{AREA}"]
        used = features[f"{region}_firstorder_Mean"].notna()
        counts[f"{region}_num_slices"] = used.groupby(patients).sum()
        mean = _weighted_mean(features, area, patients) if how == "area_weighted" else features.groupby(patients).mean()
        # Differs from the paper, where a slice without the region does not count (empty_area="missing").
        mean[area.name] = (area if empty_area == "zero" else area.where(area > 0)).groupby(patients).mean()
        means.append(mean)
    return pd.concat([counts, *means], axis=1).sort_index().reset_index()


def _weighted_mean(features, weight, patients) -> pd.DataFrame:
    """sum(w v) / sum(w) over the slices in which v is known."""
    total = features.mul(weight, axis=0).groupby(patients).sum(min_count=1)
    return total / features.notna().mul(weight, axis=0).groupby(patients).sum().where(lambda sums: sums > 0)
