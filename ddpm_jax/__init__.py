"""ddpm_jax: diffusion, score-based and autoregressive image models as one thing.

A process removes information from an image, a network predicts the image from what is left, a sampler puts the
information back.

>>> import jax, ddpm_jax as dj
>>> process = dj.Gaussian(dj.schedules.VP())
>>> weights, means = jax.numpy.array([0.3, 0.7]), jax.numpy.array([[-1.0, 0.5], [0.8, -0.6]])
>>> law = dj.oracles.GaussianMixture(weights, means, 0.05 * jax.numpy.eye(2)[None].repeat(2, 0))
>>> x = dj.sample(process, law.denoiser(process), dj.DPM2M(), steps=20, key=jax.random.key(0), shape=(64, 2))
>>> x.shape
(64, 2)

Importing it is light: what is named here is imported when it is used. Rooms import one way, from the ground up:

    errors, files, cache, keys, plugins, progress <- conditions <- data, schedules, models, devices
    schedules <- processes <- denoisers <- objectives, samplers, likelihood, oracles <- generative <- training, metrics
    experiment  <-  evaluation, pipeline  <-  the commands
    config <- runs <- commands (what the commands share), reporting, sweeps

The commands are `python -m ddpm_jax.train`, `.sweep`, `.sample`, `.edit`, `.evaluate`, `.report` and `.plan`. They,
`experiment`, which chooses the parts, and what stands above it read a config; no room below does.
"""

import sys
from types import ModuleType
from typing import Any

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # what `__init__.pyi` names


class _Package(ModuleType):
    """`train` and `sample` are functions here, and modules of commands: importing one must not hide the function."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in ("train", "sample") and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
