import numpy as np
import pytest

from benchmarks import last_features


def test_the_rank_counts_independent_channels():
    rng = np.random.default_rng(0)
    independent = rng.normal(size=(5000, 4))
    assert last_features.effective_rank(independent) == pytest.approx(4, abs=0.01)
    assert last_features.effective_rank(np.repeat(independent[:, :2], 2, axis=1)) == pytest.approx(2, abs=0.01)
    constant = np.full((5000, 1), 7.0)
    assert last_features.effective_rank(np.hstack([independent, constant])) == pytest.approx(4, abs=0.01)


def test_classes_that_differ_in_one_channel_are_told_apart():
    rng = np.random.default_rng(0)
    classes, values = rng.integers(1, 3, 4000), rng.normal(size=(4000, 3))
    assert last_features.separation(values, classes, rng) == pytest.approx(0.5, abs=0.05)
    values[:, 1] += 3 * classes
    # Two normal distributions three standard deviations apart: Phi(3 / sqrt 2).
    assert last_features.separation(values, classes, rng) == pytest.approx(0.983, abs=0.01)
