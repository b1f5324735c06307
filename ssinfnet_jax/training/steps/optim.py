"""The config's optimizers, with schedules and lookahead."""

import inspect
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ssinfnet_jax import plug_in
from ssinfnet_jax.config import Optimizer

Schedule = Callable[[Any], Any]

OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "sgd": optax.sgd,
    "adam": optax.adam,
    "adamw": optax.adamw,
}
# Names of the weight decay and its mask in optax's functions.
DECAY = ("weight_decay", "weight_decay_rate")
DECAY_MASK = ("mask", "weight_decay_mask")


def make_schedule(options: Optimizer, *, steps_per_epoch: float, num_steps: int) -> Schedule:
    """The learning rate per update of an optimizer.

    Args:
      options: of the optimizer; a linear warm-up from 0 comes first and counts as part of the training.
      steps_per_epoch: updates per epoch.
      num_steps: updates in total, the length of the cosine with its warm-up.
    """
    peak, warmup = options.learning_rate, options.warmup_steps
    if options.schedule == "constant":
        schedule = optax.constant_schedule(peak)
    elif options.schedule == "cosine":
        schedule = optax.cosine_decay_schedule(peak, max(num_steps - warmup, 1))
    else:
        boundaries: dict[int, float] = {}
        for epoch in options.epochs:
            # Updates are counted from the end of the warm-up. Several drops at one update all apply.
            step = max(int(epoch * steps_per_epoch) - warmup, 0)
            boundaries[step] = boundaries.get(step, 1.0) * options.factor
        schedule = optax.piecewise_constant_schedule(peak, boundaries)
    if warmup:
        schedule = optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), schedule], [warmup])
    return schedule


def restarting(phases: Sequence[tuple[Optimizer, int]], *, steps_per_epoch: float) -> Schedule:
    """Joins schedules that each start afresh; (options as for `make_schedule`, number of updates) per phase."""
    schedules = [make_schedule(one, steps_per_epoch=steps_per_epoch, num_steps=steps) for one, steps in phases]
    return optax.join_schedules(schedules, list(itertools.accumulate(steps for _, steps in phases))[:-1])


def make_optimizer(options: Optimizer, schedule: Schedule, *, decayed: Any = None) -> optax.GradientTransformation:
    """The optimizer of a config.

    lookahead(clip -> weight decay -> SGD | Adam | AdamW). The config's decay replaces the optimizer's own, such as
    AdamW's; for optimizers without one it is added to the gradient.

    Args:
      options: of the config; its name is a key of `OPTIMIZERS`, or "module:function" of any package: "optax:lion".
      schedule: learning rate per update.
      decayed: tree of bool: the parameters that decay; all if None.
    Raises: ValueError for an unknown optimizer (PlugInError) or option, or a decay that cannot be limited to `decayed`.
    Source: Zhang et al. 2019, arXiv:1907.08610 (lookahead); the paper, "Experimental settings".
    """
    optimizer = _with_decay(options, schedule, decayed)
    if options.clip_value:
        optimizer = optax.chain(optax.clip(options.clip_value), optimizer)
    if options.clip_norm:
        optimizer = optax.chain(optax.clip_by_global_norm(options.clip_norm), optimizer)
    if lookahead := options.lookahead:
        # The wrapper passes on the gradients of the fast parameters, so clipping inside it comes first.
        optimizer = optax.lookahead(optimizer, lookahead.k, lookahead.alpha)
        if lookahead.sync_first:
            optimizer = _synchronised_first(optimizer, lookahead.k)
    return optimizer


def _with_decay(options: Optimizer, schedule: Schedule, decayed: Any) -> optax.GradientTransformation:
    """The bare optimizer with its weight decay; arguments as for `make_optimizer`."""
    name, decay, own = options.name, options.weight_decay, dict(options.options)
    function = plug_in.resolve(
        "optimizer", name, OPTIMIZERS, fits=_takes_rate, needed="a function whose first parameter is learning_rate"
    )
    known = [*inspect.signature(function).parameters][1:]
    own_decay, own_mask = (next((key for key in keys if key in known), None) for keys in (DECAY, DECAY_MASK))
    known = [key for key in known if key not in (own_decay, own_mask)]
    if not set(own) <= set(known):
        unknown = ", ".join(sorted(set(own) - set(known)))
        keys = [key for key in vars(options) if key != "options"]
        raise ValueError(f"Unknown key {unknown} of optimizer {name!r}; it has {', '.join((*keys, *known))}.")
    if not own_decay:
        optimizer = function(schedule, **own)
        return optax.chain(optax.add_decayed_weights(decay, decayed), optimizer) if decay else optimizer
    # Always passed: optax's defaults are not 0 for all of them.
    own[own_decay] = decay
    if own_mask:
        own[own_mask] = decayed
    elif decay and decayed is not None and not all(jax.tree.leaves(decayed)):
        raise ValueError(
            f"Optimizer {name!r} decays all weights (weight_decay {decay}), but weights that inpainting does not use "
            "must not decay: set weight_decay to 0, or choose an optimizer that takes a mask, such as adamw."
        )
    return function(schedule, **own)


def _takes_rate(function: Any) -> bool:
    try:
        return [*inspect.signature(function).parameters][:1] == ["learning_rate"]
    except (TypeError, ValueError):  # not callable, or without a signature
        return False


def _synchronised_first(optimizer: optax.GradientTransformation, k: int) -> optax.GradientTransformation:
    """A lookahead that starts as if k - 1 updates were done."""

    def init(params):
        state = optimizer.init(params)
        return state._replace(steps_since_sync=jnp.full_like(state.steps_since_sync, k - 1))

    return optax.GradientTransformation(init, optimizer.update)


def check(options: Optimizer, decayed: Any = None) -> None:
    """Raises ValueError for options that `make_optimizer` rejects, or an optimizer that needs more than a gradient.

    `decayed` says whether the parameters "used" and "unused" decay.
    """
    optimizer = make_optimizer(options, make_schedule(options, steps_per_epoch=1, num_steps=1), decayed=decayed)
    if options.name in OPTIMIZERS:
        return

    def update(params):
        current = synced(params) if options.lookahead else params
        return optimizer.update(params, optimizer.init(current), current)

    try:
        jax.eval_shape(update, dict.fromkeys(("used", "unused"), jnp.zeros((2, 2))))
    except Exception as error:  # whatever a function of another package raises
        said = " ".join(str(error).split())
        raise ValueError(
            f"Optimizer {options.name!r} cannot be updated with gradients and parameters ({type(error).__name__}: "
            f"{said}); choose another."
        ) from error


def check_length(options: Optimizer, num_steps: int, name: str) -> None:
    """Raises ValueError for a training too short for lookahead's slow weights, its result, to move."""
    lookahead = options.lookahead
    if lookahead and not lookahead.sync_first and num_steps < lookahead.k:
        raise ValueError(
            f"{name} has {num_steps} updates, but lookahead moves its slow weights only every {lookahead.k}; train "
            "longer or use a smaller lookahead.k."
        )


def synced(params: Any) -> optax.LookaheadParams:
    """Slow and fast parameters that start equal; copied, because a donated buffer must not be shared."""
    return optax.LookaheadParams(fast=params, slow=jax.tree.map(jnp.copy, params))


def fast(params: Any) -> Any:
    """The parameters at which gradients are computed."""
    return params.fast if isinstance(params, optax.LookaheadParams) else params


def slow(params: Any) -> Any:
    """The parameters that are evaluated and saved."""
    return params.slow if isinstance(params, optax.LookaheadParams) else params
