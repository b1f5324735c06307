"""Tables of evaluated runs and grids: their columns by table, for those who write them and those who show them."""

from ssinfnet_jax.metrics import volume
from ssinfnet_jax.metrics.overlap import METRICS

NETWORKS = {"single": ("single",), "multi": ("multi",), "both": ("single", "multi")}  # an experiment's "network"
SLICES = ("slice_id", "patient_id", "class", *METRICS)  # evaluate/<network>_slices.csv
VOLUMES = ("volume_id", "patient_id", "class", "num_slices", "truth_ml", "pred_ml", *volume.METRICS)
"""evaluate/<network>_volumes.csv"""
EXAMPLES = (
    "image",
    "truth",
    "lesion_prob",
    "slice_id",
    "dice",
)  # evaluate/examples.npz; with a multi network PRED, too
PRED = "pred"
SUMMARY = ("class", "metric", "mean", "error", "n", "excluded")  # evaluate/<network>_summary.csv
ROC = ("class", "fpr", "tpr", "threshold")  # evaluate/<network>_roc.csv
ROW = ("data", "method", "seed", "slice_id", "class")  # what tells the rows of a long table apart
FAILURES = ("run", "stage", "reason")  # failures.csv of a grid
GRID = {  # tables/<name>.csv of a grid: the columns that a page cannot do without
    "slices": (*ROW, "fold", "patient_id"),
    "summary": ("data", "method", "class", "metric", "mean", "error", "n"),
    "comparison": (
        *("data", "method", "reference", "class", "metric", "n"),
        *("difference", "low", "high", "p", "p_adj"),
    ),
    "factors": (
        *("data", "factor", "class", "metric", "pairs", "n"),
        *("difference", "low", "high", "p", "p_adj", "smallest", "largest"),
    ),
    "settings": ("data", "method", "fold", "setting", "score", "chosen"),
    "published": ("method", "class", "metric", "mean", "n", "source"),
    "cost": ("network",),
}
