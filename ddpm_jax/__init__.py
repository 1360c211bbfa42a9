"""ddpm_jax: diffusion, score-based and autoregressive image models as one thing.

A process removes information from an image, a network predicts the image from what is left, a sampler puts the
information back. Rooms import one way, from the ground up:

    errors, files, keys  <-  data, schedules, models
    schedules <- processes <- denoisers <- losses, samplers, likelihood, exact <- training, metrics <- the commands

The commands are `python -m ddpm_jax.train`, `.sweep`, `.sample`, `.evaluate` and `.report`. They, and the modules
beside them that put an experiment together (`experiment`, `job`, `evaluation`, `runs`, `restored`) or look after many
(`sweeps`), read a config; no room does.
"""

__version__ = "0.1.0"
