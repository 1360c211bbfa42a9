"""Keys that name a part: one of our tables, or a dotted path `package.module:function` to a part of the user's own."""

IN_PYTHON = "in Python"
"""The `model.name` of a run whose model was made in Python: its config has the settings of training only."""

OPTIONS = {
    "data.name": "data.options",
    "process.name": "process.options",
    "process.schedule": "process.schedule_options",
    "process.order": "process.order_options",
    "model.name": "model.options",
    "objective.name": "objective.options",
    "objective.times": "objective.times_options",
    "sampler.name": "sampler.options",
    "evaluation.features": "evaluation.features_options",
}
"""Where the options of such a part stand, which are its keyword arguments."""

GIVEN = {
    "data.name": (),
    "process.name": ("schedule", "values", "order", "keep", "apart"),
    "process.schedule": ("steps", "trains_shape"),
    "process.order": ("space", "channels", "chunk", "seed"),
    "model.name": ("shape", "out_channels", "labels", "sites"),
    "objective.name": ("steps", "sigma_data"),
    "objective.times": ("steps", "t_min", "decoder", "schedule"),
    "sampler.name": (),
    "evaluation.features": ("train_images", "train_labels", "levels"),
}
"""Arguments that are given to it besides, if it takes them."""


def is_option(key: str) -> bool:
    """Whether a dotted key is an option of a user's own part."""
    return any(key.startswith(f"{section}.") for section in OPTIONS.values())
