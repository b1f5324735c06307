"""Patient-wise splits: all slices of a patient go to the same split."""

import collections
import hashlib
import math
from collections.abc import Iterable, Mapping


def by_patient(
    patient_ids: Iterable[str], fractions: Mapping[str, float], seed: int, *, allow_empty: bool = False
) -> dict[str, str]:
    """Assigns every patient to a split by the hash u(seed, patient) in [0, 1).

    A patient's split depends only on seed, patient and fractions, so adding patients moves no other patient. The
    sizes match the fractions only on average; for few patients use `folds`, which are of
    equal size.

    Args:
      patient_ids: one id per patient or per slice; repeats are merged.
      fractions: split name -> share of the patients; in [0, 1], sum 1.
      seed: of the hash.
      allow_empty: whether a split may have no patients.

    Returns: patient id -> split name, in the order of first appearance.
    Raises: ValueError if there are no patients, fractions are negative or do not sum to 1, or a split is empty.
    """
    patients = _unique(patient_ids)
    check_fractions(fractions)
    assignment = {patient: _pick(_hash(seed, patient) / 2**64, fractions) for patient in patients}
    counts = {name: sum(split == name for split in assignment.values()) for name in fractions}
    empty = [name for name, fraction in fractions.items() if fraction > 0 and not counts[name]]
    if empty and not allow_empty:
        raise ValueError(
            f"Splits {empty} got none of the {len(patients)} patients with fractions {dict(fractions)} and "
            f"seed {seed}; "
            "raise their fractions, choose another seed, or use folds."
        )
    return assignment


def folds(patient_ids: Iterable[str], num_folds: int, seed: int) -> dict[str, int]:
    """Deals patients to folds in the order of their hash, so that fold sizes differ by at most one.

    Unlike `by_patient`, folds change when patients are added.

    Args:
      patient_ids: one id per patient or per slice; repeats are merged.
      num_folds: in [2, number of patients].
      seed: of the hash.

    Returns: patient id -> fold in [0, num_folds), in the order of first appearance.
    Raises: ValueError if there are fewer than two folds or fewer patients than folds.
    """
    patients = _unique(patient_ids)
    if not 2 <= num_folds <= len(patients):
        raise ValueError(f"num_folds must be between 2 and the number of patients, {len(patients)}; got {num_folds}.")
    dealt = sorted(patients, key=lambda patient: (_hash(seed, patient), patient))
    fold_of = {patient: position % num_folds for position, patient in enumerate(dealt)}
    return {patient: fold_of[patient] for patient in patients}


def first_patients(patient_ids: Iterable[str], max_slices: int | None, seed: int) -> list[bool]:
    """Marks the slices of the first patients in the order of their hash, as long as all slices fit in `max_slices`.

    A smaller limit marks a part of what a larger one marks. The first patient that does not fit ends the list.

    Args:
      patient_ids: one id per slice.
      max_slices: None: all.
      seed: of the hash.
    """
    patients = list(patient_ids)
    if max_slices is None:
        return [True] * len(patients)
    sizes, kept, left = collections.Counter(patients), set(), max_slices
    for patient in sorted(sizes, key=lambda patient: (_hash(seed, patient), patient)):
        if sizes[patient] > left:
            break
        kept.add(patient)
        left -= sizes[patient]
    return [patient in kept for patient in patients]


def check_disjoint(splits: Mapping[str, Iterable[str]]) -> None:
    """Raises if a patient is in two splits, which would leak test patients into training.

    Args:
      splits: split name -> patient ids; repeats within a split are allowed.

    Raises: ValueError that names the patients and their splits.
    """
    seen: dict[str, list[str]] = {}
    for name, patients in splits.items():
        for patient in _unique(patients, allow_none=True):
            seen.setdefault(patient, []).append(name)
    shared = {patient: names for patient, names in seen.items() if len(names) > 1}
    if shared:
        listed = ", ".join(f"{patient} in {' and '.join(names)}" for patient, names in sorted(shared.items())[:10])
        more = f" and {len(shared) - 10} more" if len(shared) > 10 else ""
        raise ValueError(
            f"{len(shared)} patients are in more than one split: {listed}{more}. "
            "All slices of a patient must be in one split; split by patient (ssinfnet_jax.data.splits)."
        )


def _unique(patient_ids: Iterable[str], *, allow_none: bool = False) -> list[str]:
    patients = list(dict.fromkeys(patient_ids))
    if not patients and not allow_none:
        raise ValueError("There are no patients to split; check that the dataset part has records.")
    return patients


def check_fractions(fractions: Mapping[str, float], name: str = "fractions") -> None:
    """Raises ValueError, with the option's `name`, if fractions are missing, negative, or do not sum to 1."""
    if not fractions:
        raise ValueError(f"{name} is empty; give one per split, such as {{'train': 0.8, 'test': 0.2}}.")
    negative = {name: value for name, value in fractions.items() if not value >= 0}
    if negative:
        raise ValueError(f"{name} must be >= 0; got {negative}.")
    total = math.fsum(fractions.values())
    if abs(total - 1) > 1e-6:
        raise ValueError(f"{name} must sum to 1; {dict(fractions)} sum to {total:g}.")


def _hash(seed: int, patient: str) -> int:
    """Hashes to 64 bits, the same on every machine and in every process (unlike Python's own hash)."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{patient}".encode()).digest()[:8], "big")


def _pick(u: float, fractions: Mapping[str, float]) -> str:
    below = 0.0
    for name, fraction in fractions.items():
        below += fraction
        if u < below:
            return name
    return [name for name, fraction in fractions.items() if fraction > 0][-1]
