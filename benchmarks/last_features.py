"""What the features before a multi network's last layer tell: `python -m benchmarks.last_features RUN...`.

RUN are run folders with a pretrained multi network. Prints a row per run and network (fresh, pretrained, trained), on
48 training slices. `effective_rank`: exp of the entropy of the eigenvalues of the features' correlations (Roy
and Vetterli 2007), at most `channels`. `auc`: how well a logistic regression on the features tells consolidation from
GGO within lesions, in [0.5, 1]. Batch norm uses the batch's statistics, so running statistics play no part.
"""

import pathlib
import sys
from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from sklearn import linear_model, metrics

from ssinfnet_jax import models, rundir
from ssinfnet_jax.config import read_config
from ssinfnet_jax.data import pipeline, prepare, priors
from ssinfnet_jax.models import unet
from ssinfnet_jax.networks import inputs, storage

NUM_SLICES, NUM_PIXELS = 48, 20_000


def features(model: nn.Module, variables: Any, data: jax.Array) -> np.ndarray:
    """What the segmentation's expanding path returns: float32[B,H,W,C] for inputs float32[B,H,W,6].

    Raises: ValueError for a network without such a path.
    """
    _, kept = model.apply(
        variables, data, train=True, mutable=["intermediates", "batch_stats"],
        capture_intermediates=lambda module, _: isinstance(module, unet.UpPath),
    )  # fmt: skip
    found = [*flax.traverse_util.flatten_dict(kept.get("intermediates", {})).values()]
    if len(found) != 1:
        raise ValueError(f"{type(model).__name__} has no unet.UpPath before its last layer, as multi networks have.")
    return np.asarray(found[0][0])


def effective_rank(values: np.ndarray) -> float:
    """Of the correlations of float[n, C], without channels that are constant; in [1, C]."""
    varying = values[:, values.std(axis=0) > 1e-6]
    share = np.linalg.eigvalsh(np.corrcoef(varying.T)).clip(1e-12) / varying.shape[1]
    return float(np.exp(-(share * np.log(share)).sum()))


def separation(values: np.ndarray, classes: np.ndarray, rng: np.random.Generator) -> float:
    """Area under the ROC curve of a logistic regression of int[n] of {1 GGO, 2 consolidation} on float[n, C]."""
    chosen = rng.permutation(len(classes))[:NUM_PIXELS]
    values = values[chosen] / np.maximum(values.std(axis=0), 1e-6)
    fitted = linear_model.LogisticRegression(max_iter=1000).fit(values, classes[chosen])
    return float(metrics.roc_auc_score(classes[chosen] == 2, fitted.decision_function(values)))


def rows(workdir: pathlib.Path) -> pd.DataFrame:
    """The table of one run: network, effective_rank, channels, auc."""
    config, run = read_config(rundir.read_json(workdir / "config.json")), rundir.RunDir(workdir)
    records, table = prepare.load(config.data, run)
    resize = pipeline.Resize(config.data.image_size, "classes", priors.read(run))
    labeled = np.flatnonzero((table["split"] == "train") & table["has_classes"])[:NUM_SLICES]
    batch = next(pipeline.eval_batches(records, labeled.tolist(), resize, batch_size=len(labeled)))
    data = inputs.image_and_prior_input(inputs.to_unit(batch), config.data.normalisation)
    found = []
    for name, stage in (("fresh", None), ("pretrained", "pretrain_multi"), ("trained", "train_multi")):
        variables, card = storage.load(workdir / (stage or "pretrain_multi") / "model")
        model = models.create(card.model, **card.options)
        if stage is None:
            variables = models.init(model, config.seed, models.num_inputs(card.model))
        last = features(model, variables, jnp.asarray(data))
        lesion, flat = batch["classes"] > 0, last.reshape(-1, last.shape[-1])
        auc = separation(last[lesion], batch["classes"][lesion], np.random.default_rng(0))
        found.append((name, effective_rank(flat), flat.shape[1], auc))
    return pd.DataFrame(found, columns=["network", "effective_rank", "channels", "auc"])


def main() -> None:
    """Prints the table of all runs."""
    if len(sys.argv) < 2:
        sys.exit("Usage: python -m benchmarks.last_features RUN...")
    try:
        tables = {given: rows(pathlib.Path(given)) for given in sys.argv[1:]}
    except (ValueError, OSError) as error:
        sys.exit(f"Error: {error}")
    print(pd.concat(tables, names=["run", ""]).droplevel(1).round(3).to_string())


if __name__ == "__main__":
    main()
