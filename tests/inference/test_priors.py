"""Sources of the multi network's priors, with toy networks."""

import numpy as np
import pytest

from configs import ct_phantom
from ssinfnet_jax.data import splits
from tests.training import toy_stages

pytestmark = pytest.mark.long

STAGES = ["pretrain_single", "train_single", "crossfit_single", "predict_priors"]
SPLIT = ["train"] * 18 + ["val"] * 3
NUM_FOLDS = 3


def _priors(monkeypatch, workdir, source, slices):
    """Returns priors by slice_id."""
    config = ct_phantom.get_config("tiny")
    config.single.pretrain = None
    config.single.train.batch_size, config.single.train.epochs = 4, 8
    config.single.train.augmentation = {"flip_left_right": True}
    config.single.train.losses.weighted_iou_bce.window = 5
    config.multi.prior_source, config.multi.prior_folds = source, NUM_FOLDS
    run_dir = toy_stages.run(monkeypatch, workdir, config, slices, SPLIT, STAGES)
    with np.load(run_dir.path / "predict_priors" / "priors.npz") as file:
        return dict(zip(file["slice_id"].tolist(), file["prior"], strict=True))


def test_a_cross_fitted_prior_does_not_depend_on_the_slices_own_label(monkeypatch, tmp_path):
    slices = toy_stages.records(21)
    before = _priors(monkeypatch, tmp_path / "before", "cross_fitted", slices)
    assert set(before) == {one["slice_id"] for one in slices}
    changed = toy_stages.records(21)
    for one in changed[:3]:  # the first patient
        one["lesion"] = 1 - one["lesion"]
    after = _priors(monkeypatch, tmp_path / "after", "cross_fitted", changed)
    patients = [one["patient_id"] for one in slices[:18]]
    folds = splits.folds(patients, NUM_FOLDS, 0)
    equal = {one["slice_id"]: np.array_equal(before[one["slice_id"]], after[one["slice_id"]]) for one in slices}
    for one in slices[:18]:
        assert equal[one["slice_id"]] is (folds[one["patient_id"]] == folds["p0"]), one["slice_id"]
    assert not any(equal[one["slice_id"]] for one in slices[18:])  # from the network trained on all labels


def test_predicted_and_true_priors(monkeypatch, tmp_path):
    slices = toy_stages.records(21)
    predicted, true = (_priors(monkeypatch, tmp_path / name, name, slices) for name in ("predicted", "ground_truth"))
    for number, one in enumerate(slices):
        name = one["slice_id"]
        if number < 18:
            np.testing.assert_array_equal(true[name], 255 * one["lesion"])
        else:
            np.testing.assert_array_equal(true[name], predicted[name])
    agreement = np.mean([((predicted[one["slice_id"]] > 127) == one["lesion"]).mean() for one in slices[:18]])
    assert agreement > 0.7
