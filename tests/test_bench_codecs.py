"""Codecs of the quality benchmark: honest bits, exact frame counts, and no cheating."""

from __future__ import annotations

import os
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest

from bench import codecs
from bench.codec_video import SETTINGS, Trial, Video, _slots, parse, steps
from bench.codecs import Codec, Encoded, MissingCodecError, Packet, choose, create_codec, rtp_bytes, sanity
from bench.metrics import psnr
from bench.quality_clips import load_clip
from codec.errors import HeadwireError, UsageError
from sender.demo_clip import CLIPS, demo_clip

FPS = Fraction(25)


@cache
def demo_frames() -> codecs.Frames:
    return load_clip(demo_clip(), 0.6, CLIPS["wolfgang"].start_s).frames


def square_frames(count: int) -> codecs.Frames:
    """(count, 256, 256, 3): the face of the demo clip."""
    frames = demo_frames()
    assert len(frames) >= count
    return frames[:count]


def test_a_packet_costs_its_headers():
    assert rtp_bytes(0) == 50
    assert rtp_bytes(1200) == 1250
    assert rtp_bytes(1201) == 1301


def test_rates_of_a_clip_and_of_a_call():
    packets = (Packet("key", bytes(950), 1000), Packet("video", bytes(450), 500, 1))
    encoded = Encoded(packets, FPS, 50)
    assert encoded.seconds == 2
    assert encoded.payload_kbps() == pytest.approx(5.6)
    assert encoded.wire_kbps() == pytest.approx(6.0)
    assert encoded.wire_kbps(60) == pytest.approx(1000 * 0.008 / 60 + 2.0)
    assert encoded.bytes_by_kind() == {"key": 950, "video": 450}


@pytest.mark.parametrize(("rate", "size", "hertz"), [("20", 256, 12.5), ("6", 128, 8.0), ("7.5@192:25", 192, 25.0)])
def test_rates_of_a_video_codec(rate: str, size: int, hertz: float):
    point = parse(rate)
    assert (point.size, point.hertz) == (size, hertz)


@pytest.mark.parametrize("rate", ["normal", "", "-1", "nan", "20@0", "20@255", "20@256:0", "20@x"])
def test_what_is_no_rate(rate: str):
    assert not Video("av1").takes(rate)


def test_thinned_frames_are_even_and_begin_with_the_first():
    assert _slots(6, FPS, 25) == [0, 1, 2, 3, 4, 5]
    assert _slots(7, FPS, 12.5) == [0, 2, 4, 6]
    eight = _slots(100, FPS, 8)
    assert eight[0] == 0
    assert len(eight) == 32
    assert set(np.diff(eight)) == {3, 4}


@pytest.mark.parametrize("rate", ["normal", "lowest@0:off"])
def test_light_and_warp_in_one_pass_are_what_their_files_show(rate: str):
    frames = load_clip(demo_clip(), 2.0, CLIPS["wolfgang"].start_s).frames
    encoded = create_codec("warp").encode(frames, FPS, rate)
    both = create_codec("light").decode_all(encoded)
    assert set(both) == {"light", *create_codec("light").beside}
    for name, shown in both.items():
        np.testing.assert_array_equal(shown, create_codec(name).decode(encoded))
    assert not np.array_equal(both["light"], both["warp"])


@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "av1-aom"])
def test_video_there_and_back(name: str):
    codec = create_codec(name)
    try:
        codec.check()
    except MissingCodecError as error:
        pytest.skip(str(error))
    frames = square_frames(10)
    encoded = codec.encode(frames, FPS, "60@128:12.5")
    assert [packet.frame for packet in encoded.packets] == [0, 2, 4, 6, 8]
    assert [packet.kind for packet in encoded.packets] == ["key", *["video"] * 4]
    assert encoded.wire_kbps() <= 60
    assert encoded.wire_kbps() > encoded.payload_kbps() + 4.9
    shown = create_codec(name).decode(encoded)
    assert shown.shape == frames.shape
    assert np.array_equal(shown[0], shown[1])
    assert not np.array_equal(shown[1], shown[2])
    assert psnr(frames, shown).mean() > 23
    sanity(encoded, frames, shown)


@pytest.mark.parametrize("name", ["h264", "hevc"])
def test_no_encoder_tells_of_itself_on_the_wire(name: str):
    encoded = create_codec(name).encode(square_frames(2), FPS, "100@64:25")
    sent = b"".join(packet.data for packet in encoded.packets)
    assert b"x26" not in sent
    assert len(sent) > 100


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="this system has no scheduling classes")
def test_no_encoder_takes_the_machine_for_itself():
    before = os.sched_getscheduler(0)
    create_codec("av1").encode(square_frames(2), FPS, "100@64:25")
    assert os.sched_getscheduler(0) == before


def test_a_step_down_the_ladder_where_nothing_fits():
    """No 256x256 picture of this size is that small, and what is asked for by name is not changed."""
    assert [point.size for point in steps("12")] == [256, 192, 128]
    assert [point.size for point in steps("12@256:8")] == [256]
    codec = create_codec("vp8")
    encoded = codec.encode(square_frames(15), FPS, "12")
    assert "128x128" in encoded.note
    assert "256x256" in codec.encode(square_frames(15), FPS, "12@256:8").note


class Modelled(Video):
    """An encoder whose bytes fall with the quantiser by a law that a test knows; it counts its trials."""

    trials = 0

    def law(self, quantiser: int) -> int:
        return round(60_000 * np.exp(-0.09 * quantiser + 0.4 * np.sin(quantiser / 5) - 0.09 * (quantiser % 3)))

    def _coded(self, pictures: list[Any], fps: Fraction, slots: list[int], quantiser: int, room: float) -> Trial:
        self.trials += 1
        size = self.law(quantiser)
        return Trial([bytes(size)] if size <= room else None, size)


@pytest.mark.parametrize("name", ["av1", "vp8", "h264"])
def test_the_search_ends_at_a_quantiser_that_is_just_fine_enough(name: str):
    codec = Modelled(name)
    most = 0
    for room in np.geomspace(100, 80_000, 60):
        codec.trials = 0
        used, best = codec._search([], FPS, [0], room)
        most = max(most, codec.trials)
        settings = SETTINGS[name]
        if best is None:
            assert used == settings.coarsest
            assert codec.law(settings.coarsest) > room
        else:
            assert len(best[0]) <= room
            assert used == settings.finest or codec.law(used - 1) > room
    assert most <= 11, "five guesses, then halves"


def test_bytes_by_second_are_those_of_the_clip():
    packets = (Packet("key", bytes(950), 1000), Packet("video", bytes(450), 500, 24), Packet("video", b"x", 51, 25))
    encoded = Encoded(packets, FPS, 30)
    assert encoded.wire_bytes_by_second() == [1500, 51]
    assert encoded.total_kbps() == pytest.approx(encoded.wire_kbps() + encoded.return_kbps)


def test_more_bits_are_better_and_one_frame_is_enough():
    codec = create_codec("av1")
    frames = square_frames(1)
    coarse, fine = (codec.encode(frames, FPS, f"{kbps}@256:25") for kbps in (200, 1500))
    assert coarse.payload_kbps() < fine.payload_kbps()
    assert psnr(frames, codec.decode(coarse))[0] < psnr(frames, codec.decode(fine))[0]


def test_frozen_photo_there_and_back():
    frames = square_frames(3)
    encoded = create_codec("frozen").encode(frames, FPS, "photo")
    shown = create_codec("frozen").decode(encoded)
    assert shown.shape == frames.shape
    assert np.array_equal(shown[0], shown[2])
    assert 3000 < encoded.bytes_by_kind()["photo"] <= 7000
    sanity(encoded, frames, shown)


@pytest.mark.parametrize("name", ["warp", "raw"])
def test_headwire_there_and_back(name: str):
    codec = create_codec(name)
    frames = square_frames(12)
    encoded = codec.encode(frames, FPS, codec.rates[0])
    shown = create_codec(name).decode(encoded)
    assert shown.shape == frames.shape
    assert psnr(frames, shown).mean() > 20
    kinds = encoded.bytes_by_kind()
    assert kinds["photo"] > 2000
    assert (kinds["parameters"] == 12 * 140) == (name == "raw")
    assert encoded.wire_kbps() > encoded.payload_kbps()
    assert encoded.wire_kbps(600) < encoded.wire_kbps(60) < encoded.wire_kbps()


def test_photos_and_motion_are_counted_and_come_back():
    codec = create_codec("warp")
    frames = square_frames(12)
    encoded = codec.encode(frames, FPS, "normal@0:auto")
    kinds = encoded.bytes_by_kind()
    assert kinds["motion"] > 20
    (plain, moved) = (create_codec("warp").decode(x) for x in (codec.encode(frames, FPS, "normal@0:off"), encoded))
    assert psnr(frames, moved).mean() > psnr(frames, plain).mean() + 0.1, "the field arrived"
    assert "motion" not in codec.encode(frames, FPS, "normal@0:off").bytes_by_kind()


def test_a_model_without_weights_is_missing():
    codec = codecs.create_codec("headgan")
    from models.zoo import ZOO

    if "headgan" not in ZOO:
        with pytest.raises(MissingCodecError, match="no weights of headgan"):
            codec.check()
    create_codec("warp").check()


def test_no_face_is_a_sentence():
    grey = np.full((8, 256, 256, 3), 90, np.uint8)
    for name in ("warp", "raw"):
        codec = create_codec(name)
        with pytest.raises(HeadwireError):
            codec.encode(grey, FPS, codec.rates[0])


def test_names_and_rates_are_chosen():
    assert choose(["frozen", "warp"], ["low"]) == [("frozen", "photo"), ("warp", "low")]
    assert choose(["av1", "warp", "av1"], ["low", "20"]) == [("av1", "20"), ("warp", "low")]
    assert choose(["warp"], ["normal@3:auto"]) == [("warp", "normal@3:auto")]
    with pytest.raises(UsageError, match="no codec 'mpeg'"):
        choose(["mpeg"], [])
    with pytest.raises(UsageError, match="takes the rate 'fast'"):
        choose(["warp", "av1"], ["fast"])


class Cheat(Codec):
    """Returns the original by another way than the wire."""

    name, about, rates = "cheat", "for this test", ("free",)
    kept = np.zeros((0, 256, 256, 3), np.uint8)
    payload = 0

    def takes(self, rate: str) -> bool:
        return rate == "free"

    def encode(self, frames: codecs.Frames, fps: Fraction, rate: str) -> Encoded:
        Cheat.kept = frames
        packets = (Packet("video", bytes(self.payload), self.payload),) if self.payload else ()
        return Encoded(packets, fps, len(frames))

    def decode(self, encoded: Encoded) -> codecs.Frames:
        return Cheat.kept


class FewBytes(Cheat):
    payload = 400


@pytest.mark.parametrize(("codec", "why"), [(Cheat(), "no bytes"), (FewBytes(), "cannot hold")])
def test_a_cheat_is_refused(codec: Codec, why: str):
    frames = square_frames(6)
    encoded = codec.encode(frames, FPS, "free")
    with pytest.raises(HeadwireError, match=why):
        sanity(encoded, frames, codec.decode(encoded))


def test_other_lies_are_refused():
    frames = square_frames(2)
    with pytest.raises(HeadwireError, match="fewer bytes on the wire"):
        sanity(Encoded((Packet("video", bytes(900), 10),), FPS, 2), frames, frames)
    with pytest.raises(HeadwireError, match="returned"):
        sanity(Encoded((Packet("video", bytes(900), 950),), FPS, 2), frames, frames[:1])
