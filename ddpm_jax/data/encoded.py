"""A data set whose captions are given as a frozen encoder reads them; all else of it stays."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ddpm_jax import cache
from ddpm_jax.conditions import Conditions, Text, Tokens
from ddpm_jax.conditions.tokens import half, joined
from ddpm_jax.data.encoder import Encoder, read
from ddpm_jax.data.sources import LARGEST_COPY, Dataset, Examples, Source
from ddpm_jax.errors import UserError

VERSION = 1
"""Of what the cache keeps."""


@partial(jax.tree_util.register_dataclass, data_fields=["features", "numbers", "index"], meta_fields=[])
@dataclass(frozen=True)
class Table:
    """The values of many examples' captions, each different one kept once, in float16; NumPy's or JAX's.

    `table[rows]` is as of an array `[n, length, features + 1]`, float32, and `table[:]` all of it.

    Attributes:
        features: `[different, length, features]`.
        numbers: `[different, length]`, 1 more than those of the pieces.
        index: `[n]`, which of them an example has.
    """

    features: Any
    numbers: Any
    index: Any

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: Any) -> Any:
        which = self.index[rows]
        return joined(self.features[which], self.numbers[which])


@dataclass(frozen=True)
class Captions:
    """Those of a split.

    Attributes:
        different: each of them once.
        index: which of them each example has.
    """

    different: tuple[str, ...]
    index: np.ndarray

    def nbytes(self, kind: Tokens) -> int:
        """Of their table."""
        number = self.index.itemsize
        return len(self.different) * kind.length * (kind.features * 2 + number) + self.index.nbytes

    def table(self, kind: Tokens, title: str) -> Table:
        """Their values, read once by the encoder; then they lie in the cache."""
        numbers = kind.numbers(self.different)
        made_from = [VERSION, kind.encoder, numbers]
        shape = (*numbers.shape, kind.features)
        if (content := cache.load("encodings", made_from)) is None:
            encoder: Any = kind.reader
            content = half(encoder.encode(numbers, title)).tobytes()
            if len(content) <= LARGEST_COPY:
                cache.save("encodings", made_from, content)
        return Table(np.frombuffer(content, np.float16).reshape(shape), numbers, self.index)


@dataclass(frozen=True)
class Tables:
    """The values of a split's captions, by name; read when they are first asked for."""

    captions: Mapping[str, Captions]
    kinds: Mapping[str, Tokens]
    title: str

    @cached_property
    def by_name(self) -> dict[str, Table]:
        """A table for each condition that was a text."""
        return {name: one.table(self.kinds[name], self.title) for name, one in self.captions.items()}


@dataclass(frozen=True)
class Encoded(Source):
    """Images of another source, with the values of an encoder in place of their captions."""

    plain: Source = field(kw_only=True, repr=False)
    tables: Tables = field(kw_only=True, repr=False)

    @property
    def stored(self) -> Source:
        """With the captions."""
        return self.plain

    @property
    def nbytes(self) -> int:
        """With the tables in place of the captions; no caption is encoded for it."""
        tables = self.tables
        return (
            self.plain.nbytes
            + sum(one.nbytes(tables.kinds[name]) for name, one in tables.captions.items())
            - len(self) * sum(self.plain.description.conditions[name].nbytes for name in tables.captions)
        )

    @cached_property
    def _decoded(self) -> Examples:
        images, conditions = self.plain.arrays()
        return images, {**conditions, **self.tables.by_name}


def encoded(dataset: Dataset, encoder: Encoder | str | Path) -> Dataset:
    """The same images, every `Text` of which is of kind `Tokens`: prompts are read by the encoder too.

    >>> import ddpm_jax as dj
    >>> data = dj.data.encoded(dj.data.load("still_lifes"), "all-MiniLM-L6-v2")  # doctest: +SKIP

    The captions of all splits are read now, which decodes a split that lies on disk, and encoded when they are first
    used, each different one once; then they lie in the cache.

    Args:
        dataset: with captions.
        encoder: or its folder, as model hubs keep a BERT.

    Raises:
        UserError: the folder is none of an encoder, there is no text, or a caption is too long.
    """
    own = encoder if isinstance(encoder, Encoder) else read(encoder)
    kinds = dataset.description.conditions
    texts = {name: kind for name, kind in kinds.kinds if isinstance(kind, Text)}
    if not texts:
        raise UserError(f"data set {dataset.description.name!r} has no text for an encoder")
    if not own.tokeniser.lower and any(kind.vocabulary for kind in texts.values()):
        raise UserError("the encoder tells capitals from small letters, which these captions have none of")
    captions = {split: _captions(source, texts) for split, source in dataset.sources.items()}
    tokens = {}
    for name in texts:
        length = max(len(own.pieces(words)) for found in captions.values() for words in found[name].different)
        if length > own.longest:
            raise UserError(f"a caption has {length} pieces of words, and the encoder reads {own.longest} at most")
        tokens[name] = Tokens(length, own.features, own.digest, own)
    conditions = Conditions(tuple((name, tokens.get(name, kind)) for name, kind in kinds.kinds))
    description = replace(dataset.description, conditions=conditions)
    sources = {}
    for split, source in dataset.sources.items():
        tables = Tables(captions[split], tokens, f"reading the captions of {split}")
        get = partial(_read, source, tables)
        sources[split] = Encoded(description, len(source), get, words=source.words, plain=source, tables=tables)
    return replace(dataset, description=description, sources=sources)


def _read(plain: Source, tables: Tables, rows: np.ndarray) -> Examples:
    found = plain.rows(rows)
    return found["image"], {**found["condition"], **{name: table[rows] for name, table in tables.by_name.items()}}


def _captions(source: Source, texts: Mapping[str, Text], chunk: int = 1000) -> dict[str, Captions]:
    """Of all examples; a split that the cache would keep is decoded for it once and for all."""
    if source.nbytes <= LARGEST_COPY:
        values = source.arrays()[1]
    else:
        starts = range(0, len(source), chunk)
        parts = [source.rows(np.arange(start, min(start + chunk, len(source))))["condition"] for start in starts]
        values = {name: np.concatenate([part[name] for part in parts]) for name in texts}
    found = {}
    for name, kind in texts.items():
        rows, index = np.unique(values[name], axis=0, return_inverse=True)
        found[name] = Captions(tuple(map(kind.words, rows)), index.reshape(-1).astype(np.int32))
    return found
