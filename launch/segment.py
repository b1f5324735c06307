"""Lesions in your own scans: DICOM series, NIfTI volumes, PNG or JPG slices, or folders of them; see docs/segment.md.

python -m launch.segment --input=SCANS --out=DIR \\
    --single=runs/demo/train_single/model --multi=runs/demo/train_multi/model
"""

import math
import pathlib
import sys
from collections.abc import Sequence

import pandas as pd
from absl import flags, logging

from launch import errors, paths, program
from ssinfnet_jax import pretrained
from ssinfnet_jax.data.readers import find, pictures
from ssinfnet_jax.data.readers.scan import KINDS
from ssinfnet_jax.inference import list_scans, segment_scan, segment_scans, segmenter
from ssinfnet_jax.networks.card import NetworkCard
from ssinfnet_jax.report.kit import blocks
from ssinfnet_jax.report.scans import scan_pages, segmented

flags.adopt_module_key_flags(program)  # for --help
_INPUT = flags.DEFINE_multi_string("input", None, "File or folder; may be given several times.", required=True)
_SINGLE = flags.DEFINE_string("single", None, "Model folder of the single network; none: that of the package.")
_MULTI = flags.DEFINE_string("multi", None, "Model folder of the multi network; none: that of the package.")
_OUT = flags.DEFINE_string("out", None, "Folder to write to; the same command resumes there.")
_HU_SLOPE = flags.DEFINE_float("hu_slope", None, "Of pictures with 8 or 16 bits: HU = slope x value + offset.")
_HU_OFFSET = flags.DEFINE_float("hu_offset", None, "Of pictures with 8 or 16 bits, as --hu_slope.")
_HU_WINDOW = flags.DEFINE_list(
    "hu_window", None, "Of pictures with 8 or 16 bits: the HU of black and white (255, or 65535), such as -1150,250."
)
_FORCE = flags.DEFINE_boolean("force", False, "Also segment volumes without lungs, and pictures of another window.")
_LIST = flags.DEFINE_boolean("list", False, "Show the scans found, and why others are left out; segment nothing.")
_KERNEL = flags.DEFINE_string("kernel", None, "Of several reconstructions, use those with this ConvolutionKernel.")
_PHASE = flags.DEFINE_integer("phase", None, "Of several phases of a series, use the one with this number.", 1)
_INPUT_KIND = flags.DEFINE_enum("input_kind", None, KINDS, "What the values are, where a file cannot tell.")
_THRESHOLD = flags.DEFINE_float(
    "threshold", None, "Lesion where its probability is above; not given: as the networks' folder says.", 0.0, 1.0
)
_MIN_ISLAND = flags.DEFINE_float("min_island", 0.0, "Remove smaller lesions of a slice: mm2, of pictures pixels.", 0.0)
_FLIPS = flags.DEFINE_enum("flips", "none", list(segmenter.FLIPS), "Also segment flipped slices, and average.")
_VIEW = flags.DEFINE_enum("view", None, ["lungs", "frame"], "Cut volumes down to the lungs; default: as in training.")
_OUTSIDE = flags.DEFINE_enum(
    "outside_lungs",
    "remove",
    ["remove", "keep"],
    "Lesions outside of the lungs, in volumes in HU where they are found.",
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 4, "Slices per call; more use more memory.", 1)
_NUM_WORKERS = flags.DEFINE_integer("num_workers", 0, "Processes for several scans; 0: all in this one.", 0)
_SCHEDULER = flags.DEFINE_string("dask_scheduler", None, "Address of a running Dask scheduler, tcp://HOST:PORT.")


def main() -> None:
    """Segments what the flags name, and says what came of it; exit code 1 if a scan failed or there was none."""
    program.prepare()
    paths.check_given(_INPUT, _SINGLE, _MULTI, _OUT)
    inputs = [pathlib.Path(path) for path in _INPUT.value]
    choice = find.Choice(_KERNEL.value, _PHASE.value, _to_hu())
    if _LIST.value:
        _show(inputs, choice)
        return
    if _OUT.value is None:
        raise ValueError("Give --out, a folder to write to, or --list to see the scans only.")
    job = _job(pathlib.Path(_OUT.value))
    try:
        table, failures, num_used = found = segmented.run(
            job,
            inputs,
            choice=choice,
            names=tuple(flag.value or "that of the package" for flag in (_SINGLE, _MULTI)),
            num_workers=_NUM_WORKERS.value,
            scheduler=_SCHEDULER.value,
        )
    except KeyboardInterrupt:
        sys.exit("Stopped; run the same command again to resume.")
    if len(table):
        print(found.words())
    for row in failures.itertuples():
        print(f"{'Left out' if row.left_out else 'FAILED'} {row.scan}: {row.reason}", file=sys.stderr)
    look = f"; look at {job.out_dir / scan_pages.INDEX}" if len(table) else ""
    logging.info("Written to %s%s.", job.out_dir, look)
    failed = int((~failures["left_out"].astype(bool)).sum())
    if failed or not num_used:  # `table` holds the scans of earlier calls, too
        some = f"{blocks.count(failed, 'scan')} failed"
        what = some if failed else f"no scan was segmented ({len(failures)} left out)"
        sys.exit(f"{what}; see the reasons in {job.out_dir / 'failures.csv'}.")


def _job(out_dir: pathlib.Path) -> segment_scans.Job:
    """Reads how to segment, and with which networks."""
    single_dir, multi_dir = (
        pretrained.resolve(flag.value, which) for flag, which in ((_SINGLE, "single"), (_MULTI, "multi"))
    )
    _, view = NetworkCard.read(single_dir).scan_input(single_dir)
    options = segment_scan.Options(
        _THRESHOLD.value, _MIN_ISLAND.value, _FLIPS.value, _VIEW.value or view, _OUTSIDE.value
    )
    return segment_scans.Job(
        single_dir, multi_dir, out_dir, options, _INPUT_KIND.value, _BATCH_SIZE.value, program.cache_dir(), _FORCE.value
    )


def _to_hu() -> pictures.ToHu | None:
    """Reads how the values of pictures become HU; raises ValueError for numbers that give none."""
    linear = (_HU_SLOPE.value, _HU_OFFSET.value)
    if _HU_WINDOW.value is None:
        slope, offset = (default if value is None else value for value, default in zip(linear, (1.0, 0.0), strict=True))
        if not (slope and math.isfinite(slope) and math.isfinite(offset)):
            raise ValueError(f"--hu_slope={slope:g} --hu_offset={offset:g}: both must be finite, and the slope not 0.")
        return None if linear == (None, None) else pictures.ToHu(slope, offset)
    if linear != (None, None):
        raise ValueError("Give either --hu_window, or --hu_slope and --hu_offset.")
    try:
        low, high = map(float, _HU_WINDOW.value)
    except ValueError:
        low, high = math.nan, math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"--hu_window={','.join(_HU_WINDOW.value)} must be two HU, low and high, as -1150,250.")
    return pictures.ToHu(window_hu=(low, high))


def _show(inputs: Sequence[pathlib.Path], choice: find.Choice) -> None:
    """Prints the scans of `inputs`."""
    table, num_others = list_scans.run(inputs, choice)
    with pd.option_context("display.max_colwidth", None, "display.width", None):
        print(table.drop(columns="left_out").to_string(index=False))
    for row in table[table["left_out"] != ""].itertuples():
        print(f"Left out {row.scan}: {row.left_out}")
    print(f"{(table['left_out'] == '').sum()} of {len(table)} scans can be segmented; other files: {num_others}.")


if __name__ == "__main__":
    errors.run(main)
