"""Commands on a trained run: JAX is started for it, and its config read back."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ddpm_jax.commands import joining, starting
from ddpm_jax.config.loading import changed, checked
from ddpm_jax.errors import UserError


def start_on_run(options: argparse.Namespace, overrides: Sequence[str] = ()) -> Any:
    """Start JAX for the run in `--workdir`, joined with other processes if asked for, and return its config.

    `overrides`, each `--config.KEY=VALUE`, may be of what only figures and samples depend on.

    Raises:
        UserError: there is no run, its config does not read, an override is wrong, or the processes cannot be joined.
    """
    from ddpm_jax import runs
    from ddpm_jax.config import checks
    from ddpm_jax.config.identity import AFTER_TRAINING, move_encoder, within

    folder = Path(options.workdir)
    config = runs.read_unchecked(folder)
    if overrides:
        overrides = [checked(word) for word in overrides]
        for word in overrides:
            key = word.removeprefix("--config.").partition("=")[0]
            if not within(key, (*AFTER_TRAINING, "logging")):
                parts = ", ".join(f"config.{part}" for part in AFTER_TRAINING)
                raise UserError(f"config.{key}: what the run was trained with is not changed; set keys of {parts}")
        config = changed(config, overrides)
        checks.check_values(config)
    config.parallel.distributed = options.distributed
    if options.data_dir:
        config.data.dir = options.data_dir
    if options.text_encoder:
        try:
            move_encoder(config, options.text_encoder)
        except UserError as error:
            raise UserError(f"--text_encoder: {error}") from error
    starting.start_jax(config.parallel.distributed, joining.facts(config, options))
    runs.check_config(folder, config)
    return config
