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
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from transport.audio import RATE, FileAudioTrack, VoiceOptions
from transport.carriers import DATA_CHANNEL, OPUS
from transport.connection import IceOptions
from transport.feedback import LinkState
from transport.link import LinkSpec
from transport.peer import Handlers, PeerOptions, ReceiverPeer, SenderPeer
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


RATES = {"normal": Rate(1, 8), "low": Rate(2, 11), "lowest": Rate(4, 12)}
REACH = {"normal": 12.5, "low": 7.0, "lowest": 4.5}


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


async def photo_beside_face(carrier: str, rate: Rate, link: str) -> dict[str, float | None]:
    """A 5 kB photo on a narrow link: how much later than without it the messages come, and how long it takes."""
    async with connected(carrier, link) as ends:
        sent: list[float] = []
        face = asyncio.create_task(talk(ends, rate, 100, sent))
        await asyncio.sleep(6)
        began, first = time.monotonic(), len(sent)
        transfer = ends.sender.send_photo(bytes(np.random.default_rng(1).integers(0, 256, PHOTO, np.uint8)))
        with suppress(TimeoutError):
            await asyncio.wait_for(transfer.wait(), 40)
        took, last = time.monotonic() - began, len(sent)
        await asyncio.sleep(1)
        face.cancel()
        with suppress(asyncio.CancelledError):
            await face
        delays = {number: arrival - sent[number] for number, arrival in ends.arrived}
    calm = np.median([delay for number, delay in delays.items() if 25 <= number < first])
    added = np.array([delays[number] - calm for number in range(first, last) if number in delays]) * 1000
    return {
        "seconds": round(took, 2),
        "whole": float(transfer.done),
        "added_ms_p50": round(float(np.percentile(added, 50)), 1),
        "added_ms_p95": round(float(np.percentile(added, 95)), 1),
        "added_ms_max": round(float(added.max()), 1),
        "lost": float(last - first - len(added)),
    }


async def set_up(link: str) -> dict[str, float]:
    """From the ends' meeting to a 5 kB photo's arrival."""
    began = time.monotonic()
    async with connected(OPUS, link) as ends:
        ends.sender.send_photo(bytes(np.random.default_rng(2).integers(0, 256, PHOTO, np.uint8)))
        while not ends.photos and time.monotonic() - began < 60:
            await asyncio.sleep(0.01)
        wire = ends.sender.wire()
        return {
            "connected_s": round(max(ends.sender.setup_seconds, ends.receiver.setup_seconds), 2),
            "photo_s": round(ends.photos[0][1] - began, 2),
            "setup_bytes_forward": wire.setup_bytes_forward,
            "setup_bytes_back": wire.setup_bytes_return,
        }


async def outage(link: str, ends_at: float) -> dict[str, float]:
    """How soon after an outage the first message comes, ms."""
    async with connected(OPUS, link) as ends:
        start = time.monotonic()
        await talk(ends, RATES["normal"], ends_at + 2)
        after = [at for _, at in ends.arrived if at >= start + ends_at - 0.5]
        return {"first_message_ms": round(1000 * (min(after) - start - ends_at), 1)}


def run(seconds: float = 20.0) -> dict[str, Any]:
    """Measure everything; about 12 x seconds."""
    return asyncio.run(_run(seconds))


async def _run(seconds: float) -> dict[str, Any]:
    jobs: dict[str, Callable[[], Any]] = {}
    for name, rate in RATES.items():
        for carrier in (OPUS, DATA_CHANNEL):
            jobs[f"{carrier} {name}"] = lambda c=carrier, r=rate: steady(c, r, seconds)  # type: ignore[misc]
    names = list(jobs)
    results = await asyncio.gather(*(jobs[name]() for name in names))
    figures: dict[str, Any] = dict(zip(names, results, strict=True))
    for name, milliseconds in (("normal", 40), ("low", 80), ("lowest", 120)):
        alone, both = await asyncio.gather(
            steady(OPUS, None, seconds, milliseconds), steady(OPUS, RATES[name], seconds, milliseconds)
        )
        apart = round(both["forward_kbps"] - alone["forward_kbps"], 3)
        figures[f"{OPUS} {name}, voice of {milliseconds} ms"] = both | {"voice_apart_kbps": apart}
    figures["photo, opus low, 12 kbps"] = await photo_beside_face(OPUS, RATES["low"], "rate=12,delay=50,seed=1")
    figures["photo, datachannel lowest, 12 kbps"] = await photo_beside_face(
        DATA_CHANNEL, RATES["lowest"], "rate=12,delay=50,seed=1"
    )
    figures["set-up, 20 kbps, 100 ms"] = await set_up("rate=20,delay=50,seed=1")
    figures["outage of 2 s"] = await outage("outage=3-5,delay=50,seed=1", 5.0)
    return figures


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
