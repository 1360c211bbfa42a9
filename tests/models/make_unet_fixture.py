"""Makes fixtures/unet_cifar10.npz: what diffusers' UNet2DModel answers with the settings of google/ddpm-cifar10-32.

Only the answer is kept. The weights are drawn from each weight's name, and the inputs from a seed, by
`np.random.RandomState`, whose stream is frozen. Run it with the extra `peers` installed:

    python tests/models/make_unet_fixture.py
"""

import zlib
from pathlib import Path

import numpy as np

FIXTURE = Path(__file__).parent / "fixtures" / "unet_cifar10.npz"
TIMES = (7.0, 812.0)


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The weight that PyTorch calls `name`, in its layout (out, in, *window), scaled to keep signals near 1."""
    draw = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("bias"):
        draw = 0.1 * draw
    elif "norm" in name:
        draw = 1 + 0.1 * draw
    else:
        draw = draw / np.sqrt(np.prod(shape[1:]))
    return draw.astype(np.float32)


def images() -> np.ndarray:
    """The two inputs, [2, 32, 32, 3]."""
    return np.random.RandomState(0).standard_normal((2, 32, 32, 3)).astype(np.float32)


def answer() -> tuple[np.ndarray, int]:
    """diffusers' output for `images()` at TIMES, [2, 32, 32, 3], and its number of parameters."""
    import torch
    from diffusers import UNet2DModel

    model = UNet2DModel(
        sample_size=32,
        block_out_channels=(128, 256, 256, 256),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=2,
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
        norm_eps=1e-6,
        norm_num_groups=32,
        attention_head_dim=None,
        act_fn="silu",
    ).eval()
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict({name: torch.from_numpy(weight(name, shape)) for name, shape in shapes.items()})
    with torch.no_grad():
        output = model(torch.from_numpy(images()).permute(0, 3, 1, 2), torch.tensor(TIMES)).sample
    return output.permute(0, 2, 3, 1).numpy().copy(), sum(int(np.prod(shape)) for shape in shapes.values())


if __name__ == "__main__":
    output, count = answer()
    FIXTURE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FIXTURE, output=output, count=count)
    print(f"{FIXTURE}: {FIXTURE.stat().st_size} bytes, {count} parameters, output of scale {output.std():.3f}")
