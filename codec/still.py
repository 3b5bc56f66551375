"""A picture as one AV1 key frame, without the 275 bytes of container that an AVIF file puts around it.

libaom (inside Pillow) codes, dav1d (inside PyAV) decodes; both are there wherever Headwire runs.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.errors import BitstreamError

LARGEST_SIDE = 256


def encode_still(picture: NDArray[np.uint8], quality: int, speed: int = 6) -> bytes:
    """(H, W, 3) uint8, sides even and at most 256 -> the open bitstream units of one AV1 frame.

    quality: 0..100, as AVIF encoders count. speed: of libaom, 0..9.
    """
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(picture).save(out, "AVIF", quality=quality, speed=speed, subsampling="4:2:0", max_threads=1)
    boxes = out.getvalue()
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
        return np.asarray(frames[0].to_ndarray(format="rgb24"), np.uint8)
    except (FFmpegError, ValueError, MemoryError) as error:
        raise BitstreamError(f"picture cannot be decoded: {error}") from error
