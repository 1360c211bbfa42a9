"""One part of each kind that a config can name by a dotted path."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

import ddpm_jax as dj
from ddpm_jax.conditions import NONE, Conditions
from ddpm_jax.metrics.features import Features
from ddpm_jax.objectives.losses import Space
from ddpm_jax.objectives.times import Uniform
from ddpm_jax.processes.orders import Fixed


class Mlp(nn.Module):
    """A network: two layers on all values, the time and the label."""

    out_channels: int
    conditions: Conditions = NONE
    width: int = 8

    @nn.compact
    def __call__(self, x, time, condition, dropout_keys):
        label = jnp.zeros((len(x), 4))
        if "label" in self.conditions:
            label = nn.Embed(self.conditions["label"].classes + 1, 4)(condition["label"])
        h = jnp.concatenate([x.reshape(len(x), -1), time[:, None] / 1000, label], axis=1)
        out = nn.Dense(x[0, ..., 0].size * self.out_channels)(nn.swish(nn.Dense(self.width)(h)))
        return out.reshape(*x.shape[:-1], self.out_channels)


@dataclass(frozen=True)
class Power:
    """A schedule, alpha = 1 - t^power, with an option."""

    power: float = 1.0
    continuous: ClassVar[bool] = True
    t_min: ClassVar[float] = 1e-2

    def __post_init__(self):
        if not self.power > 0:
            raise ValueError(f"power {self.power} must be above 0")

    def __call__(self, t):
        t = jnp.asarray(t)
        return 1 - 0.999 * t**self.power, 0.01 + 0.99 * t


@dataclass(frozen=True)
class Damped(dj.ReverseStep):
    """A solver: DDIM whose estimates are drawn towards grey."""

    gain: float = 1.0
    etas: ClassVar[tuple[int, int]] = (0, 1)

    def estimate(self, problem, keys, x_t, memory, t, s):
        return self.gain * problem.posterior(x_t, t).mean, memory


class Louder(Space):
    """An objective."""

    prediction = "v"


@dataclass(frozen=True, eq=False)
class Late(Uniform):
    """Times above a share of the way."""

    share: float = 0.5

    def draw(self, key, count, history):
        t, _, weight = super().draw(key, count, history)
        late = self.share + (1 - self.share) * t
        return late, late, weight


@dataclass(frozen=True, eq=False)
class Bright(dj.Gaussian):
    """A process: a Gaussian one whose prior is shifted."""

    shift: float = 0.0

    def prior(self, keys, shape):
        return super().prior(keys, shape) + self.shift


class Crooked(nn.Module):
    """A network that puts out the wrong shape."""

    out_channels: int

    @nn.compact
    def __call__(self, x, time, condition, dropout_keys):
        return nn.Dense(self.out_channels + 1)(x)


def backwards(space, channels, chunk):
    """An order: from the last site to the first."""
    count = int(np.prod(space)) * channels
    return Fixed(space, channels, chunk, sites=np.arange(count)[::-1].copy())


def stripes(images: int = 64, side: int = 8) -> dj.Dataset:
    """A data set of black and white stripes, 8 levels."""
    numbers = np.arange(images)
    rows = (np.arange(side)[None, :, None] + numbers[:, None, None]) % (2 + numbers[:, None, None] % 2) == 0
    pictures = np.broadcast_to(7 * rows[..., None], (images, side, side, 1)).astype(np.uint8)
    labels = (numbers % 2).astype(np.int32)
    parts = {"train": slice(0, images // 2), "validation": slice(images // 2, None), "test": slice(images // 2, None)}
    splits: Any = {name: (pictures[part], labels[part]) for name, part in parts.items()}
    return dj.from_arrays(splits, levels=8, labels=2, name="stripes")


def pixels(levels: int, scale: float = 1.0) -> Features:
    """Features: the means of rows and columns."""

    def extract(images):
        x = images[..., 0] * (scale / (levels - 1))
        return np.concatenate([x.mean(1), x.mean(2)], axis=1).astype(np.float64)

    return Features("row and column means", f"{scale:016.6f}", 16, None, extract, None)
