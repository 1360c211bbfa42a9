"""Makes fixtures/ncsnpp.npz: what the published DDPM++ and NCSN++ answer, in sizes that are quick to run.

The published networks are `SongUNet` of https://github.com/NVlabs/edm (training/networks.py, at commit
008a4e5316c8e3bfe61a62f874bddba254295afb), with the settings of its train.py. Only the answers are kept. The weights are
drawn from each weight's name, and the inputs from a seed, by `np.random.RandomState`, whose stream is frozen. Run it
with the extra `peers` installed, on a clone of that repository:

    python tests/models/make_ncsnpp_fixture.py path/to/edm
"""

import sys
import zlib
from pathlib import Path

import numpy as np

FIXTURE = Path(__file__).parent / "fixtures" / "ncsnpp.npz"
SIZE, CHANNELS, MULTIPLIERS, BLOCKS, ATTENTION, LABELS = 16, 16, (1, 2, 2), 1, (8,), 3
TIMES = {"ddpmpp": (7.0, 333.25, 812.0), "ncsnpp": (-1.2, 0.05, 0.9)}
CONDITION = (0, 2, 3)  # the last one is the null label
FREQUENCIES = 16 * np.random.RandomState(1).standard_normal(CHANNELS).astype(np.float32)
SETTINGS = {
    "ddpmpp": {},
    "ncsnpp": {
        "embedding_type": "fourier",
        "encoder_type": "residual",
        "channel_mult_noise": 2,
        "resample_filter": [1, 3, 3, 1],
    },
}


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
    """The three inputs, [3, 16, 16, 3]."""
    return np.random.RandomState(0).standard_normal((3, SIZE, SIZE, 3)).astype(np.float32)


def answer(name: str) -> tuple[np.ndarray, int]:
    """The published output for `images()` at TIMES and CONDITION, [3, 16, 16, 3], and the number of parameters."""
    import torch
    from training.networks import SongUNet  # pyright: ignore[reportMissingImports]

    model = SongUNet(
        img_resolution=SIZE,
        in_channels=3,
        out_channels=3,
        label_dim=LABELS,
        model_channels=CHANNELS,
        channel_mult=list(MULTIPLIERS),
        num_blocks=BLOCKS,
        attn_resolutions=list(ATTENTION),
        **SETTINGS[name],
    ).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(weight(key, tuple(parameter.shape))))
        if name == "ncsnpp":
            model.map_noise.freqs.copy_(torch.from_numpy(FREQUENCIES))
        labels = torch.eye(LABELS + 1)[list(CONDITION), :LABELS]
        output = model(torch.from_numpy(images()).permute(0, 3, 1, 2), torch.tensor(TIMES[name]), labels)
    return output.permute(0, 2, 3, 1).numpy().copy(), sum(value.numel() for value in model.parameters())


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    kept = {}
    for name in SETTINGS:
        kept[name], kept[f"{name}_count"] = answer(name)
        print(f"{name}: {kept[f'{name}_count']} parameters, output of scale {kept[name].std():.3f}")
    FIXTURE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FIXTURE, **kept)
    print(f"{FIXTURE}: {FIXTURE.stat().st_size} bytes")
