"""Cross-validation by patient of three systems, with both networks (the paper's tables S2 and S3).

python -m launch.experiment --config=configs/experiments/cross_validation.py:SIZE --workdir=DIR [--data_dir=FOLDER]

Three folds as in the paper; for five: `--config.base.data.splits.num_folds=5 --config.folds='(0,1,2,3,4)'`. An official
test part is split like the rest.
"""

import ml_collections

from configs.experiments import common

NUM_FOLDS = 3


def get_config(size: str | None = None) -> ml_collections.ConfigDict:
    """The grid at a size of `common.SIZES`."""
    config = common.get_config("cross_validation", size, "Cross-validation by patient")
    config.network = "both"
    config.base.data.splits = {
        "seed": 0, "num_folds": NUM_FOLDS, "test_fold": (0,), "val_fold": (), "official_test": False,
    }  # fmt: skip
    config.folds = tuple(range(NUM_FOLDS))
    return common.with_methods(config, common.systems(config.base))
