import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

from ssinfnet_jax.data.clinical.clinical_table import SEVERITY_LEVELS
from ssinfnet_jax.data.datasets import ct_phantom
from ssinfnet_jax.data.datasets.ct_phantom import anatomy, generator, population

PATIENTS = [population.sample_patient(0, number) for number in range(12)]


def render(patient, index=1, size=64, seed=0):
    return generator.render_slice(seed, patient, index, num_slices=3, size=size)


def table(num: int, seed: int) -> pd.DataFrame:
    rows = []
    for number in range(num):
        patient = population.sample_patient(seed, number)
        rows.append(
            {name: getattr(patient, name) for name in ("age", "gender", "underlying")}
            | {"severity": int(SEVERITY_LEVELS.index(patient.severity_level) >= 4)}
            | dict(patient.properties)
        )
    return pd.DataFrame(rows)


def fit(y, *columns):
    x = np.column_stack([stats.zscore(column) for column in columns])
    return sm.OLS(np.asarray(y, float), sm.add_constant(x)).fit()


def indirect_p(rows, exposure, mediator) -> float:
    """Returns the two-sided p of the product of coefficients, with a delta-method standard error."""
    rows = rows[["severity", exposure, mediator]].dropna()
    a = fit(stats.zscore(rows[mediator]), rows[exposure])
    b = fit(rows["severity"], rows[exposure], rows[mediator])
    product = a.params[1] * b.params[2]
    se = math.hypot(a.params[1] * b.bse[2], b.params[2] * a.bse[1])
    return 2 * stats.norm.sf(abs(product) / se)


def test_slices_depend_only_on_seed_patient_and_index():
    patient = PATIENTS[3]
    first, again = render(patient), render(population.sample_patient(0, 3))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.classes, again.classes)
    for other in (render(patient, index=2), render(patient, seed=1), render(PATIENTS[4])):
        assert other.image.shape != first.image.shape or (other.image != first.image).mean() > 0.3


@pytest.mark.parametrize("size", [64, 128])
def test_slices_look_like_a_chest_in_the_lung_window(size):
    for patient in PATIENTS[:3]:
        rendered = render(patient, size=size)
        height, width = rendered.image.shape
        assert rendered.image.shape == rendered.classes.shape == rendered.lesion.shape
        assert 0.35 * size < height < width < size  # cropped to the lungs
        assert rendered.image.dtype == rendered.classes.dtype == rendered.lesion.dtype == np.uint8
        lung = (rendered.image > 25) & (rendered.image < 90)
        assert 0.1 < lung.mean() < 0.6
        assert 0.15 < (rendered.image > 190).mean() < 0.6  # soft tissue and bone
        np.testing.assert_array_equal(rendered.lesion, rendered.classes > 0)


def test_healthy_patients_have_no_lesion_and_the_others_have():
    healthy = [patient for patient in PATIENTS if not patient.properties]
    assert healthy
    for patient in PATIENTS:
        assert render(patient).lesion.any() == bool(patient.properties)
        assert bool(patient.properties) == (patient.severity_level not in SEVERITY_LEVELS[:2])


def test_area_mean_and_spread_of_ggo_follow_the_patients_properties():
    rows = []
    for patient in (population.sample_patient(0, number) for number in range(40)):
        for index in range(3 if patient.properties else 0):
            rendered = render(patient, index, size=128)
            grey = rendered.image[rendered.classes == 1]
            rows.append((*(patient.properties[name] for name in list(population.PROPERTIES)[:3]),
                         grey.size / 128**2 * 1000, grey.std(), grey.mean()))  # fmt: skip
    extent, heterogeneity, density, area, spread, mean = np.array(rows).T
    # The lesion without its vessels has exactly the area asked for; the label includes the vessels.
    assert (area >= extent - 0.1).all()
    assert np.median(area / extent) < 1.3
    assert stats.pearsonr(extent, area).statistic > 0.95
    assert stats.pearsonr(heterogeneity, spread).statistic > 0.8
    assert stats.pearsonr(density, mean).statistic > 0.8
    # And they are not proxies for each other.
    assert abs(stats.pearsonr(extent, spread).statistic) < 0.3
    assert abs(stats.pearsonr(heterogeneity, area).statistic) < 0.3


def test_consolidation_is_denser_than_ggo_and_lung():
    ill = [patient for patient in PATIENTS if patient.properties.get("consolidation_extent", 0) > 5]
    rendered = [render(patient, index, size=128) for patient in ill[:3] for index in range(3)]
    mean = [np.concatenate([r.image[r.classes == c] for r in rendered]).mean() for c in (1, 2)]
    assert mean[1] > mean[0] + 50
    assert mean[0] > 85


def test_anatomy_layers_are_shares():
    rng = np.random.default_rng(0)
    layers = anatomy.draw(anatomy.Build.sample(rng, gender=1), 0.5, 64, rng)
    for name in ("lung", "vessel", "airway"):
        values = getattr(layers, name)
        assert 0 <= values.min() < 0.01, name
        assert 0.5 < values.max() <= 1, name
    assert layers.tissue_hu.min() >= anatomy.AIR_HU
    assert all(getattr(layers, f.name).dtype == np.float32 for f in dataclasses.fields(layers))


def test_population_matches_the_tables():
    rows = table(4000, seed=1)
    ill = rows.dropna()
    assert len(ill) / len(rows) == pytest.approx(1 - population.HEALTHY_FRACTION, abs=0.02)
    assert rows["severity"].mean() == pytest.approx(0.5, abs=0.03)
    assert ill["severity"].mean() < 0.65  # patients with lesions are in both classes
    correlation = ill.corr()
    for name, item in population.PROPERTIES.items():
        for exposure in population.DIRECT:
            # Clipping lowers correlations a little.
            assert correlation.loc[name, exposure] == pytest.approx(item.causes.get(exposure, 0), abs=0.06), name
    exposures = correlation.loc[list(population.DIRECT), list(population.DIRECT)].to_numpy()
    np.testing.assert_allclose(exposures, np.eye(3), atol=0.05)


def test_truth_holds_in_the_population():
    """Product-of-coefficients tests of all pairs, over cohorts of the demo's size."""
    by_pair = {(entry["exposure"], entry["property"]): [] for entry in ct_phantom.TRUTH}
    for seed in range(12):
        rows = table(180, seed)
        for exposure, name in by_pair:
            by_pair[exposure, name].append(indirect_p(rows, exposure, name))
    for entry in ct_phantom.TRUTH:
        p = np.array(by_pair[entry["exposure"], entry["property"]])
        if entry["mediates"]:
            assert np.median(p) < 1e-5, entry
        else:
            assert np.median(p) > 0.2, entry
            assert (p < 0.01).sum() <= 1, entry


def test_true_mediators_explain_most_of_the_total_effect():
    rows = table(180, seed=0).dropna()
    for exposure, name in (("age", "ggo_extent"), ("underlying", "ggo_heterogeneity_hu")):
        total = fit(rows["severity"], rows[exposure]).params[1]
        direct = fit(rows["severity"], rows[exposure], rows[name]).params[1]
        assert abs(total) > 2 * abs(direct)


def test_truth_names_one_mediator_each_for_age_and_diseases():
    true = [(entry["exposure"], entry["phenotype"]) for entry in ct_phantom.TRUTH if entry["mediates"]]
    assert true == [("age", "ggo_shape2D_PixelSurface"), ("underlying", "ggo_firstorder_Variance")]
    assert {entry["exposure"] for entry in ct_phantom.TRUTH} == {"age", "gender", "underlying"}
