"""Flow matching on OpenMoji's emoji with their names: `small` for two CPU cores, `full` for a GPU (extra `emoji`).

There are few pictures, so copies are counted. All emojis designed by OpenMoji, the open-source emoji and icon project;
licence: CC BY-SA 4.0.
"""

from ml_collections import ConfigDict

from ddpm_jax.config import base, families


def get_config(size: str = "small") -> ConfigDict:
    config = base.still_lifes(size)
    families.flow(config)
    config.data.name = "emoji" if size == "full" else "emoji/16"
    config.model.dropout = 0.1
    config.objective.condition_drop = 0.2
    config.evaluation.samples = 76  # as many as the test split has
    config.evaluation.prompts = (
        "red apple",
        "grinning face with big eyes",
        "purple heart",
        "rocket",
        "cat face",
        "banana",
    )
    return config
