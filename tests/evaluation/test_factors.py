import itertools

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats import multitest

from ssinfnet_jax.evaluation import columns, factors

FULL = {
    f"{a}{b}{c}": {"inpainting": bool(a), "focal": bool(b), "lookahead": bool(c)}
    for a, b, c in itertools.product((0, 1), repeat=3)
}


def _slices(num=40, seed=0):
    """Metric = base of the slice + 0.1 inpainting - 0.05 focal + 0 lookahead + 0.02 inpainting x focal."""
    random = np.random.default_rng(seed)
    base, noise = random.uniform(0.3, 0.6, num), random.normal(0, 0.01, (8, num))
    rows = []
    for (name, m), errors in zip(FULL.items(), noise, strict=True):
        gain = 0.1 * m["inpainting"] - 0.05 * m["focal"] + 0.02 * (m["inpainting"] and m["focal"])
        ids = {"data": "d", "method": name, "fold": 0, "seed": 0, "class": "lesion"}
        rows += [
            {**ids, "slice_id": f"s{i}", "patient_id": f"p{i}",
             **dict.fromkeys(("dice", "iou", "recall", "precision", "auc"), value)}
            for i, value in enumerate(base + gain + errors)
        ]  # fmt: skip
    return pd.DataFrame(rows)


def _dice(slices, methods=FULL):
    table = factors.effects(slices, methods, num_draws=2000)
    return table[table["metric"] == "dice"].set_index("factor")


def test_main_effects_match_the_simulated_ones():
    slices = _slices()
    effects = _dice(slices)
    assert set(columns.GRID["factors"]) <= set(effects.reset_index())
    assert list(effects["pairs"]) == [4, 4, 4]
    truth = {"inpainting": 0.11, "focal": -0.04, "lookahead": 0.0}
    for name, value in truth.items():
        assert effects.loc[name, "difference"] == pytest.approx(value, abs=0.004)
        assert effects.loc[name, "low"] < value < effects.loc[name, "high"]
    assert effects.loc["inpainting", "smallest"] == pytest.approx(0.10, abs=0.006)
    assert effects.loc["inpainting", "largest"] == pytest.approx(0.12, abs=0.006)
    table = slices.pivot(index="slice_id", columns="method", values="dice")
    having = [name for name in FULL if FULL[name]["focal"]]
    each = table[having].mean(axis=1) - table.drop(columns=having).mean(axis=1)
    assert effects.loc["focal", "difference"] == pytest.approx(each.mean())
    assert effects.loc["focal", "p_adj"] < 1e-5
    assert effects.loc["lookahead", "p_adj"] > 0.05


def test_p_is_adjusted_over_all_factors_and_metrics():
    table = factors.effects(_slices(), FULL, num_draws=10)
    np.testing.assert_allclose(table["p_adj"], multitest.multipletests(table["p"], method="holm")[1])
    assert len(table) == 15


def test_a_slice_undefined_for_one_method_is_excluded():
    slices = _slices()
    slices.loc[(slices["method"] == "011") & (slices["slice_id"] == "s3"), "dice"] = np.nan
    assert set(_dice(slices)["n"]) == {39}


def test_missing_methods_leave_the_other_pairs():
    slices = _slices()
    effects = _dice(slices[slices["method"].isin(["000", "100", "110"])])
    assert effects["pairs"].to_dict() == {"inpainting": 1, "focal": 1}
    assert factors.effects(slices[slices["method"] == "000"], FULL).empty
