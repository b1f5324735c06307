"""Optimizers, schedules and the lookahead wrapper, from config tables."""

import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

Schedule = Callable[[Any], Any]

# Keys of an optimizer's table that are not handed to optax's function as they stand.
KEYS = (
    "name", "learning_rate", "schedule", "warmup_steps", "epochs", "factor", "weight_decay", "clip_value", "clip_norm",
    "lookahead",
)  # fmt: skip
SCHEDULE = ("learning_rate", "schedule", "warmup_steps", "epochs", "factor")  # those that make the rate
OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {  # one line adds an optimizer
    "sgd": optax.sgd,
    "adam": optax.adam,
    "adamw": optax.adamw,
}
# What optax's functions call their own weight decay, and its mask.
DECAY = ("weight_decay", "weight_decay_rate")
DECAY_MASK = ("mask", "weight_decay_mask")


def make_schedule(table: Mapping[str, Any], *, steps_per_epoch: float, num_steps: int) -> Schedule:
    """A learning rate per update.

    Args:
      table: {"learning_rate": peak, "schedule": "constant" | "cosine" | "steps", and for "steps" "epochs": [...] at
        which the rate is multiplied by "factor" (0.1)}; "warmup_steps" (0) rises linearly from 0 first, in the time of
        the rest.
      steps_per_epoch: updates per epoch.
      num_steps: updates in all, the length of the cosine.
    Raises: ValueError for an unknown schedule, a missing key, or a rate that is not positive.
    """
    _check_has(table, ("learning_rate",), "An optimizer")
    peak, name = float(table["learning_rate"]), table.get("schedule", "constant")
    if not peak > 0:
        raise ValueError(f"learning_rate must be positive, found {peak}.")
    warmup = int(table.get("warmup_steps", 0))
    if name == "constant":
        schedule = optax.constant_schedule(peak)
    elif name == "cosine":
        schedule = optax.cosine_decay_schedule(peak, max(num_steps - warmup, 1))
    elif name == "steps":
        factor = float(table.get("factor", 0.1))
        _check_has(table, ("epochs",), "The schedule 'steps'")
        boundaries: dict[int, float] = {}
        for epoch in table["epochs"]:
            # After the warm-up updates are counted anew. Drops that fall on one update are all made.
            step = max(int(epoch * steps_per_epoch) - warmup, 0)
            boundaries[step] = boundaries.get(step, 1.0) * factor
        schedule = optax.piecewise_constant_schedule(peak, boundaries)
    else:
        raise ValueError(f"Unknown schedule {name!r}; choose one of constant, cosine, steps.")
    if warmup:
        schedule = optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), schedule], [warmup])
    return schedule


def restarting(phases: Sequence[tuple[Mapping[str, Any], int]], *, steps_per_epoch: float) -> Schedule:
    """Schedules one after the other, each begun anew: (table as for `make_schedule`, number of updates) per phase."""
    schedules = [make_schedule(table, steps_per_epoch=steps_per_epoch, num_steps=steps) for table, steps in phases]
    return optax.join_schedules(schedules, list(itertools.accumulate(steps for _, steps in phases))[:-1])


def make_optimizer(
    table: Mapping[str, Any], schedule: Schedule, *, decayed: Any = None
) -> optax.GradientTransformation:
    """The optimizer of a config table.

    lookahead(clip -> weight decay -> SGD | Adam | AdamW). An optimizer that has a weight decay of its own, such as
    AdamW, is always given the config's; for one that has none, the decay is added to the gradient.

    Args:
      table: {"name": a key of `OPTIMIZERS`, "momentum" (sgd), "weight_decay", "clip_value": element-wise bound of the
        gradient, "clip_norm": bound of its global norm, "lookahead": {"k": 5, "alpha": 0.5} or None, "learning_rate",
        "schedule", ...}. With lookahead's "sync_first" the slow weights move at updates 1, k + 1, 2k + 1, ... as in the
        published code, in place of k, 2k, ...
      schedule: learning rate per update.
      decayed: tree of bool, which parameters the weight decay acts on; all if None.
    Raises: ValueError for an unknown optimizer or key, or a decay that cannot be kept from what is not `decayed`.
    Source: Zhang et al. 2019, arXiv:1907.08610 (lookahead); the paper, "Experimental settings".
    """
    name = table.get("name")
    if name not in OPTIMIZERS:
        raise ValueError(f"Unknown optimizer {name!r}; choose one of {', '.join(OPTIMIZERS)}.")
    for key in ("clip_value", "clip_norm"):  # a negative one would turn the gradient round
        if table.get(key) is not None and not table[key] > 0:
            raise ValueError(f"{key} must be positive, found {table[key]}; leave it out for none.")
    optimizer = _with_decay(table, schedule, decayed)
    if table.get("clip_value"):
        optimizer = optax.chain(optax.clip(float(table["clip_value"])), optimizer)
    if table.get("clip_norm"):
        optimizer = optax.chain(optax.clip_by_global_norm(float(table["clip_norm"])), optimizer)
    if uses_lookahead(table):
        # The wrapper hands the fast parameters' gradients to what it wraps, so clipping inside it is clipping first.
        lookahead = table["lookahead"]
        _check_has(lookahead, ("k", "alpha"), "lookahead")
        if int(lookahead["k"]) < 1 or not 0 < float(lookahead["alpha"]) <= 1:
            raise ValueError(f"lookahead needs k >= 1 and alpha in (0, 1], found {dict(lookahead)}.")
        optimizer = optax.lookahead(optimizer, int(lookahead["k"]), float(lookahead["alpha"]))
        if lookahead.get("sync_first"):
            optimizer = _synchronised_first(optimizer, int(lookahead["k"]))
    return optimizer


def _with_decay(table: Mapping[str, Any], schedule: Schedule, decayed: Any) -> optax.GradientTransformation:
    """The bare optimizer with its weight decay; arguments as for `make_optimizer`."""
    name, decay = table["name"], float(table.get("weight_decay", 0.0))
    if decay < 0:
        raise ValueError(f"weight_decay must be at least 0, found {decay}.")
    known = [*inspect.signature(OPTIMIZERS[name]).parameters][1:]
    own_decay, own_mask = (next((key for key in keys if key in known), None) for keys in (DECAY, DECAY_MASK))
    known = [key for key in known if key not in (own_decay, own_mask)]
    options = {key: value for key, value in table.items() if key not in KEYS}
    if not set(options) <= set(known):
        unknown = ", ".join(sorted(set(options) - set(known)))
        raise ValueError(f"Unknown key {unknown} of optimizer {name!r}; it has {', '.join((*KEYS, *known))}.")
    if not own_decay:
        optimizer = OPTIMIZERS[name](schedule, **options)
        return optax.chain(optax.add_decayed_weights(decay, decayed), optimizer) if decay else optimizer
    # Always passed: optax's defaults are not 0 for all of them.
    options[own_decay] = decay
    if own_mask:
        options[own_mask] = decayed
    elif decay and decayed is not None and not all(jax.tree.leaves(decayed)):
        raise ValueError(
            f"Optimizer {name!r} decays all weights (weight_decay {decay}), but what inpainting does not use must not "
            "shrink: set weight_decay to 0, or choose an optimizer that takes a mask, such as adamw."
        )
    return OPTIMIZERS[name](schedule, **options)


def _synchronised_first(optimizer: optax.GradientTransformation, k: int) -> optax.GradientTransformation:
    """A lookahead that begins as if k - 1 updates were done."""

    def init(params):
        state = optimizer.init(params)
        return state._replace(steps_since_sync=jnp.full_like(state.steps_since_sync, k - 1))

    return optax.GradientTransformation(init, optimizer.update)


def _check_has(table: Mapping[str, Any], keys: Sequence[str], name: str) -> None:
    """Raises ValueError for a table that lacks one of some keys."""
    if missing := [key for key in keys if key not in table]:
        raise ValueError(f"{name} needs {' and '.join(missing)}; found {dict(table)}.")


def check_length(table: Mapping[str, Any], num_steps: int, name: str) -> None:
    """Raises ValueError for a training so short that lookahead's slow weights, its result, would never move."""
    lookahead = table.get("lookahead") or {}
    if lookahead and not lookahead.get("sync_first") and num_steps < int(lookahead["k"]):
        raise ValueError(
            f"{name} has {num_steps} updates, and lookahead moves its slow weights at every "
            f"{table['lookahead']['k']}th; train longer or take a smaller lookahead.k."
        )


def uses_lookahead(table: Mapping[str, Any]) -> bool:
    """Whether the optimizer of a config table keeps slow and fast parameters."""
    return bool(table.get("lookahead"))


def synced(params: Any) -> optax.LookaheadParams:
    """Slow and fast parameters that start equal; copies, because a donated buffer must not be shared."""
    return optax.LookaheadParams(fast=params, slow=jax.tree.map(jnp.copy, params))


def fast(params: Any) -> Any:
    """The parameters that gradients are taken at."""
    return params.fast if isinstance(params, optax.LookaheadParams) else params


def slow(params: Any) -> Any:
    """The parameters that are evaluated and saved."""
    return params.slow if isinstance(params, optax.LookaheadParams) else params
