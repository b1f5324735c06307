"""Runs programs, each in a fork of a process that has imported the package: `python -m tests.fork_server`.

Reads one JSON object a line, {"module", "arguments", "environment", "stdout", "stderr"}, runs the module as `python -m`
does, and answers with its exit code.
"""

import importlib
import json
import os
import pkgutil
import runpy
import sys
import traceback

import ssinfnet_jax


def _work(module: str, arguments: list[str], environment: dict[str, str], stdout: str, stderr: str) -> int:
    """Runs a module in this process; returns what its exit code would be."""
    os.environ.clear()
    os.environ.update(environment)
    for path, stream in ((stdout, 1), (stderr, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), stream)
    sys.stdin.close()
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


def main() -> None:
    """Serves until its input ends."""
    for found in pkgutil.walk_packages(ssinfnet_jax.__path__, "ssinfnet_jax."):
        importlib.import_module(found.name)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            code = _work(**json.loads(line))
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
