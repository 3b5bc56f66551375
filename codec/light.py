"""The light of a photo, changed: how much brighter or darker, redder or bluer the camera sees the scene by now than the photo does.

Three gains, one a colour, in integers, so that both ends get the same picture. ``docs/bitstream-memory.md``::

    light     u8 0x16 | u8 photo id | 3 x i8 gain of red, green, blue, 1/64 more than 1
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from codec.errors import BitstreamError

LIGHT = 0x16
STEP = 64
MOST = 40
"""Largest gain, up or down, in 1/STEP."""

Light = tuple[int, int, int]
"""Gains of red, green and blue, each -MOST..MOST: a colour is multiplied by 1 + gain / STEP."""

SAME: Light = (0, 0, 0)

_MESSAGE = struct.Struct(">BBbbb")


def light_message(photo_id: int, light: Light) -> bytes:
    """Raises ValueError for a gain that is too large."""
    if any(abs(gain) > MOST for gain in light):
        raise ValueError(f"gains {light}: at most {MOST} can be sent")
    return _MESSAGE.pack(LIGHT, photo_id, *light)


def read_light(message: bytes) -> tuple[int, Light]:
    """(photo id, light). Raises BitstreamError for anything that is no such message."""
    if len(message) != _MESSAGE.size:
        raise BitstreamError("light message has a wrong length")
    _, photo_id, red, green, blue = _MESSAGE.unpack(message)
    if max(abs(red), abs(green), abs(blue)) > MOST:
        raise BitstreamError(f"light message with a gain beyond {MOST}/{STEP}")
    return photo_id, (red, green, blue)


def lit(picture: NDArray[np.uint8], light: Light) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 -> the same in another light; itself where the light is the same."""
    return _scaled(picture, light, tuple((STEP + gain, STEP) for gain in light))


def unlit(picture: NDArray[np.uint8], light: Light) -> NDArray[np.uint8]:
    """Inverse of ``lit``, as well as can be: what the camera sees now, in the photo's light."""
    return _scaled(picture, light, tuple((STEP, STEP + gain) for gain in light))


def _scaled(picture: NDArray[np.uint8], light: Light, fractions: tuple[tuple[int, int], ...]) -> NDArray[np.uint8]:
    """Each colour times its fraction, rounded, in integers."""
    if light == SAME:
        return picture
    grey = np.arange(256, dtype=np.int32)
    out = np.empty_like(picture)
    for k, (above, below) in enumerate(fractions):
        table = np.minimum((grey * above + below // 2) // below, 255).astype(np.uint8)
        out[..., k] = table[picture[..., k]]
    return out
