"""Whose the images are, and what a clinical table says of their patients."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ssinfnet_jax.data import patient_table
from ssinfnet_jax.data.clinical import clinical_table
from ssinfnet_jax.data.datasets.folder import patterns
from ssinfnet_jax.data.datasets.folder.description import Description
from ssinfnet_jax.data.datasets.folder.findings import Findings
from ssinfnet_jax.data.datasets.folder.pairing import Item, Tree

_WHOLE = ("gender", "underlying")


def assign(
    items: Sequence[Item], description: Description, tree: Tree, findings: Findings
) -> tuple[list[Item], dict[str, dict[str, Any]]]:
    """The items with the patients of the description's tables, and the clinical columns by item's name.

    Patients of a cohort who are not in the clinical table are left out, with a note.
    """
    items = _from_table(items, description, tree, findings)
    _check_spellings(items, findings)
    if not description.table:
        return items, {}
    paths = [path for _, path in tree.match(description.table)]
    if len(paths) != 1:
        findings.error(
            "clinical table", tree.root, f"must hold exactly one clinical table {description.table!r}; found "
            f"{patterns.some([path.name for path in paths]) or 'none'}",
            "put it there, and move other tables away",
        )  # fmt: skip
        return items, {}
    try:
        table = clinical_table.read_clinical(paths[0], description.table_without)
    except ValueError as error:
        findings.error("clinical table", paths[0], f"cannot be used: {error}", "")
        return items, {}
    for doubt in table.attrs["doubts"]:
        text = f"names {doubt['text']!r} ({doubt['patients']}x): {doubt['count']:g}; {doubt['why']}"
        findings.note("doubtful diseases", paths[0], text)
    rows = {str(patient): _known(row) for patient, row in table.iterrows()}
    kept, clinical = [], {}
    for item in items:
        row = rows.get(key_of(item.patient))
        if row is not None:
            clinical[item.name] = row
        if row is not None or item.part != "cohort":
            kept.append(item)
        else:
            findings.note("left out", item.image, f"is of patient {item.patient}, who has no row in {paths[0].name}")
    for patient in sorted(rows.keys() - {key_of(item.patient) for item in items}, key=patterns.natural):
        findings.note("left out", paths[0], f"has patient {patient}, of whom there is no image")
    if description.cohort and not any(item.part == "cohort" for item in kept):
        findings.error(
            "clinical table", paths[0], f"names none of the patients of the {len(items)} images, such as "
            f"{patterns.some([item.patient for item in items]) or 'none'}",
            "let the key `patient` give the names or numbers of the table",
        )  # fmt: skip
    return kept, clinical


def key_of(patient: str) -> str:
    """The patient as a clinical table names it: `patient_012`, `P12` and `12` are patient 12."""
    return clinical_table.patient_key(patient)


def _known(row: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: value for name, value in row.items() if value != "" and not _is_nan(value)}
    return known | {name: int(known[name]) for name in _WHOLE if name in known}


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _from_table(items: Sequence[Item], description: Description, tree: Tree, findings: Findings) -> list[Item]:
    if not description.patients:
        return list(items)
    path = tree.root / description.patients
    tree.match(description.patients)
    try:
        known = patient_table.read(path)
    except (ValueError, OSError) as error:
        findings.error("patients", path, f"cannot be used: {error}", "")
        return list(items)
    found = []
    for item in items:
        names = [patient_table.without_ending(item.image.relative_to(tree.root).as_posix()), item.image.name, item.name]
        names.insert(1, patient_table.without_ending(item.image.name))
        patient = next((known[name] for name in names if name in known), None)
        if patient is None:
            findings.error("patients", item.image, f"is not in {path.name}", "add a row with its file and patient_id")
        found.append(item if patient is None else replace(item, patient=patient))
    return found


def _check_spellings(items: Sequence[Item], findings: Findings) -> None:
    """Warns of patients whose names differ in case, punctuation or leading zeros only."""
    spellings: dict[str, dict[str, Item]] = {}
    for item in items:
        plain = re.sub(r"[^a-z0-9]+", " ", item.patient.lower())
        key = re.sub(r"\d+", lambda match: str(int(match[0])), key_of(plain)).replace(" ", "")
        spellings.setdefault(key, {}).setdefault(item.patient, item)
    for of_one in spellings.values():
        if len(of_one) > 1:
            (first, _), (second, item), *_ = of_one.items()
            findings.warn(
                "one patient, two names", item.image, f"is of patient {second!r}, and other images are of {first!r}",
                "name one patient in one way, or all images of a name may be split apart",
            )  # fmt: skip
