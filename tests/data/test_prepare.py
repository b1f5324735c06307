import dataclasses

import pandas as pd
import pytest

from ssinfnet_jax.config import Splits
from ssinfnet_jax.data import prepare
from tests import trees

FRACTIONS = Splits(0, fractions={"train": 0.6, "val": 0.2, "test": 0.2})


def _slices(**parts):
    rows = [
        {"slice_id": f"{part}_{patient}_{index}", "patient_id": f"{part}_{patient}", "part": part}
        for part, count in parts.items()
        for patient in range(count)
        for index in range(3)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("options", [FRACTIONS, Splits(seed=0, num_folds=5, test_fold=0, val_fold=1)])
def test_no_patient_is_in_two_splits(options):
    table = prepare.assign_splits(_slices(labeled=40, unlabeled=20, cohort=10), options, 0.2)
    assert set(table["split"]) == {"train", "val", "test", "unlabeled", "cohort"}
    assert (table.groupby("patient_id")["split"].nunique() == 1).all()
    assert (table.groupby("patient_id")["pretrain"].nunique() == 1).all()


def test_pretraining_never_sees_validation_and_test_patients():
    table = prepare.assign_splits(_slices(labeled=40, unlabeled=20), FRACTIONS, 0.2)
    assert set(table.loc[table["split"].isin(["val", "test"]), "pretrain"]) == {""}
    assert set(table.loc[table["split"] == "train", "pretrain"]) == {"train"}
    assert set(table.loc[table["split"] == "unlabeled", "pretrain"]) == {"train", "val"}


def test_new_patients_move_no_other_patient():
    before = prepare.assign_splits(_slices(labeled=40), FRACTIONS, 0.2).set_index("slice_id")["split"]
    after = prepare.assign_splits(_slices(labeled=60), FRACTIONS, 0.2).set_index("slice_id")["split"]
    assert (after[before.index] == before).all()


def test_an_official_test_part_is_the_test_split():
    for options in (dataclasses.replace(FRACTIONS, seed=3), Splits(seed=0, num_folds=5, test_fold=0, val_fold=1)):
        table = prepare.assign_splits(_slices(labeled=10, test=5), options, 0.2)
        assert set(table.loc[table["part"] == "test", "split"]) == {"test"}
        alone = prepare.assign_splits(_slices(labeled=10), options, 0.2)["split"].replace("test", "train")
        assert table.loc[table["part"] == "labeled", "split"].tolist() == alone.tolist()
        assert set(alone) == {"train", "val"}


def test_an_official_test_part_can_be_split_like_the_rest():
    options = Splits(seed=0, num_folds=3, test_fold=0, official_test=False)
    table = prepare.assign_splits(_slices(labeled=10, test=5), options, 0.2)
    assert table.groupby("split")["patient_id"].nunique().to_dict() == {"test": 5, "train": 10}
    assert set(table.loc[table["split"] == "train", "patient_id"].str.split("_").str[0]) == {"labeled", "test"}


def test_test_datasets_are_not_trained_on():
    here, there = _slices(labeled=6, unlabeled=4), _slices(labeled=5, test=2, unlabeled=3)
    there[["slice_id", "patient_id"]] += "_there"
    slices = pd.concat([here.assign(dataset="here/a"), there.assign(dataset="there/b")], ignore_index=True)
    table = prepare.assign_splits(slices, Splits(seed=0, test_datasets=("there/b",)), 0.25)
    assert set(table.loc[table["dataset"] == "there/b", "pretrain"]) == {""}
    assert table.groupby(["dataset", "split"])["patient_id"].nunique().to_dict() == {
        ("here/a", "train"): 6, ("here/a", "unlabeled"): 4, ("there/b", "test"): 7, ("there/b", "unlabeled"): 3,
    }  # fmt: skip
    slices["patient_id"] = slices["patient_id"].str.removesuffix("_there")
    with pytest.raises(ValueError, match="patients are in more than one split: labeled_0"):
        prepare.assign_splits(slices, Splits(seed=0, test_datasets=("there/b",)), 0.25)


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (
            {"seed": 0, "test_datasets": ("medseg/default",)},
            "must name some, but not all, of the datasets ct_phantom/tiny; found medseg",
        ),
        ({"seed": 0, "test_datasets": ("ct_phantom/tiny",)}, "must name some, but not all, of the datasets ct_phan"),
        ({"seed": 0, "test_datasets": (), "num_folds": 3}, "must have either fractions of train, val and test, or n"),
        ({"seed": 0}, "must have either fractions"),
    ],
)
def test_mistakes_in_the_splits_of_a_config(splits, message):
    with pytest.raises(ValueError, match=message):
        prepare.check(trees.config({"data.splits": splits}))


def test_folds_are_equal_in_size():
    table = prepare.assign_splits(_slices(labeled=50), Splits(seed=0, num_folds=5, test_fold=(0, 1)), 0.2)
    assert table.groupby("split")["patient_id"].nunique().to_dict() == {"test": 20, "train": 30}


def test_records_of_several_datasets_are_concatenated():
    records = prepare.Records([["a", "b"], ["c"], ["d", "e", "f"]])
    assert len(records) == 6
    assert [records[index] for index in range(6)] == list("abcdef")


def test_errors():
    with pytest.raises(ValueError, match="No labeled slices"):
        prepare.assign_splits(_slices(cohort=5), FRACTIONS, 0.2)
    with pytest.raises(ValueError, match=r"test_fold must be in 0\.\.4, since num_folds is 5; found 5"):
        prepare.assign_splits(_slices(labeled=10), Splits(seed=0, num_folds=5, test_fold=5), 0.2)
    with pytest.raises(ValueError, match=r"val_fold \(1,\) and test_fold \(0, 1\) share a fold"):
        prepare.assign_splits(_slices(labeled=10), Splits(seed=0, num_folds=5, test_fold=(0, 1), val_fold=1), 0.2)
    twice = _slices(labeled=10, unlabeled=10)
    twice.loc[twice["patient_id"] == "unlabeled_3", "patient_id"] = "labeled_3"
    with pytest.raises(ValueError, match="1 patients are in more than one split: labeled_3"):
        prepare.assign_splits(twice, FRACTIONS, 0.2)
