"""Stages `phenotypes` and `mediate` of a run: from the cohort's label maps to the mediation tables."""

import functools
import hashlib
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from absl import logging
from PIL import Image

from ssinfnet_jax import rundir
from ssinfnet_jax.analysis import mediation, severity, truth
from ssinfnet_jax.analysis import phenotypes as radiomics
from ssinfnet_jax.config import Config, Mediation, plain
from ssinfnet_jax.data import datasets, prepare

CLINICAL = ("age", "gender", "underlying")  # columns of the clinical table beside the outcome


def check(config: Config) -> None:
    """Raises ValueError for what is wrong in the analysis' sections of a config, before anything is computed."""
    try:
        settings = _settings(config)
    except ValueError as error:
        raise ValueError(f"config.phenotypes.settings: {error}") from error
    _check_mediation(config.mediation, radiomics.names(settings=settings))


def _settings(config: Config) -> radiomics.Settings:
    return radiomics.make("eight_bit", plain(config.phenotypes.settings))


def _check_mediation(options: Mediation, phenotype_names: Sequence[str]) -> None:
    taken = _check_roles({"exposures": options.exposures, "covariates": options.covariates}, phenotype_names)
    _check_mediators(options.mediators, [name for name in (*phenotype_names, *CLINICAL) if name not in taken])


def _check_roles(roles: Mapping[str, Sequence[str]], phenotype_names: Sequence[str]) -> list[str]:
    """Returns the columns of both roles; raises ValueError for unknown ones and those that are named twice."""
    for key, names in roles.items():
        unknown = [name for name in names if name not in CLINICAL and name not in phenotype_names]
        if unknown:
            raise ValueError(
                f"Unknown columns {unknown} in config.mediation.{key}; choose from {', '.join(CLINICAL)}, and "
                f"phenotypes of config.phenotypes.settings, such as {phenotype_names[0]}."
            )
    if not roles["exposures"]:
        raise ValueError(f"config.mediation.exposures is empty; choose from {', '.join(CLINICAL)}.")
    named = [*roles["exposures"], *roles["covariates"]]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise ValueError(
            "A column is an exposure or a covariate, and once, but config.mediation.exposures "
            f"{list(roles['exposures'])} and config.mediation.covariates {list(roles['covariates'])} name {twice} "
            "twice; leave one out."
        )
    return named


def _check_mediators(expression: str, names: Sequence[str]) -> None:
    try:
        wanted = re.compile(expression)
    except re.error as error:
        raise ValueError(
            f"config.mediation.mediators is not a regular expression: {expression!r} ({error}); '^ggo_', for one, "
            "matches all columns that begin with ggo_."
        ) from error
    if not any(map(wanted.search, names)):
        some = ", ".join(names[:: max(1, len(names) // 4)])
        raise ValueError(
            f"config.mediation.mediators {expression!r} matches none of the {len(names)} columns that "
            f"config.phenotypes and the clinical table give, such as {some}; correct the expression."
        )


def phenotypes(
    config: Config,
    run_dir: rundir.RunDir,
    *,
    scheduler: str | None = None,
    num_workers: int | None = None,
) -> str | None:
    """Writes phenotypes of the segmented cohort, per slice and per patient, as CSV and Parquet, and their settings.

    Args:
      scheduler, num_workers: see `phenotypes.Work`.
    Returns: None, or the reason why there is nothing to measure.
    """
    segmented = run_dir.require("segment_cohort", "summary.csv", "masks")
    if run_dir.was_skipped("segment_cohort"):
        return "no cohort was segmented"
    records, table = prepare.load(config.data, run_dir)
    summary = pd.read_csv(segmented / "summary.csv", dtype={"slice_id": str, "patient_id": str})
    position_of = dict(zip(table["slice_id"], range(len(table)), strict=True))
    items = [
        radiomics.Item(
            row.slice_id,
            row.patient_id,
            functools.partial(_read, records, position_of[row.slice_id], segmented / "masks" / row.mask),
        )
        for row in summary.itertuples()
    ]
    directory = run_dir.stage("phenotypes")
    work = radiomics.Work(
        parts_dir=directory / "parts",
        num_workers=num_workers,
        scheduler=scheduler,
        # Other masks have other pixel counts: their phenotypes are not to be mixed with these.
        provenance={"masks_sha256": hashlib.sha256((segmented / "summary.csv").read_bytes()).hexdigest()},
    )
    tables = radiomics.measure(items, settings=_settings(config), how=config.phenotypes.by_patient, work=work)
    tables.write(directory)
    logging.info("Phenotypes:\n%s", tables.summary().to_string(index=False))
    return None


def mediate(config: Config, run_dir: rundir.RunDir) -> str | None:
    """Writes the mediation analysis of the cohort: `table.csv` that it started from, its tables, and `truth.csv`.

    Returns: None, or the reason why there is nothing to analyse.
    """
    folder = run_dir.require("phenotypes", "patients.csv")
    if run_dir.was_skipped("phenotypes"):
        return "there are no phenotypes of a cohort with a clinical table"
    _, slices = prepare.load(config.data, run_dir)
    patients = pd.read_csv(folder / "patients.csv", dtype={"patient_id": str})
    table = patients.merge(clinical_table(slices), on="patient_id", validate="one_to_one")
    analysis = mediation.analyse(table, mediation.Options(**vars(config.mediation)))
    directory = run_dir.stage("mediate")
    table.to_csv(directory / "table.csv", index=False)
    analysis.write(directory)
    known = [pair for name, _ in config.data.datasets for pair in datasets.truth(name)]
    if known:
        found = truth.compare(analysis.univariate, known)
        found.to_csv(directory / "truth.csv", index=False)
        logging.info("Mediators that the generator put in:\n%s", found.to_string(index=False))
    logging.info("Mediation: %s", analysis.reason or f"selected {analysis.selected}")
    if analysis.multiple:
        verdict = analysis.multiple.verdict
        logging.log(logging.WARNING if verdict.word == "poor" else logging.INFO, "Path model: %s", verdict.text)
    if analysis.no_natural:
        logging.info("Mediation: %s", analysis.no_natural)
    return None


def clinical_table(slices: pd.DataFrame) -> pd.DataFrame:
    """One row per cohort patient: patient_id, age (years), gender, underlying (number of diseases), severity (0/1)."""
    cohort = slices[slices["split"] == "cohort"].drop_duplicates("patient_id")
    table = cohort[["patient_id", *CLINICAL]].reset_index(drop=True)
    return table.assign(severity=severity.binarize(cohort["severity_level"]).to_numpy())


def _read(records: Sequence[Mapping[str, Any]], position: int, mask: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Image and classes of a segmented slice."""
    with Image.open(mask) as classes:
        return records[position]["image"], np.array(classes)
