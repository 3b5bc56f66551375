"""``headwire bench wire``: what a call costs on the wire, both ways, and what a photo does to the face beside it.

Real calls over localhost between two ends in this process, parameter messages of a rate's size at its pace, keys acknowledged
each second; every datagram is counted with 28 bytes of IPv4 and UDP. Steady: without the first 5 s. "Voice apart" is the call
with the voice less the same call without the face; without a voice it is everything.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import wave
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from transport.audio import RATE, FileAudioTrack, VoiceOptions
from transport.carriers import DATA_CHANNEL, OPUS
from transport.connection import IceOptions
from transport.face_rate import FaceRate
from transport.feedback import LinkState
from transport.link import LinkSpec
from transport.peer import Handlers, PeerOptions, ReceiverPeer, SenderPeer
from transport.rate_control import LADDERS
from transport.signalling import WebSocketSignalling
from transport.signalling_server import SignallingServer

STEADY_AFTER = 5.0
PHOTO = 5000


@dataclass(frozen=True)
class Rate:
    """frames: of a message, at 25 frames a second. octets: of a message."""

    frames: int
    octets: int

    @property
    def apart(self) -> float:
        """Seconds between two messages."""
        return self.frames / 25

    @property
    def payload_kbps(self) -> float:
        return self.octets * 0.008 / self.apart


RATES = {"normal": Rate(1, 9), "low": Rate(2, 13), "lowest": Rate(4, 11)}
"""Messages as they are on the validation people, a byte of time included; ``normal`` as where nothing gets lost (``normal-clean``)."""

OCTETS = {"normal": (1, 14), "normal-clean": (1, 9), "low": (2, 13), "lowest": (4, 11), "lowest-mid": (4, 18)}
"""The same by the names of the parameter codec: frames and bytes."""

REACH = {"normal": 12.5, "low": 7.0, "lowest": 4.5}
"""kbps that are asked of the wire forward, the voice apart."""

VOICES_MS = {"normal": 40, "low": 80, "lowest": 120}
"""Length of the voice's packets beside each rate."""


@dataclass
class Ends:
    """A connected call and what its receiver saw: (message, arrival) and photos; ``states`` of the sender."""

    sender: SenderPeer
    receiver: ReceiverPeer
    arrived: list[tuple[int, float]]
    photos: list[tuple[bytes, float]]
    states: list[LinkState] = field(default_factory=list)


@asynccontextmanager
async def connected(carrier: str, link: str = "", voice: FileAudioTrack | None = None) -> AsyncIterator[Ends]:
    """A call over localhost; closed at the end."""
    arrived: list[tuple[int, float]] = []
    photos: list[tuple[bytes, float]] = []
    states: list[LinkState] = []
    options = PeerOptions(
        ice=IceOptions(addresses=("127.0.0.1",)),
        link=LinkSpec.parse(link) if link else None,
        carriers=(carrier, DATA_CHANNEL),
        setup_seconds=60,
    )
    seen = Handlers(
        parameters=lambda data, at: arrived.append((int.from_bytes(data[:4], "big"), at)),
        photo=lambda data, at: photos.append((data, at)),
    )
    async with SignallingServer("127.0.0.1", 0) as server:
        one = WebSocketSignalling(server.url, "bench", "sender")
        two = WebSocketSignalling(server.url, "bench", "receiver")
        sender, receiver = await asyncio.gather(
            SenderPeer.connect(one, handlers=Handlers(link=states.append), options=options, audio_track=voice),
            ReceiverPeer.connect(two, handlers=seen, options=options),
        )
        try:
            yield Ends(sender, receiver, arrived, photos, states)
        finally:
            await asyncio.gather(sender.close(), receiver.close())
            await asyncio.gather(one.close(), two.close())


async def talk(ends: Ends, rate: Rate, seconds: float, sent: list[float] | None = None) -> None:
    """Send messages of a rate for so long, and acknowledge a key each second."""
    began = time.monotonic()
    for number in range(round(seconds / rate.apart)):
        await asyncio.sleep(max(0.0, began + number * rate.apart - time.monotonic()))
        if sent is not None:
            sent.append(time.monotonic())
        ends.sender.send_parameters(number.to_bytes(4, "big") + bytes(rate.octets - 4))
        if number % round(1 / rate.apart) == 0:
            ends.receiver.send_key_ack(b"\1" + number.to_bytes(2, "big"))


async def converse(ends: Ends, wanted: str, seconds: float, sent: list[float]) -> None:
    """As the sender of a call does it: the rung follows the link, and gives way to a photo. A message's time is its last frame's."""
    rungs = LADDERS[ends.sender.carrier]
    choice = FaceRate([r for r in rungs[[r.name for r in rungs].index(wanted) :] if r.frame_rate == 25])
    told, began, frame, waiting = 0, time.monotonic(), 0, 0
    while frame < 25 * seconds:
        await asyncio.sleep(max(0.0, began + frame / 25 - time.monotonic()))
        for state in ends.states[told:]:
            choice.update(state)
        told = len(ends.states)
        protection = choice.beside_photo(ends.sender.photo_travels, time.monotonic())
        frames, octets = OCTETS[protection.rung]
        frame, waiting = frame + 1, waiting + 1
        if waiting >= frames - protection.again:
            waiting = 0
            sent.append(time.monotonic())
            ends.sender.send_parameters((len(sent) - 1).to_bytes(4, "big") + bytes(octets - 4), protection.echo)
        if frame % 25 == 0:
            ends.receiver.send_key_ack(b"\1" + (frame % 65536).to_bytes(2, "big"))


async def steady(carrier: str, rate: Rate | None, seconds: float, voice_ms: int = 0) -> dict[str, float]:
    """kbps of a call, the first seconds left out; rate None: no face."""
    with tempfile.TemporaryDirectory() as folder:
        voice = None
        if voice_ms:
            sound = Path(folder) / "voice.wav"
            _write_voice(sound, seconds + STEADY_AFTER + 3)
            voice = FileAudioTrack(sound, VoiceOptions(bit_rate=12_000, packet_ms=voice_ms))
        async with connected(carrier, voice=voice) as ends:
            if voice is not None:
                voice.begin(time.monotonic())
            face = asyncio.create_task(talk(ends, rate, seconds + STEADY_AFTER + 1) if rate else asyncio.sleep(0))
            await asyncio.sleep(STEADY_AFTER)
            before = _bytes(ends)
            began = time.monotonic()
            await asyncio.sleep(seconds)
            after, took = _bytes(ends), time.monotonic() - began
            face.cancel()
            with suppress(asyncio.CancelledError):
                await face
    forward, back = ((b - a) * 0.008 / took for a, b in zip(before, after, strict=True))
    return {"forward_kbps": round(forward, 3), "back_kbps": round(back, 3)}


async def photo_beside_face(carrier: str, wanted: str, link: str) -> dict[str, float]:
    """A 5 kB photo on a narrow link: how much later the messages come than one that waits for nothing (the quickest tenth of
    those before the photo), and how long the photo takes."""
    async with connected(carrier, link) as ends:
        sent: list[float] = []
        face = asyncio.create_task(converse(ends, wanted, 120, sent))
        await asyncio.sleep(6)
        began, first = time.monotonic(), len(sent)
        transfer = ends.sender.send_photo(bytes(np.random.default_rng(1).integers(0, 256, PHOTO, np.uint8)))
        with suppress(TimeoutError):
            await asyncio.wait_for(transfer.wait(), 60)
        took, last = time.monotonic() - began, len(sent)
        await asyncio.sleep(1)
        face.cancel()
        with suppress(asyncio.CancelledError):
            await face
        delays = {number: arrival - sent[number] for number, arrival in ends.arrived}
    calm = np.percentile([delay for number, delay in delays.items() if number < first], 10)
    added = np.array([delays[number] - calm for number in range(first, last) if number in delays]) * 1000
    return {
        "seconds": round(took, 2),
        "whole": float(transfer.done),
        "added_ms_p50": round(float(np.percentile(added, 50)), 1),
        "added_ms_p95": round(float(np.percentile(added, 95)), 1),
        "added_ms_max": round(float(added.max()), 1),
        "lost": float(last - first - len(added)),
    }


async def outage(link: str, ends_at: float) -> dict[str, float]:
    """How soon after an outage the first message comes, ms."""
    async with connected(OPUS, link) as ends:
        start = ends.sender.meter.start or 0.0
        await talk(ends, RATES["normal"], ends_at + 2)
        after = [at for _, at in ends.arrived if at >= start + ends_at - 0.5]
        return {"first_message_ms": round(1000 * (min(after) - start - ends_at), 1)}


def run(seconds: float = 20.0) -> dict[str, Any]:
    """Measure everything; about a minute more than ``seconds``."""
    return asyncio.run(_run(seconds))


PHOTOS = (
    (OPUS, "normal", 12),
    (OPUS, "low", 12),
    (OPUS, "lowest", 8),
    (DATA_CHANNEL, "normal", 24),
    (DATA_CHANNEL, "lowest", 12),
)
"""Carrier, rate and kbps of the link on which a photo travels beside the face."""


async def _run(seconds: float) -> dict[str, Any]:
    return await calls(seconds) | await trials()


async def calls(seconds: float) -> dict[str, Any]:
    """Steady calls, all at once: each carrier at each rate, without a voice and beside one."""
    jobs: dict[str, Any] = {}
    for name, rate in RATES.items():
        for carrier in (OPUS, DATA_CHANNEL):
            jobs[f"{carrier} {name}"] = steady(carrier, rate, seconds)
        jobs[f"voice alone {name}"] = steady(OPUS, None, seconds, VOICES_MS[name])
        jobs[f"{OPUS} {name}, beside a voice"] = steady(OPUS, rate, seconds, VOICES_MS[name])
    figures = await _together(jobs)
    for name, milliseconds in VOICES_MS.items():
        both, alone = figures[f"{OPUS} {name}, beside a voice"], figures.pop(f"voice alone {name}")
        apart = round(both["forward_kbps"] - alone["forward_kbps"], 3)
        both |= {"voice_apart_kbps": apart, "voice_packet_ms": milliseconds}
    return figures


async def trials(photos: Sequence[tuple[str, str, int]] = PHOTOS) -> dict[str, Any]:
    """Photos beside a face on narrow links, and an outage, all at once."""
    jobs: dict[str, Any] = {
        f"photo, {carrier} {wanted}, {kbps} kbps": photo_beside_face(carrier, wanted, f"rate={kbps},delay=50,seed=1")
        for carrier, wanted, kbps in photos
    }
    jobs["outage of 2 s"] = outage("outage=3-5,delay=50,seed=1", 5.0)
    return await _together(jobs)


async def _together(jobs: dict[str, Any]) -> dict[str, Any]:
    return dict(zip(jobs, await asyncio.gather(*jobs.values()), strict=True))


def _bytes(ends: Ends) -> tuple[int, int]:
    return ends.sender.meter.sent.bytes, ends.receiver.meter.sent.bytes


def _write_voice(path: Path, seconds: float) -> None:
    """Something like syllables: noise whose loudness swings."""
    t = np.arange(round(seconds * RATE)) / RATE
    loud = 3000 * np.abs(np.sin(2 * np.pi * 2.3 * t)) * (np.sin(2 * np.pi * 0.21 * t) > -0.3)
    samples = (np.random.default_rng(3).normal(0, 1, len(t)) * loud).clip(-32000, 32000).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())


if __name__ == "__main__":
    for row, values in run().items():
        print(row, values)
