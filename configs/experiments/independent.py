"""Trained on one dataset, tested on another (the paper's tables S5 and S6): SInfNet and SSInfNet, both networks.

python -m launch.experiment --config=configs/experiments/independent.py:SIZE --workdir=DIR \\
    --data_dir=covid_semiseg=FOLDER --data_dir=medseg=FOLDER

MedSeg's `tr_im` are the labeled slices of COVID-SemiSeg, so the folder of medseg must contain only `rp_im` and
`rp_msk`. Some of COVID-SemiSeg's unlabeled slices are from Radiopaedia too, so pretraining may have seen slices, but no
labels, of the same patients. The generated sizes train on ct_phantom and test on ct_phantom with another scanner.
"""

import ml_collections

from configs.experiments import common


def get_config(size: str | None = None) -> ml_collections.ConfigDict:
    """The grid at a size of `common.SIZES`."""
    config = common.get_config("independent", size, "Trained on one dataset, tested on another")
    config.network = "both"
    name, variant = config.base.data.datasets[0]
    other = ("ct_phantom", f"{variant}_other_scanner") if name == "ct_phantom" else ("medseg", "default")
    config.folds = (0,)
    splits = {"seed": 0, "test_datasets": ("/".join(other),)}
    config.data = {
        other[0] if other[0] != name else "other_scanner": {
            "title": "tested on " + "/".join(other),
            "changes": [("data.datasets", ((name, variant), other)), ("data.splits", splits)],
        }
    }
    systems = common.systems(config.base)
    return common.with_methods(config, {name: systems[name] for name in ("sinfnet", "ssinfnet")})
