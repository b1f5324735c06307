import numpy as np
import pytest

from ssinfnet_jax.data import splits

FRACTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}


def patients(num: int) -> list[str]:
    return [f"patient_{number}" for number in range(num)]


def test_by_patient_follows_the_fractions():
    assignment = splits.by_patient(patients(5000), FRACTIONS, seed=0)
    for name, fraction in FRACTIONS.items():
        share = sum(split == name for split in assignment.values()) / 5000
        assert share == pytest.approx(fraction, abs=0.025)  # 4 standard errors


def test_by_patient_moves_no_other_patient_when_patients_are_added():
    few = splits.by_patient(patients(60), FRACTIONS, seed=3)
    many = splits.by_patient(reversed(patients(200)), FRACTIONS, seed=3)
    assert {patient: many[patient] for patient in few} == few


def test_by_patient_depends_on_the_seed_and_merges_repeats():
    ids = patients(60)
    assert splits.by_patient(ids, FRACTIONS, seed=0) != splits.by_patient(ids, FRACTIONS, seed=1)
    assert splits.by_patient(ids + ids, FRACTIONS, seed=0) == splits.by_patient(ids, FRACTIONS, seed=0)


def test_by_patient_is_the_same_on_every_machine():
    # printf "0:a" | sha256sum and so on; below 80... is below one half.
    digests = {"a": "9df3", "b": "e021", "c": "be08", "d": "7d98", "e": "e078"}
    assignment = splits.by_patient(digests, {"train": 0.5, "test": 0.5}, seed=0)
    assert assignment == {patient: "train" if digest < "80" else "test" for patient, digest in digests.items()}


@pytest.mark.parametrize(
    ("ids", "fractions", "message"),
    [
        (["a"], {"train": 0.5, "test": 0.6}, r"must sum to 1; .* sum to 1\.1"),
        (["a"], {"train": 1.5, "test": -0.5}, r"must be >= 0; got \{'test': -0\.5\}"),
        (["a"], {}, "fractions is empty"),
        ([], {"train": 1.0}, "There are no patients to split"),
        (
            ["a"],
            {"train": 0.5, "test": 0.5},
            r"Splits \['\w+'\] got none of the 1 patients .*choose another seed",
        ),
    ],
)
def test_by_patient_refuses(ids, fractions, message):
    with pytest.raises(ValueError, match=message):
        splits.by_patient(ids, fractions, seed=0)


def test_a_split_may_be_empty_if_allowed():
    assert set(splits.by_patient(["a"], {"train": 0.5, "val": 0.5}, 0, allow_empty=True)) == {"a"}


def test_folds_are_even_and_complete():
    fold_of = splits.folds(patients(23) + patients(23), 5, seed=0)
    sizes = [list(fold_of.values()).count(fold) for fold in range(5)]
    assert sorted(sizes) == [4, 4, 5, 5, 5]
    assert set(fold_of) == set(patients(23))
    assert fold_of != splits.folds(patients(23), 5, seed=1)


@pytest.mark.parametrize("num_folds", [1, 4])
def test_folds_refuse_too_few_or_too_many(num_folds):
    with pytest.raises(ValueError, match=f"between 2 and the number of patients, 3; got {num_folds}"):
        splits.folds(["a", "b", "c"], num_folds, seed=0)


def test_check_disjoint_names_the_patients():
    splits.check_disjoint({"train": ["a", "a", "b"], "test": ["c"], "val": []})
    with pytest.raises(ValueError, match=r"1 patients .*: b in train and test\. All slices of a patient"):
        splits.check_disjoint({"train": ["a", "b"], "test": ["b", "c"]})


def test_a_limit_keeps_whole_patients_and_a_smaller_one_keeps_a_part_of_them():
    patients = [f"p{number % 7}" for number in range(21)]
    kept = {limit: np.array(splits.first_patients(patients, limit, 0)) for limit in (2, 3, 11, 12, 21, 99, None)}
    assert {limit: mask.sum() for limit, mask in kept.items()} == {2: 0, 3: 3, 11: 9, 12: 12, 21: 21, 99: 21, None: 21}
    assert (kept[3] <= kept[12]).all()
    assert len({patient for patient, one in zip(patients, kept[12], strict=True) if one}) == 4
    assert splits.first_patients(patients, 12, 1) != list(kept[12])
    assert splits.first_patients([], 5, 0) == []
