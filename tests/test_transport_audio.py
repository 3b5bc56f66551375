import asyncio
import sys
import time
from collections.abc import Coroutine
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtpPacket

from codec.errors import UsageError
from tests.transport_calls import call, until
from transport.audio import RATE, FileAudioTrack, MicrophoneTrack, OpusEncoder, Samples, VoiceOptions
from transport.voice_receiver import AudioChunk, VoiceReceiver


def run(main: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(30):
            await main

    asyncio.run(limited())


def chirp(seconds: float) -> Samples:
    """(n,) int16: a tone that rises, so that it fits itself at one place only."""
    t = np.arange(round(seconds * RATE)) / RATE
    return (9000 * np.sin(2 * np.pi * (200 + 400 * t) * t)).astype(np.int16)


def write_sound(path: Path, samples: Samples, rate: int = RATE) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = rate
        frame.time_base = Fraction(1, rate)
        frame.pts = 0
        container.mux([*stream.encode(frame), *stream.encode(None)])


def lag(heard: Samples, spoken: Samples) -> int:
    """Where in ``heard`` the beginning of ``spoken`` lies, samples."""
    return int(np.argmax(np.correlate(heard.astype(float), spoken.astype(float), "valid")))


def decode(
    payloads: list[tuple[int, int, bytes]], base: tuple[int, float] | None = None
) -> tuple[VoiceReceiver, list[AudioChunk]]:
    """(sequence number, time stamp, payload) in order of arrival -> what comes out."""
    chunks: list[AudioChunk] = []
    receiver = VoiceReceiver(chunks.append, lambda: 7.0)
    if base is not None:
        receiver.set_base(*base)
    for number, timestamp, payload in payloads:
        packet = RtpPacket(sequence_number=number % 65536, timestamp=timestamp % 2**32)
        packet.payload = payload
        receiver.add(packet)
    return receiver, chunks


def encode(samples: Samples, options: VoiceOptions) -> list[tuple[int, int, bytes]]:
    """(number, pts, payload) of each packet."""
    encoder = OpusEncoder(options)
    step = RATE * options.packet_ms // 1000
    blocks = [(samples[i : i + step], i) for i in range(0, len(samples) - step + 1, step)]
    packets = [packet for block in blocks for packet in encoder.encode(*block)]
    return [(i, packet.pts or 0, bytes(packet)) for i, packet in enumerate(packets)]


@pytest.mark.parametrize("packet_ms", [20, 60])
def test_time_stamps_say_when_a_sound_was_spoken(packet_ms: int) -> None:
    spoken = chirp(1.2)
    packets = encode(spoken, VoiceOptions(packet_ms=packet_ms))
    size = sum(len(payload) for _, _, payload in packets)
    assert 8_000 < size * 8 / 1.2 < 30_000
    _, chunks = decode(packets, base=(packets[0][1] % 2**32, 100.0 + packets[0][1] / RATE))
    heard = np.concatenate([chunk.samples for chunk in chunks])
    assert chunks[0].time is not None
    place = lag(heard, spoken[12_000:24_000])
    assert abs(chunks[0].time + place / RATE - (100.0 + 12_000 / RATE)) < 0.002


def test_order_gaps_wrap_around_and_late_packets() -> None:
    packets = encode(chirp(0.4), VoiceOptions())
    shifted = [(65530 + n, 2**32 - 5000 + pts, data) for n, pts, data in packets]
    order = [0, 2, 1, 3, 4, 5, 6, 7, 9, 10, 11, 8, 12, 13, 13, 14]
    receiver, chunks = decode([shifted[i] for i in order])
    steps = np.diff([chunk.timestamp for chunk in chunks])
    assert list(steps) == [960] * 7 + [1920] + [960] * 5
    assert (receiver.received, receiver.lost, receiver.late) == (16, 1, 2)
    assert {chunk.time for chunk in chunks} == {None}


def test_hostile_voice_packets_are_dropped() -> None:
    good = encode(chirp(0.2), VoiceOptions())
    hostile = [b"", b"\xff", b"\xff" * 1500, b"\x03\xff\xff", bytes(3)]
    _, chunks = decode([(i, 960 * i, data) for i, data in enumerate([good[0][2], *hostile, good[1][2]])])
    assert chunks[0].timestamp == 0
    assert chunks[-1].timestamp == 960 * 6


def test_a_track_arrives_with_the_sender_s_time(tmp_path: Path) -> None:
    spoken = chirp(1.0)
    write_sound(tmp_path / "voice.wav", spoken[::2].copy(), RATE // 2)

    async def main() -> None:
        track = FileAudioTrack(tmp_path / "voice.wav")
        async with call(audio=track) as c:
            began = time.monotonic() + 0.1
            track.begin(began)
            await until(lambda: track.readyState == "ended")
            await until(lambda: len(c.at_receiver.audio) >= track.packets - 1)
            chunks = c.at_receiver.audio
            heard = np.concatenate([chunk.samples for chunk in chunks])
            known = [(i, chunk) for i, chunk in enumerate(chunks) if chunk.time is not None]
            assert len(known) > len(chunks) // 2
            index, chunk = known[0]
            assert chunk.time is not None
            start = chunk.time - sum(len(other.samples) for other in chunks[:index]) / RATE
            place = lag(heard, spoken[12_000:24_000])
            assert abs(start + place / RATE - (began + 12_000 / RATE)) < 0.005
            assert all(chunk.arrival > chunk.time for _, chunk in known if chunk.time is not None)
            assert 49 <= track.packets <= 52
            assert c.sender.wire().wire_kbps_forward > track.payload_bytes * 8 / 1000 / c.sender.meter.seconds

    run(main())


def test_a_file_without_sound_and_one_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not a sound")
    for name in ("text.wav", "missing.wav"):
        with pytest.raises(UsageError, match=f"cannot read the sound of .*{name}"):
            FileAudioTrack(tmp_path / name)
    with av.open(str(tmp_path / "mute.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        container.mux([*stream.encode(picture), *stream.encode(None)])
    with pytest.raises(UsageError, match="has no sound; use --no-audio"):
        FileAudioTrack(tmp_path / "mute.mkv")
    with pytest.raises(UsageError, match="20, 40, 60, 80 or 120 ms"):
        VoiceOptions(packet_ms=30)


def test_a_track_that_is_stopped_before_it_began_ends(tmp_path: Path) -> None:
    write_sound(tmp_path / "voice.wav", chirp(0.1))

    async def main() -> None:
        track = FileAudioTrack(tmp_path / "voice.wav")
        receiving = asyncio.create_task(track.recv())
        await asyncio.sleep(0)
        track.stop()
        with pytest.raises(MediaStreamError):
            await receiving

    run(main())


def test_a_track_that_begins_late_begins_in_the_middle(tmp_path: Path) -> None:
    write_sound(tmp_path / "voice.wav", chirp(3.0))

    async def main() -> None:
        track = FileAudioTrack(tmp_path / "voice.wav")
        track.begin(time.monotonic() - 2.0)
        first = await track.recv()
        assert first.pts is not None
        assert 1.4 * RATE < first.pts < 2.9 * RATE

    run(main())


class Port:
    """Stands for PortAudio and a microphone, which test machines have not."""

    class PortAudioError(Exception):
        pass

    class InputStream:
        def __init__(self, device: str | None, callback: Any, **options: Any) -> None:
            if device == "absent":
                raise ValueError("No input device matching 'absent'")
            if device == "busy":
                raise Port.PortAudioError("Device unavailable")
            self.callback = callback
            self.closed = False
            Port.opened = self

        def start(self) -> None:
            pass

        def close(self) -> None:
            self.closed = True

    class Times:
        currentTime = 10.0
        inputBufferAdcTime = 9.95

    opened: "Port.InputStream"


def test_a_microphone_that_stands_in_for_a_real_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", Port)

    async def main() -> None:
        for device, reason in (("absent", "No input device"), ("busy", "unavailable")):
            with pytest.raises(UsageError, match=f"cannot open microphone '{device}'.*{reason}.*headwire devices"):
                MicrophoneTrack(device)
        track = MicrophoneTrack()
        before = time.monotonic()
        for _ in range(3):
            Port.opened.callback(np.ones((960, 1), np.int16), 960, Port.Times(), None)
        packets = [await track.recv() for _ in range(3)]
        assert [packet.pts for packet in packets] == [-312, 648, 1608]
        assert track.started is not None
        assert before - 0.1 < track.started < time.monotonic() - 0.049
        track.stop()
        assert Port.opened.closed
        with pytest.raises(MediaStreamError):
            await track.recv()

    run(main())
