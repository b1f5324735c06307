"""Runs programs as a user does, but without the seconds for imports."""

import atexit
import contextlib
import functools
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[1]

# Tests compile for longer than they compute; with these flags a network compiles in a sixth of the time.
# `TEST_XLA_FLAGS= make test-all` tests with XLA's own settings.
XLA_FLAGS = os.environ.get("TEST_XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false")
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": XLA_FLAGS,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",  # many programs compile the same
}


class Program:
    """A process like `subprocess.Popen`, whose output is read when it has ended."""

    def __init__(self, module: str, arguments: list[str], environment: dict[str, str], *, merged: bool):
        self._temporary = tempfile.TemporaryDirectory()
        self._folder = pathlib.Path(self._temporary.name)
        self.args = [module, *arguments]
        self.returncode: int | None = None
        asked = {
            "module": module, "arguments": arguments, "environment": environment,
            "stdout": str(self._folder / "stdout"), "stderr": str(self._folder / ("stdout" if merged else "stderr")),
            "ended": str(self._folder / "ended"),
        }  # fmt: skip
        server = _server()
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        self.pid = int(server.stdout.readline())

    def poll(self) -> int | None:
        """Its exit code, minus the number of the signal that ended it, or None."""
        if self.returncode is None and (self._folder / "ended").is_file():
            self.returncode = int((self._folder / "ended").read_text())
        assert self.returncode is not None or _server().poll() is None, "the fork server has ended"
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end; raises subprocess.TimeoutExpired."""
        deadline = time.monotonic() + (timeout or float("inf"))
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(0.02)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Waits for its end and returns its output and errors ("" if merged)."""
        self.wait(timeout)
        paths = [self._folder / name for name in ("stdout", "stderr")]
        return tuple(path.read_text(errors="replace") if path.exists() else "" for path in paths)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


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


def start(module: str, *arguments: str, merged: bool = True, **environment: str) -> Program:
    """Starts `python -m MODULE ARGUMENTS` in the root of the repository, on one CPU device.

    Args:
      module: such as "launch.segment".
      arguments: of the program.
      merged: whether its errors are part of its output.
      environment: variables beside those of this process.
    """
    variables = {**os.environ, **ENVIRONMENT, **environment}
    return Program(module, [*map(str, arguments)], variables, merged=merged)


def run(module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs a program to its end; arguments as for `start`."""
    program = start(module, *arguments, merged=False, **environment)
    stdout, stderr = program.communicate()
    return subprocess.CompletedProcess(program.args, program.returncode, stdout, stderr)
