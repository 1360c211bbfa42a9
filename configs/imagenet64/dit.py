"""A diffusion transformer on ImageNet at 64x64, told the class: `xl` is DiT-XL (Peebles and Xie 2023), `7b` larger.

In pixels, with flow matching: `xl` in patches of 4 pixels a side, 256 tokens, `7b` in patches of 2, 1,024 tokens. For
pods, and never trained here; what it would take: `python -m ddpm_jax.plan --config=configs/imagenet64/dit.py
--topology=v5e:4x4`. ImageNet is TFDS's imagenet_resized/64x64, prepared as array_record.
"""

from ml_collections import ConfigDict

from ddpm_jax.config import families
from ddpm_jax.config.base import base

SIZES = {"xl": (1152, 28, 16, 4), "7b": (3072, 40, 24, 2)}
"""Channels, blocks, heads and the side of a patch."""


def get_config(size: str = "xl") -> ConfigDict:
    if size not in SIZES:
        raise ValueError(f"size {size!r} is not 'xl' or '7b'")
    config = base()
    families.flow(config)
    config.data.name = "imagenet_resized/64x64"
    config.data.batch = 256
    config.data.flip = True
    config.model.name = "dit"
    config.model.channels, config.model.depth, config.model.heads, config.model.patch = SIZES[size]
    config.model.conditions = ("label",)
    config.model.dropout = 0.0
    config.model.dtype = "bfloat16"
    config.model.remat = True
    config.objective.times = "logit_normal"
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 1e-4
    config.optimizer.warmup = 1000
    config.parallel.shard = "fsdp"
    config.sampler.guidance = 2.0
    config.training.steps = 400_000
    config.training.save_every = 10_000
    config.evaluation.samples = 10_000
    config.evaluation.likelihood_images = 0
    return config
