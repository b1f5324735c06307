"""Where and how precisely the analysis computes: on the CPU, in double precision, whatever trains the networks."""

import contextlib
from collections.abc import Iterator

import jax


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """JAX in float64 on the CPU inside the `with`: the same numbers on every machine (a TPU has no float64)."""
    try:
        cpu = jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX_PLATFORMS leaves it out
        cpu = None
    with jax.enable_x64(True), jax.default_device(cpu):
        yield
