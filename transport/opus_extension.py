"""Opus packets (RFC 6716 section 3) and the extensions in their padding (draft-ietf-mlcodec-opus-extension).

A decoder of RFC 6716 passes over the padding of a code 3 packet; the draft gives it a format, a list of extensions with
an id of 7 bits each. So an Opus packet carries other things along, and any Opus endpoint plays what it played without.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from codec.errors import BitstreamError

MAX_PACKET = 1500
MAX_FRAME = 1275
MAX_FRAMES = 48
_CELT_20_MS = 23
"""Wideband CELT, frames of 20 ms (RFC 6716 table 2). Of a frame without bytes every decoder makes silence in this mode;
in SILK's, FFmpeg's own decoder does not."""


@dataclass(frozen=True)
class OpusPacket:
    """config: 0..31, of all frames. stereo. frames: compressed, an empty one says nothing (DTX). padding: with or
    without extensions in it."""

    config: int
    stereo: bool
    frames: tuple[bytes, ...]
    padding: bytes = b""

    @property
    def silent(self) -> bool:
        """Nothing to be heard in it: it only carries something."""
        return not any(self.frames)


@dataclass(frozen=True)
class Extension:
    """number: 3..127. data: of 3..31 at most one byte, of 32..127 any number. It belongs to the packet's frame 0."""

    number: int
    data: bytes

    def __post_init__(self) -> None:
        if not 3 <= self.number <= 127 or (self.number < 32 and len(self.data) > 1):
            raise ValueError(f"no Opus extension has number {self.number} with {len(self.data)} bytes")


def parse(data: bytes) -> OpusPacket:
    """Bytes from the network -> packet. Raises BitstreamError for what RFC 6716 calls malformed."""
    if not 1 <= len(data) <= MAX_PACKET:
        raise BitstreamError(f"an Opus packet of {len(data)} bytes is none")
    toc, body = data[0], memoryview(data)[1:]
    sizes: list[int]
    padding = 0
    match toc & 3:
        case 0:
            sizes = [len(body)]
        case 1:
            sizes = [len(body) // 2] * 2 if len(body) % 2 == 0 else [-1]
        case 2:
            first, body = _take_size(body)
            sizes = [first, len(body) - first]
        case _:
            sizes, body, padding = _take_frames(body)
    if not all(0 <= size <= MAX_FRAME for size in sizes) or sum(sizes) + padding != len(body):
        raise BitstreamError("the frames of an Opus packet do not fit into it")
    frames = []
    for size in sizes:
        frames.append(bytes(body[:size]))
        body = body[size:]
    return OpusPacket(toc >> 3, bool(toc & 4), tuple(frames), bytes(body))


def _take_frames(body: memoryview) -> tuple[list[int], memoryview, int]:
    """What follows the TOC byte of a code 3 packet -> sizes of the frames, frames and padding, size of the padding."""
    if not body:
        raise BitstreamError("an Opus packet of code 3 ends before its frame count")
    head, body = body[0], body[1:]
    count, padding = head & 63, 0
    if not 1 <= count <= MAX_FRAMES:
        raise BitstreamError(f"an Opus packet of {count} frames is none")
    while head & 64:
        if not body:
            raise BitstreamError("an Opus packet ends in the length of its padding")
        byte, body = body[0], body[1:]
        padding += 254 if byte == 255 else byte
        if byte != 255:
            break
    sizes: list[int] = []
    if head & 128:
        for _ in range(count - 1):
            size, body = _take_size(body)
            sizes.append(size)
        sizes.append(len(body) - padding - sum(sizes))
    else:
        room = len(body) - padding
        sizes = [room // count] * count if room % count == 0 else [-1]
    return sizes, body, padding


def _take_size(body: memoryview) -> tuple[int, memoryview]:
    if not body or (body[0] >= 252 and len(body) < 2):
        raise BitstreamError("an Opus packet ends in the length of a frame")
    if body[0] < 252:
        return body[0], body[1:]
    return body[0] + 4 * body[1], body[2:]


def write(packet: OpusPacket) -> bytes:
    """Inverse of ``parse``: code 0 for a single frame without padding, code 3 for everything else."""
    first = packet.config << 3 | packet.stereo << 2
    count = len(packet.frames)
    if count == 1 and not packet.padding:
        return bytes([first]) + packet.frames[0]
    unequal = len({len(frame) for frame in packet.frames}) > 1
    out = bytearray([first | 3, unequal << 7 | bool(packet.padding) << 6 | count])
    if packet.padding:
        whole, rest = divmod(len(packet.padding), 254)
        out += b"\xff" * whole + bytes([rest])
    if unequal:
        for frame in packet.frames[:-1]:
            size = len(frame)
            out += bytes([size]) if size < 252 else bytes([252 + size % 4, (size - 252 - size % 4) // 4])
    return bytes(out) + b"".join(packet.frames) + packet.padding


def write_extensions(extensions: Sequence[Extension], more: bytes = b"") -> bytes:
    """Extensions -> padding, before ``more`` of it. The last one, if nothing follows, needs no length."""
    out = bytearray()
    for place, extension in enumerate(extensions):
        size = len(extension.data)
        if extension.number < 32:
            out.append(extension.number << 1 | size)
        elif place == len(extensions) - 1 and not more:
            out.append(extension.number << 1)
        else:
            out.append(extension.number << 1 | 1)
            out += b"\xff" * (size // 255) + bytes([size % 255])
        out += extension.data
    return bytes(out) + more


def read_extensions(padding: bytes) -> Iterator[Extension]:
    """Padding -> the extensions of frame 0. Ends where something is repeated or belongs to a later frame, and where the
    format is violated: padding that other programs wrote need not have one."""
    at = 0
    while at < len(padding):
        number, flag = padding[at] >> 1, padding[at] & 1
        at += 1
        if number == 0 and flag:
            continue
        if number < 3:
            return
        size = flag if number < 32 else len(padding) - at
        if number >= 32 and flag:
            size = 0
            while True:
                if at >= len(padding):
                    return
                size += padding[at]
                at += 1
                if padding[at - 1] != 255:
                    break
        if at + size > len(padding):
            return
        yield Extension(number, padding[at : at + size])
        at += size


def extended(packet: OpusPacket, extensions: Sequence[Extension]) -> OpusPacket:
    """The packet with further extensions, before those that it has; padding that says nothing is left out."""
    before = packet.padding if next(read_extensions(packet.padding), None) is not None else b""
    return OpusPacket(packet.config, packet.stereo, packet.frames, write_extensions(extensions, before))


def empty(milliseconds: int) -> OpusPacket:
    """A packet without sound, of 20 to 120 ms in steps of 20: the vehicle of a call that has no voice."""
    return OpusPacket(_CELT_20_MS, False, (b"",) * (milliseconds // 20))
