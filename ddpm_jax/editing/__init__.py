"""What a trained model draws given a part of an image, a measurement of it, or another image to begin with.

Lives here: linear `operators`, the denoiser of a process given what one of them measured (`measured`), hooks that keep
a known part (`keeping`), grids that jump back (`jumps`), weights of candidates (`weighing`), codes of images (`codes`),
and the `tasks` that are made of these. All of it serves the one sampling loop. Imports `denoisers`, `processes`,
`samplers`, `schedules` and the ground; anyone above may import it.

>>> import jax.numpy as jnp
>>> from ddpm_jax.editing import Averages, Inpaint, Restore
>>> Averages(2)(jnp.arange(16.0).reshape(1, 4, 4, 1))[0, :, :, 0].tolist()
[[2.5, 4.5], [10.5, 12.5]]
>>> Restore(Averages(2), method="tmpd").method, Inpaint().method
('tmpd', 'replacement')
"""

from ddpm_jax.editing.codes import between, encode
from ddpm_jax.editing.jumps import jumping
from ddpm_jax.editing.keeping import Kept, known_first
from ddpm_jax.editing.measured import COVARIANCES, Measured
from ddpm_jax.editing.operators import Averages, Blur, Grey, Identity, Operator, Pixels, Projections
from ddpm_jax.editing.tasks import TRAINED, Begin, Given, Inpaint, Restore, Task, Vary
from ddpm_jax.editing.weighing import Chosen, choose

__all__ = [
    "COVARIANCES",
    "TRAINED",
    "Averages",
    "Begin",
    "Blur",
    "Chosen",
    "Given",
    "Grey",
    "Identity",
    "Inpaint",
    "Kept",
    "Measured",
    "Operator",
    "Pixels",
    "Projections",
    "Restore",
    "Task",
    "Vary",
    "between",
    "choose",
    "encode",
    "jumping",
    "known_first",
]
