"""Flags that all programs share, and how they begin."""

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
_WORKDIR = flags.DEFINE_string("workdir", None, "Run folder; the same command goes on where it was stopped.")
_DATA_DIR = flags.DEFINE_multi_string(
    "data_dir", [], "Folder of the dataset's source files; with several datasets NAME=FOLDER, once for each."
)

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def source_dirs(config: Config) -> dict[str, str]:
    """Source folder by dataset, from --data_dir.

    Raises: ValueError if the config has several datasets and a folder is given without the name of one.
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
            raise ValueError(f"--data_dir={value}: say whose folder it is, NAME=FOLDER with a name of {names}.")
    return folders


def run(
    main: Callable[[Config, rundir.RunDir], None],
    check: Callable[[dict[str, Any]], Config],
    instead: tuple[str, Callable[[], None]] | None = None,
) -> None:
    """Parses the flags and calls `main(check(tree of the config), run folder)`.

    A user's mistake ends with one clear line.

    Args:
      main: what to do in a run folder.
      check: gives the config; raises for what is wrong in it.
      instead: a flag that takes the place of --config and --workdir where it is given, and what to do then.
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
        flags.register_validator(instead[0], functools.partial(_check_own_flags, name=instead[0]))
    else:
        flags.mark_flags_as_required(["config", "workdir"])
    _run(work)


def _check_own_flags(value: str | None, name: str) -> bool:
    """Refuses flags of the main module where --`name`, which they go with, is not given: they would have no effect."""
    own = flags.FLAGS.flags_by_module_dict().get(sys.argv[0], ())
    idle = [f"--{flag.name}" for flag in own if flag.present and value is None]
    if idle:
        raise flags.ValidationError(
            f"{', '.join(idle)} without --{name}: with --config a run does what its config says; leave out these "
            "flags, or change a key of the config (--config.KEY=VALUE)"
        )
    return True


def run_experiment(main: Callable[[dict[str, Any], pathlib.Path], None]) -> None:
    """Parses the flags and calls `main(config of the experiment, its folder)`; mistakes as in `run`."""
    flags.mark_flags_as_required(["config", "workdir"])

    def work() -> None:
        paths.check_given(_WORKDIR, _DATA_DIR)
        main(_CONFIG.value.to_dict(), pathlib.Path(_WORKDIR.value))

    _run(work)


def open_run(folder: str | pathlib.Path, tree: dict[str, Any]) -> rundir.RunDir:
    """The run folder of a config's tree: opened and locked by process 0, then joined by the others."""
    opened = rundir.open_run(folder, tree) if parallel.is_main() else None
    parallel.wait("run folder opened")
    return opened or rundir.join_run(folder, tree)


def _run(work: Callable[[], None]) -> None:
    """Parses the flags and works; a user's mistake ends with one clear line."""

    def with_flags(argv: Sequence[str]) -> None:
        if len(argv) > 1:
            raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
        program.prepare()
        try:
            work()
        except (ValueError, OSError, FloatingPointError) as error:
            # Last what the user is to read.
            processes.leave(f"{_logged(traceback.format_exc())}\nError: {_said(error)}\n")
        except KeyboardInterrupt:
            processes.leave("Stopped; the same command goes on from here.")
        except Exception:
            if jax.process_count() == 1:
                raise
            processes.leave(traceback.format_exc())

    # By itself --help lists the flags of the main module alone.
    for module, defined in flags.FLAGS.flags_by_module_dict().items():
        for flag in defined if module.startswith("launch.") else ():
            flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    app.run(with_flags, flags_parser=_parse)


def _parse(argv: Sequence[str]) -> list[str]:
    """Parses the flags; a mistake in them, or in the config file that they name, ends with one clear line."""
    try:
        return flags.FLAGS(tuple(argv))
    except flags.Error as error:
        # With a config file that fails, the text holds the whole traceback.
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
            "A flag changes what is there; what is new goes into a config file."
        )


def _said(error: Exception) -> str:
    """What an error says; of a full disk, which the system only names, the remedy too."""
    if getattr(error, "errno", None) in _FULL:
        return f"{error}. There is no room to write: make some, and run the same command again; what was saved is kept."
    return str(error)


def _logged(story: str) -> str:
    """Writes the whole story of an error, of which a user is told one line, where a developer finds it; says where."""
    log = pathlib.Path(tempfile.gettempdir(), f"ssinfnet_jax-error-{os.getpid()}.log")
    try:
        log.write_text(story)
    except OSError as error:  # the disk may be what is full
        return f"(The traceback could not be written to {log}: {error})"
    return f"(Traceback: {log})"
