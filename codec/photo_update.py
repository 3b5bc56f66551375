"""A photo said as a change: a picture that the receiver can paint itself, and what is wrong with it.

The base is painted from a photo that is there, with the fit and the motion field that the message brings; the rest,
camera's picture minus base, is coded as a still (``codec.still``), grey 128 where nothing is missing. An update of the whole
picture is a new photo; one of a rectangle around mouth or eyes is a patch: the base with that rectangle mended. Layout, big
endian (``docs/bitstream.md``)::

    update  u8 0x15 | u8 id | u8 base's id | u8 identity version | u8 flags | u16 bytes | 4 B sha256 prefix | [window 3 x i16]
            | [4 x u8: left, top, width, height, 8 px] | u8 n | n B fit packet | motion packet, from no reference

flags: 0x03 region (0 whole, 1 mouth, 2 eyes), 0x04 a window follows, 0x08 the background stands still. The still comes in
chunks, as a photo's does.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

import numpy as np

from codec.errors import BitstreamError
from codec.motion import MotionDecoder, MotionField
from codec.packets import window_integers, window_of
from codec.parameter_codec import Values, decode_fit
from codec.parameters import SIZE, FrameParameters, Picture, Region
from codec.quantiser import dequantise
from codec.still import decode_still

UPDATE = 0x15
MAX_UPDATE_BYTES = 20000

_HEAD = struct.Struct(">BBBBBH4s")
_WINDOW = struct.Struct(">hhh")
_HAS_WINDOW = 4
_STILL = 8
_GREY = 128
_BLOCK = 8
_HASH = 4


@dataclass(frozen=True)
class Rectangle:
    """Of a picture, px, multiples of 8."""

    left: int
    top: int
    width: int
    height: int

    @property
    def rows(self) -> slice:
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        return slice(self.left, self.left + self.width)


WHOLE = Rectangle(0, 0, SIZE, SIZE)


@dataclass(frozen=True, eq=False)
class PhotoUpdate:
    """What an update's start message says.

    photo_id, base_id: 0..255. fit: (35,) integers of the picture, window: of its crop. field: motion of the base; None: none.
    size: bytes of the still, digest: of them. still: the background stands still from now on.
    """

    photo_id: int
    base_id: int
    identity_version: int
    region: Region
    rectangle: Rectangle
    parameters: FrameParameters
    fit: Values
    field: MotionField | None
    size: int
    digest: bytes
    still: bool = False


def residual(truth: Picture, base: Picture) -> Picture:
    """What is wrong with a base, as the picture that is coded: (H, W, 3) uint8, 128 where nothing is."""
    return np.clip(truth.astype(np.int16) - base + _GREY, 0, 255).astype(np.uint8)


def mended(base: Picture, rectangle: Rectangle, still: Picture) -> Picture:
    """The base with what was wrong in the rectangle added."""
    out = base.copy()
    part = out[rectangle.rows, rectangle.columns]
    part[:] = np.clip(part.astype(np.int16) + still - _GREY, 0, 255).astype(np.uint8)
    return out


def digest(still: bytes) -> bytes:
    """What the start message says of the still's bytes."""
    return hashlib.sha256(still).digest()[:_HASH]


def update_message(
    photo_id: int,
    base_id: int,
    identity_version: int,
    region: Region,
    rectangle: Rectangle,
    parameters: FrameParameters,
    coded_fit: bytes,
    motion: bytes,
    still: bytes,
    stands: bool = False,
) -> bytes:
    """The start message of an update. coded_fit: of ``encode_fit``. motion: a packet without a reference, or nothing. stands: whether
    the background does.

    Raises ValueError for a still that is too long.
    """
    if not 0 < len(still) <= MAX_UPDATE_BYTES:
        raise ValueError(f"an update of {len(still)} bytes, at most {MAX_UPDATE_BYTES} can be sent")
    window = parameters.window
    flags = region | (0 if window.still else _HAS_WINDOW) | (_STILL if stands else 0)
    out = _HEAD.pack(UPDATE, photo_id, base_id, identity_version, flags, len(still), digest(still))
    if not window.still:
        out += _WINDOW.pack(*window_integers(window))
    if region is not Region.WHOLE:
        sides = (rectangle.left, rectangle.top, rectangle.width, rectangle.height)
        out += bytes(side // _BLOCK for side in sides)
    return out + bytes((len(coded_fit),)) + coded_fit + motion


def read_update(message: bytes) -> PhotoUpdate:
    """Inverse of ``update_message``. Raises BitstreamError, and nothing else, for anything that is none."""
    try:
        _, photo_id, base_id, version, flags, size, checked = _HEAD.unpack_from(message)
        at = _HEAD.size
        if not 0 < size <= MAX_UPDATE_BYTES:
            raise BitstreamError(f"an update of {size} bytes is announced, at most {MAX_UPDATE_BYTES} are allowed")
        if flags & ~15 or flags & 3 == 3:
            raise BitstreamError("an update of a kind that this program does not read: update it")
        window = (0, 0, 0)
        if flags & _HAS_WINDOW:
            window = _WINDOW.unpack_from(message, at)
            at += _WINDOW.size
        region, rectangle = Region(flags & 3), WHOLE
        if region is not Region.WHOLE:
            rectangle = Rectangle(*(_BLOCK * message[at + i] for i in range(4)))
            at += 4
        count = message[at]
    except (struct.error, IndexError) as error:
        raise BitstreamError("an update's start message is truncated") from error
    if not (16 <= rectangle.width <= SIZE - rectangle.left and 16 <= rectangle.height <= SIZE - rectangle.top):
        raise BitstreamError("an update's rectangle does not lie in the picture")
    at += 1 + count
    if at > len(message):
        raise BitstreamError("an update's start message is truncated")
    fit = decode_fit(message[at - count : at])
    field = None
    if at < len(message):
        field = MotionDecoder().decode(message[at:], 0)
        if field.photo_id != base_id:
            raise BitstreamError("an update's motion belongs to another photo than its base")
    parameters = FrameParameters.from_vector(dequantise(fit), window_of(window))
    return PhotoUpdate(
        photo_id, base_id, version, region, rectangle, parameters, fit, field, size, checked, bool(flags & _STILL)
    )


def decode_residual(update: PhotoUpdate, still: bytes) -> Picture:
    """(height, width, 3) uint8 of the rectangle. Raises BitstreamError for bytes that do not match or decode."""
    if digest(still) != update.digest:
        raise BitstreamError(f"update {update.photo_id} does not match its hash")
    return decode_still(still, update.rectangle.width, update.rectangle.height)
