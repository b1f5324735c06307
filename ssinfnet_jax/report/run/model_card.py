"""The card of an exported program: what it is, its training data, its metrics and its intended use."""

import pathlib
from collections.abc import Mapping
from typing import Any

from ssinfnet_jax.evaluation import columns
from ssinfnet_jax.report.kit import figure_style, render, tables
from ssinfnet_jax.report.run import data_tables, run_files

CARD = "MODEL_CARD.md"


def write(
    path: pathlib.Path,
    program: Mapping[str, Any],
    *,
    provenance: Mapping[str, Any],
    workdir: pathlib.Path | None = None,
) -> pathlib.Path:
    """Writes the card.

    Args:
      path: of the card.
      program: as `inference.export.write` returns it.
      provenance: `commit` and `versions` of the export, see `rundir.provenance`.
      workdir: run folder of the networks, for data and metrics; None: they are unknown.
    Returns: `path`.
    """
    run = None if workdir is None else run_files.read(workdir)
    networks = program["networks"]
    slices = None if run is None else run.slices
    trained = [] if run is None else [run.stages["train_single"], run.stages["train_multi"]]
    rows, names = _metrics(run)
    return render.write(
        path,
        "MODEL_CARD.md.j2",
        name=" + ".join(network["model"] for network in networks.values()) if run is None else run.config["name"],
        multi="multi" in networks,
        joint=(networks.get("multi", {}).get("decision") or {}).get("rule") == "joint",
        calibrated=all(network.get("temperature") for network in networks.values()),
        size=program["image_size"],
        window=program["window_hu"],
        program=program,
        normalisation=networks["single"]["normalisation"],
        datasets=list(dict.fromkeys(name for network in networks.values() for name in network.get("datasets", []))),
        starts={stage: _start(run, stage, network) for stage, network in networks.items()},
        splits=None if slices is None else table_rows(data_tables.splits(slices)),
        metrics=rows,
        metric_names=names,
        commits=list(dict.fromkeys(str(s.marker["commit"]) for s in trained if s.marker.get("commit"))),
        cell=cell,
        **provenance,
    )


def _start(run: run_files.Run | None, stage: str, network: Mapping[str, Any]) -> str:
    """The weights that the training of a network started from."""
    if network.get("initial"):
        return str(network["initial"])
    if run is None:
        return "not known"
    return "pretrained in this run (inpainting)" if run.stages[f"pretrain_{stage}"].state == "done" else "fresh weights"


def table_rows(table: tables.Table) -> list[list[str]]:
    """Head and rows of a table as text."""
    return [[column.title for column in table.columns], *([cell.text for cell in row] for row in table.rows)]


def _metrics(run: run_files.Run | None) -> tuple[list[list[str]], list[str]]:
    """Rows of network, class and `0.712 ± 0.043 (48)` per metric; the metrics' titles."""
    rows, names = [], []
    for network in run_files.NETWORKS if run is not None else ():
        summary = run.csv(f"evaluate/{network}_summary.csv", columns.SUMMARY)
        if summary is None:
            continue
        names = list(dict.fromkeys(summary["metric"]))
        for kind, part in summary.groupby("class", sort=False):
            values = part.set_index("metric").loc[names]
            cells = [f"{tables.mean_error(v['mean'], v['error'])} ({v['n']})" for _, v in values.iterrows()]
            rows.append([network, figure_style.TITLES.get(kind, kind), *cells])
    return rows, [figure_style.TITLES.get(name, name.capitalize()) for name in names]


def cell(value: Any) -> str:
    """Escapes text for a cell of a Markdown table."""
    text = " ".join(str(value).split())
    return "".join(f"\\{letter}" if letter in "\\|<>*_`[]" else letter for letter in text)
