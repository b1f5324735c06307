"""Segments scans and writes a page of each, and an index, next to the results."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from ssinfnet_jax import rundir
from ssinfnet_jax.data import input_files
from ssinfnet_jax.inference import results, segment_scan, segment_scans
from ssinfnet_jax.networks import packed
from ssinfnet_jax.networks.card import NetworkCard
from ssinfnet_jax.networks.decision import Decision
from ssinfnet_jax.report.kit import viewer
from ssinfnet_jax.report.scans import scan_pages

TITLES = {  # columns of segment_scan.COLUMNS that the pages show
    "slices": "slices",
    "slices_affected": "slices affected",
    "ggo_ml": "GGO (ml)",
    "consolidation_ml": "consolidation (ml)",
    "lesion_ml": "lesion (ml)",
    "lesion_px": "lesion (voxels)",
    "lesion_share_of_lung_approx": "lesion / lung (approximate)",
    "notes": "notes",
}
_PRINTED = [
    *("scan", "slices", "slices_affected", "ggo_ml", "consolidation_ml", "lesion_share_of_lung_approx", "empty")
]


class Outcome(NamedTuple):
    """table, failures: see segment_scans.run(); num_used: files of this call that are segmented, by it or earlier."""

    table: pd.DataFrame
    failures: pd.DataFrame
    num_used: int

    def words(self) -> str:
        """The main measurements, one line per scan."""
        return self.table[_PRINTED].to_string(index=False)


def run(job: segment_scans.Job, inputs: Sequence[pathlib.Path], *, names: tuple[str, str], **options: Any) -> Outcome:
    """Segments the scans of `inputs` that are not segmented yet, then writes the pages of all.

    Args:
      job, inputs: see segment_scans.run().
      names: of the single and the multi network, for the index.
      options: `num_workers`, `scheduler` and `choice` of segment_scans.run().
    Raises: ValueError or OSError as segment_scans.run().
    """
    measured, report = segment_scans.measured(job.out_dir), input_files.Report()
    table, failures = segment_scans.run(job, inputs, report=report, **options)
    for name in measured - set(table["scan"]):
        scan_pages.remove_case(job.out_dir, name)
    window_hu, _ = NetworkCard.read(job.single_dir).scan_input(job.single_dir)
    for row in table.to_dict("records"):
        _write_case(job.out_dir, row, window_hu)
    if len(table):
        _write_index(job, table, failures, _facts(job, names, window_hu))
    else:
        (job.out_dir / scan_pages.INDEX).unlink(missing_ok=True)  # lists scans that no longer exist
    return Outcome(table, failures, report.used)


def _write_case(out_dir: pathlib.Path, row: Mapping[str, Any], window_hu: tuple[float, float]) -> None:
    """Writes the page of a scan unless it is up to date."""
    page = out_dir / scan_pages.CASES / f"{scan_pages.file_name(row['scan'])}.html"
    made = (out_dir / "scans" / row["scan"] / "scan.json").stat().st_mtime
    written = page.is_file() and page.with_suffix(".jpg").is_file() and page.stat().st_mtime >= made
    if written or segment_scan.lost_file(out_dir, row["scan"]):
        return
    views = results.load_views(out_dir, row["scan"], window_hu, viewer.MAX_SIDE)
    facts = {title: row[name] for name, title in TITLES.items() if row[name] != "" and not pd.isna(row[name])}
    labels = [f"slice {index}" for index in range(len(views.images))]  # as in slices.csv and the pictures
    if views.files is not None:
        labels = [f"{label}, {file}" for label, file in zip(labels, views.files, strict=True)]
    case = viewer.Case(
        row["scan"], views.images, views.classes, facts=facts, labels=labels, areas=views.areas, soft=views.soft,
        probability=views.probability, counted_from=0,
    )  # fmt: skip
    scan_pages.write_case(out_dir, case)


def _write_index(job: segment_scans.Job, table: pd.DataFrame, failures: pd.DataFrame, facts: Mapping[str, Any]) -> None:
    scan_pages.write(
        job.out_dir,
        table[["scan", *TITLES]].rename(columns={"scan": "case"}),
        title="Segmented scans",
        facts=facts,
        titles=TITLES,
        without=failures,
        headline=[
            (str(len(table)), "scans", "for research, not for diagnosis"),
            (str(int(table["empty"].sum())), "without a lesion", "see their notes"),
            (str(len(failures)), "not segmented", "see the reasons below" if len(failures) else "none failed"),
        ],
    )


def _facts(job: segment_scans.Job, names: tuple[str, str], window_hu: tuple[float, float]) -> dict[str, Any]:
    """How the scans were segmented."""
    options, decision = job.options, NetworkCard.read(job.multi_dir).decision or Decision()
    return {
        "Single network": names[0],
        "Multi network": names[1],
        "Window (HU)": " to ".join(f"{edge:g}" for edge in window_hu),
        "Lesion": segment_scan.decide_by(decision, options).words,
        "Islands removed below": f"{options.min_island:g} mm² (pixels of pictures)",
        "Flips": options.flips,
        "View": options.view,
        "Outside of the lungs": f"lesions {'removed' if options.outside_lungs == 'remove' else 'kept'}",
        **packed.figures(job.single_dir, job.multi_dir),
        "Commit": rundir.provenance()["commit"],
    }
