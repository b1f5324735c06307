"""The scripts of launch/cluster: the commands that they run, and errors for missing settings."""

import os
import pathlib
import shlex
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]
FLAGS = ["--config=configs/covid_semiseg.py:full", "--workdir=/shared/my runs/a", "--config.seed=1"]
PROGRAM = [".venv/bin/python", "-m", "launch.train_single", *FLAGS]
SETTINGS = {
    "slurm": {"NODES": "2", "GPUS": "4", "PARTITION": "gpu"},
    "tpu_vm": {"TPU_NAME": "pod", "ZONE": "europe-west4-b"},
    "gke_xpk": {
        "CLUSTER": "c",
        "ZONE": "z",
        "TPU_TYPE": "v5litepod-16",
        "IMAGE": "i:1",
        "WORKLOAD": "w",
        "SLICES": "2",
    },
}
BEGINS = {
    "slurm": ["sbatch", "--job-name=ssinfnet-train_single", "--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=4",
              "--cpus-per-task=8", "--time=24:00:00", "--signal=TERM@120", "--requeue", "--open-mode=append",
              "--partition=gpu"],
    "tpu_vm": ["gcloud", "compute", "tpus", "tpu-vm", "ssh", "pod", "--zone=europe-west4-b", "--worker=all"],
    "gke_xpk": ["xpk", "workload", "create", "--cluster=c", "--zone=z", "--workload=w", "--tpu-type=v5litepod-16",
                "--num-slices=2", "--docker-image=i:1"],
}  # fmt: skip
INSIDE = {  # commands of the machines before and after the program
    "slurm": (
        ["srun", "--kill-on-bad-exit=1"],
        "scontrol requeue $SLURM_JOB_ID",
    ),
    "tpu_vm": (["cd", "ssinfnet_jax", "&&"], ""),
    "gke_xpk": ([], ""),
}


def _run(script, *arguments, **settings):
    environment = {"PATH": os.environ["PATH"], **settings}
    command = [ROOT / "launch" / "cluster" / f"{script}.sh", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("script", SETTINGS)
def test_the_command(script):
    result = _run(script, "--dry_run", "train_single", *FLAGS, **SETTINGS[script])
    assert result.returncode == 0, result.stderr
    *begin, last = shlex.split(result.stdout)
    assert begin == BEGINS[script]
    _, _, inside = last.partition("=")
    before, after = INSIDE[script]
    words = shlex.split(inside)
    assert words[: len(before) + len(PROGRAM)] == before + PROGRAM
    assert after in inside


@pytest.mark.parametrize("script", SETTINGS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workdir=/a"], "Error: the first argument must be the stage, found '--workdir=/a'"),
        (["trian", "--workdir=/a"], "Error: there is no launch/trian.py"),
        (["pipeline", "--config=a"], "Error: --workdir=FOLDER is missing"),
        (["pipeline", "--workdir=/a"], "was not found"),  # the cluster's program is not installed
    ],
)
def test_mistakes(script, arguments, message, tmp_path):
    # The PATH has only what the script needs: without --dry_run, an installed cluster program would be run.
    for program in ("bash", "dirname"):
        (tmp_path / program).symlink_to(shutil.which(program))
    result = _run(script, *arguments, **SETTINGS[script], PATH=str(tmp_path))
    assert result.returncode == 2
    assert message in result.stderr


@pytest.mark.parametrize(("script", "name"), [("tpu_vm", "ZONE"), ("gke_xpk", "IMAGE")])
def test_missing_settings(script, name):
    settings = {key: value for key, value in SETTINGS[script].items() if key != name}
    result = _run(script, "--dry_run", "pipeline", "--workdir=/a", **settings)
    assert result.returncode == 2
    assert f"Error: {name} is not set" in result.stderr


@pytest.mark.parametrize("script", SETTINGS)
def test_usage(script):
    result = _run(script, "--help")
    assert result.returncode == 0
    assert "Usage:" in result.stdout
    assert "STAGE is pipeline, one of its stages, or experiment." in result.stdout
    assert "--dry_run" in result.stdout


def test_each_job_of_an_array_runs_one_run_of_a_grid():
    result = _run("slurm", "--dry_run", "experiment", *FLAGS, ARRAY="0-7%4")
    assert result.returncode == 0, result.stderr
    command = shlex.split(result.stdout)
    assert "--array=0-7%4" in command
    inside = shlex.split(command[-1].partition("=")[2])
    assert inside[2:8] == [".venv/bin/python", "-m", "launch.experiment", *FLAGS]
    assert inside[8] == "--index=$SLURM_ARRAY_TASK_ID"
    result = _run("slurm", "--dry_run", "pipeline", *FLAGS, ARRAY="0-7")
    assert "Error: ARRAY only works with the stage experiment, found 'pipeline'." in result.stderr


@pytest.mark.parametrize(
    ("code", "state", "queued"),
    [(75, "RUNNING", True), (143, "RUNNING", True), (75, "COMPLETING", False), (1, "RUNNING", False)],
)
@pytest.mark.parametrize(("array", "job"), [({}, "7"), ({"ARRAY": "0-3"}, "5_2")])
def test_a_stopped_job_is_requeued(code, state, queued, array, job, tmp_path):
    fakes = {"srun": f"exit {code}", "squeue": f"[ $3 = {job} ] && echo {state}", "scontrol": 'echo "$@"'}
    for name, body in fakes.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    result = _run("slurm", "--dry_run", "experiment", *FLAGS, **array)
    body = shlex.split(result.stdout)[-1].partition("=")[2]
    numbers = {"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "2"}
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **numbers}
    result = subprocess.run(["sh", "-c", body], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == code
    assert result.stdout == (f"requeue {job}\n" if queued else "")
    assert result.stderr == ""
