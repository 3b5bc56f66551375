"""Photos of the face: their coding (AVIF) and their messages on the wire.

Photos have ids; each travels as one start message and checked chunks, over a reliable channel or in a ``.hw`` file.
Layout, big endian (``docs/bitstream.md``)::

    identity  u8 0x11 | u8 version | u8 K | K x i16 in 1/1024 standard deviation
    start     u8 0x12 | u8 photo id | u8 identity version | u32 bytes | 8 B sha256 prefix | 3 x i16 window | fit packet
    refit     u8 0x14 | u8 photo id | u8 identity version | fit packet, of a photo that is there
    chunk     u8 0x13 | u8 photo id | u32 offset | data
    light     u8 0x16 | ...: another light for a photo that is there (``codec.light``)
    update    u8 0x15 | ...: a photo said as a change of what is there (``codec.photo_update``)
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from codec.errors import BitstreamError
from codec.light import LIGHT, read_light
from codec.packets import window_integers, window_of
from codec.parameter_codec import Values, decode_fit, encode_fit
from codec.parameters import SIZE, Floats, FrameParameters, Picture, ReferenceFrame
from codec.photo_update import UPDATE, PhotoUpdate, decode_residual, mended, read_update
from codec.quantiser import dequantise, quantise
from codec.still import avif

PHOTO_BUDGET = 7500
"""Bytes that the first photo may take."""

MAX_PHOTO_BYTES = 65536
MAX_IDENTITY = 128
CHUNK = 1000

_FAST_EXCESS = 1.12
"""Size of the fastest coding over that of speed 6, at the same quality."""

_IDENTITY, _START, _CHUNK, _REFIT = 0x11, 0x12, 0x13, 0x14
_START_HEAD = struct.Struct(">BBBI8shhh")
_CHUNK_HEAD = struct.Struct(">BBI")
_IDENTITY_STEP = 1 / 1024
_HASH = 8


def encode_photo(picture: Picture, budget: int = PHOTO_BUDGET, speed: int = 6) -> bytes:
    """(256, 256, 3) uint8 -> AVIF of at most ``budget`` bytes, near the best quality that fits.

    speed: of libaom, 0..9; 6 costs a tenth of the time of 5 and 3 % more bytes. The quality is searched at the fastest
    speed, whose files are larger by a nearly constant factor, and corrected at the real one: about 0.15 s in all.
    """
    low, high = 1, 95
    while low < high:
        quality = (low + high + 1) // 2
        if len(avif(picture, quality, 9)) <= budget * _FAST_EXCESS:
            low = quality
        else:
            high = quality - 1
    coded = avif(picture, low, speed)
    while len(coded) > budget and low > 1:
        low = max(1, low - 2)
        coded = avif(picture, low, speed)
    return coded


def decode_photo(data: bytes) -> Picture:
    """AVIF bytes -> (256, 256, 3) uint8. Raises BitstreamError for anything else, before pixels are allocated."""
    from PIL import Image

    if len(data) > MAX_PHOTO_BYTES:
        raise BitstreamError(f"photo of {len(data)} bytes, at most {MAX_PHOTO_BYTES} are allowed")
    try:
        with Image.open(io.BytesIO(data), formats=("AVIF",)) as image:
            if image.size != (SIZE, SIZE) or getattr(image, "n_frames", 1) != 1:
                raise BitstreamError(f"photo of {image.size[0]}x{image.size[1]} pixels, expected {SIZE}x{SIZE}")
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, RuntimeError, EOFError, MemoryError, struct.error) as error:
        raise BitstreamError(f"photo cannot be decoded: {error}") from error


def encode_identity(identity: Floats, version: int) -> bytes:
    """(K,) p_id -> identity message."""
    integers = np.clip(np.rint(np.asarray(identity, np.float64) / _IDENTITY_STEP), -32767, 32767).astype(">i2")
    return bytes((_IDENTITY, version & 255, len(identity))) + bytes(integers.tobytes())


@dataclass(frozen=True)
class Photo:
    """A photo to send. coded: AVIF. parameters: the fit of its picture, under the identity of that version."""

    photo_id: int
    identity_version: int
    coded: bytes
    parameters: FrameParameters

    @cached_property
    def coded_fit(self) -> bytes:
        """The fit's packet, in the start message."""
        return encode_fit(quantise(self.parameters.vector()))

    @property
    def fit(self) -> Values:
        """(35,) int64: the fit as the receiver decodes it, from which both ends' keys start."""
        return decode_fit(self.coded_fit)

    def messages(self) -> list[bytes]:
        """Start and chunk messages, each at most CHUNK + 6 bytes."""
        window = window_integers(self.parameters.window)
        head = (_START, self.photo_id, self.identity_version, len(self.coded), _digest(self.coded), *window)
        start = _START_HEAD.pack(*head) + self.coded_fit
        return [start, *chunks(self.photo_id, self.coded)]

    def refit(self) -> bytes:
        """The message that gives a photo that is there another fit, under another identity. Keys stay what they are."""
        return bytes((_REFIT, self.photo_id, self.identity_version)) + self.coded_fit


def chunks(photo_id: int, coded: bytes) -> list[bytes]:
    """The chunk messages of a photo or an update."""
    return [_CHUNK_HEAD.pack(_CHUNK, photo_id, i) + coded[i : i + CHUNK] for i in range(0, len(coded), CHUNK)]


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:_HASH]


@dataclass(frozen=True)
class _Announced:
    size: int
    digest: bytes
    identity_version: int
    parameters: FrameParameters
    fit: Values


@dataclass
class _Arriving:
    start: _Announced | PhotoUpdate
    data: bytearray = field(default_factory=bytearray)


Paint = Callable[[ReferenceFrame, PhotoUpdate, Floats], Picture]
"""Paints an update's base: from a photo, with the update's parameters and field, under an identity."""


def _grey(base: ReferenceFrame, update: PhotoUpdate, identity: Floats) -> Picture:
    return np.full((SIZE, SIZE, 3), 128, np.uint8)


class PhotoAssembler:
    """Photo messages in, reference frames out. Holds at most one photo in flight per id, each capped.

    Every method raises BitstreamError, and nothing else, for bad bytes; the state is then unchanged
    but for the photo concerned, which is dropped.
    """

    MAX_IN_FLIGHT = 8
    MAX_PHOTOS = 31

    def __init__(self, paint: Paint = _grey) -> None:
        """paint: makes the base of an update; without, updates are told but not shown."""
        self._paint = paint
        self._identities: dict[int, Floats] = {}
        self._arriving: dict[int, _Arriving] = {}
        self._photos: dict[int, ReferenceFrame] = {}

    def add(self, message: bytes) -> ReferenceFrame | None:
        """Take one message; returns the photo that it completes, or gives another fit or light."""
        kind = message[0] if message else -1
        if kind == _IDENTITY:
            self._add_identity(message)
            return None
        if kind == _START:
            self._add_start(message)
            return None
        if kind == _CHUNK:
            return self._add_chunk(message)
        if kind == UPDATE:
            self._add_update(message)
            return None
        if kind == _REFIT:
            return self._add_refit(message)
        if kind == LIGHT:
            return self._add_light(message)
        raise BitstreamError(f"unknown photo message {kind}")

    def _add_identity(self, message: bytes) -> None:
        if len(message) < 3 or not 0 < message[2] <= MAX_IDENTITY or len(message) != 3 + 2 * message[2]:
            raise BitstreamError("identity message has a wrong length")
        self._identities[message[1]] = (np.frombuffer(message, ">i2", message[2], 3) * _IDENTITY_STEP).astype(
            np.float32
        )

    def _add_start(self, message: bytes) -> None:
        if len(message) < _START_HEAD.size:
            raise BitstreamError("photo start message is truncated")
        _, photo_id, identity_version, size, digest, *window = _START_HEAD.unpack_from(message)
        if not 0 < size <= MAX_PHOTO_BYTES:
            raise BitstreamError(f"photo of {size} bytes announced, at most {MAX_PHOTO_BYTES} are allowed")
        fit = decode_fit(message[_START_HEAD.size :])
        parameters = FrameParameters.from_vector(dequantise(fit), window_of((window[0], window[1], window[2])))
        self._announce(photo_id, _Announced(size, digest, identity_version, parameters, fit))

    def _add_update(self, message: bytes) -> None:
        update = read_update(message)
        if update.base_id not in self._photos:
            raise BitstreamError(f"update {update.photo_id} changes photo {update.base_id}, which is not here")
        self._announce(update.photo_id, update)

    def _announce(self, photo_id: int, start: _Announced | PhotoUpdate) -> None:
        if start.identity_version not in self._identities:
            raise BitstreamError(f"photo {photo_id} refers to identity {start.identity_version}, which never came")
        if photo_id not in self._arriving and len(self._arriving) >= self.MAX_IN_FLIGHT:
            raise BitstreamError("too many photos in flight")
        self._arriving[photo_id] = _Arriving(start)

    def _add_chunk(self, message: bytes) -> ReferenceFrame | None:
        if len(message) <= _CHUNK_HEAD.size:
            raise BitstreamError("photo chunk is truncated")
        _, photo_id, offset = _CHUNK_HEAD.unpack_from(message)
        arriving = self._arriving.get(photo_id)
        if arriving is None:
            raise BitstreamError(f"chunk of photo {photo_id}, which was not announced")
        data = message[_CHUNK_HEAD.size :]
        if offset != len(arriving.data) or offset + len(data) > arriving.start.size:
            del self._arriving[photo_id]
            raise BitstreamError(f"chunk of photo {photo_id} at {offset} does not follow")
        arriving.data += data
        if len(arriving.data) < arriving.start.size:
            return None
        del self._arriving[photo_id]
        photo = self._completed(photo_id, arriving.start, bytes(arriving.data))
        self._photos.pop(photo_id, None)
        self._photos[photo_id] = photo
        while len(self._photos) > self.MAX_PHOTOS:
            del self._photos[next(iter(self._photos))]
        return photo

    def _completed(self, photo_id: int, start: _Announced | PhotoUpdate, data: bytes) -> ReferenceFrame:
        identity = self._identities[start.identity_version]
        if isinstance(start, _Announced):
            if _digest(data) != start.digest:
                raise BitstreamError(f"photo {photo_id} does not match its hash")
            return ReferenceFrame(photo_id, decode_photo(data), start.parameters, identity, start.fit)
        missing = decode_residual(start, data)
        base = self._photos.get(start.base_id)
        if base is None:
            raise BitstreamError(f"update {photo_id} changes photo {start.base_id}, which is gone")
        picture = mended(self._paint(base, start, identity), start.rectangle, missing)
        return ReferenceFrame(photo_id, picture, start.parameters, identity, start.fit, start.region, start.still)

    def _add_refit(self, message: bytes) -> ReferenceFrame:
        if len(message) < 3:
            raise BitstreamError("refit message is truncated")
        photo, identity = self._photos.get(message[1]), self._identities.get(message[2])
        if photo is None or identity is None:
            raise BitstreamError(f"refit of photo {message[1]} under identity {message[2]}: one of them is not here")
        parameters = FrameParameters.from_vector(dequantise(decode_fit(message[3:])), photo.parameters.window)
        self._photos[photo.photo_id] = replace(photo, parameters=parameters, identity=identity)
        return self._photos[photo.photo_id]

    def _add_light(self, message: bytes) -> ReferenceFrame:
        photo_id, light = read_light(message)
        photo = self._photos.get(photo_id)
        if photo is None:
            raise BitstreamError(f"light of photo {photo_id}, which is not here")
        self._photos[photo_id] = replace(photo, light=light)
        return self._photos[photo_id]


def completes_picture(message: bytes) -> bool:
    """Whether a message that gives a photo brings a picture, and not only another fit or light for one."""
    return message[:1] == bytes((_CHUNK,))


def begins_photo(message: bytes) -> bool:
    """Whether a message of the photos channel is the start of a photo."""
    return message[:1] == bytes((_START,))


def opens_session(message: bytes) -> bool:
    """Whether a message of the photos channel is a part of the photo that any session begins with: another connection to the
    same sender would bring it again."""
    return message[:2] == bytes((_CHUNK, 0))
