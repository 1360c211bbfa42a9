"""What every process answers, and what processes share. Losses, samplers and bounds are written against this alone."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Key, PyTree

Images = Float[Array, "batch *site"]
Times = Float[Array, "..."] | float  # broadcasts to [batch, *site] once trailing axes are added
Keys = Key[Array, "*batch"]  # one key, or one an example
Removal = Float[Array, "batch ..."]  # z of x: a number for each value of x, or several, along an axis at the end


class Refusal(NamedTuple):
    """What a part cannot go with, and why: the name of what to change, and one line."""

    part: str
    reason: str


@dataclass(frozen=True)
class Traits:
    """What other parts may need of a process.

    Attributes:
        kind: "gaussian", "ordered" or "uniform".
        continuous: whether its bound has a density in t: a schedule with derivatives, or independent sites.
        zero_terminal: whether alpha(1) = 0.
        sigma_start: sigma(0), the schedule's limit.
        exchangeable: whether all sites are alike in its order, which is then not the same for every image.
        independent: whether its sites are hidden at times independent of one another.
        markov: whether its steps back are those of its Markov chain alone, eta = 1.
    """

    kind: str
    continuous: bool = True
    zero_terminal: bool = False
    sigma_start: float = 0.0
    exchangeable: bool = False
    independent: bool = False
    markov: bool = False


@runtime_checkable  # so that the tests can check annotations as they run
class Process(Protocol):
    """Removal of information from an image x in [-1, 1], `[batch, *site]`, between t = 0 (intact) and t = 1.

    Times have shape `[]`, `[batch]`, or any that broadcasts to `[batch, *site]` after axes are added at the end. A
    process with parameters, those of a schedule that is trained, answers `init` and `bind` alone until they are bound.
    """

    kind: ClassVar[str]

    def traits(self) -> Traits:
        """What other parts may need of it."""
        ...

    def grid(
        self, steps: int, spacing: str = "", t_min: float | None = None, discrete: int = 0, rho: float = 7.0
    ) -> np.ndarray:
        """`[steps + 1]` times from 1 to 0 for a sampler, in a spacing that suits the process unless one is named.

        `t_min` is the least time above 0 that a network sees, `discrete` is T where it has seen the times i/T alone.
        """
        ...

    def init(self, key: Key[Array, ""]) -> PyTree:
        """Fresh parameters, a pytree; `{}` for most."""
        ...

    def bind(self, params: PyTree) -> "Process":
        """The process with these parameters."""
        ...

    def noise(self, keys: Keys, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Removal:
        """z: all the randomness of the removal, drawn before it."""
        ...

    def corrupt(self, x: Images, z: Removal, t: Times) -> Images:
        """x_t, a draw of q(x_t | x): given z, a deterministic and nested function of t."""
        ...

    def prior(self, keys: Keys, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Images:
        """x_1, where sampling starts."""
        ...

    def reverse(self, keys: Keys, x_t: Images, x: Images, t: Times, s: Times, eta: float) -> Images:
        """A draw of q(x_s | x_t, x) for s < t; s = 0 returns x. `eta` scales the fresh randomness."""
        ...

    def uses(self, keys: Keys, x_t: Images, t: Times, s: Times, eta: float) -> Bool[Array, "batch *site"] | None:
        """The values of x that `reverse` looks at, called with the same arguments; None: all."""
        ...

    def forward(self, keys: Keys, x_s: Images, s: Times, t: Times) -> Images:
        """A draw of q(x_t | x_s) for s < t."""
        ...

    def elbo(self, posterior: Any, x: Images, z: Removal, t: Times, s: Times) -> Float[Array, " batch"]:
        """The bound's term of the interval (s, t] in nats; s = t gives its density in t."""
        ...

    def prior_loss(self, x: Images) -> Float[Array, " batch"]:
        """KL(q(x_1 | x) || prior) in nats."""
        ...

    def film(self, denoise: Any, film: PyTree, t: Times, s: Times, condition: PyTree) -> PyTree:
        """Frames (x_t, x_hat), `[frames, batch, *site]` each, as a person is to see them, values in [-1, 1].

        `denoise` is the model's own, and `t` and `s`, `[frames]`, are the ends of each frame's step.
        """
        ...


def expand(t: Times, like: Images) -> Array:
    """Times with axes of length one at the end, so that they broadcast to `[batch, *site]`."""
    t = jnp.asarray(t)
    return t.reshape(t.shape + (1,) * (like.ndim - t.ndim)) if t.ndim else t


def sum_sites(values: Images) -> Float[Array, " batch"]:
    """The sum over every axis but the first."""
    return values.reshape(values.shape[0], -1).sum(axis=1)
