"""Exports both trained networks as one program that runs without this package, with a script for it and a model card.

python -m launch.export --workdir=runs/demo --out=runs/demo_exported
python -m launch.export --single=MODEL_FOLDER [--multi=MODEL_FOLDER] --out=NEW_FOLDER
"""

import pathlib

from absl import flags, logging

from launch import errors
from ssinfnet_jax.report.run import hand_on

_WORKDIR = flags.DEFINE_string("workdir", None, "Run folder with trained networks.")
_SINGLE = flags.DEFINE_string("single", None, "Instead of --workdir: model folder of the single network.")
_MULTI = flags.DEFINE_string(
    "multi", None, "With --single: model folder of the multi network; without it, only lesions."
)
_OUT = flags.DEFINE_string("out", None, "Folder to write; must not exist.", required=True)


def main() -> None:
    """Writes the folder."""
    logging.set_verbosity(logging.WARNING)
    if (_WORKDIR.value is None) == (_SINGLE.value is None) or (_MULTI.value and not _SINGLE.value):
        raise ValueError("Give either --workdir, or --single (and --multi, if there is one).")
    out_dir, workdir = pathlib.Path(_OUT.value), None
    if _WORKDIR.value is None:
        single, multi = pathlib.Path(_SINGLE.value), _MULTI.value and pathlib.Path(_MULTI.value)
    else:
        workdir = pathlib.Path(_WORKDIR.value)
        single, multi = hand_on.models_of(workdir)
    program = hand_on.write_exported(out_dir, single, multi, workdir)
    print(f"Exported: {out_dir} ({program['megabytes']:.1f} MB, for {', '.join(program['platforms'])})")
    print(f"Run it: python {out_dir / 'run_exported.py'} SLICE.png LABELS.png")


if __name__ == "__main__":
    errors.run(main)
