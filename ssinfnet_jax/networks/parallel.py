"""Devices and processes: the only file that knows of them.

Steps are mapped by `jax.pmap` over the devices of all processes, which all run the same program. Process 0 alone writes
into the run folder; the others wait for it where they read what it wrote.
"""

import concurrent.futures
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import flax
import jax
import numpy as np
from jax.experimental import multihost_utils

AXIS = "devices"
AGREE_EVERY = 10  # steps between questions to the other processes; one takes about a millisecond and a full stop


def is_main() -> bool:
    """Whether this is process 0, which alone writes into the run folder."""
    return jax.process_index() == 0


def num_processes() -> int:
    """How many processes train together."""
    return jax.process_count()


def wait(name: str) -> None:
    """Waits until all processes are here, at the place called `name`."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def from_main(tree: Any) -> Any:
    """The host arrays of process 0, bit for bit; the other processes give a tree of the same shapes and dtypes."""
    if jax.process_count() == 1:
        return tree
    arrays = jax.tree.map(np.asarray, tree)
    sent = multihost_utils.broadcast_one_to_all(jax.tree.map(lambda x: np.frombuffer(x.tobytes(), np.uint8), arrays))
    return jax.tree.map(lambda x, y: np.frombuffer(y.tobytes(), x.dtype).reshape(x.shape), arrays, sent)


def decide(decision: bool) -> bool:
    """What process 0 decides, told to all of them.

    Whatever leads to a call that all processes make together, or ends a loop with such calls, is decided here or by
    `from_main`: each process's own answer may differ, by rounding, its clock or its view of the file system, and then
    some wait forever for the others.
    """
    return bool(from_main(np.asarray(bool(decision))))


def check_same(text: str, name: str) -> None:
    """Raises ValueError in a process whose text, called `name`, is not that of process 0."""
    digest = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)
    if not np.array_equal(digest, from_main(digest)):
        raise ValueError(
            f"{name} is not the same as in process 0: with several processes, --workdir must be on a file system that "
            "all machines share."
        )


def in_any_process(flags: Sequence[bool], step: int) -> list[bool]:
    """Which of several flags are true in any process: the same answer for all of them, at the same step.

    The others are asked every `AGREE_EVERY` steps only; between them all is False. A single process need not ask.
    """
    if jax.process_count() == 1:
        return list(flags)
    if step % AGREE_EVERY:
        return [False] * len(flags)
    return multihost_utils.process_allgather(np.asarray(flags)).any(axis=0).tolist()


def num_local_devices() -> int:
    """Devices of this process."""
    return jax.local_device_count()


def local_batch_size(global_batch_size: int, name: str) -> int:
    """Slices per step of this process.

    Raises: ValueError if the global batch cannot be divided over all devices, calling it by its `name` in the config.
    """
    num_devices = jax.device_count()
    if global_batch_size < 1 or global_batch_size % num_devices:
        nearest = max(round(global_batch_size / num_devices), 1) * num_devices
        raise ValueError(
            f"{name} is {global_batch_size}, for all devices together, and must be a multiple of their number, "
            f"{num_devices}; the nearest is --{name}={nearest}."
        )
    return global_batch_size // jax.process_count()


def eval_batch_size(global_batch_size: int) -> int:
    """Slices per evaluation batch of this process: the next multiple of its devices."""
    num_devices = num_local_devices()
    return -(-global_batch_size // num_devices) * num_devices


def replicate(tree: Any) -> Any:
    """A copy of every array on every local device, along a new first axis.

    The axis has the name that `jax.pmap` gives its results: with another one the first step would be compiled for what
    comes in here, and the second one again for what came out of the first.
    """
    return flax.jax_utils.replicate(jax.tree.map(np.asarray, tree), axis_name=AXIS)


def unreplicate(tree: Any) -> Any:
    """The first device's arrays, on the host."""
    return jax.tree.map(lambda x: np.asarray(x.addressable_data(0))[0], tree)


def shard(batch: dict[str, Any]) -> dict[str, Any]:
    """Numeric arrays [B,...] -> [devices, B/devices, ...]; what is not numeric (slice ids) stays on the host."""
    sharded = {}
    for name, value in batch.items():
        if isinstance(value, dict):
            sharded[name] = shard(value)
        elif np.asarray(value).dtype.kind in "biuf":
            sharded[name] = np.asarray(value).reshape(num_local_devices(), -1, *np.shape(value)[1:])
    return sharded


def map_step(step: Callable) -> Callable:
    """Maps `step(state, *other_states, batch, key)` over devices.

    States are replicated, the batch is sharded, the key is the same everywhere; the step must have been made with
    `axis_name=AXIS`. The first state is donated. Metrics come back once, from the first device.

    Several devices that are one CPU finish a step before the next one is handed to them: they share a pool of threads,
    and once hung with many steps under way (not reproduced; probably steps that wait for each other fill the pool).
    """
    mapped: dict[int, Callable] = {}
    waits = jax.default_backend() == "cpu" and num_local_devices() > 1

    def run(state, *rest):
        if len(rest) not in mapped:
            in_axes = (0,) * len(rest) + (None,)
            mapped[len(rest)] = jax.pmap(step, axis_name=AXIS, in_axes=in_axes, donate_argnums=0)
        state, metrics = mapped[len(rest)](state, *rest)
        if waits:
            jax.block_until_ready(state)
        return state, jax.tree.map(lambda x: x.addressable_data(0)[0], metrics)

    return run


def map_predict(predict: Callable) -> Callable[[Any], Callable[[dict[str, Any]], Any]]:
    """Maps `predict(variables, batch)` over this process's devices: variables -> (host batch -> host arrays [B,...]).

    The program is compiled once, for any variables. A process can call it alone.
    """
    mapped = jax.pmap(predict, axis_name=AXIS, devices=jax.local_devices())

    def with_variables(variables):
        on_devices = replicate(variables)

        def run(batch):
            out = mapped(on_devices, shard(batch))
            return jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), out)

        return run

    return with_variables


def predict_all(run: Callable, batches: Iterable[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], Any]]:
    """(batch, result) without the padding, batch by batch.

    While the devices compute, the next batch is read, and the caller works on the one before.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = None
        for batch in batches:
            result = pool.submit(run, batch)
            if waiting is not None:
                yield _real(*waiting)
            waiting = batch, result
        if waiting is not None:
            yield _real(*waiting)


def _real(batch: dict[str, Any], waiting: concurrent.futures.Future) -> tuple[dict[str, Any], Any]:
    result, real = waiting.result(), np.asarray(batch["valid"]) > 0
    return {name: value[real] for name, value in batch.items()}, jax.tree.map(lambda x: x[real], result)
