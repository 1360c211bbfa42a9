"""What a network keeps of its blocks for the backward pass, and what it computes there again."""

from typing import Any

from flax import linen as nn

PRODUCTS = ("dot_general", "conv_general_dilated", "canonical_convolution", "efficient_attention")

KEEPS: dict[str, Any] = {
    "inputs": None,
    "products": lambda primitive, *_, **__: primitive.name in PRODUCTS,
}
"""By the option `remat_keep`: the blocks' inputs only, or also what matrix products and convolutions within them put
out, so that only what is cheap is computed again (norms, nonlinearities, dropout)."""


def rematerialised(module: type[nn.Module], remat: bool, keep: str, **options: Any) -> Any:
    """The module class, with rematerialisation (`flax.linen.remat`, which takes the options) if `remat`."""
    return nn.remat(module, policy=KEEPS[keep], **options) if remat else module
