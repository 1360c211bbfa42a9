"""Devices: how one batch and one state are spread over all of them, and over several processes.

Two ways of running the same functions. `jit` puts the global batch on a mesh and lets the compiler divide the work;
the state is replicated or, with `fsdp`, its large arrays are sharded. `pmap` maps the function over the devices, each
with its rows of the batch, and averages gradients by name. Randomness belongs to rows (see `keys`), so both ways, on
any number of devices, compute the same thing. Imports nothing of the other rooms but `errors`.
"""

import contextlib
import ctypes
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from ddpm_jax.errors import UserError
from ddpm_jax.plugins import Function

AXIS = "batch"
MAPS = ("jit", "pmap")
SHARDS = ("replicated", "fsdp")
LOOPS = ("auto", "device", "host")


@dataclass(frozen=True, eq=False)
class Plan:
    """How to use the devices: `map` is "jit" or "pmap", `shard` is "replicated" or "fsdp".

    `loop` says who repeats the steps of a dispatch: "device", "host", or "auto", which is the device: one program.
    """

    map: str = "jit"
    shard: str = "replicated"
    loop: str = "auto"
    smallest_sharded: int = 2**12  # smaller arrays stay whole under FSDP: gathering them costs more than keeping them
    devices: tuple[Any, ...] = ()  # jax.Device; all there are by default

    @property
    def loops_on_device(self) -> bool:
        """Whether the steps of a dispatch are a loop inside one program, which no host interrupts."""
        return self.loop != "host"

    @cached_property
    def mesh(self) -> Mesh:
        """All devices along one axis, which divides the batch and, under FSDP, the state."""
        devices = self.devices or tuple(jax.devices())
        devices = sorted(devices, key=lambda device: (device.process_index, device.id))  # a process's rows are a slice
        return Mesh(np.asarray(devices), (AXIS,), axis_types=(AxisType.Auto,))

    @property
    def count(self) -> int:
        """The number of devices, of all processes."""
        return self.mesh.size

    @property
    def local_count(self) -> int:
        """The number of this process's devices."""
        return sum(device.process_index == jax.process_index() for device in self.mesh.devices.flat)

    @property
    def axis(self) -> str | None:
        """The name to average gradients over inside a mapped function; None under jit, where the mean is global."""
        return AXIS if self.map == "pmap" else None

    def sharding(self, *spec: str | None) -> NamedSharding:
        """The mesh with this partition of an array's axes; no argument means replicated."""
        return NamedSharding(self.mesh, PartitionSpec(*spec))

    def state_sharding(self, state: PyTree) -> PyTree:
        """For each array of a state (or of its shapes): replicated, or its longest divisible axis over the devices."""

        def leaf(array: Any) -> NamedSharding:
            if self.shard == "replicated" or math.prod(array.shape) < self.smallest_sharded:
                return self.sharding()
            divisible = [axis for axis, size in enumerate(array.shape) if size % self.count == 0]
            if not divisible:
                return self.sharding()
            longest = max(divisible, key=lambda axis: array.shape[axis])
            return self.sharding(*(AXIS if axis == longest else None for axis in range(len(array.shape))))

        return jax.tree.map(leaf, state)

    def by_row(self, tree: PyTree) -> PyTree:
        """Inside a program: arrays whose first axis is the batch, divided by it; under pmap they are.

        Rows that are drawn from a set on every device say nothing of where they are wanted, and a compiler that divides
        them as the weights are, by channels, sends activations.
        """
        if self.map == "pmap":
            return tree
        spread = self.sharding(AXIS)
        return jax.tree.map(lambda leaf: lax.with_sharding_constraint(leaf, spread), tree)

    def whole(self, tree: PyTree) -> PyTree:
        """Inside a program: on every device all of it, so that sharded weights are gathered once and no result is."""
        if self.map == "pmap" or self.shard == "replicated":
            return tree
        return jax.tree.map(lambda leaf: lax.with_sharding_constraint(leaf, self.sharding()), tree)

    def replicate(self, tree: PyTree) -> PyTree:
        """Host arrays, the same in every process, as arrays that every device holds whole."""

        def place(array: Any) -> jax.Array:
            array = np.asarray(array)
            return jax.make_array_from_callback(array.shape, self.sharding(), lambda index: array[index])

        return jax.tree.map(place, tree)

    def initialise(self, function: Function, *arguments: Any) -> Any:
        """`function(*arguments)`, computed straight into the state's shardings."""
        shardings = self.state_sharding(jax.eval_shape(function, *arguments))
        return jax.jit(function, out_shardings=shardings)(*arguments)

    def _pmap(self, function: Callable, in_axes: tuple, donate: tuple) -> Callable:
        """Arguments with axis None, and all results, are replicated: ordinary arrays, the same as under jit."""
        devices = list(self.mesh.devices.flat)
        return jax.pmap(
            function, axis_name=AXIS, in_axes=in_axes, out_axes=None, donate_argnums=donate, devices=devices
        )

    def local_rows(self, batch: int) -> slice:
        """The rows of a global batch that this process's devices hold."""
        mine = [i for i, device in enumerate(self.mesh.devices.flat) if device.process_index == jax.process_index()]
        each = batch // self.count
        return slice(mine[0] * each, (mine[-1] + 1) * each)

    def check_parts(self, batch: int, parts: int) -> None:
        """Raise UserError if a batch, each device's rows of it, cannot be cut into so many equal parts."""
        if (batch // self.count) % parts:
            line = f"{parts} parts of a batch of {batch} do not divide over {self.count} devices"
            raise UserError(f"config.training.accumulate: {line}")

    def put_steps(self, tree: PyTree) -> PyTree:
        """Host batches of several steps, `[steps, local rows, ...]`, spread by row."""
        if self.map == "pmap":
            return jax.tree.map(lambda a: a.reshape(a.shape[0], self.local_count, -1, *a.shape[2:]), tree)
        sharding = self.sharding(None, AXIS)
        return jax.tree.map(lambda a: jax.make_array_from_process_local_data(sharding, a), tree)

    def train(
        self, advance: Callable[..., tuple[PyTree, PyTree]], start: Callable[[], Any], batch: int, resident: bool
    ) -> "Dispatch":
        """Compile a dispatch of several steps: `(state, data, count, clock) -> (state, metrics)`, donating the state.

        The count is an argument and not a shape: a shorter dispatch runs the very same program, which is what makes a
        stopped and resumed run equal to an uninterrupted one bit for bit. The steps are a loop inside one program; with
        `loop` "host" they are calls of a program of one step, none of which waits for the one before.

        Args:
            advance: `(state, metrics, data, rows, clock) -> (state, metrics)`, one step. It sees the rows of its
                device only (pmap) or all of them (jit).
            start: makes the metrics of no steps.
            batch: the global batch.
            resident: whether `data` is a whole data set on every device, or batches from `put_steps`.
        """
        rows = np.arange(batch, dtype=np.int32)

        def looped(state: PyTree, data: PyTree, rows: PyTree, count: Any, clock: Any) -> tuple[PyTree, PyTree]:
            def body(_: Any, carry: tuple) -> tuple:
                return advance(*carry, data, rows, clock)

            return lax.fori_loop(0, count, body, (state, start()))

        if self.map == "pmap":
            rows = rows[self.local_rows(batch)].reshape(self.local_count, -1)
            data_axis = None if resident else 1

            def compile(function: Callable, in_axes: tuple, donate: tuple) -> Callable:
                return self._pmap(function, in_axes, donate)
        else:
            whole = rows
            rows = jax.make_array_from_callback(whole.shape, self.sharding(AXIS), lambda index: whole[index])
            data_axis = None

            def compile(function: Callable, in_axes: tuple, donate: tuple) -> Callable:
                def pinned(*arguments: Any) -> tuple[PyTree, PyTree]:
                    state, metrics = function(*arguments)
                    metrics = lax.with_sharding_constraint(metrics, self.sharding())
                    return lax.with_sharding_constraint(state, self.state_sharding(state)), metrics

                return jax.jit(pinned, donate_argnums=donate)

        if self.loops_on_device:
            return Dispatch(compile(looped, (None, data_axis, 0, None, None), (0,)), rows)
        one = compile(advance, (None, None, data_axis, 0, None), (0, 1))
        return Dispatch(one, rows, jax.jit(start, out_shardings=self.sharding()))

    def each(self, function: Callable[[Any, Any], Any], batch: int) -> Callable[..., Any]:
        """Apply `function(shared, rows) -> results` to rows in batches over all devices, and keep every row.

        `rows` and `results` are pytrees of arrays with one row an example. The last batch is padded by its first row
        and the padding's results are dropped.

        Returns:
            `(shared, rows, progress=None) -> results` as host arrays, the same in every process. `progress` wraps the
            iterator over batches' first rows (a progress bar).
        """
        batch = math.ceil(batch / self.count) * self.count
        if self.map == "pmap":
            gather = lambda shared, rows: jax.tree.map(  # noqa: E731
                lambda a: lax.all_gather(a, AXIS, tiled=True), function(shared, rows)
            )
            mapped = self._pmap(gather, (None, 0), ())
            part = self.local_rows(batch)

            def run(shared: PyTree, rows: PyTree) -> Any:
                local = jax.tree.map(lambda a: a[part].reshape(self.local_count, -1, *a.shape[1:]), rows)
                return mapped(shared, local)
        else:
            compiled = jax.jit(function, out_shardings=self.sharding())

            def run(shared: PyTree, rows: PyTree) -> Any:
                def spread(array: np.ndarray) -> jax.Array:
                    sharding = self.sharding(AXIS)
                    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

                return compiled(shared, jax.tree.map(spread, rows))

        def apply(shared: PyTree, rows: PyTree, progress: Callable[[range], Iterator[int]] | None = None) -> Any:
            rows = jax.tree.map(np.asarray, rows)
            total = len(jax.tree.leaves(rows)[0])
            parts = []
            starts = range(0, total, batch)
            for start in progress(starts) if progress else starts:
                chosen = np.arange(start, start + batch)
                chosen[chosen >= total] = start
                result = run(shared, jax.tree.map(lambda a, chosen=chosen: a[chosen], rows))
                parts.append(jax.tree.map(lambda a, start=start: np.asarray(a)[: total - start], result))
            return jax.tree.map(lambda *pieces: np.concatenate(pieces), *parts)

        return apply


@dataclass(frozen=True, eq=False)
class Dispatch:
    """Several steps: `(state, data, count, clock) -> (state, metrics)`.

    Attributes:
        program: of all the steps, or of one; compiled by jit or pmap.
        rows: the numbers of the global batch's rows, spread over the devices.
        fresh: makes the metrics of no steps, where the program is of one.
        calls: counts them.
    """

    program: Any
    rows: PyTree
    fresh: Callable[[], Any] | None = None
    calls: Iterator[int] = field(default_factory=itertools.count)

    def __call__(self, state: PyTree, data: PyTree, count: Any, clock: Any) -> tuple[PyTree, PyTree]:
        """Do `count` steps. The first time compiles, and gives back the memory that this took."""
        if self.fresh is None:
            state, metrics = self.program(state, data, self.rows, count, clock)
        else:
            metrics = self.fresh()
            for _ in range(int(count)):
                state, metrics = self.program(state, metrics, data, self.rows, clock)
        if next(self.calls) == 0:
            return_free_memory()
        return state, metrics

    def compiled(self, state: PyTree, data: PyTree, count: Any, clock: Any) -> Any:
        """The program for such arguments, to look at: `.as_text()`, `.memory_analysis()`. It is not run."""
        if self.fresh is None:
            return self.program.lower(state, data, self.rows, count, clock).compile()
        return self.program.lower(state, self.fresh(), data, self.rows, clock).compile()


def return_free_memory() -> None:
    """Give what is free of the process's memory back to the system, where its C library is glibc.

    Compiling a U-Net's step leaves some 500 MiB that glibc would keep for the life of the process.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def make_plan(map: str = "jit", shard: str = "replicated", loop: str = "auto", batch: int | None = None) -> Plan:
    """The plan for all devices there are.

    Raises:
        UserError: the devices do not divide the global batch.
    """
    plan = Plan(map, shard, loop)
    if batch is not None and batch % plan.count:
        below, above = batch - batch % plan.count, batch + -batch % plan.count
        raise UserError(
            f"config.data.batch: a global batch of {batch} does not divide over {plan.count} devices; "
            f"use {f'{below} or {above}' if below else above}"
        )
    return plan


def mean_over(axis: str | None, tree: PyTree) -> PyTree:
    """The mean over the devices of a mapped function; under jit (axis None) the tree as it is."""
    return tree if axis is None else lax.pmean(tree, axis)


def agree(value: float) -> float:
    """Process 0's value, in every process: clocks differ, and all must stop at the same step."""
    if jax.process_count() == 1:
        return value
    from jax.experimental import multihost_utils

    return float(multihost_utils.broadcast_one_to_all(np.float32(value)))


def agree_on(numbers: Sequence[int]) -> list[int]:
    """Process 0's numbers, below 2^31, in every process: file systems may tell processes different things."""
    if jax.process_count() == 1:
        return list(numbers)
    from jax.experimental import multihost_utils

    padded = np.zeros(int(agree(len(numbers))), np.int32)
    if jax.process_index() == 0:
        padded[:] = numbers
    return np.asarray(multihost_utils.broadcast_one_to_all(padded)).tolist()


def all_agree(good: bool) -> bool:
    """Whether it is so in every process."""
    if jax.process_count() == 1:
        return good
    from jax.experimental import multihost_utils

    return bool(np.all(multihost_utils.process_allgather(np.asarray(good))))


def wait_for_all(what: str) -> None:
    """Go on when every process has come here; `what` names the place."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(what)


def checksum(tree: PyTree) -> jax.Array:
    """One number, uint32, that any single change of a bit in the tree's arrays changes.

    The sum, mod 2^32, of every 32-bit word times an odd number that depends on its place. Integer sums do not depend
    on their order, so the number is the same however the arrays are sharded. Works under jit; `tree` holds no keys.
    """

    def leaf(array: Any) -> jax.Array:
        array = jnp.asarray(array)
        if array.dtype == jnp.bool_:
            array = array.astype(jnp.uint8)
        bits = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint32}[array.dtype.itemsize]
        words = lax.bitcast_convert_type(array, bits).astype(jnp.uint32).ravel()
        places = 2 * lax.iota(jnp.uint32, words.size) + 1
        return jnp.sum(words * places, dtype=jnp.uint32)

    total = jnp.zeros((), jnp.uint32)
    for number, array in enumerate(jax.tree.leaves(tree)):
        total = total + jnp.uint32(2 * number + 1) * leaf(array)
    return total
