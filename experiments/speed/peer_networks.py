"""The same networks in PyTorch, as people write them there: diffusers' U-Net, and transformers on its fused attention.

They have as many parameters, layer by layer, as those of `ddpm_jax.models`. Imported where PyTorch is installed only.
"""

import importlib
import math
from typing import Any

torch: Any = importlib.import_module("torch")
nn: Any = torch.nn
F: Any = torch.nn.functional


def unet(shape: tuple[int, ...], model: dict[str, Any]) -> Any:
    """diffusers' U-Net with the settings of google/ddpm-cifar10-32 in all but size."""
    sizes = [shape[0] >> level for level in range(len(model["multipliers"]))]
    attends = [size in model["attention_resolutions"] for size in sizes]
    return importlib.import_module("diffusers").UNet2DModel(
        sample_size=shape[0],
        in_channels=shape[-1],
        out_channels=shape[-1],
        layers_per_block=model["blocks"],
        block_out_channels=tuple(model["channels"] * multiplier for multiplier in model["multipliers"]),
        down_block_types=tuple("AttnDownBlock2D" if attention else "DownBlock2D" for attention in attends),
        up_block_types=tuple("AttnUpBlock2D" if attention else "UpBlock2D" for attention in reversed(attends)),
        norm_num_groups=model["groups"],
        attention_head_dim=None,
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
        norm_eps=1e-6,
        dropout=0.0,
        act_fn="silu",
    )


def sinusoids(numbers: Any, features: int) -> Any:
    """sin, then cos, of the numbers at falling frequencies."""
    steps = torch.arange(features // 2, dtype=torch.float32, device=numbers.device)
    angles = numbers.float()[..., None] * torch.exp(-math.log(10_000) / (features // 2) * steps)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class Attention(nn.Module):
    """Queries, keys and values by one layer, PyTorch's fused attention, a projection."""

    def __init__(self, channels: int, heads: int, causal: bool):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.projection = nn.Linear(channels, channels)

    def split(self, h: Any) -> Any:
        """Queries, keys, values: [batch, heads, tokens, channels / heads] each."""
        three = self.query_key_value(h).view(*h.shape[:2], 3, self.heads, -1)
        return three.permute(2, 0, 3, 1, 4).unbind(0)

    def joined(self, h: Any) -> Any:
        """The heads side by side, through the projection."""
        return self.projection(h.transpose(1, 2).flatten(2))

    def forward(self, h: Any) -> Any:
        return self.joined(F.scaled_dot_product_attention(*self.split(h), is_causal=self.causal))


def mlp(channels: int) -> Any:
    """Four times as wide inside, with GELU."""
    return nn.Sequential(
        nn.Linear(channels, 4 * channels), nn.GELU(approximate="tanh"), nn.Linear(4 * channels, channels)
    )


class DiTBlock(nn.Module):
    """The block "adaLN-Zero" of DiT."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.norm_1, self.norm_2 = (nn.LayerNorm(channels, eps=1e-6, elementwise_affine=False) for _ in range(2))
        self.attention, self.mlp = Attention(channels, heads, causal=False), mlp(channels)
        self.modulation = nn.Linear(channels, 6 * channels)

    def forward(self, h: Any, embedding: Any) -> Any:
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = self.modulation(F.silu(embedding))[:, None].chunk(6, -1)
        h = h + gate_1 * self.attention(self.norm_1(h) * (1 + scale_1) + shift_1)
        return h + gate_2 * self.mlp(self.norm_2(h) * (1 + scale_2) + shift_2)


class DiT(nn.Module):
    """The diffusion transformer on square images, channels first."""

    def __init__(self, shape: tuple[int, ...], channels: int, depth: int, heads: int, patch: int):
        super().__init__()
        self.patch, values = patch, patch**2 * shape[-1]
        self.time = nn.Sequential(nn.Linear(256, channels), nn.SiLU(), nn.Linear(channels, channels))
        self.first = nn.Linear(values, channels)
        rows = torch.arange(shape[0] // patch)
        places = [sinusoids(a.flatten(), channels // 2) for a in torch.meshgrid(rows, rows, indexing="ij")]
        self.register_buffer("place", torch.cat(places[::-1], dim=-1))
        self.blocks = nn.ModuleList(DiTBlock(channels, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(channels, eps=1e-6, elementwise_affine=False)
        self.modulation, self.last = nn.Linear(channels, 2 * channels), nn.Linear(channels, values)

    def forward(self, x: Any, time: Any) -> Any:
        embedding = self.time(sinusoids(time, 256).to(self.first.weight.dtype))
        patches = F.pixel_unshuffle(x, self.patch)
        h = self.first(patches.flatten(2).transpose(1, 2)) + self.place.to(self.first.weight.dtype)
        for block in self.blocks:
            h = block(h, embedding)
        shift, scale = self.modulation(F.silu(embedding))[:, None].chunk(2, -1)
        h = self.last(self.norm(h) * (1 + scale) + shift)
        return F.pixel_shuffle(h.transpose(1, 2).unflatten(2, patches.shape[2:]), self.patch)


class GPTBlock(nn.Module):
    """The block of GPT-2."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.norm_1, self.norm_2 = (nn.LayerNorm(channels, eps=1e-6) for _ in range(2))
        self.attention, self.mlp = Attention(channels, heads, causal=True), mlp(channels)

    def forward(self, h: Any) -> Any:
        h = h + self.attention(self.norm_1(h))
        return h + self.mlp(self.norm_2(h))

    def advance(self, h: Any, key: Any, value: Any, i: Any, fixed: bool) -> Any:
        """The same for token i alone, whose key and value go into the cache [batch, heads, tokens, features].

        With `fixed` shapes, which a compiler wants, the whole cache is looked at through a mask.
        """
        query, new_key, new_value = self.attention.split(self.norm_1(h))
        if fixed:
            key.index_copy_(2, i, new_key)
            value.index_copy_(2, i, new_value)
            mask = (torch.arange(key.shape[2], device=h.device) <= i)[None]
            attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        else:
            key[:, :, i], value[:, :, i] = new_key[:, :, 0], new_value[:, :, 0]
            attended = F.scaled_dot_product_attention(query, key[:, :, : i + 1], value[:, :, : i + 1])
        h = h + self.attention.joined(attended)
        return h + self.mlp(self.norm_2(h))


class CausalTransformer(nn.Module):
    """A transformer over the pixels of a grey image in raster order: token i is given pixel i - 1 and predicts pixel i.

    Pixels are levels, [batch, tokens] int64; the output is logits of levels.
    """

    def __init__(self, shape: tuple[int, ...], levels: int, channels: int, depth: int, heads: int):
        super().__init__()
        assert shape[-1] == 1, "one channel"
        self.levels, self.heads = levels, heads
        self.first, self.level = nn.Linear(1, channels), nn.Embedding(levels, channels)
        place = [nn.Embedding(size, channels) for size in shape[:-1]]
        self.content, self.target = nn.ModuleList(place), nn.ModuleList(nn.Embedding(n, channels) for n in shape[:-1])
        self.start = nn.Parameter(0.02 * torch.randn(channels))
        self.blocks = nn.ModuleList(GPTBlock(channels, heads) for _ in range(depth))
        self.norm, self.last = nn.LayerNorm(channels, eps=1e-6), nn.Linear(channels, levels)
        grid = torch.meshgrid(*map(torch.arange, shape[:-1]), indexing="ij")
        self.register_buffer("places", torch.stack([a.flatten() for a in grid]))

    def position(self, tables: Any, places: Any) -> Any:
        """The embeddings of places [axes, tokens]."""
        return sum(table(numbers) for table, numbers in zip(tables, places, strict=True))

    def contents(self, levels: Any, places: Any) -> Any:
        """The embeddings of pixels at these places."""
        values = (levels * (2 / (self.levels - 1)) - 1)[..., None].to(self.start.dtype)
        return self.first(values) + self.level(levels) + self.position(self.content, places)

    def forward(self, levels: Any) -> Any:
        content = self.contents(levels[:, :-1], self.places[:, :-1])
        h = torch.cat([self.start.expand(levels.shape[0], 1, -1), content], dim=1)
        h = h + self.position(self.target, self.places)
        for block in self.blocks:
            h = block(h)
        return self.last(self.norm(h))

    def cache(self, count: int) -> list[tuple[Any, Any]]:
        """Keys and values of every block for so many images, all allocated now."""
        shape = count, self.heads, self.places.shape[1], self.start.shape[0] // self.heads
        dtype, device = self.start.dtype, self.start.device
        return [tuple(torch.zeros(2, *shape, dtype=dtype, device=device)) for _ in self.blocks]

    def advance(self, before: Any, i: Any, cache: Any, fixed: bool = False) -> Any:
        """Logits of pixel i, [batch, levels], given pixel i - 1 ([batch, 1]) and the cache.

        `i` is a number, or with `fixed` shapes a tensor `[1]`, so that one compiled program serves all steps.
        """
        if fixed:
            content = self.contents(before, self.places[:, (i - 1).clamp(min=0)])
            h = torch.where(i[:, None] > 0, content, self.start) + self.position(self.target, self.places[:, i])
        else:
            first = self.start.expand(before.shape[0], 1, -1)
            content = self.contents(before, self.places[:, i - 1 : i]) if i else first
            h = content + self.position(self.target, self.places[:, i : i + 1])
        for block, (key, value) in zip(self.blocks, cache, strict=True):
            h = block.advance(h, key, value, i, fixed)
        return self.last(self.norm(h))[:, 0]


def make(shape: tuple[int, ...], levels: int, model: dict[str, Any]) -> Any:
    """The network of a case, with parameters of PyTorch's choice."""
    options = {name: model[name] for name in ("channels", "depth", "heads", "patch") if name in model}
    if model["name"] == "unet":
        return unet(shape, model)
    if model["name"] == "dit":
        return DiT(shape, **options)
    return CausalTransformer(shape, levels, **options)
