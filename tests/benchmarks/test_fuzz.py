"""A slice of `benchmarks.fuzz`, and that it finds what it looks for."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import fuzz


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    return fuzz.make_seeds(tmp_path_factory.mktemp("fuzz") / "seeds")


@pytest.mark.parametrize("kind", ["nifti", "dicom", "picture"])
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


def test_an_error_that_does_not_name_its_file_is_found(seeds, tmp_path, monkeypatch):
    def fail(*_):
        raise ValueError("something is wrong, and nobody says in which of the many files")

    monkeypatch.setattr(fuzz.segment_scan, "segment", fail)
    path = fuzz.prepare("picture", seeds["picture"], tmp_path, np.random.default_rng(0))
    with pytest.raises(AssertionError, match="does not say which file"):
        fuzz.attempt("picture", path, tmp_path / "out")
