"""Descriptions, the patterns in them, and the layout of nnU-Net."""

import json

import numpy as np
import pytest

from ssinfnet_jax.data.datasets.folder import description, label_maps, nnunet, patterns, sources

PAIR = {"images": "i/{id}.png", "masks": "m/{id}.png", "labels": {1: "ggo"}}


@pytest.mark.parametrize(
    ("pattern", "path", "fields"),
    [
        ("images/{id}.nii.gz", "images/a.b.nii.gz", {"id": "a.b"}),
        ("images/{id}.nii.gz", "images/sub/a.nii.gz", None),
        ("{patient}/{patient}_{id}.{picture}", "p1/p1_3.JPEG", {"patient": "p1", "id": "3"}),
        ("{patient}/{patient}_{id}.{picture}", "p1/p2_3.jpg", None),
        ("**/{id:[0-9]{2}}.{nifti}", "x/y/17.nii.gz", {"id": "17"}),
        ("**/{id:[0-9]{2}}.{nifti}", "17.nii", {"id": "17"}),
        ("**/{id:[0-9]{2}}.{nifti}", "x/170.nii", None),
        ("a*/{id}.{volume}", "abc/1.seg.nrrd", {"id": "1"}),
        ("a+b/{id}.png", "aab/1.png", None),
    ],
)
def test_patterns_match_paths(pattern, path, fields):
    assert patterns.Pattern(pattern).match(path) == fields


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("a/{id.png", "has a brace without its other half"),
        ("a/{my id}.png", "'my id' is no name of a field"),
        ("a/{id:[0-9}.png", "has an invalid regular expression"),
    ],
)
def test_patterns_that_cannot_be_read_are_refused(pattern, reason):
    with pytest.raises(ValueError, match=reason):
        patterns.Pattern(pattern)
    with pytest.raises(ValueError, match=reason):
        description.read({"images": pattern}, "d.yaml")


def test_keys_at_the_top_hold_for_all_parts():
    table = {**PAIR, "orientation": "LP", "test": {"images": "t/{id}.png", "masks": "u/{id}.png", "labels": {2: "ggo"}}}
    found = description.read(table, "d.yaml")
    assert [part for part, _ in found.groups] == ["labeled", "test"]
    assert [dict(group.labels) for _, group in found.groups] == [{1: "ggo"}, {2: "ggo"}]
    assert {group.orientation for _, group in found.groups} == {"LP"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"image": "x"}, r"d\.yaml: unknown image; it has labeled, "),
        ({"labels": {1: "glass"}}, r"Unknown d\.yaml: labeled\.0\.labels\.1 'glass'; choose one of background, ggo"),
        ({"labels": {1: "ggo", 2: "lesion"}}, "labels name lesion beside ggo .*call its value ignore"),
        ({"labels": {0: "ggo"}}, "labels: 0 must be background"),
        ({"labels": {1.5: "ggo"}}, "labels: 1.5 is no value of a label map"),
        ({"labels": {}}, r"labeled\.0 lacks labels: what the values of the masks mean, such as"),
        ({"images": None}, "images"),
        ({"masks": {"tumour": "m"}}, "tumour"),
        ({"unlabeled": PAIR}, r"unlabeled\.0 has masks; move it to `labeled` or `test`"),
        ({"cohort": {"images": "c/{id}.png", "masks": {}}}, "a cohort needs `table`"),
        ({"test": {"images": "t", "masks": {}}}, r"test\.0 has no masks; give their pattern"),
        ({"window_hu": [100, -100]}, r"window_hu must be \[low, high\] with low < high"),
        ({"view": "lung"}, r"Unknown d\.yaml: description\.view 'lung'; choose one of frame, lungs"),
    ],
)
def test_wrong_descriptions_are_refused(change, reason):
    with pytest.raises(ValueError, match=reason):
        description.read({**PAIR, **change}, "d.yaml")


def test_files_that_are_no_description_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has neither dataset\.yaml nor .*Write .*docs/own_data\.md"):
        description.find(tmp_path)
    for text, reason in (
        ("- a", "must be a table of keys"),
        ("a: [", "cannot be read as YAML"),
        ("", "must be a table"),
    ):
        (tmp_path / "dataset.yaml").write_text(text)
        with pytest.raises(ValueError, match=reason):
            description.find(tmp_path)


def write_nnunet(root, **told):
    (root / "imagesTr").mkdir(exist_ok=True)
    (root / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "lesion": 1}, **told}))


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (
            {"background": 0, "Ground-glass opacity": 1, "CONSOLIDATION": 2},
            {0: "background", 1: "ggo", 2: "consolidation"},
        ),
        ({"0": "background", "1": "COVID-19 infection"}, {0: "background", 1: "lesion"}),
        ({"background": 0, "ggo": 1, "ignore": 2}, {0: "background", 1: "ggo", 2: "ignore"}),
    ],
)
def test_names_of_nnunets_labels_say_what_they_mean(tmp_path, labels, found):
    write_nnunet(tmp_path, labels=labels)
    assert nnunet.read(tmp_path)["labels"] == found
    ((part, group),) = description.find(tmp_path).groups
    assert (part, dict(group.labels)) == ("labeled", found)


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (
            {"labels": {"background": 0, "left lung": 1}},
            r"calls the value 1 'left lung', which is not known here; write",
        ),
        ({"labels": {"background": 0, "whole": [1, 2]}}, r"has the region 'whole' of several values; write .*labels"),
        ({"labels": ["ggo"]}, "its labels or channels are no tables"),
        ({"channel_names": {"0": "CT", "1": "PET"}}, "names the channels CT, PET; expected one, CT"),
    ],
)
def test_what_nnunet_does_not_tell_is_asked_for(tmp_path, told, reason):
    write_nnunet(tmp_path, **told)
    with pytest.raises(ValueError, match=reason):
        description.find(tmp_path)


def test_labels_beside_nnunets_file_take_the_place_of_its_names(tmp_path):
    write_nnunet(tmp_path, labels={"background": 0, "A": 1, "B": 2})
    (tmp_path / "dataset.yaml").write_text("labels: {1: ggo, 2: ignore}\n")
    ((_, group),) = description.find(tmp_path).groups
    assert dict(group.labels) == {1: "ggo", 2: "ignore"}
    assert group.images == ("imagesTr/{id}.nii.gz",)


def test_pictures_are_turned_as_their_orientation_says():
    """In the view, rows run to posterior and columns to the left; the names say the same of what is stored."""
    view = np.arange(6).reshape(2, 3)
    stored = {
        "PL": view, "AL": view[::-1], "PR": view[:, ::-1], "AR": view[::-1, ::-1],
        "LP": view.T, "RP": view.T[::-1], "LA": view.T[:, ::-1], "RA": view.T[::-1, ::-1],
    }  # fmt: skip
    for orientation, values in stored.items():
        np.testing.assert_array_equal(sources.upright(values, orientation), view, err_msg=orientation)


def test_masks_become_lesion_classes_and_ignored_pixels():
    def mask(meanings=None):
        return label_maps.Mask(None, None, meanings)

    values = np.array([[0, 1, 2, 3]], np.float32)
    found = label_maps.translate({"classes": values}, {"classes": mask({1: "consolidation", 2: "ggo", 3: "ignore"})})
    expected = {"lesion": [[0, 1, 1, 0]], "classes": [[0, 2, 1, 0]], "ignore": [[0, 0, 0, 1]]}
    assert {name: array.tolist() for name, array in found.items()} == expected
    found = label_maps.translate({"classes": values}, {"classes": mask({1: "lesion", 2: "background", 3: "lesion"})})
    assert {name: array.tolist() for name, array in found.items()} == {"lesion": [[0, 1, 0, 1]], "ignore": [[0] * 4]}
    apart = {"ggo": np.array([[1, 1, 0]]), "consolidation": np.array([[0, 255, 0]]), "ignore": np.array([[0, 0, 1]])}
    found = label_maps.translate(apart, dict.fromkeys(apart, mask()))
    expected = {"lesion": [[1, 1, 0]], "classes": [[1, 2, 0]], "ignore": [[0, 0, 1]]}
    assert {name: array.tolist() for name, array in found.items()} == expected
