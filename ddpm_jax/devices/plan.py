"""Devices: how one batch and one state are spread over all of them, and over several processes.

Two ways of running the same functions. `jit` puts the global batch on a mesh and lets the compiler divide the work;
the state is replicated or, with `fsdp`, its large arrays are sharded over groups of devices, each of which has all of
it (hybrid sharding, Zhao et al. 2023); a step gathers the weights, those of a loop over blocks one block at a time.
`pmap` maps the function over the devices, each with its rows of the batch, and averages gradients by name. Randomness
belongs to rows (see `keys`), so both ways, on any number of devices, compute the same thing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from ddpm_jax.devices.dispatch import Dispatch
from ddpm_jax.devices.each import Each
from ddpm_jax.devices.groups import SMALLEST_SHARDED, best_group, bytes_on_one, divided
from ddpm_jax.devices.topology import check_batch
from ddpm_jax.devices.traced import Traced
from ddpm_jax.errors import UserError
from ddpm_jax.files import Facts
from ddpm_jax.models.shares import Share, is_share
from ddpm_jax.plugins import Function

AXIS = "batch"
"""Of a mapped function."""

DATA, FSDP = "data", "fsdp"
"""The axes of the mesh: groups of devices, and the devices of a group, which share one state."""

ROWS = (DATA, FSDP)
"""What a batch is divided over: all devices."""

MAPS = ("jit", "pmap")
SHARDS = ("replicated", "fsdp")
LOOPS = ("auto", "device", "host")


ONCE: dict[str, Any] = {"xla_backend_optimization_level": 1}
"""What the CPU's compiler is told of a program that runs once: to draw the first state, LLVM's whole optimisation takes
three times as long, and gains nothing."""


@dataclass(frozen=True, eq=False)
class Plan:
    """How to use the devices.

    Attributes:
        map: "jit" or "pmap".
        shard: "replicated" or "fsdp".
        loop: who repeats the steps of a dispatch: "device", "host", or "auto", which is the device: one program.
        group: under FSDP, how many devices share one state; 0: all, or as `fitted` finds.
        smallest_sharded: arrays of fewer values stay whole under FSDP.
        devices: `jax.Device`s; all there are by default.
    """

    map: str = "jit"
    shard: str = "replicated"
    loop: str = "auto"
    group: int = 0
    smallest_sharded: int = SMALLEST_SHARDED
    devices: tuple[Any, ...] = ()

    @property
    def loops_on_device(self) -> bool:
        """Whether the steps of a dispatch are a loop inside one program, which no host interrupts."""
        return self.loop != "host"

    @cached_property
    def mesh(self) -> Mesh:
        """All devices, in groups: both axes divide the batch, the second the state under FSDP."""
        devices = sorted(self.devices or jax.devices(), key=_place)  # a process's rows are a slice
        size = (self.group or len(devices)) if self.shard == "fsdp" else 1
        return Mesh(np.asarray(devices).reshape(-1, size), (DATA, FSDP), axis_types=(AxisType.Auto,) * 2)

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

    def sharding(self, *spec: str | tuple[str, ...] | None) -> NamedSharding:
        """The mesh with this partition of an array's axes; no argument means replicated."""
        return NamedSharding(self.mesh, PartitionSpec(*spec))

    def state_sharding(self, state: PyTree) -> PyTree:
        """For each array of a state (or of its shapes): replicated, or its longest divisible axis over a group."""

        def leaf(array: Any) -> NamedSharding:
            axis = divided(array.shape, self.mesh.shape[FSDP], self.smallest_sharded)
            return self.sharding(*(FSDP if at == axis else None for at in range(len(array.shape))))

        return jax.tree.map(leaf, state)

    def fitted(self, state: PyTree) -> "Plan":
        """Under FSDP, the plan whose groups leave the least of a state (or its shapes) on a device.

        Where more devices than divide an array would leave it whole, smaller groups do not. A group lies within a
        slice, whose devices are joined best.
        """
        if self.shard == "replicated" or self.group:
            return self
        slices = len({getattr(device, "slice_index", 0) for device in self.mesh.devices.flat})
        return replace(self, group=best_group(state, self.count // slices, self.smallest_sharded))

    def words(self, state: PyTree) -> str:
        """How the state is spread, in words; of FSDP what is on one device, and what of it stays whole."""
        if self.shard == "replicated":
            return f"{self.map}, {self.shard}"
        size = self.mesh.shape[FSDP]
        total, whole = bytes_on_one(state, size, self.smallest_sharded)
        return (
            f"{self.map}, {self.shard} in groups of {size}: {total / 1e6:,.2f} MB of the state on each device, "
            f"{whole / 1e6:,.2f} MB of it whole"
        )

    def mean(self, function: Callable[[Any, Any], tuple[PyTree, PyTree]], shared: tuple, rows: PyTree) -> tuple:
        """Inside a program: the mean over devices of `function(shared, rows)` of each one's rows.

        The function gives values and the gradient of the first of `shared`. Each device computes its own, as under
        pmap, and means cross them in their own types, float32 for gradients, whatever the activations are. Under FSDP
        the function is given shares, and gives their gradient: what it gathers is summed back into shares.
        """
        if self.map == "pmap" or self.count == 1:  # a mapped function takes the mean itself, by its axis
            return function(shared, rows)
        specs = jax.tree.map(lambda sharding: sharding.spec, self.state_sharding(shared))
        size = self.mesh.shape[FSDP]

        def each(shared: tuple, rows: PyTree) -> tuple:
            values, gradient = function(jax.tree.map(_shared, shared, specs), rows)
            return lax.pmean(values, ROWS), jax.tree.map(mean, gradient, is_leaf=is_share)

        def mean(leaf: Any) -> Array:
            return lax.pmean(leaf.array / size, DATA) if is_share(leaf) else lax.pmean(leaf, ROWS)

        mapped = jax.shard_map(
            each,
            mesh=self.mesh,
            in_specs=(specs, PartitionSpec(ROWS)),
            out_specs=(PartitionSpec(), specs[0]),
            check_vma=False,
        )
        return mapped(shared, rows)

    def replicate(self, tree: PyTree) -> PyTree:
        """Host arrays, the same in every process, as arrays that every device holds whole."""

        def place(array: Any) -> jax.Array:
            array = np.asarray(array)
            return jax.make_array_from_callback(array.shape, self.sharding(), lambda index: array[index])

        return jax.tree.map(place, tree)

    def initialise(self, function: Function, *arguments: Any) -> Any:
        """`function(*arguments)`, computed straight into the state's shardings."""
        shardings = self.state_sharding(jax.eval_shape(function, *arguments))
        devices = self.mesh.devices.flat
        options = ONCE if all(device.platform == "cpu" for device in devices) else None
        return jax.jit(function, out_shardings=shardings, compiler_options=options)(*arguments)

    def mapped(self, function: Callable, in_axes: tuple, donate: tuple) -> Callable:
        """Arguments with axis None, and all results, are replicated: ordinary arrays, the same as under jit."""
        devices = list(self.mesh.devices.flat)
        return jax.pmap(
            function, axis_name=AXIS, in_axes=in_axes, out_axes=None, donate_argnums=donate, devices=devices
        )

    @cached_property
    def there(self) -> bool:
        """Whether these are devices to run on, and not those of a topology to compile for."""

        def known(platform: str) -> list[Any]:
            try:
                return jax.devices(platform)
            except RuntimeError:  # no such backend here: a topology's
                return []

        return all(device in known(device.platform) for device in self.mesh.devices.flat)

    def rows(self, batch: int) -> Any:
        """The numbers of a batch's rows, spread over the devices; their shape where these are not there."""
        numbers = np.arange(batch, dtype=np.int32)
        if self.map == "pmap":
            return numbers[self.local_rows(batch)].reshape(self.local_count, -1)
        sharding = self.sharding(ROWS)
        if not self.there:
            return jax.ShapeDtypeStruct(numbers.shape, numbers.dtype, sharding=sharding)
        return jax.make_array_from_callback(numbers.shape, sharding, lambda index: numbers[index])

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

    def put_rows(self, tree: PyTree) -> PyTree:
        """A host batch, the same in every process, spread by row."""
        if self.map == "pmap":
            part = self.local_rows(len(jax.tree.leaves(tree)[0]))
            return jax.tree.map(lambda a: a[part].reshape(self.local_count, -1, *a.shape[1:]), tree)
        sharding = self.sharding(ROWS)
        return jax.tree.map(lambda a: jax.make_array_from_callback(a.shape, sharding, lambda index: a[index]), tree)

    def put_steps(self, tree: PyTree) -> PyTree:
        """Host batches of several steps, `[steps, local rows, ...]`, spread by row."""
        if self.map == "pmap":
            return jax.tree.map(lambda a: a.reshape(a.shape[0], self.local_count, -1, *a.shape[2:]), tree)
        sharding = self.sharding(None, ROWS)
        return jax.tree.map(lambda a: jax.make_array_from_process_local_data(sharding, a), tree)

    @property
    def whole(self) -> bool:
        """Whether one device runs all, and nothing is divided: what is compiled for it may be traced once."""
        return self.map == "jit" and self.count == 1 and jax.process_count() == 1

    def traced(self, function: Any, name: str, made_from: Facts | None, donate: tuple[int, ...] = ()) -> Any:
        """A function compiled by jit: traced once, where it is known what it follows from and the plan is whole."""
        if made_from is None or not self.whole:
            return function
        return Traced(function, name, made_from, donate, self.sharding())

    def train(
        self,
        advance: Callable[..., tuple[PyTree, PyTree]],
        start: Callable[[], Any],
        batch: int,
        resident: bool,
        made_from: Facts | None = None,
    ) -> Dispatch:
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
            made_from: what the step follows from besides code, where it is to be traced once (see `traced`).
        """
        rows = self.rows(batch)

        def looped(state: PyTree, data: PyTree, rows: PyTree, count: Any, clock: Any) -> tuple[PyTree, PyTree]:
            def body(_: Any, carry: tuple) -> tuple:
                return advance(*carry, data, rows, clock)

            return lax.fori_loop(0, count, body, (state, start()))

        if self.map == "pmap":
            data_axis = None if resident else 1

            def compile(function: Callable, in_axes: tuple, donate: tuple) -> Callable:
                return self.mapped(function, in_axes, donate)
        else:
            data_axis = None

            def compile(function: Callable, in_axes: tuple, donate: tuple) -> Callable:
                def pinned(*arguments: Any) -> tuple[PyTree, PyTree]:
                    state, metrics = function(*arguments)
                    metrics = lax.with_sharding_constraint(metrics, self.sharding())
                    return lax.with_sharding_constraint(state, self.state_sharding(state)), metrics

                return self.traced(jax.jit(pinned, donate_argnums=donate), "training steps", made_from, donate)

        if self.loops_on_device:
            return Dispatch(compile(looped, (None, data_axis, 0, None, None), (0,)), rows)
        one = compile(advance, (None, None, data_axis, 0, None), (0, 1))
        return Dispatch(one, rows, jax.jit(start, out_shardings=self.sharding()))

    def each(self, function: Callable[[Any, Any], Any], batch: int) -> Each:
        """Apply `function(shared, rows) -> results` to rows in batches over all devices, and keep every row."""
        return Each(self, function, math.ceil(batch / self.count) * self.count)


def _shared(array: Array, spec: PartitionSpec) -> Any:
    """A device's part of an array as a share; a whole one as it is."""
    return Share(array, tuple(spec).index(FSDP), FSDP) if FSDP in tuple(spec) else array


def _place(device: Any) -> tuple[int, int, int]:
    return getattr(device, "slice_index", 0) or 0, device.process_index, device.id


def make_plan(
    map: str = "jit",
    shard: str = "replicated",
    loop: str = "auto",
    batch: int | None = None,
    group: int = 0,
    devices: tuple[Any, ...] = (),
) -> Plan:
    """The plan for all devices there are, or for those given.

    Raises:
        UserError: the devices do not divide the global batch, or groups the devices.
    """
    plan = Plan(map, shard, loop, devices=devices)
    check_batch(batch, plan.count)
    if group and shard != "fsdp":
        raise UserError(f"config.parallel.group: {shard} has no groups that share a state; leave it 0, or use fsdp")
    if group and plan.count % group:
        line = f"groups of {group} do not divide {plan.count} devices"
        raise UserError(f"config.parallel.group: {line}; 0 finds the best")
    return replace(plan, group=group)


def mean_over(axis: str | None, tree: PyTree) -> PyTree:
    """The mean over the devices of a mapped function; under jit (axis None) the tree as it is."""
    return tree if axis is None else lax.pmean(tree, axis)
