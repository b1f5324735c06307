"""Phenotypes of a cohort, per slice and per patient, and their files."""

import dataclasses
import importlib.metadata
import json
import pathlib
from collections.abc import Iterable

import pandas as pd
from absl import logging

from ssinfnet_jax import rundir
from ssinfnet_jax.analysis.phenotypes import aggregation, columns, rows, settings, tabulation

# Why a region has no phenotypes of grey levels, see extraction.extract(); any other reason is a failure of PyRadiomics.
_REASONS_OF_REGIONS = ("empty", "one_pixel", "too_small", "line", "scattered", "flat", "too_many_bins")
PACKAGES = ("pyradiomics", "SimpleITK", "numpy", "PyWavelets", "pandas")


@dataclasses.dataclass(frozen=True)
class Tables:
    """Phenotypes of a cohort.

    Attributes:
      slices: see `table()`.  patients: see `by_patient()`.
      about: settings, aggregation, versions and provenance of the slices, as JSON values.
    """

    slices: pd.DataFrame
    patients: pd.DataFrame
    about: dict

    def summary(self) -> pd.DataFrame:
        """Per region: slices with it, measured slices, reasons of the others, and bins (minimum, median, maximum)."""
        rows = []
        measured = self.slices[self.slices["error"] == ""]
        for region in columns.REGIONS:
            reasons = measured[f"{region}_reason"].str.partition(":")[0]
            found = measured[reasons.isin(["", "undefined"])]
            bins = found[f"{region}_num_bins"]
            rows.append(
                {
                    "region": region,
                    "slices": len(self.slices),
                    "with region": int((measured[f"{region}_{columns.AREA}"] > 0).sum()),
                    "measured": len(found),
                    "not measured": ", ".join(
                        f"{count} {reason}" for reason, count in reasons[reasons != ""].value_counts().items()
                    ),
                    "bins": f"{bins.min():.0f} / {bins.median():.0f} / {bins.max():.0f}" if len(found) else "",
                }
            )
        return pd.DataFrame(rows)

    def write(self, directory: pathlib.Path) -> None:
        """Writes slices and patients as CSV and Parquet, and `about.json`, each atomically."""
        for name, table in (("slices", self.slices), ("patients", self.patients)):
            rundir.write_text(directory / f"{name}.csv", table.to_csv(index=False))
            with rundir.writing(directory / f"{name}.parquet") as path:
                table.to_parquet(path, index=False)
        rundir.write_text(directory / "about.json", json.dumps(self.about, indent=2) + "\n")


def measure(
    items: Iterable[rows.Item | tuple],
    *,
    settings: settings.Settings = settings.EIGHT_BIT,
    how: str = "slice_mean",
    empty_area: str = "zero",
    work: tabulation.Work,
) -> Tables:
    """Phenotypes per slice and per patient.

    Args:
      items, settings, work: see `table()`.
      how, empty_area: see `by_patient()`.
    Raises: ValueError as these do, if no slice has phenotypes, or if PyRadiomics failed on an image, filtered or not,
      and no region of it could be measured.
    """
    items = list(items)
    slices = tabulation.table(items, settings=settings, work=work)
    failed = slices.loc[slices["error"] != "", ["slice_id", "error"]]
    if len(failed) == len(slices):
        raise ValueError(f"All {len(slices)} slices failed; the first: {' '.join(failed.iloc[0])}")
    if len(failed):
        logging.warning("%d of %d slices failed; the first: %s", len(failed), len(slices), " ".join(failed.iloc[0]))
    _check_measured(slices)
    merged = None
    if how == "merged":
        parts_dir = work.parts_dir and pathlib.Path(work.parts_dir) / "merged"
        merged = tabulation.merged_table(
            items, slices, settings=settings, work=dataclasses.replace(work, parts_dir=parts_dir)
        )
        failed = merged.loc[merged["error"] != "", ["patient_id", "error"]]
        if len(failed):
            raise ValueError(f"{len(failed)} patients cannot be merged; the first: {' '.join(failed.iloc[0])}")
        _check_measured(merged)
    about = {
        "settings": dataclasses.asdict(settings),
        "aggregation": how,
        "empty_area": empty_area,
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "provenance": dict(work.provenance),
    }
    return Tables(slices, aggregation.by_patient(slices, how, empty_area=empty_area, merged=merged), about)


def _check_measured(table: pd.DataFrame) -> None:
    """Raises ValueError if PyRadiomics failed on all regions of an image; logs a warning if it failed on some."""
    reasons = table.loc[table["error"] == "", [name for name in table if name.endswith("_reason")]]
    by_image: dict[str, list[pd.Series]] = {}
    for name in reasons:
        by_image.setdefault(name.partition("_")[2].removesuffix("reason").rstrip("_"), []).append(reasons[name])
    for image, columns_of in by_image.items():
        found = pd.concat(columns_of)
        kinds = found.str.partition(":")[0]
        unknown = found[~kinds.isin(["", "undefined", *_REASONS_OF_REGIONS])]
        if not len(unknown):
            continue
        where = f"filtered image {image!r}" if image else "image"
        if not kinds.isin(["", "undefined"]).any():
            raise ValueError(
                f"No region of the {where} could be measured; {len(unknown)} failed in PyRadiomics, the first with "
                f"{unknown.iloc[0]!r}. Check whether the settings suit the images."
            )
        logging.warning("%d regions of the %s failed; the first: %s", len(unknown), where, unknown.iloc[0])
