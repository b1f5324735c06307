import pathlib

import pytest

from ssinfnet_jax import pretrained, rundir
from ssinfnet_jax.data import labels
from ssinfnet_jax.inference import segmenter
from ssinfnet_jax.metrics import overlap
from ssinfnet_jax.networks import packed
from tests import programs


def test_a_path_stays_a_path_and_none_means_the_packages_own(monkeypatch, tmp_path):
    assert pretrained.resolve("runs/a/model", "single") == pathlib.Path("runs/a/model")
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    for given in (None, "pretrained"):
        with pytest.raises(FileNotFoundError, match=r"no trained multi network in .*multi; install it from the repo"):
            pretrained.resolve(given, "multi")
    (tmp_path / "multi").mkdir()
    (tmp_path / "multi" / "model.json").touch()
    assert pretrained.resolve(None, "multi") == pretrained.resolve("pretrained", "multi") == tmp_path / "multi"


def test_the_networks_in_the_package_come_with_their_card():
    single, multi = (pretrained.folder(which) for which in ("single", "multi"))
    program = segmenter.load_program(single, multi)  # checks the weights against their SHA-256
    assert program.decision.rule == "joint"
    assert {card.view for card in program.cards.values()} == {"lungs"}
    assert sum(path.stat().st_size for path in pretrained.FOLDER.rglob("*") if path.is_file()) < 40e6
    found = rundir.read_json(pretrained.FOLDER / packed.FILE)
    card = (pretrained.FOLDER / pretrained.CARD).read_text()
    for row in found["figures"]:
        assert f"{row['mean']:.3f} ± {row['error']:.3f} | {row['n']} |" in card
    assert packed.figures(single, multi)


def test_the_networks_in_the_package_find_the_lesion_of_a_real_slice(shared, tmp_path):
    """They were trained on it: this says that weights, input and decision fit each other, not how good they are."""
    folder = shared / "data/covid-semiseg/TrainingSet/LungInfection-Train/Doctor-label"
    # With XLA's defaults, as users run it.
    result = programs.run(
        "launch.segment", f"--input={folder / 'Imgs/2.jpg'}", f"--out={tmp_path / 'out'}", XLA_FLAGS=""
    )
    assert result.returncode == 0, result.stderr
    (mask,) = (tmp_path / "out" / "masks").iterdir()
    truth = labels.read_values(folder / "GT/2.png") > 0
    assert overlap.overlap(labels.read_values(mask) > 0, truth)["dice"] > 0.8
    figures = packed.figures(*(pretrained.folder(which) for which in ("single", "multi")))
    page = (tmp_path / "out" / "report.html").read_text()
    for title, value in figures.items():
        assert title in page
        assert value in page
