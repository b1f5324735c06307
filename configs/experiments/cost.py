"""Cost of each network on this device (the paper's table S8): seconds, parameters, FLOPs, memory.

python -m launch.experiment --config=configs/experiments/cost.py:SIZE --workdir=DIR
"""

import ml_collections

from configs import recommended
from configs.experiments import common

SIZES = {
    "tiny": {"image_size": 64, "batch_size": 2, "seconds": 0.2, "width": 0.125},
    "cpu": {"image_size": 352, "batch_size": 2, "seconds": 20.0, "width": 1.0},
    "gpu": {"image_size": 352, "batch_size": 32, "seconds": 5.0, "width": 1.0, "dtype": "bfloat16"},
}
NETWORKS = {
    "single_unet": ("U-Net, lesion", "unet", {}),
    "infnet_resnet50": ("SInfNet, SSInfNet (ResNet-50)", "infnet", {"backbone": "resnet50"}),
    "infnet_res2net50": ("the same with Res2Net-50", "infnet", {"backbone": "res2net50"}),
    "infnet_vgg16": ("the same with VGG-16", "infnet", {"backbone": "vgg16"}),
    "multi_unet": ("Multi U-Net", "unet", {"num_classes": 3}),
    "multi_fcn8": ("Multi FCN8", "fcn8", {}),
    "multi_infnet": ("Multi SInfNet", "multi_infnet", {}),
    "multi_ssinfnet": ("Multi SSInfNet", "multi_ssinfnet", {}),
}


def get_config(size: str | None = None) -> ml_collections.ConfigDict:
    """The grid at a size of `SIZES`."""
    size, table = recommended.choose(SIZES, size, "configs/experiments/cost.py")
    options = {key: table[key] for key in ("width", "dtype") if key in table}
    entry = {key: table[key] for key in ("image_size", "batch_size", "seconds")}
    config = ml_collections.ConfigDict(
        {"name": f"cost:{size}", "title": "What the networks cost", "task": "cost", "methods": {}, "order": ()}
    )
    methods = {
        name: {"title": title, "entry": {"model": model, "options": {**own, **options}, **entry, "training": True}}
        for name, (title, model, own) in NETWORKS.items()
    }
    return common.with_methods(config, methods)
