"""Packs a run's networks in a compact form for distribution, with the cross-validated results of their recipe.

python -m launch.pack --workdir=runs/all_slices --folds=runs/fold0 --folds=runs/fold1 ... --out=NEW_FOLDER
"""

import pathlib

from absl import flags

from launch import errors, program
from ssinfnet_jax.report.run import hand_on

flags.adopt_module_key_flags(program)
_WORKDIR = flags.DEFINE_string("workdir", None, "Run folder of the networks.", required=True)
_FOLDS = flags.DEFINE_multi_string("folds", None, "Run folders of the cross-validation, each once.", required=True)
_LIMITS = flags.DEFINE_string(
    "limits", None, "Markdown file for the card: known failures, and who reviewed the slices."
)
_OUT = flags.DEFINE_string("out", None, "Folder to write; must not exist.", required=True)


def main() -> None:
    """Writes the folder."""
    program.prepare()
    out_dir = pathlib.Path(_OUT.value)
    found = hand_on.write_packed(
        out_dir,
        pathlib.Path(_WORKDIR.value),
        [pathlib.Path(fold) for fold in _FOLDS.value],
        pathlib.Path(_LIMITS.value) if _LIMITS.value else None,
    )
    for row in found["figures"]:
        print(f"{row['class']}: Dice {row['mean']:.3f} ± {row['error']:.3f} ({row['n']} held-out slices)")
    megabytes = sum(path.stat().st_size for path in out_dir.rglob("*") if path.is_file()) / 1e6
    print(f"Packed: {out_dir} ({megabytes:.1f} MB)")


if __name__ == "__main__":
    errors.run(main)
