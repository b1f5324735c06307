"""Flags and start-up of the programs that work in a run folder."""

import errno
import functools
import os
import pathlib
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import jax
from absl import app, flags
from ml_collections import config_flags

from launch import paths, processes, program
from ssinfnet_jax import rundir
from ssinfnet_jax.config import Config
from ssinfnet_jax.networks import parallel

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file and variant, e.g. configs/ct_phantom.py:demo.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Run folder; run the same command again to resume.")
_DATA_DIR = flags.DEFINE_multi_string(
    "data_dir", [], "Folder of the dataset's source files; with several datasets, NAME=FOLDER for each."
)
_OF_A_RUN = ("data_dir", "profile_steps", "coordinator_address", "num_processes", "process_id")

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def source_dirs(config: Config) -> dict[str, str]:
    """Source folder by dataset, from --data_dir.

    Raises: ValueError if the config has several datasets and a folder does not name one of them.
    """
    names = [name for name, _ in config.data.datasets]
    folders = {}
    for value in _DATA_DIR.value:
        name, equals, folder = value.partition("=")
        if equals and name in names:
            folders[name] = folder
        elif len(names) == 1:
            folders[names[0]] = value
        else:
            raise ValueError(f"--data_dir={value}: name the dataset, NAME=FOLDER with a name of {names}.")
    return folders


def run(
    main: Callable[[Config, rundir.RunDir], None],
    check: Callable[[dict[str, Any]], Config],
    instead: tuple[str, Callable[[], None]] | None = None,
) -> None:
    """Parses the flags and calls `main(check(tree of the config), run folder)`; a user's mistake ends with one line.

    Args:
      main: works in a run folder.
      check: returns the config; raises ValueError for a mistake in it.
      instead: a flag that replaces --config and --workdir, and what to do if it is given.
    """

    def work() -> None:
        if instead and flags.FLAGS[instead[0]].value is not None:
            instead[1]()
            return
        paths.check_given(_WORKDIR, _DATA_DIR)
        tree = _CONFIG.value.to_dict()
        processes.join()
        config = check(tree)
        main(config, open_run(_WORKDIR.value, tree))

    if instead:
        flags.register_multi_flags_validator(
            ["config", "workdir", instead[0]],
            lambda given: (
                (given[instead[0]] is None) != (given["config"] is None and given["workdir"] is None)
                and (given["config"] is None) == (given["workdir"] is None)
            ),
            f"give either --config and --workdir, or --{instead[0]}",
        )
        flags.register_validator(instead[0], functools.partial(_check_no_idle_flags, name=instead[0]))
    else:
        flags.mark_flags_as_required(["config", "workdir"])
    _run(work)


def _check_no_idle_flags(value: str | None, name: str) -> bool:
    """Rejects flags without effect: the main module's own flags without --`name`, and flags of a run with it."""
    own = [flag.name for flag in flags.FLAGS.flags_by_module_dict().get(sys.argv[0], ())]
    idle = [f"--{other}" for other in (own if value is None else _OF_A_RUN) if flags.FLAGS[other].present]
    if idle and value is None:
        raise flags.ValidationError(
            f"{', '.join(idle)} without --{name}: with --config a run follows its config; leave out these flags, or "
            "change a key of the config (--config.KEY=VALUE)"
        )
    if idle:
        raise flags.ValidationError(f"{', '.join(idle)} with --{name} has no effect; leave it out")
    return True


def run_experiment(main: Callable[[dict[str, Any], pathlib.Path], None]) -> None:
    """Parses the flags and calls `main(config of the experiment, its folder)`; handles mistakes as `run` does."""
    flags.mark_flags_as_required(["config", "workdir"])

    def work() -> None:
        paths.check_given(_WORKDIR, _DATA_DIR)
        main(_CONFIG.value.to_dict(), pathlib.Path(_WORKDIR.value))

    _run(work)


def open_run(folder: str | pathlib.Path, tree: dict[str, Any]) -> rundir.RunDir:
    """The run folder for a config's tree: process 0 opens and locks it, the others join."""
    opened = rundir.open_run(folder, tree) if parallel.is_main() else None
    parallel.wait("run folder opened")
    return opened or rundir.join_run(folder, tree)


def _run(work: Callable[[], None]) -> None:
    """Parses the flags and calls `work`; a user's mistake ends with one line."""

    def with_flags(argv: Sequence[str]) -> None:
        if len(argv) > 1:
            raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
        program.prepare()
        try:
            work()
        except (ValueError, OSError, FloatingPointError) as error:
            # The user's line comes last.
            processes.leave(f"{_logged(traceback.format_exc())}\nError: {_said(error)}\n")
        except KeyboardInterrupt:
            processes.leave("Stopped; run the same command again to resume.")
        except Exception:
            if jax.process_count() == 1:
                raise
            processes.leave(traceback.format_exc())

    # By default --help lists only the flags of the main module.
    for module, defined in flags.FLAGS.flags_by_module_dict().items():
        for flag in defined if module.startswith("launch.") else ():
            flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    app.run(with_flags, flags_parser=_parse)


def _parse(argv: Sequence[str]) -> list[str]:
    """Parses the flags; a mistake in them, or in the config file, ends with one line."""
    try:
        return flags.FLAGS(tuple(argv))
    except flags.Error as error:
        # If the config file fails, the text includes the whole traceback.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        if any(line.startswith("Traceback") for line in lines):
            sys.exit(f"Error: {lines[-1]}\n{_logged(str(error))}")
        sys.exit(f"Error: {' '.join(lines)} (--help lists the flags.)")
    except AttributeError as error:
        said = error
        while isinstance(said, BaseException) and said.args:
            said = said.args[0]
        sys.exit(
            f"Error: --config.KEY=VALUE names a key that the config does not have: {' '.join(str(said).split())}. "
            "Flags change existing keys; add new ones in a config file."
        )


def _said(error: Exception) -> str:
    """An error's message; for a full disk, with the remedy."""
    if getattr(error, "errno", None) in _FULL:
        return f"{error}. The disk is full: free space and run the same command again; what was saved is kept."
    return str(error)


def _logged(story: str) -> str:
    """Writes the traceback of an error to a file, for developers; returns a line that names the file."""
    log = pathlib.Path(tempfile.gettempdir(), f"ssinfnet_jax-error-{os.getpid()}.log")
    try:
        log.write_text(story)
    except OSError as error:  # the disk may be full
        return f"(The traceback could not be written to {log}: {error})"
    return f"(Traceback: {log})"
