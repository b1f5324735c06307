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


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder of reference outputs and real slices beside the repository."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the reference data in {folder.name}/ beside the repository")
    return folder
