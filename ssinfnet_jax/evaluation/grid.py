"""A grid of runs as plain data: methods (changes of a base config) x data x folds x seeds."""

import copy
import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

TASKS = ("train", "cost")


class Run(NamedTuple):
    """One run of a grid.

    Attributes:
      name: of its folder, unique in the grid.
      method, data, fold, seed: its place in the grid.
      config: of the run; for the task "cost", the entry to measure.
      setting: of the method, if it is tried with several (`settings.choose`).
    """

    name: str
    method: str
    data: str
    fold: int
    seed: int
    config: dict[str, Any]
    setting: str = ""


def runs(experiment: Mapping[str, Any]) -> list[Run]:
    """Lists the runs of a grid in order; the methods of a seed, fold and dataset are consecutive.

    Args:
      experiment: {"task": "train", "base": a whole config, "methods": {name: {"title", "changes", "settings"}}, "data":
        {name: {"title", "changes"}}, "folds", "seeds", "order": names of methods}, where changes are pairs of a config
        key, such as "single.model", and its new value, and the optional settings are {name: changes}: the method is
        run with each. The seeds are added to that of the config. Or {"task": "cost", "methods": {name: {"title",
        "entry": what to measure}}, "order"}.
    Raises: ValueError for an unknown task or method, an empty axis, a change of a key that the base does not have, or
      several settings without a second fold to choose on.
    """
    if experiment["task"] not in TASKS:
        raise ValueError(f"Unknown task {experiment['task']!r} of an experiment; choose one of {', '.join(TASKS)}.")
    if unknown := [name for name in experiment["order"] if name not in experiment["methods"]]:
        choices = ", ".join(experiment["methods"])
        raise ValueError(f"The experiment has no method {', '.join(map(repr, unknown))}; choose from {choices}.")
    if experiment["task"] == "cost":
        return [Run(name, name, "", 0, 0, experiment["methods"][name]["entry"]) for name in experiment["order"]]
    for axis in ("order", "data", "folds", "seeds"):
        if not len(experiment[axis]):
            raise ValueError(f"The experiment's {axis} are empty; list at least one.")
    tried = [
        (method, setting)
        for method in experiment["order"]
        for setting in experiment["methods"][method].get("settings") or [""]
    ]
    if len(tried) > len(experiment["order"]) and len(experiment["folds"]) < 2:
        raise ValueError("The experiment chooses settings on the other folds, but has one fold; list at least two.")
    found = []
    for data, fold, seed in itertools.product(experiment["data"], experiment["folds"], experiment["seeds"]):
        for method, setting in tried:
            config = copy.deepcopy(dict(experiment["base"]))
            entry = experiment["methods"][method]
            own = entry["settings"][setting] if setting else ()
            for key, value in (*experiment["data"][data]["changes"], *entry["changes"], *own):
                change(config, key, copy.deepcopy(value))
            if "num_folds" in config["data"]["splits"]:
                config["data"]["splits"]["test_fold"] = (int(fold),)
                if len(experiment["folds"]) > 1:
                    # An official test part would be the same in all folds, so it is split like the rest.
                    config["data"]["splits"]["official_test"] = False
            elif len(experiment["folds"]) > 1:
                raise ValueError(
                    f"The experiment has folds {list(experiment['folds'])}, but the splits of {data!r} have none: "
                    f"{config['data']['splits']}; set num_folds there, or one fold here."
                )
            config["seed"] += int(seed)  # so a method may shift the seeds
            which = f"{method}@{setting}" if setting else method
            name = "-".join([*([data] if len(experiment["data"]) > 1 else []), which, f"fold{fold}", f"seed{seed}"])
            config["name"] = f"{experiment['name']}/{name}"
            found.append(Run(name, method, data, int(fold), int(seed), config, setting))
    return found


def change(config: dict[str, Any], key: str, value: Any) -> None:
    """Sets `config["a"]["b"]` for the key "a.b"; raises ValueError with the choices if there is no such key."""
    *above, last = key.split(".")
    section = config
    for name in above:
        section = section.get(name) if isinstance(section, dict) else None
    if not isinstance(section, dict) or last not in section:
        choices = ", ".join(section) if isinstance(section, dict) else "nothing: it is not a section"
        raise ValueError(f"The config of the experiment has no {key!r} to change; {'.'.join(above)!r} has {choices}.")
    section[last] = value
