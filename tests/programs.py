"""Runs programs as a user does, but without the seconds for imports."""

import atexit
import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[1]


@functools.cache
def _server() -> subprocess.Popen:
    """One for all tests of this process."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.fork_server"],
        cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    atexit.register(server.kill)
    return server


def run(module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """`python -m MODULE ARGUMENTS` in the root of the repository, on one CPU device.

    Args:
      module: such as "launch.segment".
      arguments: of the program.
      environment: variables beside those of this process.
    """
    with tempfile.TemporaryDirectory() as folder:
        streams = {name: os.path.join(folder, name) for name in ("stdout", "stderr")}
        variables = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", **environment}
        asked = {"module": module, "arguments": [*map(str, arguments)], "environment": variables, **streams}
        server = _server()
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        written = {name: pathlib.Path(path).read_text(errors="replace") for name, path in streams.items()}
    return subprocess.CompletedProcess([module, *arguments], code, **written)
