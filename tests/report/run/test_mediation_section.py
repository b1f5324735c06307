"""The section of the page of a run shows every method that the config asks for."""

import types

import numpy as np
import pandas as pd

from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.report.run.sections import mediation as section

HEADINGS = ["Severity in levels", "Moderated mediation", "Missing values imputed", "Sets of mediators"]
HEADINGS += ["Screening of all mediators"]


def build(**options):
    """Headings and figures of the section of 120 patients, two phenotypes, one of them with gaps."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"age": rng.normal(size=120), "gender": rng.integers(0, 2, 120).astype(float)})
    table["ggo_glcm_A"] = 0.8 * table["age"] + rng.normal(size=120)
    table["ggo_glcm_B"] = rng.normal(size=120)
    score = table["ggo_glcm_A"] + rng.logistic(size=120)
    table["severity_level"] = np.array(["Control", "Mild", "Severe"])[np.digitize(score, [-1, 1])]
    table["severity"] = (table["severity_level"] != "Control").astype(int)
    table["ggo_glcm_B"] = table["ggo_glcm_B"].where(table.index % 8 > 0)
    chosen = mediation.Options(exposures=["age"], mediators="^ggo_", bootstrap_draws=0, **options)
    run = types.SimpleNamespace(
        analysis=mediation.analyse(table, chosen),
        stages={"mediate": types.SimpleNamespace(reason=None)},
        csv=lambda *_: None,
        figure=lambda name, *_: name,
    )
    blocks = section.build(run).blocks
    return [[block.content for block in blocks if block.kind == kind] for kind in ("heading", "figure", "details")]


def test_every_method_has_its_heading_table_and_figure():
    options = {"levels": ["Control", "Mild", "Severe"], "moderator": "gender", "sets": ["all"], "screening": True}
    headings, figures, details = build(**options, imputations=2, imputation_cycles=2)
    assert set(HEADINGS) <= set(headings)
    assert {"ordinal", "moderated", "joint"} <= set(figures)
    assert "Missing values" in [title for title, _ in details]


def test_methods_that_are_off_are_not_mentioned():
    headings, figures, _ = build()
    assert not set(HEADINGS) & set(headings)
    assert not {"ordinal", "moderated", "joint"} & set(figures)
