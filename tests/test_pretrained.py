import pathlib

import pytest

from ssinfnet_jax import pretrained


def test_a_path_stays_a_path_and_none_means_the_packages_own(monkeypatch, tmp_path):
    assert pretrained.resolve("runs/a/model", "single") == pathlib.Path("runs/a/model")
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    for given in (None, "pretrained"):
        with pytest.raises(FileNotFoundError, match=r"no trained multi network in .*multi; install it from the repo"):
            pretrained.resolve(given, "multi")
    (tmp_path / "multi").mkdir()
    (tmp_path / "multi" / "model.json").touch()
    assert pretrained.resolve(None, "multi") == pretrained.resolve("pretrained", "multi") == tmp_path / "multi"
