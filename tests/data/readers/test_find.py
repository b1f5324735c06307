"""Finding scans in folders."""

import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ssinfnet_jax import rundir
from ssinfnet_jax.data import input_files
from ssinfnet_jax.data.datasets.ct_phantom import volume
from ssinfnet_jax.data.readers import find


@pytest.fixture
def folder(tmp_path):
    """Writes two pictures, in `store/p1` and `in/p0`."""
    for path in ("store/p1", "in/p0"):
        (tmp_path / path).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / path / "s.png")
    return tmp_path


def found(*inputs):
    return [(source.name, source.path) for source in find.find(inputs)]


def test_links_to_folders_are_followed(folder):
    link = folder / "in/a_link"
    link.symlink_to(folder / "store")
    assert found(folder / "in") == [("p0", folder / "in/p0"), ("p1", link / "p1")]


def test_links_may_be_circular(folder):
    (folder / "in/p0/up").symlink_to(folder / "in")
    (folder / "in/self").symlink_to("self")
    (folder / "in/gone").symlink_to("nowhere")
    (folder / "store/in").symlink_to(folder / "in")
    (folder / "in/store").symlink_to(folder / "store")
    assert found(folder / "in") == [("p0", folder / "in/p0"), ("p1", folder / "in/store/p1")]


def test_a_folder_reached_by_several_paths_is_read_once(folder):
    (folder / "in/again").symlink_to("p0")
    (folder / "other").symlink_to("in")
    once = [("p0", folder / "in/p0")]
    assert found(folder / "in") == once
    assert found(folder / "in", folder / "other", folder / "store/../in/p0") == once


def test_results_behind_a_link_are_skipped(folder):
    (folder / "in/results").symlink_to(folder / "store")
    for name in ("scans", "masks"):
        (folder / "store" / name).mkdir()
    (folder / "store/config.json").write_text("{}")
    assert found(folder / "in") == [("p0", folder / "in/p0")]


def test_a_stamp_changes_when_a_file_changes(folder):
    (source,) = find.find([folder / "in"])
    before = source.stamp
    assert source.stamp == before
    with source.files[0].open("ab") as file:
        file.write(b" ")
    assert source.stamp != before


LONG = "x" * 300


def test_a_name_too_long_for_the_file_system_is_a_clear_error(tmp_path):
    with pytest.raises(ValueError, match=rf"--input=\S*{LONG} cannot be read \(File name too long\)"):
        find.find([tmp_path / LONG])
    for folder in (tmp_path / LONG, tmp_path / LONG / "out"):
        with pytest.raises(ValueError, match=r"cannot be a folder \(File name too long\); choose another"):
            rundir.check_folder(folder)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.png", "a.dcm"])
def test_a_folder_may_have_the_suffix_of_a_file(tmp_path, name):
    (tmp_path / "in" / name).mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "in" / name / "s.png")
    assert found(tmp_path / "in") == [(name, tmp_path / "in" / name)]
    assert found(tmp_path / "in" / name) == [(name, tmp_path / "in" / name)]


def unused(report, folder):
    """Returns (path below folder, files, kind) of every row."""
    report.write(folder.parent)
    rows = pd.read_csv(folder.parent / "unused_files.csv", keep_default_na=False)
    return sorted(
        (os.path.relpath(path, folder), files, kind) for path, files, kind in rows[["path", "files", "kind"]].to_numpy()
    )


def test_every_unused_file_is_counted(folder, caplog):
    scans = folder / "in"
    (scans / "p0/notes.txt").write_text("mine")
    (scans / "p0/IM0007").write_bytes(b"")  # such as the last file of a series
    (scans / "p0/.DS_Store").write_bytes(b"x")
    (scans / ".cache/deep").mkdir(parents=True)
    for name in ("a", "deep/b"):
        (scans / ".cache" / name).write_text("x")
    (scans / "p0/IM0008").symlink_to("nowhere")
    (scans / "gone.nii.gz").symlink_to(scans / "elsewhere.nii.gz")
    os.mkfifo(scans / "pipe")
    for name in ("scans/s", "masks"):
        (scans / "old" / name).mkdir(parents=True)
    for name in ("config.json", "scans/s/scan.json"):
        (scans / "old" / name).write_text("{}")
    (scans / "linked").symlink_to(folder / "store")
    (scans / "again").symlink_to("p0")
    report = input_files.Report()
    sources = {source.name: source for source in find.find([scans], report)}
    assert set(sources) == {"p0", "p1", "gone.nii"}
    with pytest.raises(ValueError, match=r"gone\.nii\.gz is a symbolic link to nothing \(.*elsewhere\.nii\.gz\); copy"):
        sources["gone.nii"].open(folder)
    assert unused(report, scans) == [
        (".cache", 2, "hidden"),
        ("again", 0, "link to a folder that was already read"),
        ("old", 2, "results of an earlier call"),
        ("p0/.DS_Store", 1, "hidden"),
        ("p0/IM0007", 1, "empty"),
        ("p0/IM0008", 1, "symbolic link to nothing"),
        ("p0/notes.txt", 1, "no scan"),
        ("pipe", 1, "neither file nor folder"),
    ]
    assert "9 of 9 input files were not used (hidden: 3; results of an earlier call: 2; " in caplog.text
    note = sources["p0"].open(folder).notes[0]
    assert note.startswith("2 files beside it are empty or links to nothing, such as ")
    assert note.endswith("p0/IM0007: is it complete?")
    assert not any("beside it" in text for text in sources["p1"].open(folder).notes)


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b""), lambda path: path.symlink_to("nowhere")])
def test_a_series_beside_empty_files_gets_a_note(tmp_path, spoil):
    hu, _, affine = volume.render(0, 7, 4, 32)
    volume.write_dicom(tmp_path / "exam", hu, affine, patient_id="p")
    spoil(tmp_path / "exam" / "IM9999")
    (source,) = find.find([tmp_path])
    found = source.open(tmp_path)
    assert found.num_slices == 4
    assert found.notes[0].startswith("1 files beside it are empty or links to nothing, such as ")


def test_a_circular_link_is_a_link_to_nothing(folder):
    (folder / "in/loop.nii").symlink_to("loop.nii")
    source = next(source for source in find.find([folder / "in"]) if source.name == "loop")
    with pytest.raises(ValueError, match=r"loop\.nii is a symbolic link to nothing"):
        source.open(folder)


def test_a_link_whose_target_was_deleted_has_another_stamp(folder):
    (folder / "v.nii").write_bytes(b"a scan")
    (folder / "in/v.nii").symlink_to(folder / "v.nii")
    before = next(source for source in find.find([folder / "in"]) if source.name == "v")
    stamp = before.stamp
    (folder / "v.nii").unlink()
    after = next(source for source in find.find([folder / "in"]) if source.name == "v")
    assert (after.identity, after.stamp == stamp) == (before.identity, False)


def test_a_file_reached_by_two_links_is_used_once_and_counted(tmp_path):
    hu, _, affine = volume.render(0, 7, 4, 32)
    volume.write_dicom(tmp_path / "in/exam", hu, affine, patient_id="p")
    first = min((tmp_path / "in/exam").iterdir())
    (tmp_path / "in/exam/twice").symlink_to(first)
    report = input_files.Report()
    (source,) = find.find([tmp_path / "in"], report)
    assert source.open(tmp_path).num_slices == 4
    assert unused(report, tmp_path / "in") == [("exam/twice", 1, "the same file again")]
