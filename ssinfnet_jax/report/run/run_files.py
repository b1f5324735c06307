"""The run folder as the report sees it: its stages and readers of their files."""

import base64
import dataclasses
import functools
import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import figure as mpl_figure
from PIL import Image

from ssinfnet_jax import rundir
from ssinfnet_jax.analysis import mediation
from ssinfnet_jax.report.kit import blocks, figure_style, table_files

NETWORKS = {"single": "Single network (lesion)", "multi": "Multi network (GGO, consolidation)"}
MAX_PIXELS = 2240  # width of an embedded picture: twice that of the page


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage and its `done.json`; state: done, skipped, unfinished (a folder without done.json) or not run."""

    name: str
    state: str
    marker: Mapping[str, Any]

    @property
    def reason(self) -> str:
        """Why there may be nothing to show; "" for a finished stage."""
        title = rundir.STAGES[self.name]
        return {
            "done": "",
            "skipped": f"{title}: skipped. {self.marker.get('skipped')}",
            "unfinished": f"{title}: not finished (no {self.name}/done.json); this shows its results so far.",
            "not run": f"{title}: not run (the run folder has no {self.name}/).",
        }[self.state]


@dataclasses.dataclass(frozen=True)
class Run:
    """A run folder with its config and stages."""

    workdir: pathlib.Path
    config: Mapping[str, Any]
    stages: Mapping[str, Stage]

    def path(self, *parts: str) -> pathlib.Path:
        """Path inside the run folder."""
        return self.workdir.joinpath(*parts)

    @property
    def dataset(self) -> str:
        """Names and configs of the datasets, for readers."""
        pairs = (self.config.get("data") or {}).get("datasets") or []
        return " + ".join(" / ".join(map(str, pair)) for pair in pairs) or "unknown dataset"

    @functools.cached_property
    def slices(self) -> pd.DataFrame | None:
        """prepare/slices.csv: every slice and its split; None if it does not exist."""
        return self.csv("prepare/slices.csv", ("slice_id", "patient_id", "split"))

    @functools.cached_property
    def analysis(self) -> mediation.Analysis | None:
        """The mediation analysis of the run; None if there is none."""
        folder = self.path("mediate")
        return mediation.Analysis.read(folder) if (folder / "summary.json").is_file() else None

    def csv(self, name: str, required: Sequence[str] = ()) -> pd.DataFrame | None:
        """Reads a table of the run folder; None if the file does not exist or has no rows."""
        table = table_files.read_csv(self.path(*name.split("/")), required)
        return None if table is None or table.empty else table

    def arrays(self, name: str, required: Sequence[str]) -> dict[str, np.ndarray] | None:
        """Reads the arrays of an .npz file of the run folder; None if it does not exist.

        Raises: ValueError if a required array is missing.
        """
        path = self.path(*name.split("/"))
        if not path.is_file():
            return None
        with np.load(path) as file:
            arrays = dict(file)
        missing = [name for name in required if name not in arrays]
        if missing:
            raise ValueError(
                f"{path} lacks the arrays {missing} (it has {sorted(arrays)}); delete "
                f"{path.parent.name}/done.json and run the same command again to rewrite the file."
            )
        return arrays

    def figure(self, name: str, figure: mpl_figure.Figure, caption: str) -> blocks.Figure:
        """Saves a figure of the page, see save_figure()."""
        return save_figure(self.workdir, name, figure, caption)


def read(workdir: pathlib.Path) -> Run:
    """Reads the config and the stages of a run folder.

    Raises: FileNotFoundError without config.json.
    """
    config = table_files.read_json(workdir / "config.json")
    if config is None:
        raise FileNotFoundError(
            f"No config.json in {workdir}: this is not a run folder. Give the --workdir of a run, or "
            "start one there first (launch/pipeline.py writes config.json)."
        )
    stages = {}
    for name in rundir.STAGES:
        marker = table_files.read_json(workdir / name / "done.json")
        if marker is None:
            state = "unfinished" if (workdir / name).is_dir() else "not run"
        else:
            state = "skipped" if marker.get("skipped") else "done"
        stages[name] = Stage(name, state, marker or {})
    return Run(workdir, config, stages)


def save_figure(folder: pathlib.Path, name: str, figure: mpl_figure.Figure, caption: str) -> blocks.Figure:
    """Saves a figure as PNG and SVG in `<folder>/figures`, and returns it for a page in `folder`."""
    png = figure_style.save(figure, folder / "figures", name)
    width = round(float(figure.get_size_inches()[0]) * 112)
    return blocks.Figure(name, base64.b64encode(_embeddable(png)).decode(), caption, width)


def _embeddable(png: pathlib.Path) -> bytes:
    """The picture without its empty alpha channel, scaled down to what a page can show on a high-resolution screen."""
    with Image.open(png) as picture:
        picture = picture.convert("RGB")
    picture.thumbnail((MAX_PIXELS, 2 * MAX_PIXELS), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, format="PNG")
    return stream.getvalue()
