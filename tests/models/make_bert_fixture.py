"""Makes fixtures/bert.npz: what the library `transformers` answers for a tiny BERT.

Only the answer is kept. The weights are drawn from each weight's name, and the pieces from a seed, by
`np.random.RandomState`, whose stream is frozen. Run it with `transformers` and PyTorch installed:

    python tests/models/make_bert_fixture.py
"""

import zlib
from pathlib import Path

import numpy as np

FIXTURE = Path(__file__).parent / "fixtures" / "bert.npz"
FACTS = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "vocab_size": 30,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 9,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-3,  # so large that it shows
}


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The weight that is published as `name`, so large that attention is far from even."""
    draw = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("bias"):
        draw = 0.2 * draw
    elif "LayerNorm" in name:
        draw = 1 + 0.2 * draw
    elif "embeddings" not in name:
        draw = 2 * draw / np.sqrt(shape[-1])
    return draw.astype(np.float32)


def texts() -> tuple[np.ndarray, np.ndarray]:
    """Pieces of three texts, of 7, 4 and 1, and where they are."""
    numbers = np.random.RandomState(0).randint(0, FACTS["vocab_size"], (3, 7))
    return numbers.astype(np.int32), np.arange(7) < np.array([[7], [4], [1]])


def answer() -> np.ndarray:
    """`transformers`' outputs for `texts()`, [3, 7, 12]."""
    import torch
    from transformers import BertConfig, BertModel

    model = BertModel(BertConfig(**FACTS), add_pooling_layer=False).eval()
    shapes = {name: tuple(value.shape) for name, value in model.named_parameters()}
    drawn = {name: torch.from_numpy(weight(name, shape)) for name, shape in shapes.items()}
    assert not model.load_state_dict(drawn, strict=False).unexpected_keys
    numbers, mask = (torch.from_numpy(array.astype(np.int64)) for array in texts())
    with torch.no_grad():
        return model(input_ids=numbers, attention_mask=mask).last_hidden_state.numpy()


if __name__ == "__main__":
    import transformers

    FIXTURE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FIXTURE, output=answer(), version=transformers.__version__)
    print(f"{FIXTURE}: {FIXTURE.stat().st_size} bytes, transformers {transformers.__version__}")
