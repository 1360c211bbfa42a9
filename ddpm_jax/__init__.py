"""ddpm_jax: diffusion, score-based and autoregressive image models as one thing.

A process removes information from an image, a network predicts the image from what is left, a sampler puts the
information back. Rooms import one way, from the ground up:

    errors, files, cache, keys  <-  data, schedules, models, devices
    schedules <- processes <- denoisers <- objectives, samplers, likelihood, oracles <- training, metrics
    experiment  <-  evaluation, pipeline  <-  the commands
    config <- runs <- commands (what the commands share), reporting, sweeps

The commands are `python -m ddpm_jax.train`, `.sweep`, `.sample`, `.evaluate` and `.report`. They, `experiment`, which
puts the parts together, and what stands above it read a config; no room below does.
"""

__version__ = "0.1.0"
