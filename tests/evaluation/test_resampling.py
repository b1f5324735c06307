"""Checks the intervals and tests over many simulated experiments with a known truth."""

import numpy as np
import pandas as pd
import pytest

from ssinfnet_jax.evaluation import comparison, resampling
from ssinfnet_jax.metrics import overlap

NUM_METRICS = len(overlap.METRICS)


def _experiments(rng, num, *, num_patients, slices=4, seeds=1, seed_sd=0.0, effect=0.0, together=0.05, folds=1):
    """Simulates two methods, "a" and "b" = "a" + effect, with random effects of patients and networks.

    Args:
      folds: in which the patients are tested in turn, each by another network.
      together: standard deviation of a patient's effect on the difference of two networks.
    Returns: patients int[N]; float[2 methods, num, seeds, N].
    """
    patients = np.repeat(np.arange(num_patients), slices)
    shape = (2, num, seeds)
    values = rng.normal(0.6, 0.2, (1, num, 1, num_patients))[..., patients] + np.zeros((*shape, 1))
    values += rng.normal(0, together / np.sqrt(2), (*shape, num_patients))[..., patients]
    values += rng.normal(0, seed_sd, (*shape, folds))[..., patients % folds] + rng.normal(
        0, 0.03, (*shape, len(patients))
    )
    values[1] += effect
    return patients, values


def _compare(patients, values, folds=1):
    """Runs `compare` on all experiments, each as a class and a metric of one dataset."""
    slices = {"slice_id": np.arange(len(patients)), "patient_id": patients, "fold": patients % folds}
    parts = [
        pd.DataFrame({"data": 0, "method": method, "seed": seed, "class": f"class {number}", **slices}).assign(
            **dict(zip(overlap.METRICS, of_class[:, seed], strict=True))
        )
        for method, of_method in zip("ab", values, strict=True)
        for number, of_class in enumerate(of_method.reshape(-1, NUM_METRICS, *of_method.shape[1:]))
        for seed in range(of_class.shape[1])
    ]
    return comparison.compare(pd.concat(parts), reference="a", num_draws=20)


def _coverage(values, patients, truth, folds=1):
    of = patients % folds
    intervals = [resampling.interval(b, a, patients, of, num_draws=1000, seed=0) for a, b in zip(*values, strict=True)]
    return np.mean([low <= truth <= high for low, high, _ in intervals])


@pytest.mark.long
@pytest.mark.parametrize("num_patients", [10, 30])
def test_interval_over_patients_covers_and_one_over_slices_does_not(num_patients):
    rng = np.random.default_rng(num_patients)
    patients, values = _experiments(rng, 800, num_patients=num_patients, effect=0.05)
    assert 0.93 <= _coverage(values, patients, 0.05) <= 0.97
    assert _coverage(values, np.arange(len(patients)), 0.05) < 0.85


@pytest.mark.long
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_interval_over_seeds_covers_and_one_over_patients_alone_does_not(seeds):
    rng = np.random.default_rng(seeds)
    patients, values = _experiments(rng, 400, num_patients=20, seeds=seeds, seed_sd=0.03, effect=0.05)
    assert 0.91 <= _coverage(values, patients, 0.05) <= 0.99
    assert _coverage(values.mean(axis=2, keepdims=True), patients, 0.05) < 0.75


@pytest.mark.long
def test_interval_over_seeds_of_five_folds_covers_and_is_shorter_than_if_they_were_one():
    rng = np.random.default_rng(0)
    settings = {"num_patients": 50, "slices": 1, "seeds": 2, "seed_sd": 0.04, "effect": 0.05, "folds": 5}
    patients, values = _experiments(rng, 400, **settings)
    assert 0.92 <= _coverage(values, patients, 0.05, folds=5) <= 0.98
    detectable = {
        folds: np.median([
            resampling.interval(b, a, patients, patients % folds, num_draws=300, seed=0).detectable
            for a, b in zip(*values[:, :50], strict=True)
        ])
        for folds in (1, 5)
    }  # fmt: skip
    assert detectable[5] < 0.9 * detectable[1]


@pytest.mark.long
def test_p_over_seeds_of_five_folds_keeps_its_level_and_finds_more():
    rng = np.random.default_rng(0)
    settings = {"num_patients": 50, "slices": 1, "seeds": 2, "seed_sd": 0.03, "folds": 5}
    same = _compare(*_experiments(rng, 400, **settings), folds=5)["seed_p"]
    assert 0.03 <= (same < 0.05).mean() <= 0.07
    better = _experiments(rng, 200, **settings, effect=0.05)
    found = {folds: (_compare(*better, folds=folds)["seed_p"] < 0.05).mean() for folds in (1, 5)}
    assert found[5] > 0.8 > 0.5 > found[1]


@pytest.mark.parametrize(("seeds", "seed_sd"), [(1, 0.0), (3, 0.03)])
def test_a_difference_of_the_detectable_size_is_found_four_times_in_five(seeds, seed_sd):
    rng = np.random.default_rng(seeds)
    patients, values = _experiments(rng, 400, num_patients=25, seeds=seeds, seed_sd=seed_sd)
    found = [resampling.interval(b, a, patients, num_draws=1000, seed=0) for a, b in zip(*values, strict=True)]
    size = np.median([each.detectable for each in found])
    assert 0.73 <= np.mean([each.low + size > 0 for each in found]) <= 0.87
    assert np.mean([each.low + size / 3 > 0 for each in found]) < 0.4


def test_interval_with_unequal_patients_is_that_of_the_mean_over_slices():
    patients = np.repeat(np.arange(40), np.arange(1, 41))
    values = np.random.default_rng(0).normal(size=(2, 1, len(patients)))
    low, high, _ = resampling.interval(*values, patients, num_draws=20_000, seed=0)
    difference = (values[0] - values[1])[0]
    sums = np.bincount(patients, difference - difference.mean())
    error = np.sqrt(40 / 39 * (sums**2).sum()) / len(patients)  # of a ratio, linearised
    assert (low + high) / 2 == pytest.approx(difference.mean(), abs=0.15 * error)
    assert high - low == pytest.approx(2 * 2.02 * error, rel=0.06)


def test_interval_depends_on_the_seed_but_not_on_the_block_size(monkeypatch):
    patients, values = _experiments(np.random.default_rng(0), 1, num_patients=12)
    drawn = [resampling.interval(*values[:, 0], patients, num_draws=3000, seed=seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    monkeypatch.setattr(resampling, "_BLOCK", 12 * 700)
    in_blocks = resampling.interval(*values[:, 0], patients, num_draws=3000, seed=0)
    assert in_blocks == pytest.approx(drawn[0], abs=0.1 * (drawn[0][1] - drawn[0][0]))


def test_interval_of_one_patient_is_nan():
    assert np.isnan(resampling.interval(*np.ones((2, 1, 3)), np.zeros(3, int), num_draws=10, seed=0)).all()


@pytest.mark.long
def test_p_over_patients_keeps_its_level_and_over_slices_does_not():
    patients, values = _experiments(np.random.default_rng(0), 400, num_patients=20)
    assert 0.03 <= (_compare(patients, values)["p"] < 0.05).mean() <= 0.07
    assert (_compare(np.arange(len(patients)), values)["p"] < 0.05).mean() > 0.15


def test_the_same_method_with_other_seeds_is_rarely_called_different():
    rng = np.random.default_rng(0)
    found = _compare(*_experiments(rng, 400, num_patients=30, slices=2, seeds=3, seed_sd=0.03))
    seeds_differ = found["seed_p"] < 0.05
    assert (found["p"] < 0.05).mean() > 0.5  # they are different networks,
    assert (found["p_adj"] < 0.05).mean() > 0.2  # many of them clearly so
    assert 0.005 <= seeds_differ.mean() <= 0.05
    for name in ("p", "p_adj"):
        assert ((found[name] < 0.05) & seeds_differ).mean() <= 0.05


def test_a_better_method_is_found():
    rng = np.random.default_rng(0)
    found = _compare(*_experiments(rng, 100, num_patients=30, slices=2, seeds=5, seed_sd=0.03, effect=0.1))
    assert ((found["p_adj"] < 0.05) & (found["seed_p"] < 0.05)).mean() > 0.9
