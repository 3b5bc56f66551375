"""What is fuzzed: for each kind of foreign bytes, good ones to begin with, and what an end does with them."""

from __future__ import annotations

import copy
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import transport.audio  # noqa: F401  (defines control messages)
from codec.hwfile import Channel, HeadwireReader, Message
from codec.inspection import inspect
from codec.motion import STEPS, Change, MotionDecoder, encode_motion
from codec.motion_grid import LIMIT as MOTION_LIMIT
from codec.motion_grid import POINTS
from codec.packets import Riding, split_motion, with_motion
from codec.parameter_codec import LARGEST, SLOTS, Key, ParameterDecoder
from codec.parameters import SIZE
from codec.photo import MAX_PHOTO_BYTES, PhotoAssembler, decode_photo
from codec.photo_update import MAX_UPDATE_BYTES, read_update
from codec.quantiser import LIMIT
from codec.reconstruction import Reconstruction
from codec.still import decode_still
from tests.golden.make_file import FILE
from transport import control, opus_extension
from transport.opus_extension import Extension, OpusPacket

Taker = Callable[[bytes], None]
"""Takes bytes as an end would. Returns, or raises what the end would have to deal with."""


@dataclass(frozen=True)
class Target:
    """seeds: good bytes. taker: makes an end with some state, which is thrown away after a few hundred inputs."""

    name: str
    seeds: Callable[[], list[bytes]]
    taker: Callable[[], Taker]


def _messages(channel: Channel) -> list[bytes]:
    return [m.data for m in HeadwireReader(FILE) if m.channel is channel]


def _photo() -> bytes:
    return b"".join(data[6:] for data in _messages(Channel.PHOTOS) if data[0] == 0x13)


def _parameters() -> Taker:
    decoder, reconstruction = ParameterDecoder(), Reconstruction()
    for slot in range(1, SLOTS):
        decoder.keys[slot] = Key(np.zeros(35, np.int64))

    def take(data: bytes) -> None:
        packet = decoder.decode(data)
        assert np.abs(packet.frames[-1].values).max() <= LARGEST
        assert all(np.isfinite(shown.z).all() for shown in reconstruction.push(packet, lost=len(data) % 20))
        for slot in range(SLOTS):
            key = decoder.keys[slot]
            assert key is not None
            assert np.abs(key.values).max() <= LIMIT

    return take


def _motion_seeds() -> list[bytes]:
    """A field and changes of the one before, each after the number of its frame; every third is a field anew."""
    rng, decoder, before, out = np.random.default_rng(5), MotionDecoder(), None, []
    for frame in range(40):
        numbers = np.where(rng.random((POINTS, 2)) < 0.04, rng.integers(-2, 3, (POINTS, 2)), 0).astype(np.int32)
        data = encode_motion(Change(numbers, STEPS[frame % 4 // 2]), frame, 0, before if frame % 3 else None)
        before = decoder.decode(data, frame)
        out.append(bytes((frame,)) + data)
    return out


def _motion() -> Taker:
    decoder = MotionDecoder()
    for data in _motion_seeds()[:8]:
        decoder.decode(data[1:], data[0])

    def take(data: bytes) -> None:
        field = decoder.decode(data[1:], data[0] if data else 0)
        assert np.abs(field.control).max() <= MOTION_LIMIT

    return take


def _photos() -> Taker:
    """A photo that is there, another that is half there."""
    assembler = copy.deepcopy(_WITH_PHOTO[0]) if _WITH_PHOTO else PhotoAssembler()
    if not _WITH_PHOTO:
        for data in _messages(Channel.PHOTOS):
            assembler.add(data)
        _WITH_PHOTO.append(copy.deepcopy(assembler))
    for data in _messages(Channel.PHOTOS)[1:-1]:
        assembler.add(data)

    def take(data: bytes) -> None:
        assembler.add(data)
        assert sum(len(a.data) for a in assembler._arriving.values()) <= PhotoAssembler.MAX_IN_FLIGHT * MAX_PHOTO_BYTES
        assert len(assembler._photos) <= PhotoAssembler.MAX_PHOTOS

    return take


_WITH_PHOTO: list[PhotoAssembler] = []


def _photo_seeds() -> list[bytes]:
    messages = _messages(Channel.PHOTOS)
    refit = bytes((0x14, messages[1][1], messages[1][2])) + messages[1][21:]
    return [*messages[:2], refit, *messages[-2:]]


def _file_seeds() -> list[bytes]:
    """The golden file, and the same without its photo, where most of the bytes are, and with motion."""
    whole = FILE.read_bytes()
    messages = [m for m in HeadwireReader(FILE) if m.channel is not Channel.PHOTOS or m.data[0] != 0x13]
    messages += [Message(Channel.MOTION, data) for data in _motion_seeds()[:9]]
    lean = whole[:13] + b"".join(bytes((m.channel,)) + len(m.data).to_bytes(2, "big") + m.data for m in messages)
    return [lean] * 9 + [lean + whole[-7:]] * 9 + [whole]


def _file() -> Taker:
    path = Path(tempfile.gettempdir()) / f"headwire-fuzz-{os.getpid()}.hw"

    def take(data: bytes) -> None:
        path.write_bytes(data)
        try:
            figures = inspect(path)
        finally:
            path.unlink()
        assert figures["frames"] >= 0
        assert sum(figures[f"{kind}_bytes"] for kind in ("reference", "parameter", "motion", "audio")) <= len(data)

    return take


def _control_seeds() -> list[bytes]:
    messages: list[control.Control] = [
        {"kind": "ping", "id": 7}, {"kind": "pong", "id": 7, "time": 1.5}, {"kind": "bye", "reason": "done"},
        {"kind": "audio", "timestamp": 90000, "time": 2.0}, {"kind": "keys", "keys": [b"\1\2\3", b"\2\3\4"]},
        {"kind": "statistics", "received": 9, "lost": 1, "late": 0}, {"kind": "photo", "id": 0},
        {"kind": "app", "name": "n", "data": {"a": [1, 2.5, None, {"b": b"x"}]}},
    ]  # fmt: skip
    bombs = [b"\x91" * 3000, b"\xdc\x00\x40" * 3000, b"\xdc\x04\x00" * 3000, b"\xdf\xff\xff\xff\xff\xa1a"]
    return [control.pack(m) for m in messages] * 4 + bombs


def _control() -> Taker:
    def take(data: bytes) -> None:
        message = control.parse(data)
        assert control.parse(control.pack(message)) == message

    return take


def _opus_seeds() -> list[bytes]:
    some = [Extension(120, b"face" * 3), Extension(121, bytes(300)), Extension(5, b"x")]
    packets = [
        OpusPacket(23, False, (b"",) * 3), OpusPacket(9, True, (b"voice" * 5,)), OpusPacket(9, False, (b"a" * 40,) * 2),
        OpusPacket(1, False, (b"b" * 30, b"c" * 300, b"")),
    ]  # fmt: skip
    extended = [opus_extension.extended(p, some[:n]) for p in packets for n in (1, 2, 3)]
    return [opus_extension.write(p) for p in packets + extended]


def _opus() -> Taker:
    def take(data: bytes) -> None:
        packet = opus_extension.parse(data)
        extensions = list(opus_extension.read_extensions(packet.padding))
        assert sum(len(e.data) for e in extensions) <= len(data)
        if len(packet.frames) > 1 or packet.padding or len(packet.frames[0]) < opus_extension.MAX_FRAME:
            again = opus_extension.parse(opus_extension.write(packet))
            assert again.frames == packet.frames

    return take


def _picture() -> Taker:
    def take(data: bytes) -> None:
        assert decode_photo(data).shape == (256, 256, 3)

    return take


def _golden_updates() -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((FILE.parent / "memory.json").read_text())
    return cases


def _updates() -> Taker:
    """A start message, and what the update that it announces may come to be."""

    def take(data: bytes) -> None:
        update = read_update(data)
        box = update.rectangle
        assert 16 <= box.width <= SIZE - box.left
        assert 16 <= box.height <= SIZE - box.top
        assert update.size <= MAX_UPDATE_BYTES

    return take


def _stills() -> Taker:
    def take(data: bytes) -> None:
        assert decode_still(data, 128, 56).shape == (56, 128, 3)

    return take


def _riding_seeds() -> list[bytes]:
    fields = [data[1:] for data in _motion_seeds()[:18:3]]
    parameters = _messages(Channel.PARAMETERS)
    return [with_motion([Riding(n, fields[n])] * (n % 3), parameters[n]) for n in range(6)]


def _riding() -> Taker:
    def take(data: bytes) -> None:
        riding, packet = split_motion(data)
        assert sum(len(r.packet) for r in riding) + len(packet) <= len(data)
        for section in riding:
            MotionDecoder().decode(section.packet, 0)

    return take


TARGETS = {
    target.name: target
    for target in (
        Target("parameters", lambda: _messages(Channel.PARAMETERS), _parameters),
        Target("motion", _motion_seeds, _motion),
        Target("photos", _photo_seeds, _photos),
        Target("files", _file_seeds, _file),
        Target("control", _control_seeds, _control),
        Target("opus", _opus_seeds, _opus),
        Target("picture", lambda: [_photo()], _picture),
        Target("updates", lambda: [bytes.fromhex(case["message"]) for case in _golden_updates()], _updates),
        Target("stills", lambda: [bytes.fromhex(_golden_updates()[1]["still"])], _stills),
        Target("riding", _riding_seeds, _riding),
    )
}
