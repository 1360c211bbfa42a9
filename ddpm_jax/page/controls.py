"""The settings that a person has for a run, as Gradio's components, and what they say as a `Wish`."""

from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from ddpm_jax.page.studio import MOST, Studio, Wish

NONE = "any"
"""No class."""


@dataclass(frozen=True, eq=False)
class Controls:
    """The components of a run's settings, one for each field of `Wish`; what a run does not read is not shown.

    Attributes:
        seed, count, sampler, steps, guidance, prompt, negative, label: see `Wish`.
    """

    seed: Any
    count: Any
    sampler: Any
    steps: Any
    guidance: Any
    prompt: Any
    negative: Any
    label: Any

    @property
    def all(self) -> list[Any]:
        """In the order of the fields."""
        return [getattr(self, one.name) for one in fields(self)]

    @classmethod
    def of(cls, studio: Studio, name: str) -> "Controls":
        """Those of a run, put on the page where this is called; `name` tells them from those of others."""
        text, classes = "text" in studio.told, studio.classes
        words = list(studio.config.evaluation.prompts) or [""]
        weight = next((one.partition(":")[2] for one in studio.config.sampler.guidance_each[-1:]), None)
        prompt = gr.Textbox(words[0], label="prompt", visible=text, elem_id=f"{name}-prompt")
        negative = gr.Textbox("", label="what not to draw", visible=text, elem_id=f"{name}-negative")
        label = gr.Dropdown([NONE, *classes], value=NONE, label="class", visible=bool(classes), elem_id=f"{name}-label")
        with gr.Row():
            sampler = gr.Dropdown(
                studio.samplers, value=studio.samplers[0], label="sampler", elem_id=f"{name}-sampler", min_width=120
            )
            steps = gr.Number(0, label=f"steps (0: {studio.steps})", precision=0, minimum=0, min_width=120)
            guidance = gr.Slider(
                0,
                10,
                float(weight or studio.config.sampler.guidance),
                step=0.1,
                label="guidance",
                visible=studio.guided,
                min_width=120,
            )
        with gr.Row():
            seed = gr.Number(0, label="seed", precision=0, minimum=0, min_width=120, elem_id=f"{name}-seed")
            images = gr.Slider(1, MOST, Wish.count, step=1, label="images", min_width=120)
        return cls(seed, images, sampler, steps, guidance, prompt, negative, label)


def wish(values: Any) -> Wish:
    """What the values of `Controls.all` say."""
    seed, count, sampler, steps, guidance, prompt, negative, label = values
    return Wish(
        int(seed or 0),
        int(count or 1),
        sampler or "",
        int(steps or 0),
        None if guidance is None else float(guidance),
        prompt or "",
        negative or "",
        "" if label in (None, NONE) else label,
    )
