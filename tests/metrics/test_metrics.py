import numpy as np
import pytest
from sklearn import metrics

from ssinfnet_jax.metrics import overlap, roc


def test_overlap_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    truth, pred = rng.random((30, 20)) < 0.3, rng.random((30, 20)) < 0.4
    found = overlap.overlap(pred, truth)
    flat = truth.ravel(), pred.ravel()
    assert found["dice"] == pytest.approx(metrics.f1_score(*flat))
    assert found["iou"] == pytest.approx(metrics.jaccard_score(*flat))
    assert found["recall"] == pytest.approx(metrics.recall_score(*flat))
    assert found["precision"] == pytest.approx(metrics.precision_score(*flat))


def test_undefined_ratios_are_nan():
    none, some = np.zeros((2, 2), bool), np.eye(2, dtype=bool)
    assert all(np.isnan(value) for value in overlap.overlap(none, none).values())
    missed = overlap.overlap(none, some)
    assert (missed["dice"], missed["recall"]) == (0, 0)
    assert np.isnan(missed["precision"])
    invented = overlap.overlap(some, none)
    assert (invented["dice"], invented["precision"]) == (0, 0)
    assert np.isnan(invented["recall"])


def test_unequal_shapes():
    with pytest.raises(ValueError, match="differ in shape"):
        overlap.overlap(np.zeros((2, 2), bool), np.zeros((2, 3), bool))


def test_auc_and_curve():
    rng = np.random.default_rng(1)
    truth = rng.random((40, 40)) < 0.5
    probs = np.clip(0.3 * truth + 0.7 * rng.random((40, 40)), 0, 1)
    assert roc.auc(probs, truth) == pytest.approx(metrics.roc_auc_score(truth.ravel(), probs.ravel()))
    curve = roc.curve(probs.ravel(), truth.ravel())
    assert metrics.auc(curve["fpr"], curve["tpr"]) == pytest.approx(roc.auc(probs, truth), abs=2e-3)
    assert len(curve) <= 200
    assert np.isnan(roc.auc(probs, np.zeros_like(truth)))
    assert roc.curve(probs.ravel(), np.zeros(truth.size, bool)).empty


def test_ignored_pixels_do_not_count():
    pred, truth, ignore = (np.random.default_rng(1).random((3, 9, 8)) < 0.4).astype(np.uint8)
    one, other = overlap.counted(ignore, pred > 0, truth > 0)
    both = (pred & truth & (1 - ignore)).sum()
    sizes = (pred & (1 - ignore)).sum() + (truth & (1 - ignore)).sum()
    assert overlap.overlap(one, other)["dice"] == pytest.approx(2 * both / sizes)
    assert overlap.counted(None, pred)[0] is pred
