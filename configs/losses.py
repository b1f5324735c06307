"""Loss variants, one line each. A config takes any number of them; the loss is their sum."""

import copy

# name: {"fn": "module:function" of ssinfnet_jax.losses or of any package, hyper-parameters, "weight": 1.0,
#        "maps": {map of InfNet: weight}}
LOSSES = {
    "bce": {"fn": "segmentation:bce"},
    # alpha: a weight per class; Lin et al. weight positive against negative pixels.
    "focal": {"fn": "segmentation:focal", "gamma": 2.0, "alpha": 1.0},
    # Background, GGO, consolidation: the rarest class gets four times the weight.
    "focal_balanced": {"fn": "segmentation:focal", "gamma": 2.0, "alpha": (1.0, 1.0, 4.0)},
    "dice": {"fn": "segmentation:dice"},
    "tversky": {"fn": "segmentation:tversky", "alpha": 0.3, "beta": 0.7},
    "weighted_iou_bce": {"fn": "segmentation:weighted_iou_bce"},
    "weighted_iou_bce_published": {"fn": "segmentation:weighted_iou_bce", "unweighted_bce": True},
}
# Single network only: InfNet's contours.
EDGES = {"edge": {"fn": "segmentation:contour_bce", "maps": {"edge": 1.0}}}
# For multi networks, beside a loss of all classes: how the lesion is divided.
DIVISION = {"division": {"fn": "segmentation:division"}}
# Pretraining: what the inpainter and the coach minimise.
INPAINTER = {
    "reconstruction_loss": {"fn": "inpainting:reconstruction", "weight": 0.99},
    "context_loss": {"fn": "inpainting:context", "weight": 0.01},
}
COACH = {"coach_loss": {"fn": "inpainting:coach", "kl_weight": 1e-6}}


def losses(*names: str) -> dict[str, dict]:
    """The lines of the tables with these names.

    Raises: ValueError for an unknown name, with the choices.
    """
    table = {**LOSSES, **EDGES, **DIVISION, **INPAINTER, **COACH}
    unknown = sorted(set(names) - set(table))
    if unknown:
        raise ValueError(f"Unknown loss {', '.join(unknown)}; choose from {', '.join(table)}.")
    return {name: copy.deepcopy(table[name]) for name in names}
