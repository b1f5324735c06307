"""Runs a small part of `benchmarks.fuzz`, and checks that it detects violations."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import fuzz

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    return fuzz.make_seeds(tmp_path_factory.mktemp("fuzz") / "seeds")


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns about damaged files
@pytest.mark.parametrize("kind", ["nifti", "itk", "zip", "dicom", "masks", "picture", "tensors"])
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(number=st.integers(0, 2**32 - 1))
def test_damaged_files_end_in_a_result_or_a_clear_error(kind, seeds, tmp_path_factory, number):
    folder = tmp_path_factory.mktemp("case")
    path = fuzz.prepare(kind, seeds[kind], folder, np.random.default_rng(number))
    assert fuzz.attempt(kind, path, folder / "out") in ("result", "error")
    assert {child.name for child in folder.iterdir()} <= {path.name, "out"}


def test_damaged_model_folders_end_in_a_result_or_a_clear_error(seeds, tmp_path):
    for number in range(4):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = fuzz.prepare("checkpoint", seeds["checkpoint"], folder, np.random.default_rng(number))
        assert fuzz.attempt("checkpoint", path, folder / "out") in ("result", "error")


@pytest.mark.parametrize(
    ("violation", "reported"),
    [
        ("pathlib.Path({other!r}).write_text('x')", "open {other}"),
        ("os.mkdir({other!r})", "os.mkdir {other}"),
        ("os.rename(path, {other!r})", "os.rename {other}"),
        ("path.unlink()", "os.remove"),
        ("__import__('pickle').loads(b'cos\\ngetcwd\\n.')", "unpickles ('os', 'getcwd')"),
        ("1", "result"),
    ],
)
def test_violations_are_detected(seeds, tmp_path, violation, reported):
    other = str(tmp_path / "elsewhere")
    program = f"""
import os, pathlib, queue
from benchmarks import fuzz
fuzz.MAX_GIB = float("inf")  # a process inherits the peak of its parent
fuzz.attempt = lambda kind, path, out: ({violation.format(other=other)}, "result")[1]
told = queue.SimpleQueue()
seeds = {{"picture": [pathlib.Path({str(seeds["picture"][0])!r})]}}
fuzz._work(["picture"], seeds, pathlib.Path({str(tmp_path)!r}), 0, told)
told.get()
print(told.get()[2])
"""
    # In a separate process, since audit hooks cannot be removed.
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert reported.format(other=other) in done.stdout, done.stderr


def test_an_error_that_does_not_name_its_file_is_detected(seeds, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise ValueError("something is wrong, in an unnamed file")

    monkeypatch.setattr(fuzz.segment_scan, "segment", fail)
    path = fuzz.prepare("picture", seeds["picture"], tmp_path, np.random.default_rng(0))
    with pytest.raises(AssertionError, match="does not say which file"):
        fuzz.attempt("picture", path, tmp_path / "out")
