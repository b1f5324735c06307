"""A killed or stopped training gives the same result as an undisturbed one, bit for bit, in all four stages."""

import functools
import json
import signal

import numpy as np
import pytest

from ssinfnet_jax.training import checkpoint, loop
from tests.training import toy_run

pytestmark = pytest.mark.long

# 21 updates; the pretraining's phases end after 6 and 12, and lookahead moves its slow weights every 5.
KILLED = ("pretrain single:14", "train single:4", "train multi:11")
DEVICES = {"pmap": 1, "fsdp": 2}
TIMES = ("slices_per_second", "time_waiting_for_data")
STOPPED = ("pretrain single:5", "pretrain multi:11")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Function (strategy) -> run folder of an undisturbed training."""

    @functools.cache
    def run(way):
        workdir = tmp_path_factory.mktemp("undisturbed")
        toy_run.end(toy_run.start(workdir, *toy_run.WAYS[way], devices=DEVICES[way], saving=False))
        return workdir

    return run


def _rows(workdir, stage):
    """Rows of metrics, without the times."""
    rows = [json.loads(line) for line in (workdir / stage / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


@pytest.mark.parametrize(
    ("at", "how", "way"), [(KILLED, "SIGKILL", "pmap"), (STOPPED, "SIGTERM", "pmap"), (KILLED[:1], "SIGKILL", "fsdp")]
)
def test_resumed_equals_undisturbed(at, how, way, undisturbed, tmp_path):
    start = functools.partial(toy_run.start, tmp_path, *toy_run.WAYS[way], devices=DEVICES[way])
    undisturbed = undisturbed(way)
    code = -signal.SIGKILL if how == "SIGKILL" else loop.INTERRUPTED
    for place in at:
        toy_run.end(start(signal_at=f"{place}:{how}"), code)
        title, step = place.split(":")
        saved = checkpoint.latest_step(tmp_path / title.replace(" ", "_") / "checkpoints")
        # A kill loses the checkpoint being written; a stop saves the last step.
        assert 0 < saved <= int(step) if how == "SIGKILL" else saved == int(step) + 1
    toy_run.end(start())
    found, expected = toy_run.results(tmp_path), toy_run.results(undisturbed)
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    for stage in ("pretrain_single", "train_single", "pretrain_multi", "train_multi"):
        assert _rows(tmp_path, stage) == _rows(undisturbed, stage)
