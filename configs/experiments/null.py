"""The same method under several names: how often is it found to differ from itself?

python -m launch.experiment --config=configs/experiments/null.py:SIZE --workdir=DIR [--data_dir=FOLDER]

All names have the same config but for the seeds, so every difference is chance. There is one learning rate at every
size. The page compares the first with the others; `python -m benchmarks.null_grid DIR` counts the significant ones of
all pairs. At the size `folds`, the first name's runs are those of `pretraining.py:folds` without pretraining, with 40
labeled slices at the lower rate; `--share=DIR` takes them from there.
"""

import ml_collections

from configs.experiments import common, pretraining

NUM_NAMES = 5


def get_config(size: str | None = None) -> ml_collections.ConfigDict:
    """The grid at a size of `common.SIZES`."""
    config = pretraining.share(common.get_config("null", size, "The same method under several names"))
    config.network, config.reference = "single", "name_1"
    config.base.multi = None
    methods = {
        f"name_{number}": {
            "title": f"SInfNet, {number}",
            "changes": [*common.SCRATCH["single"], ("seed", 100 * (number - 1))],
        }
        for number in range(1, NUM_NAMES + 1)
    }
    config.methods, config.order = methods, tuple(methods)
    return config
