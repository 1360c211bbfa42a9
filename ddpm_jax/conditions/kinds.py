"""The kinds of a condition: what one example's value is, and the value that says nothing."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float32, Int32, Key, Shaped

from ddpm_jax import keys as random
from ddpm_jax.errors import UserError, nearest
from ddpm_jax.files import Record, plain


class Kind(ABC):
    """One condition of an image: a label, a text, a picture or a vector.

    >>> Vector(2).null(1).tolist()  # the last entry says whether there is one
    [[0.0, 0.0, 0.0]]

    Attributes:
        kind: its name.
        dtype: of the values.
        said: whether a value is a caption, which a person says in words.
    """

    kind: ClassVar[str]
    dtype: ClassVar[DTypeLike]
    said: ClassVar[bool] = False

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Of one example's value."""

    @property
    def nbytes(self) -> int:
        """Bytes of one example's value."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @abstractmethod
    def null(self, count: int) -> Array:
        """The value that says nothing, `[count, *shape]`."""

    @property
    def augments(self) -> bool:
        """Whether training changes its values."""
        return False

    def augmented(self, keys: Key[Array, " batch"], value: Shaped[Array, "batch *shape"]) -> Array:
        """The values as training shows them."""
        return value

    def drop(self, dropped: Bool[Array, " batch"], value: Shaped[Array, "batch *shape"]) -> Array:
        """The values, and where `dropped` those that say nothing."""
        where = dropped.reshape(-1, *(1,) * (value.ndim - 1))
        return jnp.where(where, self.null(value.shape[0]).astype(value.dtype), value)

    @abstractmethod
    def rows(self, values: Sequence[Any] | np.ndarray) -> np.ndarray:
        """Examples' values as a person or a data set has them, as an array `[n, *shape]`.

        Raises:
            UserError: one of them cannot be, in a line that does not name the condition.
        """

    def turn(self, count: int) -> np.ndarray | None:
        """All values in turn, for `count` samples of which nothing is asked; None where there are too many."""
        return None

    def words(self, value: np.ndarray | np.generic) -> str:
        """One example's value for people; empty where there is nothing to read."""
        return ""

    def plain(self) -> Record:
        """What it is, as plain JSON, of the fields that are compared."""
        own: Any = self
        values = {one.name: (one, getattr(self, one.name)) for one in fields(own) if one.compare}
        # runs from before a later field are known by a description without it
        said = {name: plain(value) for name, (one, value) in values.items() if not _unsaid(one, value)}
        return {"kind": self.kind, **said}


def _unsaid(one: Field, value: Any) -> bool:
    return bool(one.metadata.get("later")) and value == one.default


@dataclass(frozen=True)
class Label(Kind):
    """A class, int32; the number of classes says "none".

    >>> Label(2, ("cat", "dog")).rows(["dog", "cat"]).tolist()
    [1, 0]

    Attributes:
        classes: how many.
        names: of the classes, in their order, for people; none: they are numbers.
    """

    classes: int
    names: tuple[str, ...] = field(default=(), compare=False, repr=False)
    kind: ClassVar[str] = "label"
    dtype: ClassVar[DTypeLike] = np.int32

    @property
    def shape(self) -> tuple[int, ...]:
        """A number."""
        return ()

    def null(self, count: int) -> Int32[Array, " count"]:
        """The number of classes."""
        return jnp.full((count,), self.classes, jnp.int32)

    def rows(self, values: Sequence[Any] | np.ndarray) -> Int32[np.ndarray, " n"]:
        """Whole numbers in 0 ... classes, the last of which is a class that nobody knows; or names of classes."""
        named = bool(self.names) and any(isinstance(one, str) for one in values)
        found = np.asarray([self._number(one) if isinstance(one, str) else one for one in values] if named else values)
        if found.ndim != 1 or (found.size and not np.issubdtype(found.dtype, np.integer)):
            raise UserError(f"{found.reshape(-1)[:1].tolist()} is no class; give one of 0 ... {self.classes - 1}")
        if found.size and not 0 <= found.min() <= found.max() <= self.classes:
            wrong = found[(found < 0) | (found > self.classes)][0]
            raise UserError(f"{wrong} is not one of 0 ... {self.classes - 1}")
        return found.astype(np.int32)

    def _number(self, name: str) -> int:
        """Of a class by its name."""
        if name in self.names:
            return self.names.index(name)
        raise UserError(f"{str(name)!r} is no class; {nearest(name, self.names)}")

    def turn(self, count: int) -> Int32[np.ndarray, " count"]:
        """The classes."""
        return np.arange(count, dtype=np.int32) % self.classes

    def words(self, value: np.ndarray | np.generic) -> str:
        """Its name, or the number."""
        if int(value) == self.classes:
            return ""
        return self.names[int(value)] if self.names else str(int(value))


@dataclass(frozen=True)
class Vector(Kind):
    """Real numbers, float32, and after them a 1: zeros there say that there is none, for a vector may be zero.

    Attributes:
        size: how many numbers.
    """

    size: int
    kind: ClassVar[str] = "vector"
    dtype: ClassVar[DTypeLike] = np.float32

    @property
    def shape(self) -> tuple[int, ...]:
        """The numbers, and whether they are given."""
        return (self.size + 1,)

    def null(self, count: int) -> Float32[Array, "count size"]:
        """Zeros."""
        return jnp.zeros((count, *self.shape), jnp.float32)

    def rows(self, values: Sequence[Any] | np.ndarray) -> Float32[np.ndarray, "n size"]:
        """Numbers `[n, size]`, with a 1 after each row."""
        found = np.asarray(values, np.float32)
        if found.shape[1:] != (self.size,):
            raise UserError(f"a vector of {found.shape[1:]} numbers is given, and it has {self.size}")
        return np.concatenate([found, np.ones((len(found), 1), np.float32)], axis=1)


@dataclass(frozen=True)
class Picture(Kind):
    """An image in [-1, 1], float32, with a channel of ones: zeros there say that there is none, for black is a picture.

    Attributes:
        size: `(*space, channels)`; a network resizes it to its own.
        noise: the greatest deviation of noise that training adds, of which a further channel tells how much it is.
    """

    size: tuple[int, ...]
    noise: float = field(default=0.0, metadata={"later": True})
    kind: ClassVar[str] = "image"
    dtype: ClassVar[DTypeLike] = np.float32

    @property
    def shape(self) -> tuple[int, ...]:
        """The picture's, with a channel that says whether it is given, and one of the noise if there may be any."""
        return (*self.size[:-1], self.size[-1] + (2 if self.noise else 1))

    @property
    def augments(self) -> bool:
        """Where there may be noise."""
        return self.noise > 0

    def null(self, count: int) -> Float32[Array, "count *space channels"]:
        """Zeros."""
        return jnp.zeros((count, *self.shape), jnp.float32)

    def rows(
        self, values: Sequence[Any] | np.ndarray, shown: Bool[np.ndarray, "n *space 1"] | None = None
    ) -> Float32[np.ndarray, "n *space channels"]:
        """uint8 levels 0 ... 255 `[n, *size]`, as 2u/255 - 1, with a channel of ones and no noise.

        Where `shown` is False nothing is said of a pixel.
        """
        found = np.asarray(values)
        if found.shape[1:] != self.size or found.dtype != np.uint8:
            raise UserError(f"pictures of {found.shape[1:]}, {found.dtype}, are given, and must be {self.size}, uint8")
        ones = np.ones((*found.shape[:-1], 1), np.float32) if shown is None else shown.astype(np.float32)
        pixels = (found.astype(np.float32) * np.float32(2 / 255) - 1) * ones
        return np.concatenate([pixels, ones, *([np.zeros_like(ones)] if self.noise else [])], axis=-1)

    def parts(self, value: Float32[Array | np.ndarray, "batch *shape"]) -> tuple[Any, Any]:
        """The pictures, in [-1, 1], and 1 where they are given."""
        channels = self.size[-1]
        return value[..., :channels], value[..., channels : channels + 1]

    def noisy(
        self,
        keys: Key[Array, " batch"],
        value: Float32[Array | np.ndarray, "batch *shape"],
        level: Float32[Array, "#batch"],
    ) -> Float32[Array, "batch *shape"]:
        """The pictures with noise of these deviations, which is told (Ho et al. 2022, "conditioning augmentation")."""
        picture, given = self.parts(value)
        level = level.reshape(-1, *(1,) * (value.ndim - 1))
        drawn = random.normal(keys, picture.shape, jnp.float32)
        told = jnp.broadcast_to(level, given.shape)
        return jnp.concatenate([picture + given * level * drawn, given, given * told], axis=-1)

    def augmented(self, keys: Key[Array, " batch"], value: Shaped[Array, "batch *shape"]) -> Array:
        """With noise of a deviation between 0 and the greatest, every one as often."""
        if not self.noise:
            return value
        keys_level, keys_noise = random.split(keys)
        return self.noisy(keys_noise, value, self.noise * random.uniform(keys_level, (len(value),)))
