"""Loss variants: one line each. A config takes any number of them; their values are added."""

LOSSES = {  # name: {"fn": "module:function", hyper-parameters, "weight": 1.0}
    "bce": {"fn": "segmentation:bce"},
    # alpha: a weight per class, not Lin et al.'s of positive against negative pixels.
    "focal": {"fn": "segmentation:focal", "gamma": 2.0, "alpha": 1.0},
    # Background, GGO, consolidation: the rarest class counts four times.
    "focal_balanced": {"fn": "segmentation:focal", "gamma": 2.0, "alpha": (1.0, 1.0, 4.0)},
    "dice": {"fn": "segmentation:dice"},
    "tversky": {"fn": "segmentation:tversky", "alpha": 0.3, "beta": 0.7},
    "weighted_iou_bce": {"fn": "segmentation:weighted_iou_bce"},
    "weighted_iou_bce_published": {"fn": "segmentation:weighted_iou_bce", "unweighted_bce": True},
}


def losses(*names: str) -> dict[str, dict]:
    """The lines of the table with these names.

    Raises: ValueError for an unknown name, with the choices.
    """
    unknown = sorted(set(names) - set(LOSSES))
    if unknown:
        raise ValueError(f"Unknown loss {', '.join(unknown)}; choose from {', '.join(LOSSES)}.")
    return {name: dict(LOSSES[name]) for name in names}
