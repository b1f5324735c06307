"""Both trained networks as one program that runs without this package, with a script that does so and a model card.

python -m launch.export --workdir=runs/demo --out=runs/demo_exported
python -m launch.export --single=MODEL_FOLDER [--multi=MODEL_FOLDER] --out=NEW_FOLDER
"""

import pathlib
import sys
from collections.abc import Sequence

from absl import app, flags, logging

from ssinfnet_jax.report.run import hand_on

_WORKDIR = flags.DEFINE_string("workdir", None, "Run folder with trained networks.")
_SINGLE = flags.DEFINE_string("single", None, "In place of --workdir: model folder of the single network.")
_MULTI = flags.DEFINE_string("multi", None, "With --single: model folder of the multi network; none: lesions only.")
_OUT = flags.DEFINE_string("out", None, "Folder to write; must not exist.", required=True)


def main(argv: Sequence[str]) -> None:
    """Writes the folder; a user's mistake ends with one line."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    logging.set_verbosity(logging.WARNING)
    try:
        _write(pathlib.Path(_OUT.value))
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"Error: {error}")


def _write(out_dir: pathlib.Path) -> None:
    if (_WORKDIR.value is None) == (_SINGLE.value is None) or (_MULTI.value and not _SINGLE.value):
        raise ValueError("Give either --workdir, or --single (and --multi, if there is one).")
    workdir = None if _WORKDIR.value is None else pathlib.Path(_WORKDIR.value)
    if workdir is None:
        single, multi = pathlib.Path(_SINGLE.value), _MULTI.value and pathlib.Path(_MULTI.value)
    else:
        single, multi = hand_on.models_of(workdir)
    program = hand_on.write_exported(out_dir, single, multi, workdir)
    print(f"Exported: {out_dir} ({program['megabytes']:.1f} MB, for {', '.join(program['platforms'])})")
    print(f"Run it: python {out_dir / 'run_exported.py'} SLICE.png LABELS.png")


if __name__ == "__main__":
    app.run(main)
