import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats import multitest

from ssinfnet_jax.evaluation import comparison, evaluate, long_table
from ssinfnet_jax.metrics import overlap

MULTI = evaluate.CLASSES


def _rows(method, values, *, patients=None, name="lesion", data="phantom", seed=0):
    """Returns rows of one network from a value per slice, the same for all metrics, or [slices, metrics]."""
    values = np.asarray(values, float)
    columns = np.broadcast_to(values.reshape(len(values), -1), (len(values), len(overlap.METRICS))).T
    ids = [f"s{index}" for index in range(len(values))]
    return pd.DataFrame(
        {"data": data, "method": method, "fold": 0, "seed": seed, "slice_id": ids, "patient_id": ids, "class": name}
        | dict(zip(overlap.METRICS, columns, strict=True))
    ).assign(**({} if patients is None else {"patient_id": patients}))


def _table(*parts):
    return pd.concat(parts, ignore_index=True)


def _compare(*parts, **options):
    return comparison.compare(_table(*parts), **{"reference": "unet", "num_draws": 500, **options})


def test_a_comparison_by_hand():
    difference = np.array([0.01, 0.02, -0.03, 0.04, 0.05, 0.06, 0.07])
    found = _compare(_rows("ours", 0.5 + difference), _rows("unet", [0.5] * 7), metrics=("dice",)).iloc[0]
    # Ranks 1, 2, 3 (negative), 4, ... 7 of 28: W- = 3; sets of ranks that sum to at most 3: {}, 1, 2, 3, 12.
    assert found["p"] == pytest.approx(2 * 5 / 2**7)
    assert found["effect"] == pytest.approx((25 - 3) / 28)
    assert found["difference"] == pytest.approx(difference.mean())
    assert found["low"] < difference.mean() < found["high"]
    assert found[["n", "patients", "excluded", "seeds"]].tolist() == [7, 7, 0, 1]
    assert np.isnan(found["seed_p"])
    assert found["note"] == "seed_p needs two seeds of both methods"


def test_wilcoxon_is_scipys_on_patient_means():
    rng = np.random.default_rng(0)
    patients = np.repeat([f"p{index}" for index in range(15)], 4)
    ours, unet = rng.random((2, 60))
    unet[:4] = ours[:4]  # a patient without a difference (Pratt)
    found = _compare(_rows("ours", ours, patients=patients), _rows("unet", unet, patients=patients)).iloc[0]
    of_patients = (ours - unet).reshape(15, 4).mean(axis=1)
    assert found["p"] == pytest.approx(stats.wilcoxon(of_patients, zero_method="pratt").pvalue)
    assert found[["n", "patients"]].tolist() == [60, 15]
    assert found["difference"] == pytest.approx((ours - unet).mean())


def test_mann_whitney_is_scipys_on_slices():
    ours, unet = np.random.default_rng(0).random((2, 30))
    found = _compare(_rows("ours", ours), _rows("unet", unet), test="mannwhitney").iloc[0]
    expected = stats.mannwhitneyu(ours, unet)
    assert found["p"] == pytest.approx(expected.pvalue)
    assert found["effect"] == pytest.approx(np.sign(ours[:, None] - unet).mean())


def test_seeds_are_averaged_first_and_compared_by_welch():
    rng = np.random.default_rng(0)
    ours, unet = rng.random((3, 20)), rng.random((2, 20))
    parts = [_rows("ours", values, seed=seed) for seed, values in enumerate(ours)]
    parts += [_rows("unet", values, seed=seed) for seed, values in enumerate(unet)]
    table = _compare(*parts)
    np.testing.assert_allclose(table["seed_p_adj"], multitest.multipletests(table["seed_p"], method="holm")[1])
    found = table.iloc[0]
    assert found["p"] == pytest.approx(stats.wilcoxon(ours.mean(axis=0), unet.mean(axis=0)).pvalue)
    assert found["seed_p"] == pytest.approx(stats.ttest_ind(ours.mean(axis=1), unet.mean(axis=1), equal_var=False)[1])
    assert found["difference"] == pytest.approx(ours.mean() - unet.mean())
    assert found[["seeds", "reference_seeds", "note"]].tolist() == [3, 2, ""]


def test_holm_is_statsmodels_over_methods_classes_and_metrics_of_a_dataset():
    rng = np.random.default_rng(0)
    parts = [
        _rows(method, rng.random((12, 5)) + better, data=data, name=name)
        for data in ("phantom", "covid")
        for method, better in (("unet", 0), ("ours", 0.3), ("theirs", 0.5))
        for name in MULTI
    ]
    found = _compare(*parts)
    assert len(found) == 2 * 2 * 4 * 5
    for _, family in found.groupby("data"):
        np.testing.assert_allclose(family["p_adj"], multitest.multipletests(family["p"], method="holm")[1])
    alone = _compare(*parts, metrics=("dice",))
    assert (alone["p_adj"] < 0.05).sum() > (found[found["metric"] == "dice"]["p_adj"] < 0.05).sum()


def test_slices_undefined_for_any_network_are_excluded_and_counted():
    ours, unet = np.random.default_rng(0).random((2, 12))
    first, again = ours.copy(), ours.copy()
    first[0], again[1], unet[2] = np.nan, np.nan, np.nan
    found = _compare(_rows("ours", first), _rows("ours", again, seed=1), _rows("unet", unet[:11])).iloc[0]
    assert found[["n", "excluded"]].tolist() == [8, 4]  # the last slice was not measured by unet
    assert found["difference"] == pytest.approx((ours - unet)[3:11].mean())


def test_overall_is_the_mean_over_classes_defined_for_both():
    rng = np.random.default_rng(0)
    ours, unet = rng.random((2, 3, 8))
    ours[2, :3] = np.nan
    unet[1, 2:5] = np.nan
    parts = [_rows(m, v[c], name=name) for m, v in (("ours", ours), ("unet", unet)) for c, name in enumerate(MULTI)]
    found = _compare(*parts, metrics=("dice",)).set_index("class").loc["overall"]
    difference = pd.DataFrame(ours - unet).mean()  # ignores NaN, slice by slice
    assert found["difference"] == pytest.approx(difference.mean())
    assert found["p"] == pytest.approx(stats.wilcoxon(difference).pvalue)
    assert found[["n", "excluded"]].tolist() == [8, 0]


def test_folds_in_which_the_method_is_better_are_counted():
    folds = [0, 0, 0, 1, 1, 1, 2, 2, 2]
    ours = _rows("ours", [0.5, 0.9, 0.5, 0.4, 0.6, 0.5, 0.2, 0.5, 0.7]).assign(fold=folds)  # sums +0.4, 0, -0.1
    unet = _rows("unet", [0.5] * 9).assign(fold=folds)
    found = _compare(ours, unet, metrics=("dice",)).iloc[0]
    assert found[["folds", "folds_better"]].tolist() == [3, 1]
    swapped = _compare(ours, unet, reference="ours", metrics=("dice",)).iloc[0]
    assert swapped["folds_better"] == 1
    alone = _compare(ours.assign(fold=0), unet.assign(fold=0), metrics=("dice",)).iloc[0]
    assert alone[["folds", "folds_better"]].tolist() == [1, 1]


def test_equal_networks_have_p_1():
    values = np.random.default_rng(0).random(9)
    found = _compare(_rows("ours", values + 1e-16), _rows("unet", values)).iloc[0]
    assert found[["p", "effect", "difference", "low", "high"]].tolist() == pytest.approx([1, 0, 0, 0, 0], abs=1e-15)


def test_identical_seeds_are_no_evidence():
    values = np.random.default_rng(0).random(9)
    parts = [_rows(method, values + better, seed=s) for method, better in (("a", 0), ("b", 0.1)) for s in (0, 1)]
    found = _compare(*parts, reference="a").iloc[0]
    assert np.isnan(found["seed_p"])
    assert "are they one network?" in found["note"]


@pytest.mark.parametrize("num_slices", [0, 1, 5])
@pytest.mark.parametrize("test", comparison.TESTS)
def test_too_few_patients_give_a_reason(num_slices, test):
    ours = np.linspace(0.1, 0.5, 7)
    ours[num_slices:] = np.nan
    found = _compare(_rows("ours", ours), _rows("unet", [0.05] * 7), metrics=("dice",), test=test).iloc[0]
    assert found[["p", "p_adj", "low", "high", "seed_p"]].isna().all()
    assert f"{num_slices} patients are too few for a test; it needs 6" in found["note"]
    assert found[["n", "excluded"]].tolist() == [num_slices, 7 - num_slices]
    assert np.isnan(found["difference"]) == (num_slices == 0)


def test_only_classes_of_both_methods_are_compared():
    values = np.random.default_rng(0).random(8)
    parts = [_rows("ours", values), _rows("unet", values), *(_rows("unet", values, name=name) for name in MULTI)]
    assert _compare(*parts, metrics=("dice",))["class"].tolist() == ["lesion"]


def test_data_without_the_reference_is_skipped_with_a_warning(caplog):
    values = np.random.default_rng(0).random(8)
    parts = [_rows("ours", values), _rows("unet", values), _rows("ours", values, data="covid")]
    assert set(_compare(*parts)["data"]) == {"phantom"}
    assert "No comparison on covid: the reference 'unet' has no results" in caplog.text


def test_summary_of_one_seed_equals_that_of_the_evaluation():
    rng = np.random.default_rng(0)
    parts = [_rows("ours", rng.random((9, 5)), name=name) for name in MULTI]
    parts[1].loc[2, "dice"] = np.nan
    found = comparison.summarize(_table(*parts), seed=3)
    expected = evaluate.summarize(_table(*parts), overall=True, seed=3)
    pd.testing.assert_frame_equal(found[list(expected.columns)], expected)
    assert found[["data", "method", "seeds"]].drop_duplicates().to_numpy().tolist() == [["phantom", "ours", 1]]


def test_summary_counts_a_slice_once_for_all_seeds():
    patients = ["a", "a", "b"]
    seeds = [[0.2, np.nan, np.nan], [0.4, 0.6, np.nan]]
    parts = [_rows("ours", values, patients=patients, seed=seed) for seed, values in enumerate(seeds)]
    row = comparison.summarize(_table(*parts)).iloc[0]
    assert row["mean"] == pytest.approx((0.3 + 0.6) / 2)
    assert row["error"] == pytest.approx(1.96 * np.std([0.3, 0.6], ddof=1) / np.sqrt(2))
    assert row[["n", "excluded", "patients", "seeds"]].tolist() == [2, 1, 1, 2]


def test_a_table_read_from_csv_gives_the_same_results(tmp_path):
    rng = np.random.default_rng(0)
    table = _table(*(_rows(method, rng.random((9, 5)), name=name) for method in ("ours", "unet") for name in MULTI))
    table.to_csv(tmp_path / "slices.csv", index=False)
    again = pd.read_csv(tmp_path / "slices.csv")
    for function in (comparison.summarize, lambda rows: _compare(rows)):
        pd.testing.assert_frame_equal(function(again), function(table), check_dtype=False)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda t: t, {"reference": "fcn8"}, "Unknown reference method 'fcn8'; the table has ours, unet."),
        (lambda t: t, {"test": "sign"}, "Unknown test 'sign'; choose one of wilcoxon, mannwhitney."),
        (lambda t: t, {"metrics": ["f1"]}, r"Unknown metric \['f1'\]; choose from dice"),
        (lambda t: t, {"metrics": []}, "Unknown metric none; choose from dice"),
        (lambda t: t.drop(columns=["seed", "auc"]), {}, "lacks the columns seed, auc; it has data, method"),
        (lambda t: t[:0], {}, "is empty; evaluate a run first"),
        (lambda t: t.assign(dice=t["dice"].astype(str)), {}, "Column dice of the table of slices must hold numbers"),
        (lambda t: t.assign(data=[None, *t["data"][1:]]), {}, "has no data in row 0"),
        (lambda t: _table(t, t[:1].assign(fold=1)), {}, "Slice s0 of phantom is measured twice for class lesion"),
        (lambda t: _table(t, t[:1].assign(seed=1, patient_id="x")), {}, "Slice s0 of phantom belongs to 2 patients"),
    ],
)
def test_errors(change, options, message):
    table = _table(_rows("ours", [0.5] * 7), _rows("unet", [0.4] * 7))
    with pytest.raises(ValueError, match=message):
        _compare(change(table), **options)


def test_a_slice_without_a_patient_is_its_own_patient():
    table = _rows("ours", [0.1, 0.2, 0.3], patients=["a", np.nan, "a"])
    assert long_table.patients(table).tolist() == ["a", "s1", "a"]
