import jax
import pytest
from absl import flags as absl_flags
from absl.testing import flagsaver

from launch import processes


@pytest.fixture
def joined(monkeypatch):
    """The arguments of every call of `jax.distributed.initialize`."""
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *args: calls.append(args))
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS", raising=False)
    absl_flags.FLAGS.mark_as_parsed()
    service = jax.config.jax_enable_preemption_service
    yield calls
    jax.config.update("jax_enable_preemption_service", service)


def test_a_plain_machine_does_not_try(joined):
    processes.join()
    assert joined == []


@pytest.mark.parametrize(("tasks", "expected"), [("1", []), ("4", [(None, None, None)])])
def test_a_slurm_step_of_several_tasks(tasks, expected, joined, monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", tasks)
    processes.join()
    assert joined == expected


def test_flags(joined):
    with flagsaver.flagsaver(coordinator_address="a:1", num_processes=2, process_id=0):
        processes.join()
    assert joined == [("a:1", 2, 0)]


def test_flags_belong_together(joined):
    with (
        flagsaver.flagsaver(coordinator_address="a:1", num_processes=2),
        pytest.raises(ValueError, match=r"belong together; missing: --process_id"),
    ):
        processes.join()
