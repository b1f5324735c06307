"""The paper's design: labels of MedSeg, patients of ICTCF.

python -m launch.pipeline --config=configs/medseg_ictcf.py --workdir=DIR \\
    --data_dir=medseg=FOLDER --data_dir=ictcf=FOLDER

Pretraining uses the slices of both; training and evaluation use MedSeg's labels (6:1:1, as in the paper); phenotypes
and mediation use the patients of ICTCF. `full` needs a GPU or TPU; `full_scratch`: without pretraining.
"""

import ml_collections

from configs import recommended

VARIANTS = {"full": {"pretrained": True}, "full_scratch": {"pretrained": False}}


def get_config(variant: str | None = None) -> ml_collections.ConfigDict:
    """The config of a variant."""
    name, options = recommended.choose(VARIANTS, variant, "configs/medseg_ictcf.py")
    config = recommended.get_config()
    config.name = f"medseg_ictcf:{name}"
    config.data.datasets = (("medseg", "default"), ("ictcf", "default"))
    config.data.splits = {"seed": 0, "fractions": {"train": 0.75, "val": 0.125, "test": 0.125}}
    if not options["pretrained"]:
        config.single.pretrain = config.multi.pretrain = None
    return config
