import jax
import pytest
from absl import flags as absl_flags
from absl.testing import flagsaver

from launch import processes


@pytest.fixture
def joined(monkeypatch):
    """The arguments of every call to `jax.distributed.initialize`."""
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


@pytest.fixture
def gpus(monkeypatch):
    """Function (number) that gives this machine a JAX for GPUs and that many GPUs, and no TPU unless asked for."""
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(processes.importlib.util, "find_spec", lambda name: name.startswith("jax_cuda") or None)

    def make(number, tpu=False):
        paths = {"/dev/nvidia[0-9]*": [f"/dev/nvidia{index}" for index in range(number)]}
        monkeypatch.setattr(processes.glob, "glob", lambda pattern: paths.get(pattern, ["/dev/accel0"] * tpu))

    return make


def _visible(environments):
    return [environment.get("CUDA_VISIBLE_DEVICES") for environment in environments]


def test_programs_share_out_the_gpus(gpus, monkeypatch):
    gpus(4)
    assert _visible(processes.apart(1)) == ["0,1,2,3"]
    assert _visible(processes.apart(3)) == ["0,3", "1", "2"]
    with pytest.raises(ValueError, match=r"--num_parallel=5: there are 4 GPUs"):
        processes.apart(5)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6, GPU-8a")
    assert _visible(processes.apart(2)) == ["6", "GPU-8a"]


def test_programs_share_the_cpu(gpus, monkeypatch):
    gpus(0)
    assert processes.apart(3) == [{}, {}, {}]
    gpus(2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert processes.apart(3) == [{}, {}, {}]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert processes.apart(3) == [{}, {}, {}]


def test_a_tpu_is_for_one(gpus, monkeypatch):
    gpus(0, tpu=True)
    monkeypatch.setattr(processes.importlib.util, "find_spec", lambda name: name == "libtpu" or None)
    assert processes.apart(1) == [{}]
    with pytest.raises(ValueError, match="a TPU serves one program at a time"):
        processes.apart(2)
