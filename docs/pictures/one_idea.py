"""Draws one_idea.svg: a digit loses information in both families, and what may be said of it from what is left.

    python docs/pictures/one_idea.py

The two processes are those of the package. In place of a network there is the mean of the training digits, each
weighed by how well it fits what is left.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import ddpm_jax as dj
from ddpm_jax.schedules.keeping import linear

TIMES = (0.0, 0.25, 0.5, 0.75, 1.0)
CELL, GAP, LEFT, TOP = 9, 52, 236, 96  # a pixel, between pictures, and where the first picture is
SIDE = 8 * CELL
WIDTH, HEIGHT = LEFT + 5 * SIDE + 4 * GAP + 36, 616
INK, SOFT, BLUE, RED, HIDDEN = "#1f2430", "#5a6172", "#2457a6", "#a63d24", "#7f9cc7"
FONT = 'font-family="system-ui, Segoe UI, Helvetica, Arial, sans-serif"'
SPREAD = 0.5  # of a pixel between digits that look alike


def frames(process, x, train):
    """What is left of x at each time, and the prediction from it; hidden pixels are not numbers."""
    z = process.noise(jax.random.split(jax.random.key(2), 1), x.shape)
    for t in TIMES:
        left = np.asarray(process.corrupt(x, z, t))[0]
        if process.kind == "gaussian":
            alpha, sigma = (float(v) for v in process.schedule(jnp.asarray(t)))
            seen, misses = left, (left - alpha * train) ** 2 / (sigma**2 + (alpha * SPREAD) ** 2)
        else:
            seen = np.where(left < -1, np.nan, left)
            misses = np.nan_to_num((seen - train) ** 2) / SPREAD**2
        fit = -misses.reshape(len(train), -1).sum(1) / 2
        weights = np.exp(fit - fit.max())
        yield seen[..., 0], np.tensordot(weights / weights.sum(), train, 1)[..., 0]


def picture(values, left, top):
    """Squares of one picture, a path for each grey."""
    places = {}
    for row, column in np.ndindex(values.shape):
        value = values[row, column]
        grey = int(np.clip(round((value + 1) * 8), 0, 16)) * 15 if np.isfinite(value) else -1
        colour = HIDDEN if grey < 0 else f"#{grey:02x}{grey:02x}{grey:02x}"
        places.setdefault(colour, []).append(f"M{column} {row}h1v1h-1z")
    paths = "".join(f'<path fill="{colour}" d="{"".join(squares)}"/>' for colour, squares in places.items())
    return f'<g transform="translate({left} {top}) scale({CELL})" shape-rendering="crispEdges">{paths}</g>'


def words(text, left, top, size=14, colour=INK, anchor="start", weight="normal"):
    """A line of text."""
    style = f'font-size="{size}" fill="{colour}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text x="{left}" y="{top}" {style}>{text}</text>'


def arrow(x0, y0, x1, y1, colour, width=2.5):
    """A line with a head."""
    length = np.hypot(x1 - x0, y1 - y0)
    u, v = (x1 - x0) / length, (y1 - y0) / length
    tip = 4 * width
    a, b = x1 - tip * u, y1 - tip * v
    head = f"{x1},{y1} {a - tip / 2 * v:.1f},{b + tip / 2 * u:.1f} {a + tip / 2 * v:.1f},{b - tip / 2 * u:.1f}"
    line = f'<line x1="{x0}" y1="{y0}" x2="{a:.1f}" y2="{b:.1f}" stroke="{colour}" stroke-width="{width}"/>'
    return f'{line}<polygon points="{head}" fill="{colour}"/>'


def family(name, lines, process, x, train, top):
    """A family's two rows: what is left, and below each the prediction."""
    parts = [words(name, 24, top + 22, 17, weight="bold")]
    parts += [words(line, 24, top + 44 + 19 * i, 13, SOFT) for i, line in enumerate(lines)]
    parts.append(words("prediction", LEFT - 14, top + SIDE + 24 + SIDE / 2 + 4, 13, SOFT, "end"))
    for i, (seen, guess) in enumerate(frames(process, x, train)):
        left = LEFT + i * (SIDE + GAP)
        parts.append(picture(seen, left, top))
        if i:
            parts.append(arrow(left + SIDE / 2, top + SIDE + 3, left + SIDE / 2, top + SIDE + 21, SOFT, 1.8))
            parts.append(picture(guess, left, top + SIDE + 24))
    return "".join(parts)


def drawing():
    """The whole picture."""
    data = dj.data.load("digits")
    values = np.asarray(data.description.values)
    train = values[data.split("train").arrays()[0]]
    x = jnp.asarray(values[data.split("test").arrays()[0][4:5]])
    noise = dj.Gaussian(dj.schedules.Cosine())
    hiding = dj.Ordered(dj.make_order("random", (8, 8)), linear)
    right, bottom, second = WIDTH - 36, HEIGHT - 46, TOP + 2 * SIDE + 60
    middle = (LEFT + right) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" {FONT}>',
        "<title>A process removes information from an image, a network predicts the image from what is left, "
        "a sampler puts the information back</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="14" fill="#f6f6f2"/>',
        words("1. A process removes information", middle, 34, 17, BLUE, "middle", "bold"),
        arrow(LEFT, 50, right, 50, BLUE),
        *(words(f"t = {t:g}", LEFT + i * (SIDE + GAP) + SIDE / 2, 80, 13, SOFT, "middle") for i, t in enumerate(TIMES)),
        family("Noise", ("on all pixels at once:", "DDPM, score SDEs, EDM,", "flow matching"), noise, x, train, TOP),
        family(
            "Hidden pixels",
            ("in an order: autoregression,", "any order, chunks,", "masked diffusion"),
            hiding, x, train, second,
        ),
        words("2. A network predicts the image from what is left", middle, bottom - 38, 17, INK, "middle", "bold"),
        words("3. A sampler puts it back, little by little", middle, bottom - 4, 17, RED, "middle", "bold"),
        arrow(right, bottom + 14, LEFT, bottom + 14, RED),
        "</svg>\n",
    ]  # fmt: skip
    return "\n".join(parts)


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(drawing(), "utf-8")
