"""Runs launch.segment and measures its parts; `benchmarks.segment` starts it in a process of its own.

python -m benchmarks.segment_parts PARTS.json FLAGS_OF_LAUNCH_SEGMENT...

Parts run at the same time (while the networks compute, slices are read and written), so their seconds add up to more
than the wall time. Those of the main thread follow one another.
"""

import collections
import functools
import json
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

from launch import errors, segment
from ssinfnet_jax.data import pipeline, survey
from ssinfnet_jax.inference import segment_scan, segmenter
from ssinfnet_jax.report.scans import segmented

PARTS = {  # title: the functions that are this part
    "loading the networks": [(segment_scan.Networks, "__init__")],
    "finding the lungs (first reading)": [(survey, "survey")],
    "reading for the networks": [(pipeline.Resize, "__call__"), (segment_scan._Slices, "__getitem__")],
    "deciding and storing slices": [(segment_scan._Result, "_fill")],
    "files": [(segment_scan._Result, "write")],
    "page": [(segmented, "_write_case"), (segmented, "_write_index")],
}


def main() -> None:
    """Runs the program, then writes the seconds and calls of each part."""
    path = pathlib.Path(sys.argv.pop(1))
    seconds, calls = collections.Counter(), collections.Counter()
    for title, functions in PARTS.items():
        for owner, name in functions:
            setattr(owner, name, _timed(getattr(owner, name), title, seconds, calls))
    start = segmenter.Segmenter.__init__

    @functools.wraps(start)
    def with_timers(self, *arguments, **options):
        start(self, *arguments, **options)
        self._find = _timed(self._find, "single network", seconds, calls)
        self._divide = _timed(self._divide, "multi network", seconds, calls)

    segmenter.Segmenter.__init__ = with_timers
    try:
        errors.run(segment.main)
    finally:
        path.write_text(json.dumps({title: [seconds[title], calls[title]] for title in seconds}))


def _timed(function: Callable, title: str, seconds: collections.Counter, calls: collections.Counter) -> Callable:
    @functools.wraps(function)
    def timed(*arguments: Any, **options: Any) -> Any:
        start = time.monotonic()
        try:
            return function(*arguments, **options)
        finally:
            seconds[title] += time.monotonic() - start
            calls[title] += 1

    return timed


if __name__ == "__main__":
    main()
