import pandas as pd
import pytest

from ssinfnet_jax.evaluation import settings


def _slices(method, setting, dice_of_folds, *, data="d", seeds=(0,), name="lesion"):
    """Two slices per fold, 0.1 above and below the fold's Dice."""
    return pd.DataFrame(
        [
            {"data": data, "method": method, "fold": fold, "seed": seed, "setting": setting, "class": name,
             "slice_id": f"s{fold}{sign}", "patient_id": f"p{fold}{sign}", "dice": dice + sign / 10}
            for fold, dice in enumerate(dice_of_folds) for seed in seeds for sign in (-1, 1)
        ]
    )  # fmt: skip


def test_the_setting_of_a_fold_is_the_best_of_the_other_folds():
    slow, fast = [0.5, 0.5, 0.2], [0.4, 0.4, 0.9]
    table = pd.concat([_slices("a", "slow", slow), _slices("a", "fast", fast), _slices("b", "", [0.1, 0.1, 0.1])])
    kept, found = settings.choose(table)
    # Without fold 2, slow is better (0.5 against 0.4): fold 2 gets slow, though fast is better there.
    chosen = found[found["chosen"]].set_index("fold")["setting"]
    assert chosen.to_dict() == {0: "fast", 1: "fast", 2: "slow"}
    assert found.set_index(["fold", "setting"])["score"].to_dict() == pytest.approx(
        {(0, "slow"): 0.35, (0, "fast"): 0.65, (1, "slow"): 0.35, (1, "fast"): 0.65, (2, "slow"): 0.5, (2, "fast"): 0.4}
    )
    means = kept.groupby(["method", "fold"])["dice"].mean().to_dict()
    assert means == pytest.approx(
        {("a", 0): 0.4, ("a", 1): 0.4, ("a", 2): 0.2, ("b", 0): 0.1, ("b", 1): 0.1, ("b", 2): 0.1}
    )
    assert len(kept) == 12


def test_what_a_fold_shows_does_not_change_its_own_setting():
    table = pd.concat([_slices("a", "slow", [0.5, 0.6]), _slices("a", "fast", [0.4, 0.7])])
    before = settings.choose(table)[1].query("fold == 0")
    table.loc[table["fold"] == 0, "dice"] = [0.0, 0.0, 1.0, 1.0]
    pd.testing.assert_frame_equal(settings.choose(table)[1].query("fold == 0"), before)


def test_datasets_choose_for_themselves_and_seeds_count_together():
    first = [_slices("a", "slow", [0.5, 0.5], seeds=(0, 1)), _slices("a", "fast", [0.4, 0.4], seeds=(0, 1))]
    second = [_slices("a", "slow", [0.4, 0.4], data="e"), _slices("a", "fast", [0.5, 0.5], data="e")]
    found = settings.choose(pd.concat(first + second))[1].query("chosen")
    assert found.groupby("data")["setting"].unique().map(list).to_dict() == {"d": ["slow"], "e": ["fast"]}


def test_an_unfinished_fold_is_not_compared():
    """Fold 2 of "fast" was not run: "slow" must not lose by a hard fold that "fast" never met."""
    table = pd.concat([_slices("a", "slow", [0.5, 0.5, 0.0]), _slices("a", "fast", [0.4, 0.4])])
    kept, found = settings.choose(table)
    assert found[found["chosen"]].set_index("fold")["setting"].to_dict() == {0: "slow", 1: "slow"}
    assert sorted(kept["fold"].unique()) == [0, 1]


def test_an_unfinished_seed_chooses_nothing():
    """Seed 1, whose slices are hard, was run with "slow" alone, which must not lose by it; its results are kept."""
    slow = [_slices("a", "slow", [0.5, 0.5]), _slices("a", "slow", [0.0, 0.0], seeds=(1,))]
    kept, found = settings.choose(pd.concat([*slow, _slices("a", "fast", [0.4, 0.4])]))
    assert found[found["chosen"]].set_index("fold")["setting"].to_dict() == {0: "slow", 1: "slow"}
    assert sorted(kept["seed"].unique()) == [0, 1]


def test_one_fold_has_nothing_to_choose_on():
    kept, found = settings.choose(pd.concat([_slices("a", "slow", [0.5]), _slices("a", "fast", [0.4])]))
    assert kept.empty
    assert found.empty
