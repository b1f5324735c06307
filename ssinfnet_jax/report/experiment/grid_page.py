"""The page of an experiment: reads its folder, writes tables, figures and one self-contained HTML file.

Missing and failed runs have a row in the table of runs; the page shows the results of the others.
"""

import pathlib

from ssinfnet_jax.report.experiment import comparison_tables, grid_sections, read_grid
from ssinfnet_jax.report.kit import blocks, render, tables


def write(folder: str | pathlib.Path) -> pathlib.Path:
    """Writes `<folder>/report.html`, `tables/*_table.{csv,md,tex}` and `figures/*.{png,svg}` from the folder's files.

    Args:
      folder: of an experiment, with the tables of `evaluation.collect`.
    Returns: path of the page.
    Raises: FileNotFoundError without experiment.json; ValueError for a file that lacks a column or cannot be read.
    """
    experiment = read_grid.read(folder)
    shown = {made.name: made.table for made in comparison_tables.write_all(experiment)}
    sections = [_grid(experiment)]
    if experiment.config["task"] == "cost":
        sections.append(grid_sections.cost(experiment, shown))
    else:
        sections += [
            grid_sections.results(experiment, shown),
            grid_sections.differences(experiment, shown),
            grid_sections.examples(experiment),
            grid_sections.curves(experiment),
        ]
    for section in sections:
        if not section.blocks:
            section.add("note", "There are no results to show here yet.")
    data = " + ".join(experiment.data.values())
    return render.write(
        experiment.folder / "report.html",
        "report.html.j2",
        name=experiment.name,
        dataset=data,
        kind="an experiment",
        lead=f"{experiment.config.get('title', '')}{f', {data}' if data else ''}.",
        headline=_headline(experiment),
        sections=[*sections, _limits(experiment)],
    )


def _headline(experiment: read_grid.Experiment) -> list[dict[str, str]]:
    """Finished runs, time, and the highest Dice."""
    done = sum(run.state == "finished" for run in experiment.runs)
    failed = sum(run.state == "failed" for run in experiment.runs)
    strip = [
        {"value": f"{done} / {len(experiment.runs)}", "label": "Runs finished",
         "note": blocks.count(failed, "failed run") if failed else "none failed"},
    ]  # fmt: skip
    if experiment.seconds:
        strip.append({"value": tables.duration(experiment.seconds), "label": "Time of all stages",
                      "note": "shared stages count once"})  # fmt: skip
    summary = experiment.summary
    if summary is None:
        return strip
    best = summary[(summary["metric"] == "dice") & summary["class"].isin(["lesion", "overall"])]
    for kind, label in (("lesion", "Highest lesion Dice"), ("overall", "Highest overall Dice")):
        rows = best[best["class"] == kind].dropna(subset=["mean"])
        if len(rows):
            row = rows.loc[rows["mean"].idxmax()]
            written = rows["mean"].map(lambda mean: tables.mean_error(mean, None))
            alike = rows[written == written[row.name]]
            least, most = tables.number(alike["n"].min()), tables.number(alike["n"].max())
            if len(alike) > 1:
                what, error = f"shared by {len(alike)} of {len(rows)}", None  # whose errors differ
            else:
                what, error = experiment.methods[row["method"]], row["error"]
                if rows["data"].nunique() > 1:
                    what += f", {experiment.data.get(row['data'], row['data'])}"
            note = f"{what}, n = {least if least == most else f'{least} to {most}'} slices"
            strip.append({"value": tables.mean_error(row["mean"], error), "label": label, "note": note})
    return strip


def _grid(experiment: read_grid.Experiment) -> blocks.Section:
    section = blocks.Section("grid", "What was run", "Runs")
    facts = {"Grid": experiment.name, "Command": experiment.config.get("command", "")}
    if experiment.config["task"] == "train":
        facts |= {"Reference": experiment.methods.get(experiment.reference, "")}
        facts |= {
            f"{name.capitalize()}s": len({getattr(run, name) for run in experiment.runs}) for name in ("seed", "fold")
        }
    if experiment.commits:
        facts |= {"Commit": ", ".join(commit[:12] for commit in experiment.commits)}
    section.add("facts", [(name, str(value)) for name, value in facts.items() if value != ""])
    rows = [
        [tables.text_cell(run.name), tables.text_cell(experiment.methods[run.method]),
         tables.Cell(run.state, run.state, run.reason), tables.Cell(tables.duration(run.seconds or None), run.seconds),
         tables.text_cell(", ".join(run.shared) or tables.MISSING)]
        for run in experiment.runs
    ]  # fmt: skip
    columns = [tables.Column("Run"), tables.Column("Method"), tables.Column("State"),
               tables.Column("Time", True, "of its own stages"), tables.Column("Shared with other runs")]  # fmt: skip
    section.add("table", tables.Table("The runs of the grid.", columns, rows))
    if len(experiment.commits) > 1:
        section.add("warning", f"The runs used {len(experiment.commits)} different commits of the code.")
    return section


def _limits(experiment: read_grid.Experiment) -> blocks.Section:
    section = blocks.Section("limits", "Limits", "Limits")
    section.add("caution", blocks.NOT_DIAGNOSIS)
    if experiment.config["task"] == "cost":
        section.add("list", ["Times depend on the machine and its load; compare rows of this table only."])
        return section
    items = [
        "p values test whether these networks differ on new slices like these; the test over seeds, whether the "
        "methods differ when trained again. A claim about a method on new patients needs both.",
    ]
    if len({run.seed for run in experiment.runs}) < 2:
        items.insert(0, "Every method was trained with one seed only: differences may be chance of that training.")
    summary = experiment.summary
    if summary is not None and summary["n"].max() < 30:
        items.append(
            f"There are at most {int(summary['n'].max())} test slices: only large differences can be significant."
        )
    tested = experiment.comparison
    if tested is not None and tested["p"].notna().any():
        units = tested.get("patients", tested["n"]).max()
        smallest, tests = 2.0 ** (1 - units), int(tested["p"].notna().sum())
        if smallest * tests > comparison_tables.ALPHA:
            items.append(
                f"With {units:.0f} patients or slices, the smallest p of a signed-rank test is {smallest:.2g}, so none "
                f"of {tests} adjusted tests can be significant. Choose one metric in advance: "
                "--config.compare.metrics=\"('dice',)\"."
            )
    if len({run.fold for run in experiment.runs}) > 1:
        items.append("Networks of different folds share training slices, so p values are somewhat too small.")
    if any("ct_phantom" in title for title in experiment.data.values()):
        items.append("ct_phantom is generated data: its numbers show that the grid works, not how patients are.")
    section.add("list", items)
    return section
