"""A picture as one AV1 key frame, without the 275 bytes of container that an AVIF file puts around it.

libaom (inside Pillow) codes, dav1d (inside PyAV) decodes; both are there wherever Headwire runs. Colours are BT.601, full range;
dav1d's planes become RGB here, in integers, because swscale truncates (half a grey level of each colour) and is not the same on
every machine (``docs/bitstream-memory.md``).
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.errors import BitstreamError

LARGEST_SIDE = 256

_UP_CHROMA = np.array(((2, -1, 0), (1, -1, 3)), np.int16)
"""Added to two pixels of each 2x2: both colour differences rise by half a level, the luma of no pixel by more than 0.06."""

_RED_V, _GREEN_U, _GREEN_V, _BLUE_U = 91881, -22554, -46802, 116130
"""BT.601 in 1/65536."""


def avif(picture: NDArray[np.uint8], quality: int, speed: int = 6) -> bytes:
    """(H, W, 3) uint8 -> an AVIF file, 4:2:0. quality: 0..100. speed: of libaom, 0..9.

    Pillow's encoder rounds both colour differences down, which takes .5 to .8 grey levels from red and blue and gives as much to
    green; the picture is raised by as much before it is coded.
    """
    from PIL import Image

    raised = picture.astype(np.int16)
    raised[::2, ::2] += _UP_CHROMA[0]
    raised[1::2, 1::2] += _UP_CHROMA[1]
    out = io.BytesIO()
    image = Image.fromarray(np.clip(raised, 0, 255).astype(np.uint8))
    image.save(out, "AVIF", quality=quality, speed=speed, subsampling="4:2:0", max_threads=1)
    return out.getvalue()


def encode_still(picture: NDArray[np.uint8], quality: int, speed: int = 6) -> bytes:
    """(H, W, 3) uint8, sides even and at most 256 -> the open bitstream units of one AV1 frame.

    quality: 0..100, as AVIF encoders count. speed: of libaom, 0..9.
    """
    boxes = avif(picture, quality, speed)
    at = 0
    while at + 8 <= len(boxes):
        size, kind = int.from_bytes(boxes[at : at + 4], "big"), boxes[at + 4 : at + 8]
        if kind == b"mdat":
            return boxes[at + 8 : at + size]
        at += size
    raise ValueError("the AVIF encoder wrote no picture")


def decode_still(data: bytes, width: int, height: int) -> NDArray[np.uint8]:
    """The units of one frame -> (height, width, 3) uint8.

    Raises BitstreamError for anything else than one frame of that size; a larger one is refused before its pixels are
    allocated.
    """
    import av
    from av.error import FFmpegError

    decoder: Any = av.CodecContext.create("libdav1d", "r")
    decoder.options = {"max_pixels": str(LARGEST_SIDE * LARGEST_SIDE)}
    decoder.thread_count = 1
    try:
        frames = decoder.decode(av.Packet(data)) + decoder.decode(None)
        sizes = [(frame.width, frame.height, frame.format.name) for frame in frames]
        if sizes != [(width, height, "yuv420p")]:
            raise BitstreamError(f"picture is not one 4:2:0 frame of {width}x{height} pixels")
        planes = frames[0].to_ndarray()
    except (FFmpegError, ValueError, MemoryError) as error:
        raise BitstreamError(f"picture cannot be decoded: {error}") from error
    return _rgb(*_split(planes, width, height))


def _split(planes: NDArray[np.uint8], width: int, height: int) -> tuple[NDArray[np.uint8], ...]:
    """Planes below each other, as PyAV gives them -> y, u, v."""
    flat = planes.reshape(-1)
    whole, quarter = width * height, width * height // 4
    u, v = flat[whole : whole + quarter], flat[whole + quarter : whole + 2 * quarter]
    return flat[:whole].reshape(height, width), u.reshape(height // 2, -1), v.reshape(height // 2, -1)


def _rgb(y: NDArray[np.uint8], u: NDArray[np.uint8], v: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W), (H / 2, W / 2) twice -> (H, W, 3)."""
    blue, red = _twice(u), _twice(v)
    add = (_RED_V * red, _GREEN_U * blue + _GREEN_V * red, _BLUE_U * blue)
    colours = [y + ((x + (1 << 19)) >> 20) for x in add]
    return np.clip(np.stack(colours, -1), 0, 255).astype(np.uint8)


def _twice(plane: NDArray[np.uint8]) -> NDArray[np.int32]:
    """(H / 2, W / 2) -> (H, W) less 128, in sixteenths: bilinear between centres, the border repeated."""
    x = plane.astype(np.int32) - 128
    for axis in (0, 1):
        x = np.moveaxis(x, axis, 0)
        before, after = np.concatenate((x[:1], x[:-1])), np.concatenate((x[1:], x[-1:]))
        x = np.moveaxis(np.stack((3 * x + before, 3 * x + after), 1).reshape(-1, *x.shape[1:]), 0, axis)
    return x
