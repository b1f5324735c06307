"""A full disk, as the whole program meets it, on a small file system mounted for the test."""

import os
import pathlib
import subprocess
import sys

import pytest

from tests.training import toy_run

pytestmark = pytest.mark.long

# Mounts a file system of the given size on a folder and runs the command there; frees space and runs it again.
SCRIPT = """
folder=$1
mount -t tmpfs -o size="$2" tmpfs "$folder"
shift 2
"$@"; echo "exit code $?"
mount -o remount,size=64m "$folder"; echo "made room"
"$@"; echo "exit code $?"
"""


def _can_mount(folder):
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("size", ["8k", "300k"])
def test_the_last_line_is_the_first_error_and_its_remedy_gets_on(size, tmp_path):
    try:
        if not _can_mount(tmp_path):
            pytest.skip("this machine lets no user mount a file system")
    except FileNotFoundError:
        pytest.skip("this machine has no unshare (util-linux)")
    within = ["unshare", "-rm", "sh", "-c", SCRIPT, "sh", str(tmp_path), size]
    arguments, environment = toy_run.command(tmp_path, variant="single")
    process = subprocess.Popen(
        [*within, sys.executable, "-m", "tests.training.toy_run", *arguments],
        cwd=pathlib.Path(__file__).parents[2], env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    output = toy_run.end(process)
    full, _, after = output.partition("made room")
    *_, last, code = [line for line in full.splitlines() if line.strip()]
    assert code == "exit code 1"
    assert last.startswith("Error: ")
    assert "No space left on device" in last or "RESOURCE_EXHAUSTED" in last
    assert "run the same command again" in last
    assert after.rstrip().endswith("exit code 0")
