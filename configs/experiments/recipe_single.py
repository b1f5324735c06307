"""What makes a good single network in two hours of two cores: one change of the recipe at a time, five folds.

python -m launch.experiment --config=configs/experiments/recipe_single.py:WAVE --workdir=DIR --data_dir=FOLDER

A wave is a grid of its own, so that a later one can build on what an earlier one found; `--share` takes over its runs.
"""

import ml_collections

from configs import covid_semiseg, recommended
from configs.experiments import start

WAVES: dict[str, dict[str, dict]] = {
    "base": {"base": {"title": "baseline", "changes": []}},
    "length": {"epochs_240": {"title": "240 epochs", "changes": [("single.train.epochs", 240)]}},
}


def get_config(wave: str | None = None) -> ml_collections.ConfigDict:
    """The grid of a wave."""
    name, methods = recommended.choose(WAVES, wave, "configs/experiments/recipe_single.py")
    config = start.get_config("recipe_single", "gpu", "A recipe for the single network")
    config.name = f"recipe_single:{name}"
    config.base = covid_semiseg.get_config("best")
    config.base.multi = None
    config.network, config.reference = "single", next(iter(methods))
    config.folds = tuple(range(5))
    return start.with_methods(config, methods)
