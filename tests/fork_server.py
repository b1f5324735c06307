"""Starts programs, each in a fork of a process that has imported the package: `python -m tests.fork_server`.

Reads one JSON object a line, {"module", "arguments", "environment", "stdout", "stderr", "ended"}, runs the module as
`python -m` does in a new process, and answers with its process id. When that has ended, its exit code is in the file
`ended`; minus a signal's number if that ended it.
"""

import contextlib
import importlib
import json
import os
import pathlib
import pkgutil
import runpy
import selectors
import sys
import traceback

import ssinfnet_jax

_POLL_EVERY_S = 0.02


def _work(module: str, arguments: list[str], environment: dict[str, str], stdout: str, stderr: str) -> int:
    """Runs a module in this process; returns what its exit code would be."""
    os.environ.clear()
    os.environ.update(environment)
    for path, stream in ((stdout, 1), (stderr, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _requests():
    """Yields each line of standard input, and None whenever there has been none for a while."""
    waiting = selectors.DefaultSelector()
    waiting.register(0, selectors.EVENT_READ)
    text = b""
    while True:
        if not waiting.select(_POLL_EVERY_S):
            yield None
            continue
        found = os.read(0, 1 << 16)
        if not found:
            return
        *lines, text = (text + found).split(b"\n")
        yield from lines


def main() -> None:
    """Serves until its input ends."""
    for found in pkgutil.walk_packages(ssinfnet_jax.__path__, "ssinfnet_jax."):
        importlib.import_module(found.name)
    running = {}
    for line in _requests():
        if line is not None:
            asked = json.loads(line)
            ended = pathlib.Path(asked.pop("ended"))
            child = os.fork()
            if not child:
                code = _work(**asked)
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
            running[child] = ended
            print(child, flush=True)
        for child in [*running]:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                path = running.pop(child)
                with contextlib.suppress(FileNotFoundError):  # nobody waits for it any more
                    partial = path.with_suffix(".partial")
                    partial.write_text(str(os.waitstatus_to_exitcode(status)))
                    partial.rename(path)


if __name__ == "__main__":
    main()
