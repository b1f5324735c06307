"""Fills docs/results.md from the folders of experiments, so that no number in its tables is typed by hand.

python -m docs.fill_results [DIR...]

Between the lines `<!-- begin experiment NAME -->` and `<!-- end experiment NAME -->`, where NAME is the grid's name
(`ablation:cpu`), it writes command, commit, data, time, machine, tables, and figures. Figures go to docs/figures.
Between the lines `begin networks` and `end networks` it writes how good the networks in the package are; between
`begin claims` and `end claims` the paper's claims beside the comparisons of the grids (docs/claims.py).
"""

import collections
import io
import json
import pathlib
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from PIL import Image

from benchmarks import null_grid
from docs import claims
from ssinfnet_jax import rundir
from ssinfnet_jax.report.experiment import comparison_tables, read_grid
from ssinfnet_jax.report.kit import figure_style, table_export, tables

DOCS = pathlib.Path(__file__).parent
FIGURES = {  # patterns of figures in an experiment's folder -> captions
    "examples_single": "Slices: best, median and worst of the reference, and those on which the methods differ most",
    "examples_multi": "Slices: best, median and worst of the reference, and those on which the methods differ most",
    "metrics": "Mean ± 1.96 standard errors by class, measure and method",
    "differences": "Difference of the Dice from the reference, 95 % bootstrap interval",
    "learning_*": "Loss and Dice in training, a running mean over augmented slices; thin: single runs",
    "cost": "Cost of each network",
}
HELD_OUT = DOCS.parent / "ssinfnet_jax" / "pretrained" / "held_out.json"
AIMS = {"lesion": 0.75, "ggo": 0.62, "consolidation": 0.40, "overall": 0.67}
WIDTH = 1400  # maximum width of a figure, pixels
MAX_BYTES = 300_000  # per figure


def main(argv: Sequence[str]) -> None:
    """Fills the blocks of the experiments in the folders `argv[1:]`."""
    try:
        write(DOCS / "results.md", argv[1:])
    except (ValueError, OSError) as error:
        sys.exit(f"Error: {error}")


def write(path: pathlib.Path, folders: Sequence[str | pathlib.Path]) -> None:
    """Fills the blocks of experiments in a page, and `figures/` beside it; writes nothing if a block is missing."""
    text, pictures = path.read_text(encoding="utf-8"), {}
    if "<!-- begin networks -->" in text:
        text = _replaced(text, "networks", networks(json.loads(HELD_OUT.read_text())))
    experiments = [read_grid.read(folder) for folder in folders]
    for experiment in experiments:
        text, own = fill(text, experiment)
        pictures |= own
    comparisons = claims.kept(path.parent / "comparisons.csv", experiments)
    if "<!-- begin claims -->" in text:
        text = _replaced(text, "claims", claims.block(comparisons))
    (path.parent / "figures").mkdir(exist_ok=True)
    for name, content in pictures.items():
        with rundir.writing(path.parent / "figures" / name) as partial:
            partial.write_bytes(content)
    rundir.write_text(path.parent / "comparisons.csv", comparisons.to_csv(index=False, float_format="%.6g"))
    rundir.write_text(path, text)


def fill(text: str, experiment: read_grid.Experiment) -> tuple[str, dict[str, bytes]]:
    """Rewrites the experiment's block in a text; returns the text and the figures in the block by file name.

    Raises: ValueError unless the text has the block exactly once.
    """
    written, pictures = block(experiment)
    return _replaced(text, f"experiment {experiment.name}", written), pictures


def _replaced(text: str, name: str, written: str) -> str:
    """The text with another block of this name; ValueError unless it has it exactly once."""
    begin, end = (f"<!-- {side} {name} -->" for side in ("begin", "end"))
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        present = ", ".join(re.findall("<!-- begin experiment (.*?) -->", text)) or "none"
        raise ValueError(
            f"The results must have one block of {name.removeprefix('experiment ')}, with the lines {begin} and {end}; "
            f"found {text.count(begin)} and {text.count(end)}. They have blocks of: {present}. Add these two lines "
            "where the block belongs."
        )
    head, _, rest = text.partition(begin)
    return f"{head}{begin}\n{written}{end}{rest.partition(end)[2]}"


def networks(held_out: Mapping[str, Any]) -> str:
    """Formats the cross-validated accuracy of the networks in the package, from their held_out.json."""
    found = {row["class"]: row for row in held_out["figures"]}
    count = max(row["n"] for row in found.values())
    rows = [f"| {count} held-out slices, single models | Dice | slices | aim |", "|---|---|---|---|"]
    for name, aim in AIMS.items():
        row = found[name]
        rows.append(f"| {figure_style.title(name)} | {row['mean']:.3f} ± {row['error']:.3f} | {row['n']} | {aim:.2f} |")
    return "\n".join(rows) + "\n"


def block(experiment: read_grid.Experiment) -> tuple[str, dict[str, bytes]]:
    """Formats how the experiment was run, its tables and figures as Markdown; also returns the figures by file name.

    Of a null grid there is only how often its names differ.
    """
    parts = [f"```\n{_public(experiment.config.get('command', ''))}\n```\n", f"{_how(experiment)}\n"]
    if experiment.name.startswith("null:"):
        return "\n".join([*parts, of_no_difference(experiment.slices)]), {}
    made = [
        comparison_tables.cost(experiment), comparison_tables.metrics(experiment),
        comparison_tables.published(experiment), comparison_tables.settings(experiment),
        comparison_tables.factors(experiment, only="dice"),
        comparison_tables.comparison(experiment, only="dice"),
    ]  # fmt: skip
    parts += [table_export.markdown(table.table) for table in made if table is not None]
    pictures = {}
    for pattern, caption in FIGURES.items():
        for source in sorted((experiment.folder / "figures").glob(f"{pattern}.png")):
            ending, content = _small(source)
            target = f"experiment_{re.sub('[^a-z0-9]+', '_', experiment.name)}_{source.stem}.{ending}"
            pictures[target] = content
            of = [f" ({title})" for name, title in experiment.data.items() if source.stem.endswith(f"_{name}")]
            parts.append(f"![{caption}{''.join(of)}](figures/{target})\n")
    return "\n".join(parts), pictures


def of_no_difference(slices: pd.DataFrame) -> str:
    """How often names of the same method differ (benchmarks/null_grid.py), as a table in Markdown."""

    def share(value: float) -> tables.Cell:
        return tables.Cell(tables.MISSING if pd.isna(value) else f"{value:.0%}", value)

    columns = {
        "class": ("Class", tables.text_cell),
        "num_seeds": ("Seeds", tables.number_cell),
        "pairs": ("Pairs", tables.number_cell),
        "patients": ("p < 0.05 over slices", share),
        "seeds": ("p < 0.05 over seeds", share),
        "both": ("both", share),
        "interval": ("interval without 0", share),
        "sd_of_differences": ("SD of differences", tables.number_cell),
    }
    found = null_grid.rates(slices).reset_index()
    found["class"] = found["class"].map(figure_style.title)
    return table_export.markdown(tables.from_frame(found, "Share of the pairs of names that differ.", columns))


def _how(experiment: read_grid.Experiment) -> str:
    """Describes commit, data, time and machine."""
    done = [run for run in experiment.runs if run.state == "finished"]
    commits = dict.fromkeys(commit[:7] + "+" * commit.endswith("+") for commit in experiment.commits)
    machines = {text for run in done if (text := _machine(run.folder))}
    facts = [
        f"Commit {', '.join(commits)}" if commits else "",
        f"data {' + '.join(experiment.data.values())}" if experiment.data else "",
        f"{len(done)} of {len(experiment.runs)} runs",
        f"{tables.duration(experiment.seconds)} of stages" if experiment.seconds else "",
        *(sorted(machines) or ["machine not recorded"]),
    ]
    absent = [
        f"- {run.name}: {run.state}{f', {_public(run.reason)}' if run.reason else ''}".replace("<", "&lt;")
        for run in experiment.runs
        if run.state not in ("finished", "not run")
    ]
    not_run = collections.Counter((run.data, run.setting) for run in experiment.runs if run.state == "not run")
    if not_run:
        told = (f"{count} of {' at '.join(filter(None, what))}" for what, count in not_run.items())
        absent.append(f"- not run: {', '.join(told)}")
    return "\n".join(["; ".join(fact for fact in facts if fact) + ".", *absent])


def _machine(folder: pathlib.Path) -> str:
    for name in ("machine.json", "cost.json"):
        if (folder / name).is_file():
            about = json.loads((folder / name).read_text())
            device = about["device"] if about["device"] != "cpu" else f"{about['cpus']} cores of {about['machine']}"
            return f"{about['num_devices']} x {device}, jax {about['jax']}"
    return ""


def _public(text: str) -> str:
    """Shortens paths, which are of no use to readers: `--data_dir=/home/me/covid` -> `--data_dir=.../covid`."""
    quoted = re.sub(r"'((?:--\w+=(?:\w+=)?)?)~?/[^'\n]*?([^/'\n]+)'", r"'\1.../\2'", text)
    return re.sub(r"(?<![\w./])~?/(?:[^/\s'\",]+/)*([^/\s'\",]+)", r".../\1", quoted)


def _small(path: pathlib.Path) -> tuple[str, bytes]:
    """Shrinks a picture to the width of a page and few colours; uses JPEG if that is still too large."""
    with Image.open(path) as original:
        picture = original.convert("RGB")
    picture.thumbnail((WIDTH, 4 * WIDTH), Image.Resampling.LANCZOS)
    content = _encoded(picture.quantize(192, dither=Image.Dither.NONE), "PNG")
    if len(content) <= MAX_BYTES:
        return "png", content
    while True:
        for quality in (90, 85, 80, 75):
            content = _encoded(picture, "JPEG", quality=quality)
            if len(content) <= MAX_BYTES:
                return "jpg", content
        picture = picture.resize([max(1, side * 4 // 5) for side in picture.size], Image.Resampling.LANCZOS)


def _encoded(picture: Image.Image, kind: str, **options: int) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format=kind, optimize=True, **options)
    return stream.getvalue()


if __name__ == "__main__":
    main(sys.argv)
