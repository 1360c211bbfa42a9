"""Makes fixtures/dit.npz: what the published code of the diffusion transformer answers, at a small size.

Only the answer is kept. The weights are drawn from each weight's name, and the inputs from a seed, by
`np.random.RandomState`, whose stream is frozen. Run it where PyTorch and timm are installed, with a checkout of
https://github.com/facebookresearch/DiT (its models.py is all that is read):

    python tests/models/make_dit_fixture.py path/to/DiT
"""

import sys
import zlib
from pathlib import Path

import numpy as np

FIXTURE = Path(__file__).parent / "fixtures" / "dit.npz"
TIMES = (0.0, 7.0, 812.5)
LABELS = (0, 4, 5)  # the last is the null label
CLASSES, CHANNELS, DEPTH, HEADS = 5, 48, 2, 3


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The weight that PyTorch calls `name`, in its layout (out, in, *window), scaled to keep signals near 1."""
    draw = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    draw = 0.1 * draw if name.endswith("bias") else draw / np.sqrt(np.prod(shape[1:]))
    return draw.astype(np.float32)


def images() -> np.ndarray:
    """The three inputs, [3, 8, 8, 4]."""
    return np.random.RandomState(0).standard_normal((3, 8, 8, 4)).astype(np.float32)


def answer(checkout: str) -> dict[str, np.ndarray]:
    """The output for `images()` at TIMES with LABELS, [3, 8, 8, 8], and the number of parameters of DiT-XL/2.

    The published count includes its position embedding, 256 x 1152 numbers that are fixed.
    """
    sys.path.insert(0, checkout)
    import models  # pyright: ignore[reportMissingImports]
    import torch

    model = models.DiT(8, 2, 4, CHANNELS, DEPTH, HEADS, num_classes=CLASSES).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name != "pos_embed":
                value.copy_(torch.from_numpy(weight(name, tuple(value.shape))))
        x = torch.from_numpy(images()).permute(0, 3, 1, 2)
        output = model(x, torch.tensor(TIMES), torch.tensor(LABELS)).permute(0, 2, 3, 1)
    # On no device: the weights are counted, not filled.
    with torch.device("meta"):
        models.DiT.initialize_weights = lambda self: None
        largest = models.DiT_models["DiT-XL/2"]()
    return {
        "output": output.numpy().copy(),
        "xl_count": np.asarray(sum(value.numel() for value in largest.parameters())),
        "xl_positions": np.asarray(largest.pos_embed.numel()),
    }


if __name__ == "__main__":
    kept = answer(sys.argv[1])
    FIXTURE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FIXTURE, **kept)
    print(f"{FIXTURE}: {FIXTURE.stat().st_size} bytes, output of scale {kept['output'].std():.3f}")
