"""Fills docs/results.md from the folders of experiments: no number of its tables is typed by hand.

python docs/fill_results.py DIR...

Between the lines `<!-- begin experiment NAME -->` and `<!-- end experiment NAME -->`, NAME being that of the grid
(`ablation:cpu`), it writes command, commit, data, time and machine, the tables, and figures, which go to docs/figures.
"""

import json
import pathlib
import re
import sys
from collections.abc import Sequence

from PIL import Image

from ssinfnet_jax.report import experiment_files, experiment_tables, table_export, tables

DOCS = pathlib.Path(__file__).parent
FIGURES = {  # of an experiment's folder, where it has them: what stands below
    "examples_single": "Slices: best, median and worst of the reference, and those on which the methods differ most",
    "examples_multi": "Slices: best, median and worst of the reference, and those on which the methods differ most",
    "metrics": "Mean ± 1.96 standard errors by class, measure and method",
    "differences": "Difference of the Dice from the reference, 95 % bootstrap interval",
    "cost": "Cost of each network",
}
WIDTH = 1400  # pixels of a figure, at most


def main(argv: Sequence[str]) -> None:
    """Fills the blocks of the experiments in the folders `argv[1:]`."""
    if len(argv) < 2:
        sys.exit("Usage: python docs/fill_results.py DIR...  (folders of launch.experiment)")
    path = DOCS / "results.md"
    try:
        text = path.read_text()
        for folder in argv[1:]:
            text = fill(text, experiment_files.read(folder), DOCS)
    except (ValueError, OSError) as error:
        sys.exit(f"Error: {error}")
    path.write_text(text)


def fill(text: str, experiment: experiment_files.Experiment, docs: pathlib.Path) -> str:
    """The text with the experiment's block written anew, and its figures in `<docs>/figures`.

    Raises: ValueError if the text does not have the block exactly once.
    """
    begin, end = (f"<!-- {side} experiment {experiment.name} -->" for side in ("begin", "end"))
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(
            f"The results must have one block of {experiment.name}, the lines {begin} and {end}; found "
            f"{text.count(begin)} and {text.count(end)}."
        )
    head, _, rest = text.partition(begin)
    return f"{head}{begin}\n{block(experiment, docs)}{end}{rest.partition(end)[2]}"


def block(experiment: experiment_files.Experiment, docs: pathlib.Path) -> str:
    """How the experiment was run, its tables and figures, in Markdown."""
    parts = [f"```\n{_public(experiment.config.get('command', ''))}\n```\n", f"{_how(experiment)}\n"]
    made = [
        experiment_tables.cost(experiment), experiment_tables.metrics(experiment),
        experiment_tables.published(experiment), experiment_tables.factors(experiment, only="dice"),
        experiment_tables.comparison(experiment, only="dice"),
    ]  # fmt: skip
    parts += [table_export.markdown(table.table) for table in made if table is not None]
    for name, caption in FIGURES.items():
        source = experiment.folder / "figures" / f"{name}.png"
        if source.is_file():
            target = f"figures/experiment_{re.sub('[^a-z0-9]+', '_', experiment.name)}_{name}.png"
            _copy(source, docs / target)
            parts.append(f"![{caption}]({target})\n")
    return "\n".join(parts)


def _how(experiment: experiment_files.Experiment) -> str:
    """Commit, data, time and machine."""
    done = [run for run in experiment.runs if run.state == "finished"]
    machines = {text for run in done if (text := _machine(run.folder))}
    facts = [
        f"Commit {', '.join(commit[:7] for commit in experiment.commits)}" if experiment.commits else "",
        f"data {' + '.join(experiment.data.values())}" if experiment.data else "",
        f"{len(done)} of {len(experiment.runs)} runs",
        f"{tables.duration(experiment.seconds)} of stages" if experiment.seconds else "",
        *(sorted(machines) or ["machine not recorded"]),
    ]
    return "; ".join(fact for fact in facts if fact) + "."


def _machine(folder: pathlib.Path) -> str:
    for name in ("machine.json", "cost.json"):
        if (folder / name).is_file():
            held = json.loads((folder / name).read_text())
            device = held["device"] if held["device"] != "cpu" else f"{held['cpus']} cores of {held['machine']}"
            return f"{held['num_devices']} x {device}, jax {held['jax']}"
    return ""


def _public(command: str) -> str:
    """The command with only the last part of absolute paths."""
    return re.sub(r"(?<==)/\S*/", ".../", command)


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """The picture at the width of a page, in few colours."""
    with Image.open(source) as picture:
        picture = picture.convert("RGB")
    picture.thumbnail((WIDTH, 4 * WIDTH), Image.Resampling.LANCZOS)
    target.parent.mkdir(exist_ok=True)
    picture.quantize(192, dither=Image.Dither.NONE).save(target, optimize=True)


if __name__ == "__main__":
    main(sys.argv)
