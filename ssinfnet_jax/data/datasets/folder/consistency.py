"""Checks of a dataset as a whole: patients in several parts, images that are there twice, labels that are swapped."""

from collections.abc import Sequence

from ssinfnet_jax.data.datasets.folder import patterns
from ssinfnet_jax.data.datasets.folder.description import Description
from ssinfnet_jax.data.datasets.folder.findings import Findings
from ssinfnet_jax.data.datasets.folder.pairing import Tree
from ssinfnet_jax.data.datasets.folder.seen import Seen


def check(images: Sequence[Seen], description: Description, tree: Tree, findings: Findings) -> None:
    """Adds what is wrong between images, and files that no pattern matches, to `findings`."""
    _check_parts(images, findings)
    _check_copies(images, findings)
    _check_names(images, findings)
    _check_labels(images, description, tree, findings)
    left_over = [path for path in tree.left_over() if path.name not in ("dataset.yaml", "dataset.json")]
    by_kind: dict[tuple, list] = {}
    for path in left_over:
        by_kind.setdefault((path.parent, path.suffix.lower()), []).append(path)
    for (folder, suffix), paths in by_kind.items():
        names = patterns.some([path.name for path in paths])
        findings.note(
            "not used", folder, f"holds {len(paths)} {suffix or 'other'} files that no pattern matches: {names}"
        )


def _check_parts(images: Sequence[Seen], findings: Findings) -> None:
    parts: dict[str, dict[str, Seen]] = {}
    for seen in images:
        if not seen.item.group.slices_are_patients:
            parts.setdefault(seen.item.patient, {}).setdefault(seen.item.part, seen)
    for patient, of_patient in parts.items():
        if len(of_patient) > 1:
            (first, one), (second, other), *_ = of_patient.items()
            findings.error(
                "patient in two parts", other.item.image, f"is of patient {patient!r} and {second}, but "
                f"{one.item.image}, of the same patient, is {first}",
                "put all images of a patient into one part",
            )  # fmt: skip


def _check_copies(images: Sequence[Seen], findings: Findings) -> None:
    first: dict[str, Seen] = {}
    for seen in images:
        one = first.setdefault(seen.digest, seen)
        if one is seen:
            continue
        text = f"is the same image as {one.item.image}"
        if {one.item.part, seen.item.part} == {"labeled", "test"}:
            remedy = "take one of them away: what is trained on must not be tested on"
            findings.error("copy in two parts", seen.item.image, f"{text}, and the one is {one.item.part}, the other "
                           f"{seen.item.part}", remedy)  # fmt: skip
        elif one.item.patient != seen.item.patient:
            remedy = "take one of them away, or give both the same patient"
            findings.warn("copy", seen.item.image, f"{text}, of another patient ({one.item.patient!r})", remedy)
        else:
            findings.warn("copy", seen.item.image, text, "take one of them away")


def _check_names(images: Sequence[Seen], findings: Findings) -> None:
    first: dict[str, Seen] = {}
    for seen in images:
        one = first.setdefault(seen.item.name, seen)
        if one is not seen:
            findings.error(
                "name twice", seen.item.image, f"has the same name {seen.item.name!r} as {one.item.image}",
                "write the key `name` of a group, such as name: second_{id}",
            )  # fmt: skip


def _check_labels(images: Sequence[Seen], description: Description, tree: Tree, findings: Findings) -> None:
    labeled = [seen for seen in images if seen.has_lesion]
    if not labeled and not description.cohort:
        findings.warn(
            "no mask", tree.root, "has no image with masks: a network can be pretrained on it, not trained",
            "name the masks in the description",
        )  # fmt: skip
    totals = {
        name: sum(one.get(name, 0) for seen in labeled for one in seen.counts) for name in ("ggo", "consolidation")
    }
    named = {meaning for _, group in description.groups for meaning in group.labels.values()}
    for name, total in totals.items():
        if labeled and name in named and not total:
            findings.warn(
                "label without pixels", tree.root, f"holds no pixel of {name}, which labels name", "check the labels"
            )
    if all(totals.values()):
        ggo, consolidation = (sum(seen.grey[name] for seen in labeled) / total for name, total in totals.items())
        if consolidation < ggo:
            findings.warn(
                "swapped labels", tree.root, f"has consolidation that is darker than ground glass (mean grey level "
                f"{consolidation:.0f} and {ggo:.0f} of 255)",
                "check in `labels` which value is which",
            )  # fmt: skip
