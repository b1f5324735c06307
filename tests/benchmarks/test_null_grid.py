import numpy as np
import pandas as pd
import pytest

from benchmarks import null_grid


def test_a_claim_of_names_without_a_difference_is_rare():
    """Networks differ truly (over patients), but by chance of training; a claim asks for both."""
    rng = np.random.default_rng(0)
    folds, shape = np.arange(50) % 5, (8, 2)
    hard = rng.uniform(0.4, 0.9, 50)
    dice = hard + rng.normal(0, 0.03, (*shape, 5))[..., folds] + rng.normal(0, 0.03, (*shape, 50))
    rows = [
        {"data": "d", "method": f"m{method}", "seed": seed, "fold": folds[number], "slice_id": f"s{number}",
         "patient_id": f"p{number}", "class": "lesion", "dice": dice[method, seed, number]}
        for method in range(8) for seed in range(2) for number in range(50)
    ]  # fmt: skip
    table = null_grid.rates(pd.DataFrame(rows), num_draws=200)
    found, alone = table.loc["lesion", 2], table.loc["lesion", 1]
    assert (found["pairs"], alone["pairs"]) == (28, 56)
    assert np.isnan(alone["both"])
    assert alone["sd_of_differences"] > 1.2 * found["sd_of_differences"]
    assert found["patients"] > 0.1
    assert found["both"] <= 0.1
    assert found["interval"] <= 0.1
    # Two networks in each of five folds, on either side; and the noise of slices.
    assert found["sd_of_differences"] == pytest.approx(np.sqrt(2 * 0.03**2 / 10 + 2 * 0.03**2 / 100), rel=0.3)
