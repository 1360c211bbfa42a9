"""Conditions by name: those that a data set offers, or those that a network is told."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from ddpm_jax import keys as random
from ddpm_jax.conditions.kinds import Kind, Label, Picture, Vector
from ddpm_jax.conditions.text import Text
from ddpm_jax.conditions.tokens import Reader, Tokens
from ddpm_jax.errors import UserError, nearest
from ddpm_jax.files import Facts

Condition = dict[str, Any]
"""What some images' conditions are: `{name: [batch, *shape]}`."""


IMAGE = "image"
"""The name of what the conditions are of, in rows and in files of samples."""


@dataclass(frozen=True)
class Conditions:
    """The kind of each condition, by its name.

    >>> told = Conditions((("label", Label(3)),))
    >>> told.null(1)["label"].tolist(), list(told), told["label"].classes
    ([3], ['label'], 3)

    Attributes:
        kinds: `(name, kind)` of each.

    Raises:
        UserError: two have one name, or one that of the image itself.
    """

    kinds: tuple[tuple[str, Kind], ...] = ()

    def __post_init__(self):
        names = [name for name, _ in self.kinds]
        if twice := [name for name in names if names.count(name) > 1]:
            raise UserError(f"there are two conditions {twice[0]!r}; give one of them another name")
        if IMAGE in names:
            raise UserError(f"{IMAGE!r} is what is drawn, and no name of a condition; give it another")

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.kinds)

    def __len__(self) -> int:
        return len(self.kinds)

    def __getitem__(self, name: str) -> Kind:
        return dict(self.kinds)[name]

    def __contains__(self, name: object) -> bool:
        return name in dict(self.kinds)

    def only(self, names: Iterable[str]) -> "Conditions":
        """Those of these names. Raises UserError for a name that there is not."""
        for name in (names := tuple(names)):
            if name not in self:
                known = nearest(name, self) if self.kinds else "the data have none"
                raise UserError(f"there is no condition {name!r}; {known}")
        return Conditions(tuple((name, self[name]) for name in names))

    def of(self, values: Mapping[str, Any]) -> Condition:
        """The values of these conditions, out of more."""
        return {name: values[name] for name in self}

    def null(self, count: int) -> Condition:
        """What says nothing of `count` images."""
        return {name: kind.null(count) for name, kind in self.kinds}

    def rows(self, values: Mapping[str, Sequence[Any] | np.ndarray]) -> dict[str, np.ndarray]:
        """Values as a person has them as arrays. Raises UserError, with the condition's name."""
        found = {}
        for name, given in values.items():
            kind = self.only([name])[name]
            try:
                found[name] = kind.rows(given)
            except UserError as error:
                raise UserError(f"{name}: {error}") from error
        return found

    def drop(
        self,
        keys: Key[Array, " batch"],
        values: Condition,
        all_of: float,
        each: float = 0.0,
        own: Mapping[str, float] = MappingProxyType({}),
    ) -> Condition:
        """The values as training shows them: some augmented, an example's dropped all at once in a share `all_of`, and
        each by itself in a share `each`, or in the one that it has in `own`.

        So a model learns what it says without any, and without some, and can be guided by each.
        """
        if not self.kinds:
            return values
        count, kinds = len(keys), len(self.kinds)
        shares = {name: own.get(name, each) if kinds > 1 else 0.0 for name, _ in self.kinds}
        folded = any(shares.values()) or any(kind.augments for _, kind in self.kinds)
        dropped = random.bernoulli(random.fold_in(keys, 0) if folded else keys, all_of, (count,))
        found = {}
        for number, (name, kind) in enumerate(self.kinds, 1):
            gone = dropped
            if shares[name]:
                gone = jnp.logical_or(dropped, random.bernoulli(random.fold_in(keys, number), shares[name], (count,)))
            value = kind.augmented(random.fold_in(keys, kinds + number), values[name]) if folded else values[name]
            found[name] = kind.drop(gone, value)
        return found


def of_plain(plain: Facts, reader: Reader | None = None) -> Kind:
    """The kind that `Kind.plain` told of, as JSON has it; `reader` is the encoder of tokens.

    Raises:
        ValueError: it is no such object.
    """
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}
    name = fields.pop("kind", None)
    if name not in KINDS:
        raise ValueError(f"no kind of condition is {name!r}")
    try:
        return KINDS[name](**fields, **({"reader": reader} if KINDS[name] is Tokens else {}))
    except TypeError as error:
        raise ValueError(f"{name} does not have {sorted(fields)}") from error


KINDS: dict[Any, Any] = {kind.kind: kind for kind in (Label, Vector, Picture, Text, Tokens)}
"""Those of this folder, by name."""

NONE = Conditions()
"""No condition."""


def labels(classes: int) -> Conditions:
    """A class label alone, by the name `label`; none where there are no classes."""
    return Conditions((("label", Label(classes)),)) if classes else NONE
