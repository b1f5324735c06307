"""Two fake CPU devices for every test, a compilation cache between runs, and strict JAX settings."""

import os
import pathlib
import shutil
import subprocess
import tempfile

from tests import programs

os.environ["XLA_FLAGS"] = f"{programs.XLA_FLAGS} --xla_force_host_platform_device_count=2"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

import launch  # noqa: F401  collects garbage as rarely as the programs do: a tenth of the time
from ssinfnet_jax.networks import parallel

jax.config.update("jax_compilation_cache_dir", os.path.join(tempfile.gettempdir(), "ssinfnet_jax_test_cache"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_numpy_rank_promotion", "raise")

ROOT = pathlib.Path(__file__).parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with long tests come first: one that starts last would run while the other processes are done."""
    long = {item.path for item in items if item.get_closest_marker("long")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="module", autouse=True)
def _free_programs():
    """Frees what a file's tests have compiled: more than half of a process's memory."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder with reference outputs and real slices, beside the repository."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the reference data in {folder.name}/ beside the repository")
    return folder


@pytest.fixture(params=["pmap", "jit", "fsdp"])
def strategy(request) -> parallel.Strategy:
    """Every way to train on both devices; "fsdp" splits every array that can be split."""
    return {"pmap": parallel.Pmap, "jit": parallel.Jit, "fsdp": lambda: parallel.Jit(fsdp_min_size=2)}[request.param]()


@pytest.fixture
def pdflatex(tmp_path):
    """Compiles LaTeX tables in one document with the packages in their first lines; returns pdflatex's output."""
    program = shutil.which("pdflatex")
    if not program:
        pytest.skip("needs pdflatex (Debian: apt-get install texlive-latex-base texlive-latex-recommended)")

    def compile_all(tables: list[str]) -> str:
        lines = {line.removeprefix("% Needs ").rstrip(".") for line in (text.splitlines()[0] for text in tables)}
        document = ["\\documentclass{article}", *lines, "\\begin{document}", *tables, "\\end{document}"]
        (tmp_path / "all.tex").write_text("\n".join(document))
        command = [program, "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
        for _ in range(2):  # labels, widths of long tables
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
            assert done.returncode == 0, done.stdout[-3000:]
        assert (tmp_path / "all.pdf").stat().st_size > 0
        return done.stdout

    return compile_all
