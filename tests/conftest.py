"""Two fake CPU devices for every test, a compilation cache between runs, and strict JAX settings."""

import os
import pathlib
import tempfile

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

jax.config.update("jax_compilation_cache_dir", os.path.join(tempfile.gettempdir(), "ssinfnet_jax_test_cache"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
jax.config.update("jax_numpy_rank_promotion", "raise")

ROOT = pathlib.Path(__file__).parents[1]
# Files that take minutes begin first, so that no process is left with one of them at the end.
SLOWEST = (
    "launch/test_pipeline.py",
    "training/test_processes.py",
    "training/test_resume.py",
    "launch/test_experiment.py",
    "training/test_presets.py",
    "configs/test_steps.py",
    "models/test_gradients.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the slowest files first, the others in their order."""
    place = {ROOT / "tests" / name: index for index, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder of reference outputs and real slices beside the repository."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the reference data in {folder.name}/ beside the repository")
    return folder
