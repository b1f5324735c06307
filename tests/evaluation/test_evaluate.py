import numpy as np
import pandas as pd
import pytest

from ssinfnet_jax.evaluation import columns, evaluate
from ssinfnet_jax.inference import segmenter
from ssinfnet_jax.metrics import overlap
from ssinfnet_jax.networks.decision import Decision


def _slices(dice):
    """Returns rows of all classes from {class: [dice per slice]}; the other metrics have the same values."""
    return pd.DataFrame(
        {"slice_id": f"s{index}", "class": name, **dict.fromkeys(overlap.METRICS, value)}
        for name, values in dice.items()
        for index, value in enumerate(values)
    )


def _segmentation(class_probs):
    record = {"image": np.zeros((8, 8), np.uint8), "lesion": np.ones((8, 8), np.uint8), "slice_id": "a"}
    return segmenter.Segmentation(record, np.full((8, 8), 0.9, np.float32), class_probs, Decision())


def test_examples_have_classes_only_with_a_multi_network():
    alone = evaluate._example(_segmentation(None), 0.5, 8)
    assert tuple(alone) == columns.EXAMPLES
    both = evaluate._example(_segmentation(np.full((8, 8, 3), [0.1, 0.2, 0.7], np.float32)), 0.5, 8)
    assert tuple(both) == (*columns.EXAMPLES, columns.PRED)
    assert (both[columns.PRED] == 2).all()


def test_mean_and_error_by_hand():
    summary = evaluate.summarize(_slices({"lesion": [0.2, 0.4, 0.9]}), overall=False, seed=0)
    row = summary[summary["metric"] == "dice"].iloc[0]
    assert row["mean"] == pytest.approx(0.5)
    assert row["error"] == pytest.approx(1.96 * np.std([0.2, 0.4, 0.9], ddof=1) / np.sqrt(3))
    assert (row["n"], row["excluded"]) == (3, 0)


def test_undefined_values_are_excluded_and_counted():
    summary = evaluate.summarize(_slices({"ggo": [0.5, np.nan, 0.7]}), overall=False, seed=0)
    assert summary.iloc[0][["mean", "n", "excluded"]].tolist() == [pytest.approx(0.6), 2, 1]


def test_overall_is_the_mean_of_the_classes_means():
    dice = {"background": [1.0, 0.9], "ggo": [0.5, np.nan], "consolidation": [np.nan, np.nan]}
    summary = evaluate.summarize(_slices(dice), overall=True, seed=0).set_index(["class", "metric"])
    assert summary.loc[("overall", "dice"), "mean"] == pytest.approx((0.95 + 0.5) / 2)
    assert summary.loc[("consolidation", "dice"), "n"] == 0


def test_overall_is_undefined_if_a_class_is_present_but_its_metric_is_not():
    """A network that never predicts consolidation has no precision for it; averaging the rest would flatter it."""
    slices = _slices({"background": [0.9, 0.9], "ggo": [0.5, 0.7], "consolidation": [0.0, 0.0]})
    slices.loc[slices["class"] == "consolidation", "precision"] = np.nan
    summary = evaluate.summarize(slices, overall=True, seed=0).set_index(["class", "metric"])
    assert np.isnan(summary.loc[("overall", "precision"), ["mean", "error"]].astype(float)).all()
    assert summary.loc[("overall", "precision"), ["n", "excluded"]].tolist() == [0, 2]
    assert summary.loc[("overall", "dice"), "mean"] == pytest.approx((0.9 + 0.6 + 0) / 3)


def test_error_of_overall_comes_from_resampled_slices():
    rng = np.random.default_rng(0)
    values = rng.random((60, 3))
    dice = dict(zip(("background", "ggo", "consolidation"), values.T, strict=True))
    summary = evaluate.summarize(_slices(dice), overall=True, seed=0).set_index(["class", "metric"])
    expected = 1.96 * values.mean(axis=1).std(ddof=1) / np.sqrt(60)
    assert summary.loc[("overall", "dice"), "error"] == pytest.approx(expected, rel=0.08)


def test_a_pixel_sample_is_even_and_covers_all_columns():
    chosen = evaluate.even_sample(512 * 512, 1000, np.random.default_rng(0))
    assert 1000 <= len(chosen) <= 1010
    assert (np.diff(chosen) > 0).all()
    assert np.bincount(chosen // (512 * 64), minlength=8).min() > 100  # of each eighth of the rows
    assert len(np.unique(chosen % 512)) > 400
    np.testing.assert_array_equal(evaluate.even_sample(7, 100, np.random.default_rng(0)), np.arange(7))
