"""`launch.pipeline` with toy networks and generated slices: a program for tests that need real processes.

What a test wants to happen is in the environment: TOY_PADDING marks slices of every other batch as padding, TOY_SIGNAL
("train single:7:SIGKILL") sends this process a signal before a step, TOY_PROCESS names the process that gets it. With
TOY_DISAGREES the process of that number judges everything otherwise than the others.

A step that moves anything between host and devices without being told to is an error here.
"""

import dataclasses
import functools
import itertools
import os
import signal
import subprocess
import sys
from unittest import mock

import jax
import numpy as np
import pandas as pd

from tests import programs
from tests.training import toy

STAGES = ("pretrain_single", "train_single", "crossfit_single", "predict_priors", "pretrain_multi", "train_multi")

# Flags by strategy; "fsdp" splits every array that can be split.
WAYS = {
    "pmap": (),
    "jit": ("--config.parallel=jit",),
    "fsdp": ("--config.parallel=jit", "--config.fsdp_min_size=2"),
}
TIMEOUT_S = (
    300  # for a process, which takes a minute with an empty compilation cache; four in a row stay within pytest's limit
)


def start(workdir, *flags, **options) -> programs.Program:
    """A process of the run in `workdir`, with the options of `command`."""
    arguments, environment = command(workdir, *flags, **options)
    return programs.start("tests.training.toy_run", *arguments, **environment)


def command(
    workdir, *flags, variant="", devices=1, signal_at="", signal_to=0, disagrees=None, padding=False, saving=True
):
    """The arguments of a process with a number of virtual devices, and its environment beside that of this process.

    Without `saving`, which takes a fifth of the time, a stage has no checkpoints until it ends.
    """
    environment = {
        "XLA_FLAGS": f"{programs.XLA_FLAGS} --xla_force_host_platform_device_count={devices}",
        "TOY_PADDING": "1" if padding else "",
        "TOY_SIGNAL": signal_at,
        "TOY_PROCESS": str(signal_to),
        "TOY_DISAGREES": "" if disagrees is None else str(disagrees),
    }
    seldom = () if saving else ("--config.save_every_s=1e9",)
    common = [
        f"--config=tests/training/toy_config.py:{variant}",
        f"--workdir={workdir}",
        f"--compilation_cache_dir={jax.config.jax_compilation_cache_dir}",
    ]
    return [*common, *seldom, *flags], environment


def end(process: subprocess.Popen | programs.Program, code: int = 0) -> str:
    """Waits for a process and returns its output; fails on another exit code."""
    try:
        output, _ = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
    assert process.returncode == code, f"exit code {process.returncode} in place of {code}:\n{output[-4000:]}"
    return output


def results(workdir) -> dict[str, np.ndarray]:
    """All variables that the four training stages wrote, by stage, network and path."""
    from ssinfnet_jax.models import registry
    from ssinfnet_jax.networks import storage

    found = {}
    with mock.patch.dict(registry.MODELS):  # later tests in this process need the real networks
        _register()
        for stage in STAGES:
            for network in ("model", "coach"):
                if (workdir / stage / network).is_dir():
                    variables, _ = storage.load(workdir / stage / network)
                    leaves = jax.tree_util.tree_leaves_with_path(variables)
                    found |= {f"{stage}/{network}{jax.tree_util.keystr(path)}": leaf for path, leaf in leaves}
    return found


def _register():
    from ssinfnet_jax.models import registry

    multi = {"outputs": 3, "inpainted": 6, "as_maps": False}
    registry.MODELS["toy_single"] = registry.Entry(toy.Toy, {}, 3, "maps", True)
    registry.MODELS["toy_multi"] = registry.Entry(toy.Toy, multi, 6, "classes", True)
    registry.MODELS["coach"] = registry.Entry(toy.ToyCoach, {}, 3, "scores", False)


def _slices(config, run_dir):
    """29 labeled slices, 24 for training and 5, an odd number, for validation."""
    batch = {name: np.asarray(value) for name, value in toy.batch(count=29, size=40).items()}
    records = [
        {name: batch[name][row] for name in ("image", "lesion", "classes")} | {"slice_id": f"s{row}"}
        for row in range(29)
    ]
    split = ["train"] * 24 + ["val"] * 5
    table = pd.DataFrame({"slice_id": [record["slice_id"] for record in records], "split": split, "pretrain": split})
    return records, table.assign(has_lesion=True, has_classes=True)


def _disagree():
    """Makes this process decide differently wherever a decision leads to a collective call or ends a loop."""
    from ssinfnet_jax import rundir
    from ssinfnet_jax.data import prepare
    from ssinfnet_jax.training import checkpoint, loop

    offer, fit = checkpoint.Best.offer, loop.fit
    offers = itertools.count(1)

    def offer_better(self, value, step, variables):
        offer(self, value + next(offers), step, variables)

    def fit_otherwise(initial, training, options):
        save_every_s = 1e9 if options.save_every_s == 0 else 0.0
        otherwise = dataclasses.replace(training, is_enough=lambda done: not training.is_enough(done))
        return fit(initial, otherwise, dataclasses.replace(options, save_every_s=save_every_s))

    checkpoint.Best.offer, loop.fit = offer_better, fit_otherwise
    checkpoint.latest_step = lambda directory: 0
    prepare.reason_to_skip = lambda *args: "this process sees nothing to train on"
    rundir.RunDir.was_skipped = lambda self, name: True


def _main():
    from launch import flags, profile_flag, stages
    from ssinfnet_jax.data import pipeline, prepare
    from ssinfnet_jax.training import loop

    _register()
    prepare.load = _slices
    fit, batches = loop.fit, pipeline.TrainBatches

    class Padded(batches):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self._dataset = self._dataset.map_with_index(self._pad)

        @staticmethod
        def _pad(index, batch):
            # Unequal numbers of slices on the devices: 3 of 8 in every other step.
            padding = (batch["position"] % 5 < 1) | (batch["position"] == 6)
            return {**batch, "valid": np.where((index % 2 == 1) & padding, 0, batch["valid"]).astype(np.float32)}

    def fit_with_signal(initial, training, options):
        def advance_with_signal(states, batch, step):
            at = f"{training.title}:{step}:"
            if os.environ["TOY_SIGNAL"].startswith(at) and jax.process_index() == int(os.environ["TOY_PROCESS"]):
                os.kill(os.getpid(), signal.Signals[os.environ["TOY_SIGNAL"].removeprefix(at)])
            with jax.transfer_guard("disallow"):
                return training.advance(states, batch, step)

        return fit(initial, dataclasses.replace(training, advance=advance_with_signal), options)

    loop.fit = fit_with_signal
    if os.environ["TOY_DISAGREES"] and f"--process_id={os.environ['TOY_DISAGREES']}" in sys.argv:
        _disagree()
    if os.environ["TOY_PADDING"]:
        pipeline.TrainBatches = Padded
    flags.run(
        lambda config, run_dir: stages.run(config, run_dir, STAGES, profile=profile_flag.steps()),
        functools.partial(stages.check, names=STAGES),
    )


if __name__ == "__main__":
    _main()
