"""How the demo's film looks: sizes, colours, type."""

from __future__ import annotations

import colorsys
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 360
"""Side of each picture in the film, px."""
GAP = 12
"""Between them."""
TITLE = 20
"""Height of the titles over them."""

BACKGROUND = (18, 20, 24)
BRIGHT = (240, 242, 245)
DIM = (150, 156, 165)
EMPTY = (42, 46, 54)
WRONG = (255, 40, 20)

SAME_S = 0.0015
"""Time stamps nearer than this are the same frame's (files count in milliseconds)."""

Image = NDArray[np.uint8]
"""(H, W, 3) RGB."""


@cache
def font(size: int) -> Any:
    """The film's type."""
    from PIL import ImageFont

    return ImageFont.load_default(size)


@cache
def colour(photo_id: int) -> tuple[int, int, int]:
    """Of a picture in the memory, RGB 0..255: neighbours in number are far apart in hue."""
    r, g, b = colorsys.hsv_to_rgb((0.58 + photo_id * 0.618034) % 1, 0.55 if photo_id % 2 else 0.7, 1.0)
    return round(255 * r), round(255 * g), round(255 * b)


@lru_cache(maxsize=256)
def tag(text: str, photo_id: int, size: int) -> Image:
    """A few words on the colour of a picture."""
    from PIL import Image as PilImage
    from PIL import ImageDraw

    width = int(font(size).getlength(text)) + size // 2 + 2
    image = PilImage.new("RGB", (width, int(size * 1.3)), colour(photo_id))
    ImageDraw.Draw(image).text((width / 2, image.height / 2), text, BACKGROUND, font(size), anchor="mm")
    return np.array(image)


@lru_cache(maxsize=256)
def letters(text: str, size: int) -> Image:
    """(h, w, 3): a few words, white on black, to be laid over a darkened picture."""
    from PIL import Image as PilImage
    from PIL import ImageDraw

    image = PilImage.new("RGB", (int(font(size).getlength(text)) + 5, int(size * 1.3)), 0)
    ImageDraw.Draw(image).text((image.width / 2, image.height / 2), text, BRIGHT, font(size), anchor="mm")
    return np.array(image)


def stamp(out: Image, what: Image, left: int, top: int) -> None:
    """Something small in a picture, in place; moved inside where it would stand out."""
    height, width = what.shape[:2]
    top = min(max(top, 0), out.shape[0] - height)
    left = min(max(left, 0), out.shape[1] - width)
    out[top : top + height, left : left + width] = what
