"""What is found of scans in folders."""

import numpy as np
import pytest
from PIL import Image

from ssinfnet_jax import rundir
from ssinfnet_jax.inference.readers import find


@pytest.fixture
def folder(tmp_path):
    """`store/p1`, a picture, and `in/p0`, another."""
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


def test_links_may_go_in_circles(folder):
    (folder / "in/p0/up").symlink_to(folder / "in")
    (folder / "in/self").symlink_to("self")
    (folder / "in/gone").symlink_to("nowhere")
    (folder / "store/in").symlink_to(folder / "in")
    (folder / "in/store").symlink_to(folder / "store")
    assert found(folder / "in") == [("p0", folder / "in/p0"), ("p1", folder / "in/store/p1")]


def test_a_folder_that_several_ways_lead_to_is_read_once(folder):
    (folder / "in/again").symlink_to("p0")
    (folder / "other").symlink_to("in")
    once = [("p0", folder / "in/p0")]
    assert found(folder / "in") == once
    assert found(folder / "in", folder / "other", folder / "store/../in/p0") == once


def test_results_are_left_alone_behind_a_link(folder):
    (folder / "in/results").symlink_to(folder / "store")
    for name in ("scans", "masks"):
        (folder / "store" / name).mkdir()
    (folder / "store/config.json").write_text("{}")
    assert found(folder / "in") == [("p0", folder / "in/p0")]


def test_a_stamp_tells_a_file_that_was_written_again(folder):
    (source,) = find.find([folder / "in"])
    before = source.stamp
    assert source.stamp == before
    with source.files[0].open("ab") as file:
        file.write(b" ")
    assert source.stamp != before


LONG = "x" * 300


def test_a_name_that_no_file_system_takes_is_said_in_words(tmp_path):
    with pytest.raises(ValueError, match=rf"--input=\S*{LONG} cannot be read \(File name too long\)"):
        find.find([tmp_path / LONG])
    for folder in (tmp_path / LONG, tmp_path / LONG / "out"):
        with pytest.raises(ValueError, match=r"cannot be a folder \(File name too long\); name another"):
            rundir.check_folder(folder)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.png", "a.dcm"])
def test_a_folder_may_have_the_ending_of_a_file(tmp_path, name):
    (tmp_path / "in" / name).mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "in" / name / "s.png")
    assert found(tmp_path / "in") == [(name, tmp_path / "in" / name)]
    assert found(tmp_path / "in" / name) == [(name, tmp_path / "in" / name)]
