"""Packs untrained networks of runs."""

import json
import shutil

import jax
import numpy as np
import pytest

from configs import ct_phantom
from ssinfnet_jax import rundir
from ssinfnet_jax.config import read_config
from ssinfnet_jax.data import prepare
from ssinfnet_jax.evaluation import pack
from ssinfnet_jax.inference import segmenter
from ssinfnet_jax.networks import packed, storage
from ssinfnet_jax.report.run import pack_card, run_files
from tests import programs
from tests.inference import tiny_networks

pytestmark = pytest.mark.long

NUM_FOLDS = 3


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Run folders of three folds and of all slices, with the same tiny networks."""
    folder = tmp_path_factory.mktemp("runs")
    networks = tiny_networks.write(folder / "networks")
    for name in (*(f"fold{fold}" for fold in range(NUM_FOLDS)), "all"):
        config = ct_phantom.get_config("tiny")
        config.data.splits = {"seed": 0, "num_folds": NUM_FOLDS, "test_fold": int(name[-1]) if name != "all" else (),
                              "val_fold": ()}  # fmt: skip
        with_config = rundir.open_run(folder / name, config.to_dict())
        (folder / name / "data").mkdir(exist_ok=True)
        rundir.run_stage(
            with_config, "prepare", lambda run, config=config: prepare.run(read_config(config.to_dict()), run, {})
        )
        for which in ("single", "multi"):
            model = with_config.stage(f"train_{which}") / "model"
            model.symlink_to(networks / which)
            rundir.run_stage(with_config, f"train_{which}", lambda run: None)
    return folder


def _pack(runs, out, folds, *flags):
    given = [f"--folds={runs / fold}" for fold in folds]
    return programs.run("launch.pack", f"--workdir={runs / 'all'}", f"--out={out}", *given, *flags)


def test_packed_networks_are_small_and_segment_alike(runs, tmp_path):
    (tmp_path / "limits.md").write_text("Vessels are **taken** for lesions.\n")
    done = _pack(runs, tmp_path / "out", ["fold0", "fold1", "fold2"], f"--limits={tmp_path / 'limits.md'}")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / packed.FILE).read_text())
    assert [row["class"] for row in found["figures"]] == ["lesion", "background", "ggo", "consolidation", "overall"]
    assert found["slices"] == len(found["dice"]) > 10
    assert found["folds"] == found["num_folds"] == NUM_FOLDS
    lesion = found["figures"][0]
    assert lesion["mean"] == pytest.approx(
        np.mean([row["lesion"] for row in found["dice"].values() if "lesion" in row]), abs=1e-3
    )
    assert f"lesion: Dice {lesion['mean']:.3f}" in done.stdout
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    for said in (
        "Vessels are **taken** for lesions.",
        f"{lesion['mean']:.3f} ± {lesion['error']:.3f}",
        "ct_phantom.py:tiny --data_dir=FOLDER --workdir=all \\\n    --config.data.splits.test_fold='()'\n",
        "Cross-validation, 3 of 3 folds: ",
    ):
        assert said in card
    program = segmenter.load_program(tmp_path / "out" / "single", tmp_path / "out" / "multi")
    assert program.decision.rule == "joint"
    assert program.cards["single"].temperature > 0
    variables, _ = storage.load(runs / "networks" / "single")
    small, _ = storage.load(tmp_path / "out" / "single")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), variables, small)
    said = packed.figures(tmp_path / "out" / "single", tmp_path / "out" / "multi")
    assert said[f"Dice on {found['slices']} held-out slices"].startswith(f"lesion {lesion['mean']:.2f} ± ")
    assert not packed.figures(runs / "networks" / "single", runs / "networks" / "multi")
    again = _pack(runs, tmp_path / "out", ["fold0", "fold1"])
    assert again.returncode == 1
    assert "exists; give a new folder" in again.stderr


@pytest.mark.parametrize(
    ("folds", "said"),
    [
        (["fold0", "fold0"], "is held out by"),
        (["fold0"], "at least two folds"),
        (["all"], "holds out slices with class labels"),
        (["nowhere"], "has not finished in"),
    ],
)
def test_folds_that_cannot_be(runs, tmp_path, folds, said):
    with pytest.raises((ValueError, OSError), match=said):
        pack.write(tmp_path, runs / "all", [runs / fold for fold in folds])
    assert not list(tmp_path.glob("*"))


def test_another_recipe_does_not_speak_for_this_one(runs, tmp_path):
    other = tmp_path / "other"
    run = rundir.RunDir(other)
    for which in ("single", "multi"):
        variables, card = storage.load(runs / "networks" / which)
        model = run.stage(f"train_{which}") / "model"
        storage.save(model, variables, card)
        table = json.loads((model / "model.json").read_text()) | {"image_size": 96}
        (model / "model.json").write_text(json.dumps(table))
        rundir.run_stage(run, f"train_{which}", lambda run: None)
    with pytest.raises(ValueError, match="has image_size 96"):
        pack.write(tmp_path / "out", runs / "all", [other])


def test_the_card_names_the_runs_that_networks_start_from(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, initial in ((first, ""), (second, f"{first}/train_single/model")):
        config = ct_phantom.get_config("tiny")
        config.data.splits = {"seed": 0, "num_folds": 3, "test_fold": (), "val_fold": ()}
        config.single.train.initial = initial
        rundir.open_run(folder, config.to_dict())
    found = pack_card._with_earlier(run_files.read(second))
    assert [run.workdir for run in found] == [first, second]
    assert pack_card._command(found[1]).splitlines()[-2:] == [
        "    --config.data.splits.test_fold='()' \\", "    --config.single.train.initial=first/train_single/model",
    ]  # fmt: skip
    shutil.rmtree(first)
    assert len(pack_card._with_earlier(run_files.read(second))) == 1
