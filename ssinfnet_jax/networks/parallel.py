"""Devices and processes, which no other file deals with.

All processes run the same program. A `Strategy` places states and batches on their devices and runs the steps there.
Only process 0 writes into the run folder; the others wait for it before they read.
"""

import abc
import concurrent.futures
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import flax
import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "devices"
AGREE_EVERY = 10  # steps between exchanges of flags; each takes about a millisecond and halts all processes


def is_main() -> bool:
    """Whether this is process 0, the only one to write into the run folder."""
    return jax.process_index() == 0


def wait(name: str) -> None:
    """Waits until all processes have reached the barrier `name`."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def from_main(tree: Any) -> Any:
    """Broadcasts host arrays from process 0, bit for bit; the others pass a tree of the same shapes and dtypes."""
    if jax.process_count() == 1:
        return tree
    arrays = jax.tree.map(np.asarray, tree)
    sent = multihost_utils.broadcast_one_to_all(jax.tree.map(lambda x: np.frombuffer(x.tobytes(), np.uint8), arrays))
    return jax.tree.map(lambda x, y: np.frombuffer(y.tobytes(), x.dtype).reshape(x.shape), arrays, sent)


def decide(decision: bool) -> bool:
    """Broadcasts a decision of process 0.

    Every decision that leads to a collective call, or ends a loop with such calls, is made here or by `from_main`:
    the processes' own answers may differ by rounding, clock or view of the file system, and then some would wait for
    the others forever.
    """
    return bool(from_main(np.asarray(bool(decision))))


def check_same(text: str, name: str) -> None:
    """Raises ValueError in a process whose text, called `name`, differs from process 0's."""
    digest = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)
    if not np.array_equal(digest, from_main(digest)):
        raise ValueError(
            f"{name} differs from process 0's: with several processes, --workdir must be on a file system that all "
            "machines share."
        )


def in_any_process(flags: Sequence[bool], step: int) -> list[bool]:
    """For each flag, whether it is true in any process; all processes get the same answer at the same step.

    Several processes compare flags only every `AGREE_EVERY` steps; at other steps all are False.
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

    Raises: ValueError, with the batch size's `name` in the config, if it is not a multiple of the number of devices.
    """
    num_devices = jax.device_count()
    if global_batch_size < 1 or global_batch_size % num_devices:
        nearest = max(round(global_batch_size / num_devices), 1) * num_devices
        raise ValueError(
            f"{name} is {global_batch_size} over all devices and must be a multiple of their number, {num_devices}; "
            f"the nearest is --{name}={nearest}."
        )
    return global_batch_size // jax.process_count()


def eval_batch_size(global_batch_size: int) -> int:
    """Slices per evaluation batch of this process: rounded up to a multiple of its devices."""
    num_devices = num_local_devices()
    return -(-global_batch_size // num_devices) * num_devices


class Strategy(abc.ABC):
    """How states and batches are placed on the devices, and how a step runs there.

    The choice changes a training's result only by rounding, and its checkpoint format not at all.

    Attributes:
      axis_name: the mapped axis over which a step and its networks sum; None: a step sees the whole batch.
    """

    axis_name: str | None

    @abc.abstractmethod
    def place(self, state: Any) -> Any:
        """Places a state of host arrays, the same in every process, on the devices."""

    @abc.abstractmethod
    def place_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Places this process's part of a batch, a tree of host arrays [B,...], on the devices; drops slice ids."""

    @abc.abstractmethod
    def fetch(self, state: Any) -> Any:
        """Returns a state as host arrays; all processes call this together."""

    @abc.abstractmethod
    def _compile(self, step: Callable, state: Any) -> Callable:
        """Compiles a step for states placed like `state`; the first is donated, metrics are replicated."""

    def map_step(self, step: Callable, key: jax.Array) -> Callable[..., tuple[Any, dict[str, jax.Array]]]:
        """Returns `run(state, *other_states, batch)`, which runs `step(state, *other_states, batch, key)` everywhere.

        States and batch must be placed, and the step built with this strategy's `axis_name`. The first state is
        donated. Metrics are scalars on the devices, for `jax.device_get`.

        With several devices on one CPU, each step finishes before the next one is dispatched: the devices share a
        thread pool, and once hung with many steps in flight (not reproduced; probably steps that wait for each other
        filled the pool).
        """
        key_data = self.place(jax.random.key_data(key))
        waits = jax.default_backend() == "cpu" and num_local_devices() > 1
        compiled = None

        def with_key(*args):
            *args, data = args
            return step(*args, jax.random.wrap_key_data(data))

        def run(state, *rest):
            nonlocal compiled
            compiled = compiled or self._compile(with_key, state)
            state, metrics = compiled(state, *rest, key_data)
            if waits:
                jax.block_until_ready(state)
            return state, metrics

        return run


class Pmap(Strategy):
    """`jax.pmap`: each device runs the step on a full copy of the state and its part of the batch.

    Arrays on the devices have a leading axis, with one entry per device of this process.
    """

    axis_name = AXIS

    def place(self, state):
        # The axis is named as in the results of `jax.pmap`; with another name the second step would be compiled again
        # for the output of the first.
        return flax.jax_utils.replicate(jax.tree.map(np.asarray, state), axis_name=AXIS)

    def place_batch(self, batch):
        sharding = NamedSharding(_local_mesh(), PartitionSpec(AXIS))
        split = jax.tree.map(lambda x: x.reshape(num_local_devices(), -1, *x.shape[1:]), _numeric(batch))
        return jax.device_put(split, sharding)

    def fetch(self, state):
        first = jax.device_get(jax.tree.map(lambda x: x.addressable_data(0), state))
        return jax.tree.map(lambda x: x[0], first)

    def _compile(self, step, state):
        return jax.pmap(step, axis_name=AXIS, out_axes=(0, None), donate_argnums=0)


class Jit(Strategy):
    """`jax.jit` with shardings: the compiler divides one program over the whole batch among the devices.

    Args:
      fsdp_min_size: arrays of a state with at least this many elements are split over the devices, along the longest
        axis that divides evenly (fully sharded data parallel); None: every device has a full copy of the state.
    """

    axis_name = None

    def __init__(self, fsdp_min_size: int | None = None):
        self._fsdp_min_size = fsdp_min_size
        self._mesh = jax.make_mesh((jax.device_count(),), (AXIS,), axis_types=(AxisType.Auto,))
        self._replicated = NamedSharding(self._mesh, PartitionSpec())
        self._gather = jax.jit(lambda x: x, out_shardings=self._replicated)

    def place(self, state):
        def place_one(x):
            x = np.asarray(x)
            return jax.make_array_from_callback(x.shape, self._sharding(x), lambda index: x[index])

        return jax.tree.map(place_one, state)

    def place_batch(self, batch):
        sharding = NamedSharding(self._mesh, PartitionSpec(AXIS))
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), _numeric(batch))

    def fetch(self, state):
        def fetch_one(x):
            # One array at a time, so that no device needs memory for the whole state.
            whole = x if x.is_fully_replicated else self._gather(x)
            return jax.device_get(whole.addressable_data(0))

        return jax.tree.map(fetch_one, state)

    def _compile(self, step, state):
        shardings = (jax.tree.map(lambda x: x.sharding, state), self._replicated)
        return jax.jit(step, out_shardings=shardings, donate_argnums=0)

    def _sharding(self, x: np.ndarray) -> NamedSharding:
        divisible = [axis for axis, length in enumerate(x.shape) if length % self._mesh.size == 0]
        if self._fsdp_min_size is None or x.size < self._fsdp_min_size or not divisible:
            return self._replicated
        longest = max(divisible, key=lambda axis: x.shape[axis])
        return NamedSharding(self._mesh, PartitionSpec(*[None] * longest, AXIS))


def strategy(name: str, fsdp_min_size: int | None) -> Strategy:
    """The strategy of a config's `parallel` ("pmap" | "jit") and `fsdp_min_size` (with "jit")."""
    return Jit(fsdp_min_size) if name == "jit" else Pmap()


def map_predict(predict: Callable) -> Callable[[Any], Callable[[dict[str, Any]], Any]]:
    """Maps `predict(variables, batch)` over this process's devices: variables -> (host batch -> host arrays [B,...]).

    The program is compiled once for all variables. A process can call it alone.
    """
    mesh = _local_mesh()
    whole, split = PartitionSpec(), PartitionSpec(AXIS)
    # Each device processes only its own slices, as with `jax.pmap`, but without the leading axis.
    mapped = jax.jit(jax.shard_map(predict, mesh=mesh, in_specs=(whole, split), out_specs=split, check_vma=False))

    def with_variables(variables):
        on_devices = jax.device_put(variables, NamedSharding(mesh, whole))

        def run(batch):
            return jax.device_get(mapped(on_devices, jax.device_put(_numeric(batch), NamedSharding(mesh, split))))

        return run

    return with_variables


def _local_mesh() -> Mesh:
    return Mesh(np.array(jax.local_devices()), (AXIS,))


def _numeric(batch: dict[str, Any]) -> dict[str, Any]:
    """The numeric arrays of a tree of host arrays, without slice ids."""
    kept = {name: _numeric(x) if isinstance(x, dict) else np.asarray(x) for name, x in batch.items()}
    return {name: x for name, x in kept.items() if isinstance(x, dict) or x.dtype.kind in "biuf"}


def predict_all(run: Callable, batches: Iterable[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yields (batch, result) without the padding, batch by batch.

    While the devices compute, the next batch is read and the caller works on the previous one.
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
