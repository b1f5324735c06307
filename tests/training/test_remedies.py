"""Following an error's remedy to the letter solves the problem."""

import gc
import json
import pathlib
import re
import shlex
import shutil
import subprocess

import pytest

from configs import ct_phantom
from ssinfnet_jax import rundir
from ssinfnet_jax.networks import storage
from tests.training import toy_stages

pytestmark = pytest.mark.long

SINGLE = ("pretrain_single", "train_single")
STAGES = (*SINGLE, "predict_priors", "pretrain_multi", "train_multi")


def _config():
    config = ct_phantom.get_config("tiny")
    config.save_every_s = 0.0
    for which in ("single", "multi"):
        section = config[which]
        section.pretrain.phases = [["inpaint_random", 1]]
        section.train.epochs, section.train.validate_every_epochs = 3, 1
        section.train.augmentation = section.pretrain.augmentation = {}
    config.single.train.keep = "best"
    config.multi.train.optimizer = {"name": "sgd", "learning_rate": 0.01}
    return config


def _run(workdir, names):
    """Runs stages as a repeated command would; returns the tasks of their networks."""
    split = ["train"] * 8 + ["val"]
    with pytest.MonkeyPatch.context() as monkeypatch:
        toy_stages.run(monkeypatch, workdir, _config(), toy_stages.records(9), split, names)
        networks = [workdir / name / "model" for name in STAGES if name in names and name != "predict_priors"]
        return [storage.load(network)[1].task for network in networks]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run folder with a space in its name, with the single network trained and its priors predicted."""
    workdir = tmp_path_factory.mktemp("runs") / "a run"
    _run(workdir, STAGES[:3])
    return workdir


def _follow(text, workdir):
    """Follows an error: runs its `rm -r`, or deletes what it says to delete."""
    if found := re.search(r"(rm -r .+?)( and then the same command\.)?$", text):
        command = shlex.split(found[1])
    elif found := re.search(r"delete (\S*/a run\S*?)(\.| and run the same command again\.)$", text):
        command = ["rm", "-r", found[1]]
    else:
        raise AssertionError(f"no remedy in: {text}")
    assert all(pathlib.Path(path).is_relative_to(workdir) for path in command[2:])
    subprocess.run(command, check=True)


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _cut_all(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            _cut(path)


def _checkpoints(workdir, change):
    """Makes a stage unfinished and changes all of its checkpoints."""
    (workdir / "train_single" / "done.json").unlink()
    for folder in (workdir / "train_single" / "checkpoints").iterdir():
        change(folder)


def _cut_steps(folder):
    for path in folder.glob("step_*"):
        _cut_all(path)


def _best(workdir, change):
    """Makes a stage unfinished, with a best value that nothing can exceed, and changes the best weights."""
    (workdir / "train_single" / "done.json").unlink()
    folder = workdir / "train_single" / "best"
    noted = json.loads((folder / "best.json").read_text())
    noted |= {"value": 2.0, "at": {at: [2.0, noted["step"]] for at in noted["at"]}}
    (folder / "best.json").write_text(json.dumps(noted))
    change(folder)


DAMAGES = {
    "the network of a finished stage is gone": lambda run: shutil.rmtree(run / "train_single" / "model"),
    "its description is gone": lambda run: (run / "train_single/model/model.json").unlink(),
    "its description is damaged": lambda run: _cut(run / "train_single/model/model.json"),
    "its description is something else": lambda run: (run / "train_single/model/model.json").write_text(
        '{"model": 1, "options": 2}'
    ),
    "its weights are gone": lambda run: shutil.rmtree(run / "train_single/model/variables"),
    "its weights are damaged": lambda run: _cut_all(run / "train_single/model/variables"),
    "the network of the first stage is gone": lambda run: shutil.rmtree(run / "pretrain_single" / "model"),
    "the priors are gone": lambda run: (run / "predict_priors/priors.npz").unlink(),
    "the priors are damaged": lambda run: _cut(run / "predict_priors/priors.npz"),
    "the sign of a finished stage is damaged": lambda run: _cut(run / "train_single/done.json"),
    "what a stage was made from is damaged": lambda run: _cut(run / "predict_priors/made_from.json"),
    "the config is damaged": lambda run: _cut(run / "config.json"),
    "an earlier stage is to be made anew": lambda run: shutil.rmtree(run / "pretrain_single"),
    "the best weights are damaged": lambda run: _best(run, _cut_steps),
    "the note of the best is damaged": lambda run: _best(run, lambda best: _cut(best / "best.json")),
    "no checkpoint can be read": lambda run: _checkpoints(run, _cut_all),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_remedy_of_an_error_gets_on(damage, trained, tmp_path):
    workdir = tmp_path / "a run"
    shutil.copytree(trained, workdir)
    DAMAGES[damage](workdir)
    if "predict" not in damage and "prior" not in damage and "made from" not in damage:
        # The stage that reads the damaged file must not have finished: nothing is read for finished stages.
        shutil.rmtree(workdir / "predict_priors")
    if damage == "the network of the first stage is gone":
        shutil.rmtree(workdir / "train_single")
    if damage == "an earlier stage is to be made anew":
        _run(workdir, ["pretrain_single"])
    # Only the multi network reads priors.
    stages = STAGES if "prior" in damage or "made from" in damage else STAGES[:3]
    errors = []
    for _ in range(4):
        try:
            tasks = _run(workdir, stages)
            break
        except (ValueError, OSError) as error:
            errors.append(str(error))
        gc.collect()  # frees the run folder, which the error's frames refer to, as a program's exit would
        _follow(errors[-1], workdir)
    assert errors, "the damage was not noticed"
    assert len(errors) < 3, errors
    assert tasks == ["inpainting", "segmentation"] * (len(stages) // 2)
    for name in stages:
        assert rundir.RunDir(workdir).is_done(name)
        rundir.RunDir(workdir).check_current(name)
