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
DISTURBED = {
    "pmap": (
        ("pretrain single:5", "SIGTERM"), ("pretrain single:14", "SIGKILL"), ("train single:4", "SIGKILL"),
        ("pretrain multi:11", "SIGTERM"), ("train multi:11", "SIGKILL"),
    ),
    "fsdp": (("pretrain single:14", "SIGKILL"),),
}  # fmt: skip
DEVICES = {"pmap": 1, "fsdp": 2}
TIMES = ("slices_per_second", "time_waiting_for_data")


def _rows(workdir, stage):
    """Rows of metrics, without the times."""
    rows = [json.loads(line) for line in (workdir / stage / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


@pytest.mark.parametrize("way", DISTURBED)
def test_resumed_equals_undisturbed(way, tmp_path):
    workdir, undisturbed = tmp_path / "disturbed", tmp_path / "undisturbed"
    start = functools.partial(toy_run.start, devices=DEVICES[way], variant="single" if way == "fsdp" else "")
    toy_run.end(start(undisturbed, *toy_run.WAYS[way], saving=False))
    for place, how in DISTURBED[way]:
        code = -signal.SIGKILL if how == "SIGKILL" else loop.INTERRUPTED
        toy_run.end(start(workdir, *toy_run.WAYS[way], signal_at=f"{place}:{how}"), code)
        title, step = place.split(":")
        saved = checkpoint.latest_step(workdir / title.replace(" ", "_") / "checkpoints")
        # A kill loses the checkpoint being written; a stop saves the last step.
        assert 0 < saved <= int(step) if how == "SIGKILL" else saved == int(step) + 1
    toy_run.end(start(workdir, *toy_run.WAYS[way]))
    found, expected = toy_run.results(workdir), toy_run.results(undisturbed)
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    for name in {name.split("/")[0] for name in expected}:
        assert _rows(workdir, name) == _rows(undisturbed, name)
