"""Checks a user's data and writes the findings as a page and tables."""

import pathlib
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ssinfnet_jax import rundir
from ssinfnet_jax.data.datasets import registry
from ssinfnet_jax.data.datasets.folder import description as descriptions
from ssinfnet_jax.data.datasets.folder import inspection
from ssinfnet_jax.report.data_check import page

IMAGES, FINDINGS = "images.csv", "findings.csv"


def run(
    root: pathlib.Path,
    out_dir: pathlib.Path | None,
    *,
    name: str = "folder",
    told: Mapping[str, Any] | None = None,
    save: bool = False,
) -> inspection.Inspection:
    """Checks the data of a folder.

    Args:
      root: the folder.
      out_dir: for the page `check.html`, `images.csv`, `findings.csv` and the figure; None: nothing is written.
      name: "folder", or a public dataset.
      told: a description, as parsed YAML, instead of `dataset.yaml`; None: that of the folder.
      save: writes `told` to `dataset.yaml` if there are no errors.
    Raises: ValueError or FileNotFoundError if the folder or its description does not exist.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"--data_dir={root} does not exist; name the folder of the data.")
    if out_dir is not None and out_dir.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"--out={out_dir} is inside the data, which must not change; name a folder outside of it.")
    path = root / descriptions.FILE
    if save and path.exists():
        raise ValueError(f"{path} already exists; change it, or remove it first.")
    inspected = inspection.inspect(_description(root, name, told), root)
    if save and told and not inspected.findings.of("error"):
        descriptions.write(path, told)
    if out_dir is not None:
        out_dir.mkdir(parents=True, exist_ok=True)
        rundir.write_text(out_dir / IMAGES, inspected.table().to_csv(index=False))
        findings = pd.DataFrame(inspected.findings, columns=["level", "kind", "path", "text", "remedy"])
        rundir.write_text(out_dir / FINDINGS, findings.to_csv(index=False))
        page.write(out_dir, inspected)
    return inspected


def _description(root: pathlib.Path, name: str, told: Mapping[str, Any] | None) -> descriptions.Description:
    if name in registry.PUBLIC:
        if told:
            raise ValueError(f"The dataset {name!r} has a description; leave out --images, --masks and --labels.")
        return descriptions.public(name)
    if name != "folder":
        raise ValueError(f"Unknown --dataset={name}; choose one of folder, {', '.join(registry.PUBLIC)}.")
    return descriptions.read(told, "the flags") if told else descriptions.find(root)
