"""What a model can be told of an image: conditions by name, each of a kind, and the value of each that says nothing.

`kinds.py` has labels, vectors and pictures, `text.py` captions and their words, `tokens.py` captions as a frozen
encoder reads them, in the pieces of `wordpiece.py`, and `table.py` several of them by name: a condition is
`{name: value}`, rows an example. Imports the ground only; `data`, `models` and all above import it.

>>> from ddpm_jax import conditions
>>> conditions.labels(10).null(2)["label"].tolist()
[10, 10]
"""

from ddpm_jax.conditions.kinds import Kind, Label, Picture, Vector
from ddpm_jax.conditions.table import NONE, Condition, Conditions, labels, of_plain
from ddpm_jax.conditions.text import Text
from ddpm_jax.conditions.tokens import Tokens

__all__ = [
    "NONE",
    "Condition",
    "Conditions",
    "Kind",
    "Label",
    "Picture",
    "Text",
    "Tokens",
    "Vector",
    "labels",
    "of_plain",
]
