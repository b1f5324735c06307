import pandas as pd
import pytest

from ssinfnet_jax.data import prepare

FRACTIONS = {"seed": 0, "fractions": {"train": 0.6, "val": 0.2, "test": 0.2}}


def _slices(**parts):
    rows = [
        {"slice_id": f"{part}_{patient}_{index}", "patient_id": f"{part}_{patient}", "part": part}
        for part, count in parts.items()
        for patient in range(count)
        for index in range(3)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("options", [FRACTIONS, {"seed": 0, "num_folds": 5, "test_fold": 0, "val_fold": 1}])
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


def test_new_patients_move_nobody():
    before = prepare.assign_splits(_slices(labeled=40), FRACTIONS, 0.2).set_index("slice_id")["split"]
    after = prepare.assign_splits(_slices(labeled=60), FRACTIONS, 0.2).set_index("slice_id")["split"]
    assert (after[before.index] == before).all()


def test_an_official_test_part_is_the_test_split():
    table = prepare.assign_splits(_slices(labeled=10, test=5), FRACTIONS, 0.2)
    assert dict(table.groupby("part")["split"].first()) == {"labeled": "train", "test": "test"}


def test_folds_are_equal_in_size():
    table = prepare.assign_splits(_slices(labeled=50), {"seed": 0, "num_folds": 5, "test_fold": (0, 1)}, 0.2)
    assert table.groupby("split")["patient_id"].nunique().to_dict() == {"test": 20, "train": 30}


def test_records_of_several_datasets_stand_one_after_the_other():
    records = prepare.Records([["a", "b"], ["c"], ["d", "e", "f"]])
    assert len(records) == 6
    assert [records[index] for index in range(6)] == list("abcdef")


def test_errors():
    with pytest.raises(ValueError, match="No labeled slices"):
        prepare.assign_splits(_slices(cohort=5), FRACTIONS, 0.2)
    with pytest.raises(ValueError, match=r"test_fold must be in 0\.\.4, found 5"):
        prepare.assign_splits(_slices(labeled=10), {"seed": 0, "num_folds": 5, "test_fold": 5}, 0.2)
    with pytest.raises(ValueError, match=r"val_fold 1 and test_fold \(0, 1\) share a fold"):
        prepare.assign_splits(_slices(labeled=10), {"seed": 0, "num_folds": 5, "test_fold": (0, 1), "val_fold": 1}, 0.2)
    twice = _slices(labeled=10, unlabeled=10)
    twice.loc[twice["patient_id"] == "unlabeled_3", "patient_id"] = "labeled_3"
    with pytest.raises(ValueError, match="1 patients are in more than one split: labeled_3"):
        prepare.assign_splits(twice, FRACTIONS, 0.2)
