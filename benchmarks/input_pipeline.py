"""Speed of the input pipeline, from records of a prepared run to batches, by number of threads.

python -m benchmarks.input_pipeline --config=configs/ct_phantom.py:demo --workdir=runs/demo [--num_threads=1,2,4,8]
"""

import time

import numpy as np
from absl import flags

from benchmarks import measure
from launch import flags as common
from launch import stages
from ssinfnet_jax import rundir
from ssinfnet_jax.config import Config
from ssinfnet_jax.data import pipeline, prepare

_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Slices per batch.", lower_bound=1)
_NUM_BATCHES = flags.DEFINE_integer("num_batches", 50, "Batches to read per measurement.", lower_bound=1)
_NUM_THREADS = flags.DEFINE_list("num_threads", ["1", "2", "4", "8"], "Numbers of reading threads.")
_JSON = flags.DEFINE_string("json", None, "File for the numbers.")


def main(config: Config, run_dir: rundir.RunDir) -> None:
    """Prints slices/s for every number of threads, writes --json."""
    records, table = prepare.load(config.data, run_dir)
    labeled = np.flatnonzero((table["split"] == "train").to_numpy())
    transform = pipeline.Resize(config.data.image_size, "lesion")
    rows = []
    for num_threads in map(int, _NUM_THREADS.value):
        batches = pipeline.TrainBatches(records, labeled, transform, batch_size=_BATCH_SIZE.value, seed=0)
        iterator = batches.starting_at(0, num_threads=num_threads)
        next(iterator)
        start = time.perf_counter()
        for _ in range(_NUM_BATCHES.value):
            next(iterator)
        speed = _NUM_BATCHES.value * _BATCH_SIZE.value / (time.perf_counter() - start)
        rows.append({"num_threads": num_threads, "slices_per_s": speed})
        print(
            f"{num_threads} threads: {speed:.0f} slices/s at {transform.image_size}x{transform.image_size}", flush=True
        )
    about = {"config": config.name, "image_size": transform.image_size, "batch_size": _BATCH_SIZE.value}
    measure.write(_JSON.value, about, rows)


if __name__ == "__main__":
    common.run(main, stages.check)
