"""Where images come from: data sets, their descriptions, and batches of them.

`load(name)` gives a `Dataset`: a `Description` (shape, levels, labels) and a `Source` a split. `draw` takes a batch
from images that live on the device, inside a compiled step; `host_batches` reads larger sets as they are needed.
`fingerprint` says which data a run has seen, `recorded` is a data set of that alone. `encoded(dataset, folder)` is one
whose captions a frozen encoder reads, `coarser(dataset, levels)` one in fewer levels, `with_views(dataset, names)` one
with pictures made of its own. `folders/` has the user's own.
Imports conditions, the ground, and of the models a published encoder; training, metrics and the commands import it.

>>> from ddpm_jax import data
>>> data.load("digits").description.shape
(8, 8, 1)
"""

from ddpm_jax.data.arrays import from_arrays
from ddpm_jax.data.batches import draw, fits_device, host_batches, prefetch
from ddpm_jax.data.description import Description
from ddpm_jax.data.encoded import encoded
from ddpm_jax.data.identity import difference, fingerprint
from ddpm_jax.data.levels import coarser
from ddpm_jax.data.loading import load
from ddpm_jax.data.recorded import recorded
from ddpm_jax.data.sources import Dataset, Source
from ddpm_jax.data.views import with_views

__all__ = [
    "Dataset",
    "Description",
    "Source",
    "coarser",
    "difference",
    "draw",
    "encoded",
    "fingerprint",
    "fits_device",
    "from_arrays",
    "host_batches",
    "load",
    "prefetch",
    "recorded",
    "with_views",
]
