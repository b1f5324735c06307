import dataclasses
import pathlib

import pandas as pd
import pytest

from configs import ct_phantom
from ssinfnet_jax.analysis import mediate_cohort
from ssinfnet_jax.config import read_config


@pytest.fixture
def config():
    return ct_phantom.get_config("tiny").to_dict()


class ReachedError(Exception):
    """Carries the arguments of the analysis."""


class RunWithPhenotypes:
    def __init__(self, folder: pathlib.Path):
        pd.DataFrame({"patient_id": ["p"], "ggo_A": [1.0]}).to_csv(folder / "patients.csv", index=False)
        self.folder = folder

    def require(self, name, *files):
        return self.folder

    def was_skipped(self, name):
        return False


def test_every_option_of_the_config_reaches_the_analysis(config, tmp_path, monkeypatch):
    """Changing any key changes the arguments of the analysis."""

    def analyse(table, options):
        raise ReachedError(options)

    slices = {"split": ["cohort"], "patient_id": ["p"], "age": [50.0], "gender": [0], "underlying": [1]}
    slices = pd.DataFrame(slices | {"severity_level": ["Severe"]})
    monkeypatch.setattr(mediate_cohort.mediation, "analyse", analyse)
    monkeypatch.setattr(mediate_cohort.prepare, "load", lambda *_: (None, slices))

    def called_with(config):
        with pytest.raises(ReachedError) as reached:
            mediate_cohort.run(config, RunWithPhenotypes(tmp_path))
        return reached.value.args[0]

    typed = read_config(config)
    other = {key: f"other {key}" for key in config["mediation"]} | {"rule": "paper", "paths": "all", "missing": "fiml"}
    other |= {"moderated": "both", "imputations": 7, "adjust": "holm", "family": "exposure", "link": "probit"}
    other |= {"robust": ()}  # with fiml only a value that is not true
    changed = dataclasses.replace(typed, mediation=dataclasses.replace(typed.mediation, **other))
    before, after = called_with(typed), called_with(changed)
    for key, value in other.items():
        assert getattr(before, key) != getattr(after, key) == value
    others = [field for field in dataclasses.fields(after) if field.name not in config["mediation"]]
    assert {field.name: getattr(after, field.name) for field in others} == {
        field.name: field.default for field in others
    }


@pytest.mark.parametrize("as_column", [True, False])
def test_exposures_that_the_clinical_table_lacks_are_left_out(config, tmp_path, monkeypatch, caplog, as_column):
    def analyse(table, options):
        raise ReachedError(options)

    slices = pd.DataFrame({"split": ["cohort"], "patient_id": ["p"], "age": [50.0], "severity_level": ["Severe"]})
    slices = slices.assign(gender=float("nan"), underlying=float("nan")) if as_column else slices
    monkeypatch.setattr(mediate_cohort.mediation, "analyse", analyse)
    monkeypatch.setattr(mediate_cohort.prepare, "load", lambda *_: (None, slices))
    typed = read_config(config)
    chosen = dataclasses.replace(typed.mediation, exposures=("age", "C(gender)"), covariates=("underlying",))
    with pytest.raises(ReachedError) as reached:
        mediate_cohort.run(dataclasses.replace(typed, mediation=chosen), RunWithPhenotypes(tmp_path))
    assert (reached.value.args[0].exposures, reached.value.args[0].covariates) == (("age",), ("underlying",))
    assert "No patient of the cohort has a value of C(gender); left out of the analysis." in caplog.text
    chosen = dataclasses.replace(typed.mediation, exposures=("gender",))
    reason = mediate_cohort.run(dataclasses.replace(typed, mediation=chosen), RunWithPhenotypes(tmp_path))
    assert reason == "no patient of the cohort has a value of gender"
