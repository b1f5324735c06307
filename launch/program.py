"""Start-up of programs: the compilation cache and the log."""

import os
import pathlib

import jax
from absl import flags, logging

from ssinfnet_jax import rundir

_CACHE_DIR = flags.DEFINE_string(
    "compilation_cache_dir", "~/.cache/ssinfnet_jax/xla", "Folder for compiled programs; empty: no cache."
)


def cache_dir() -> str | None:
    """The folder for compiled programs, or None."""
    return os.path.expanduser(_CACHE_DIR.value) if _CACHE_DIR.value else None


def prepare() -> None:
    """Sets up the compilation cache and the log."""
    if cache_dir():
        jax.config.update("jax_compilation_cache_dir", cache_dir())
    logging.set_verbosity(logging.INFO)
    # Libraries log internals at INFO; keep only the messages of this package.
    ours = (str(pathlib.Path(rundir.__file__).parent), str(pathlib.Path(__file__).parent))
    logging.get_absl_handler().addFilter(
        lambda record: record.levelno >= logging.converter.STANDARD_WARNING or record.pathname.startswith(ours)
    )
