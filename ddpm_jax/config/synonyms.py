"""What a word that is no key of a config means, in other projects or at a guess."""

from collections.abc import Sequence

from ddpm_jax.config.keys import KEYS
from ddpm_jax.errors import nearest

SYNONYMS: dict[str, str] = {
    "lr": "optimizer.learning_rate",
    "rate": "optimizer.learning_rate",
    "base_lr": "optimizer.learning_rate",
    "warmup_steps": "optimizer.warmup",
    "lr_warmup": "optimizer.warmup",
    "lr_schedule": "optimizer.schedule",
    "lr_scheduler": "optimizer.schedule",
    "wd": "optimizer.weight_decay",
    "grad_clip": "optimizer.clip",
    "max_grad_norm": "optimizer.clip",
    "eps": "optimizer.epsilon",
    "ema": "optimizer.ema",
    "ema_decay": "optimizer.ema",
    "ema_rate": "optimizer.ema",
    "optim": "optimizer.name",
    "optimizer": "optimizer.name",
    "steps": "training.steps",
    "epochs": "training.steps",
    "num_epochs": "training.steps",
    "num_steps": "training.steps",
    "train_steps": "training.steps",
    "num_train_steps": "training.steps",
    "max_steps": "training.steps",
    "iterations": "training.steps",
    "n_iter": "training.steps",
    "save_freq": "training.save_every",
    "save_interval": "training.save_every",
    "checkpoint_every": "training.save_every",
    "eval_every": "training.save_every",
    "log_freq": "training.log_every",
    "log_interval": "training.log_every",
    "grad_accum": "training.accumulate",
    "accumulation_steps": "training.accumulate",
    "batch": "data.batch",
    "batch_size": "data.batch",
    "bs": "data.batch",
    "dataset": "data.name",
    "data": "data.name",
    "data_dir": "data.dir",
    "horizontal_flip": "data.flip",
    "random_flip": "data.flip",
    "model": "model.name",
    "arch": "model.name",
    "network": "model.name",
    "width": "model.channels",
    "dim": "model.channels",
    "hidden": "model.channels",
    "hidden_size": "model.channels",
    "features": "model.channels",
    "num_channels": "model.channels",
    "model_channels": "model.channels",
    "ch_mult": "model.multipliers",
    "channel_mult": "model.multipliers",
    "dim_mults": "model.multipliers",
    "num_res_blocks": "model.blocks",
    "layers": "model.depth",
    "num_layers": "model.depth",
    "n_layers": "model.depth",
    "num_heads": "model.heads",
    "n_heads": "model.heads",
    "patch_size": "model.patch",
    "attn_resolutions": "model.attention_resolutions",
    "precision": "model.dtype",
    "class_cond": "model.conditions",
    "conditional": "model.conditions",
    "parameterization": "model.prediction",
    "prediction_type": "model.prediction",
    "loss": "objective.name",
    "loss_type": "objective.name",
    "uncond_prob": "objective.condition_drop",
    "cond_drop_prob": "objective.condition_drop",
    "timesteps": "process.steps",
    "num_timesteps": "process.steps",
    "num_train_timesteps": "process.steps",
    "diffusion_steps": "process.steps",
    "noise_schedule": "process.schedule",
    "beta_schedule": "process.schedule",
    "beta_start": "process.beta_min",
    "beta_end": "process.beta_max",
    "sampler": "sampler.name",
    "solver": "sampler.name",
    "nfe": "sampler.steps",
    "sampling_steps": "sampler.steps",
    "num_inference_steps": "sampler.steps",
    "cfg": "sampler.guidance",
    "cfg_scale": "sampler.guidance",
    "guidance_scale": "sampler.guidance",
    "num_samples": "evaluation.samples",
    "num_fid_samples": "evaluation.samples",
    "random_seed": "seed",
    "wandb_project": "logging.project",
}
"""Words of other projects, and words that are in several sections here, each with the key that is meant."""


def meant(word: str, within: Sequence[str] = ()) -> str | None:
    """The key that is meant by a word, or by a dotted key that there is not; None where nothing tells.

    >>> meant("optimizer.lr"), meant("batch_size"), meant("sampler.num_steps"), meant("warmup")
    ('optimizer.learning_rate', 'data.batch', 'sampler.steps', 'optimizer.warmup')

    Args:
        word: what was given, such as an option without its dashes.
        within: the sections whose keys can be meant; all by default.
    """
    section, _, last = word.lower().replace("-", "_").rpartition(".")
    target = SYNONYMS.get(last, last)
    leaf = target.rpartition(".")[2]
    there = [key for key in KEYS if not within or key.partition(".")[0] in within]
    same = [key for key in there if key.rpartition(".")[2] == leaf]
    beside = f"{section}.{leaf}"
    if beside in same:
        return beside
    if target in same:
        return target
    return same[0] if len(same) == 1 else None


def instead(key: str) -> str:
    """The end of an error line about a key that there is not."""
    if found := meant(key):
        return f"did you mean {found!r}?"
    hint = nearest(key, KEYS)
    return hint if hint.startswith("did you mean") else "train's --print_config shows all that there are"
