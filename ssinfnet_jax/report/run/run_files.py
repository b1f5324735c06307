"""The run folder as the report sees it: which stages there are, and readers of their files."""

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
    """What `<stage>/done.json` says; state: done, skipped, unfinished (a folder without it) or not run."""

    name: str
    state: str
    marker: Mapping[str, Any]

    @property
    def reason(self) -> str:
        """Why there may be nothing to show; empty for a stage that is done."""
        title = rundir.STAGES[self.name]
        return {
            "done": "",
            "skipped": f"{title}: skipped. {self.marker.get('skipped')}",
            "unfinished": f"{title}: not finished (no {self.name}/done.json). What is there is shown.",
            "not run": f"{title}: not run (the run folder has no {self.name}/).",
        }[self.state]


@dataclasses.dataclass(frozen=True)
class Run:
    """The run folder and what was read from it at the start."""

    workdir: pathlib.Path
    config: Mapping[str, Any]
    stages: Mapping[str, Stage]

    def path(self, *parts: str) -> pathlib.Path:
        """Path inside the run folder."""
        return self.workdir.joinpath(*parts)

    @property
    def dataset(self) -> str:
        """Names and configs of the datasets, as readers see them."""
        pairs = (self.config.get("data") or {}).get("datasets") or []
        return " + ".join(" / ".join(map(str, pair)) for pair in pairs) or "unknown dataset"

    @functools.cached_property
    def slices(self) -> pd.DataFrame | None:
        """prepare/slices.csv: every slice and its split; None where there is none."""
        return self.csv("prepare/slices.csv", ("slice_id", "patient_id", "split"))

    @functools.cached_property
    def analysis(self) -> mediation.Analysis | None:
        """The mediation analysis of the run; None where there is none."""
        folder = self.path("mediate")
        return mediation.Analysis.read(folder) if (folder / "summary.json").is_file() else None

    def csv(self, name: str, required: Sequence[str] = ()) -> pd.DataFrame | None:
        """Table of the run folder; None where there is no such file, or no row in it."""
        table = table_files.read_csv(self.path(*name.split("/")), required)
        return None if table is None or table.empty else table

    def arrays(self, name: str, required: Sequence[str]) -> dict[str, np.ndarray] | None:
        """Arrays of an .npz file of the run folder; None where there is no such file.

        Raises: ValueError, naming the file, if one of the required arrays is not in it.
        """
        path = self.path(*name.split("/"))
        if not path.is_file():
            return None
        with np.load(path) as held:
            arrays = dict(held)
        missing = [name for name in required if name not in arrays]
        if missing:
            raise ValueError(
                f"{path} lacks the arrays {missing} (it has {sorted(arrays)}); delete "
                f"{path.parent.name}/done.json and run the same command again to have it written anew."
            )
        return arrays

    def figure(self, name: str, figure: mpl_figure.Figure, caption: str) -> blocks.Figure:
        """Saves a figure (PNG, SVG) and gives it as a picture of the page."""
        return save_figure(self.workdir, name, figure, caption)


def read(workdir: pathlib.Path) -> Run:
    """What the run folder says of itself.

    Raises: FileNotFoundError without config.json.
    """
    config = table_files.read_json(workdir / "config.json")
    if config is None:
        raise FileNotFoundError(
            f"No config.json in {workdir}: this is not the folder of a run. Give the --workdir of a run, or "
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
    """Saves a figure (PNG, SVG) in `<folder>/figures` and gives it as a picture of a page in `folder`."""
    png = figure_style.save(figure, folder / "figures", name)
    width = round(float(figure.get_size_inches()[0]) * 112)
    return blocks.Figure(name, base64.b64encode(_embeddable(png)).decode(), caption, width)


def _embeddable(png: pathlib.Path) -> bytes:
    """The picture without its (empty) alpha channel, and not larger than the page shows on a fine screen."""
    with Image.open(png) as picture:
        picture = picture.convert("RGB")
    picture.thumbnail((MAX_PIXELS, 2 * MAX_PIXELS), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, format="PNG")
    return stream.getvalue()
