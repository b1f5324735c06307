"""Stage `mediate`: mediation analysis of the cohort's phenotypes and clinical columns."""

import dataclasses

import pandas as pd
from absl import logging

from ssinfnet_jax import rundir
from ssinfnet_jax.analysis import mediation, severity, truth
from ssinfnet_jax.analysis.mediation import categories
from ssinfnet_jax.config import Config
from ssinfnet_jax.data import datasets, prepare
from ssinfnet_jax.data.clinical import clinical_table as clinical

CLINICAL = clinical.EXPOSURES  # possible exposures and covariates


def run(config: Config, run_dir: rundir.RunDir) -> str | None:
    """Writes `table.csv` (its input), the tables of the analysis and, for generated data, `truth.csv`.

    Returns: None, or the reason why there is nothing to analyse.
    """
    folder = run_dir.require("phenotypes", "patients.csv")
    if run_dir.was_skipped("phenotypes"):
        return "there are no phenotypes of a cohort with a clinical table"
    _, slices = prepare.load(config.data, run_dir)
    patients = pd.read_csv(folder / "patients.csv", dtype={"patient_id": str})
    table = patients.merge(clinical_table(slices), on="patient_id", validate="one_to_one")
    options = mediation.Options(**vars(config.mediation))
    empty = {name for name in CLINICAL if table[name].isna().all()}
    if absent := [term for term in options.exposures if categories.column(term) in empty]:
        logging.warning("No patient of the cohort has a value of %s; left out of the analysis.", ", ".join(absent))
        options = dataclasses.replace(options, exposures=tuple(x for x in options.exposures if x not in absent))
        if not options.exposures:
            return f"no patient of the cohort has a value of {', '.join(absent)}"
    analysis = mediation.analyse(table, options)
    directory = run_dir.stage("mediate")
    table.to_csv(directory / "table.csv", index=False)
    analysis.write(directory)
    known = [pair for name, _ in config.data.datasets for pair in datasets.truth(name)]
    if known:
        found = truth.compare(analysis.univariate, known)
        found.to_csv(directory / "truth.csv", index=False)
        logging.info("Known mediators of the generated data:\n%s", found.to_string(index=False))
    logging.info("Mediation: %s", analysis.reason or f"selected {analysis.selected}")
    if analysis.multiple:
        verdict = analysis.multiple.verdict
        logging.log(logging.WARNING if verdict.word == "poor" else logging.INFO, "Path model: %s", verdict.text)
    if analysis.no_natural:
        logging.info("Mediation: %s", analysis.no_natural)
    return None


def clinical_table(slices: pd.DataFrame) -> pd.DataFrame:
    """One row per cohort patient: patient_id, age (years), gender, underlying (number of diseases), severity (0/1).

    And severity_level, one of severity.LEVELS. Columns that no clinical table has are NaN.
    """
    cohort = slices[slices["split"] == "cohort"].drop_duplicates("patient_id")
    table = cohort.reindex(columns=["patient_id", *CLINICAL, "severity_level"]).reset_index(drop=True)
    return table.assign(severity=severity.binarize(table["severity_level"]))
