"""Batches: drawn on the device from a set that fits there, or read by the host as they are needed.

Both are pure functions of keys or of (seed, step), so a resumed run needs nothing but its step, and the number of
devices and processes may change. Images stay uint8 here; `Description.encode` makes x of them.
"""

import functools
from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, UInt8

from ddpm_jax.conditions.table import Condition
from ddpm_jax.data.sources import Source


def fits_device(source: Source, limit_bytes: int = 512 * 2**20) -> bool:
    """Whether all of a source, images and conditions, is small enough to keep on the device."""
    return source.nbytes <= limit_bytes


def draw(
    images: UInt8[Array, "examples *values"],
    conditions: Condition,
    keys: Key[Array, " batch"],
    flip: bool = False,
    shape: tuple[int, ...] | None = None,
) -> dict[str, Any]:
    """A batch, drawn inside a compiled step.

    `{"image": uint8 [batch, *site], "condition": {name: [batch, ...]}, "row": int32 [batch]}`, as `Source.rows`.

    Each example is drawn uniformly from the whole set with its own key; with `flip` its last spatial axis is reversed
    with probability 1/2. Drawing is *with replacement*: an example is then a function of its own key alone, whatever
    the batch size and the number of devices, with no epoch to keep or to resume, and the loss's gradient is unbiased.
    Over an epoch's worth of draws about 37 % of the images are missed; over the hundreds of epochs that small sets are
    trained for, an image's count varies by a few per cent. `host_batches` takes every image once an epoch.

    With `shape`, that of an image, the images are flat, `[examples, values]`, and get it when they are taken.
    """

    def one(key: Array) -> tuple[Array, Array]:
        key_index, key_flip = jax.random.split(key)
        return jax.random.randint(key_index, (), 0, len(images), jnp.int32), jax.random.bernoulli(
            key_flip, jnp.float32(0.5)
        )

    indices, flipped = jax.vmap(one)(keys)
    x = images[indices].reshape(-1, *(shape or images.shape[1:]))
    if flip:
        x = jnp.where(flipped.reshape(-1, *[1] * (x.ndim - 1)), jnp.flip(x, -2), x)
    taken = {name: values[indices] for name, values in conditions.items()}
    return {"image": x, "condition": taken, "row": indices.astype(jnp.int32)}


@runtime_checkable
class Batches(Protocol):
    """Batches by step number."""

    def __getitem__(self, step: int, /) -> Any: ...


@dataclass(frozen=True)
class HostBatches:
    """What `host_batches` returns: `batches[step]`."""

    source: Source
    seed: int
    batch: int
    rows: range
    flip: bool

    @functools.cached_property
    def _order(self) -> Any:
        """Position in the endless stream -> example number, and whether it is flipped."""
        import grain

        # grain shuffles epoch e with seed + e: taken as they are, seeds 0 and 1 would give the same epochs, one apart.
        shuffle, coin = np.random.SeedSequence(self.seed).generate_state(2).tolist()
        order = grain.MapDataset.range(len(self.source)).shuffle(seed=shuffle).repeat()
        return order.random_map(_coin, seed=coin) if self.flip else order

    def __getitem__(self, step: int) -> dict[str, Any]:
        if step < 0:
            raise IndexError(f"steps start at 0, not {step}")
        drawn = [self._order[step * self.batch + row] for row in self.rows]
        indices, flips = zip(*drawn, strict=True) if self.flip else (drawn, ())
        rows = self.source.rows(np.asarray(indices, np.int64))
        images = rows["image"]
        if self.flip:
            flipped = np.asarray(flips, bool).reshape(-1, *[1] * (images.ndim - 1))
            images = np.where(flipped, np.flip(images, -2), images)
        return {**rows, "image": images}


def _coin(index: int, generator: np.random.Generator) -> tuple[int, bool]:
    return index, bool(generator.integers(2))


def host_batches(
    source: Source, seed: int, batch: int, rows: slice | range | None = None, flip: bool = False
) -> HostBatches:
    """Batches of a large set: `batches[step]` is a pure function of seed and step.

    The batches are cut one after the other from an endless stream in which every image comes once an epoch, and each
    epoch is shuffled anew; an epoch need not end where a batch does. `rows` are the rows of the global batch that this
    process loads (all by default): the parts of all processes, put together, are the global batch, however many
    processes there are. With `flip`, a stream position's last spatial axis is reversed with probability 1/2.

    `batches[step]` is NumPy, as `Source.rows` gives it.
    """
    if seed < 0:
        raise ValueError(f"a seed is at least 0, not {seed}")
    chosen = range(batch) if rows is None else range(batch)[rows] if isinstance(rows, slice) else rows
    if batch < 1 or not chosen or min(chosen) < 0 or max(chosen) >= batch:
        raise ValueError(f"rows {rows} are not in a batch of {batch}")
    return HostBatches(source, seed, batch, chosen, flip)


def prefetch(batches: Batches, start: int, stop: int, depth: int = 2, threads: int = 1) -> Generator[Any, None, None]:
    """`batches[start] ... batches[stop - 1]` in order, up to `depth` of them made ahead by threads.

    So reading and decoding overlap with the device's work. An error in a thread is raised at its batch; then, on
    `close()` and at the end, the threads stop. Use `contextlib.closing` where the loop may be left early.
    """
    if depth < 1 or threads < 1:
        raise ValueError(f"depth {depth} and threads {threads} are at least 1")
    pool = ThreadPoolExecutor(threads, thread_name_prefix="prefetch")
    waiting: deque = deque()
    try:
        for step in range(start, stop):
            waiting.append(pool.submit(batches.__getitem__, step))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
