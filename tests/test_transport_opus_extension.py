from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import BitstreamError
from transport.opus_extension import Extension, OpusPacket, empty, extended, parse, read_extensions, write

LENGTHS = st.sampled_from([0, 1, 7, 251, 252, 255, 300, 1275])
EXTENSIONS = st.lists(
    st.one_of(
        st.builds(Extension, st.integers(3, 31), st.binary(max_size=1)),
        st.builds(Extension, st.integers(32, 127), st.integers(0, 300).map(bytes)),
    ),
    min_size=1,
    max_size=4,
)


@given(st.integers(0, 31), st.booleans(), st.lists(LENGTHS, min_size=1, max_size=3), EXTENSIONS)
def test_what_is_written_is_read(config: int, stereo: bool, sizes: list[int], extensions: list[Extension]) -> None:
    packet = OpusPacket(config, stereo, tuple(bytes([i + 1]) * size for i, size in enumerate(sizes)))
    loaded = extended(packet, extensions)
    data = write(loaded)
    if len(data) <= 1500:
        assert parse(data) == loaded
    assert list(read_extensions(loaded.padding)) == extensions
    again = extended(loaded, [Extension(100, b"more")])
    assert list(read_extensions(again.padding)) == [Extension(100, b"more"), *extensions]


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        packet = parse(data)
    except BitstreamError:
        return
    assert parse(write(packet)) == packet
    for extension in read_extensions(packet.padding):
        assert len(extension.data) < len(data)


def test_the_price_of_a_message() -> None:
    message = [Extension(120, b"12345678")]
    assert len(write(extended(empty(40), message))) == 8 + 4
    voice = parse(bytes([0x78]) + b"v" * 40)
    assert len(write(extended(voice, message))) == 1 + 40 + 8 + 3


def test_padding_of_zeros_is_no_extension() -> None:
    packet = parse(bytes([0x7B, 0x41, 3]) + b"voice" + bytes(3))
    assert packet.frames == (b"voice",)
    assert list(read_extensions(packet.padding)) == []
    assert write(OpusPacket(packet.config, packet.stereo, packet.frames)) == bytes([0x78]) + b"voice"


def speech(milliseconds: int, seconds: float) -> list[bytes]:
    """Opus packets of one length, from noise that comes and goes."""
    codec = av.CodecContext.create("libopus", "w")
    codec.bit_rate, codec.sample_rate, codec.layout, codec.format = 16_000, 48_000, "mono", "s16"
    codec.time_base = Fraction(1, 48_000)
    codec.options = {"application": "voip", "frame_duration": str(milliseconds)}
    random = np.random.default_rng(milliseconds)
    packets: list[bytes] = []
    size = 48 * milliseconds
    for index in range(int(1000 * seconds / milliseconds)):
        loud = 6000 * abs(np.sin(index / 3))
        frame = av.AudioFrame.from_ndarray(
            random.normal(0, loud, (1, size)).astype(np.int16), format="s16", layout="mono"
        )
        frame.sample_rate, frame.pts, frame.time_base = 48_000, index * size, Fraction(1, 48_000)
        packets += [bytes(packet) for packet in codec.encode(frame)]
    return packets


def play(decoder: str, packets: list[bytes]) -> Any:
    codec: Any = av.CodecContext.create(decoder, "r")
    codec.sample_rate, codec.layout = 48_000, "mono"
    sound = [frame.to_ndarray() for packet in packets for frame in codec.decode(av.Packet(packet))]
    return np.concatenate(sound, axis=1)


@pytest.mark.parametrize("decoder", ["opus", "libopus"])
@pytest.mark.parametrize("milliseconds", [20, 40, 60, 80, 120])
def test_any_opus_decoder_plays_the_voice_as_without_the_face(decoder: str, milliseconds: int) -> None:
    """FFmpeg's own decoder and libopus: bit for bit the same sound, whatever rides in the packets."""
    packets = speech(milliseconds, 1.2)
    loaded = []
    for index, packet in enumerate(packets):
        riding = [Extension(120, bytes(range(index % 40))), Extension(121, bytes([255]) * (index * 37 % 280))]
        loaded.append(write(extended(parse(packet), riding[: index % 3])))
    assert loaded != packets
    assert np.array_equal(play(decoder, loaded), play(decoder, packets))


@pytest.mark.parametrize("decoder", ["opus", "libopus"])
def test_a_vehicle_without_sound_is_silence_to_any_decoder(decoder: str) -> None:
    packets = [write(extended(empty(ms), [Extension(120, b"face" * 4)])) for ms in (20, 40, 60, 80, 120) * 2]
    sound = play(decoder, packets)
    assert not sound.any()
