import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy import special

from ssinfnet_jax.evaluation import held_out
from ssinfnet_jax.networks import prediction


def _slice(number, truth, lesion, classes=None):
    if classes is None:
        classes = np.stack([1 - lesion, lesion * 0.7, lesion * 0.3], axis=-1).astype(np.float32)
    return held_out.Slice(
        f"s{number}", f"p{number}", number % 3, truth.astype(np.uint8), lesion.astype(np.float32), classes
    )


def test_temperatures_are_recovered():
    """Samples pixels from known probabilities, then scales the logits by 2 (lesion) and 3 (classes)."""
    rng = np.random.default_rng(0)
    slices = []
    for number in range(6):
        logits = rng.normal(0, 1.5, (150, 150, 3))
        probs = special.softmax(logits, axis=-1)
        truth = (rng.random((150, 150, 1)) > probs.cumsum(axis=-1)).sum(axis=-1)
        lesion_logit = np.log(probs[..., 1:].sum(-1) / probs[..., 0])
        slices.append(
            _slice(
                number, truth, special.expit(2 * lesion_logit), special.softmax(3 * logits, axis=-1).astype(np.float32)
            )
        )
    single, multi = held_out.temperatures(slices)
    assert single == pytest.approx(2, rel=0.05)
    assert multi == pytest.approx(3, rel=0.05)
    again = held_out.temperatures(held_out.tempered(slices, single, multi))
    assert again == pytest.approx((1, 1), rel=0.02)


def test_probabilities_that_vanish_stay_numbers():
    """Sigmoids of a multi network may all underflow: its probabilities are then near 0."""
    assert np.isfinite(prediction.temper(np.zeros((2, 2, 3), np.float32), 0.5, classes=True)).all()
    np.testing.assert_array_equal(prediction.temper(np.array([0.0, 0.5, 1.0]), 3.0), [0, 0.5, 1])


def _graded(number, threshold, share):
    """Returns a slice whose lesion is above a threshold, and whose consolidation is above a share."""
    rng = np.random.default_rng(number)
    lesion, dense = rng.random((2, 60, 60))
    truth = np.where(lesion > threshold, np.where(dense > share, 2, 1), 0)
    classes = np.stack([1 - lesion, lesion * (1 - dense), lesion * dense], axis=-1).astype(np.float32)
    return _slice(number, truth, lesion, classes)


def test_the_best_decision_is_chosen():
    found = held_out.choose([_graded(number, 0.3, 0.65) for number in range(4)])
    assert (found.rule, found.lesion_threshold, found.consolidation_share) == ("joint", 0.3, 0.65)
    assert found.multi_weight == 0  # here the classes' sum is the lesion's probability, so all weights are equal


def test_a_weight_is_chosen_if_the_multi_network_is_better():
    def blurred(number):
        one = _graded(number, 0.5, 0.5)
        noise = np.random.default_rng(100 + number).normal(0, 0.3, one.lesion.shape)
        return dataclasses.replace(one, lesion=np.clip(one.lesion + noise, 0, 1).astype(np.float32))

    found = held_out.choose([blurred(number) for number in range(4)])
    assert found.multi_weight == 0.5
    assert found.excludes > 0.1  # the single network can still rule a lesion out alone


def test_a_slice_does_not_affect_its_own_decision():
    slices = [_graded(number, 0.3, 0.5) for number in range(6)]
    before = held_out.measures(slices).set_index(["slice_id", "class"])
    changed = [dataclasses.replace(one, truth=1 - (one.truth > 0)) if one.fold == 0 else one for one in slices]
    after = held_out.measures(changed).set_index(["slice_id", "class"])
    own, others = before["fold"] == 0, before["fold"] != 0
    pd.testing.assert_series_equal(before.loc[own, "area_pred"], after.loc[own, "area_pred"])
    assert (before.loc[others, "area_pred"] != after.loc[others, "area_pred"]).any()
    assert before.loc[("s0", "lesion"), "dice"] > 0.97
    assert after.loc[("s0", "lesion"), "dice"] < 0.01


def test_one_fold_alone_cannot_choose():
    with pytest.raises(ValueError, match="at least two folds"):
        held_out.measures([_graded(number, 0.5, 0.5) for number in (0, 3)])


def test_areas_by_hand():
    table = pd.DataFrame({"class": "lesion", "area_pred": [100, 50, 0, 30, 0], "area_true": [50, 100, 20, 0, 0]})
    lesion = held_out.agreement(table)[0]
    assert lesion["bias"] == pytest.approx(180 / 170 - 1)
    assert (lesion["n"], lesion["missed"], lesion["invented"]) == (2, 1, 1)
    spread = 1.96 * np.log(2) * np.sqrt(2)
    assert (lesion["low"], lesion["high"]) == pytest.approx((np.exp(-spread), np.exp(spread)))


def test_summary_is_the_mean_over_slices():
    table = held_out.measures([_graded(number, 0.4, 0.5) for number in range(6)])
    rows = {row["class"]: row for row in held_out.summary(table)}
    assert list(rows) == ["lesion", "background", "ggo", "consolidation", "overall"]
    ggo = table.loc[table["class"] == "ggo", "dice"]
    assert rows["ggo"]["mean"] == pytest.approx(ggo.mean(), abs=1e-4)
    assert rows["overall"]["mean"] == pytest.approx(
        np.mean([rows[name]["mean"] for name in ("background", "ggo", "consolidation")]), abs=1e-4
    )
