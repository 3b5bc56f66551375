"""Missing packets: interpolated where their successors have come, carried on for 200 ms, then held; never a jump."""

import numpy as np

from codec.parameter_codec import ParameterDecoder, ParameterPacket
from codec.parameter_encoder import ParameterEncoder
from codec.quantiser import Tables, to_z
from receiver.concealment import Concealment

TABLES = Tables.load()


def line(frames: int = 60, speed: float = 1.0) -> np.ndarray:
    """(frames, 35) a head that moves to the right at ``speed`` pixels a frame."""
    vectors = np.zeros((frames, 35), np.float32)
    vectors[:, 28], vectors[:, 33] = 80.0, 130.0
    vectors[:, 32] = 100.0 + speed * np.arange(frames)
    return vectors


def sent(vectors: np.ndarray, rung: str = "robust") -> list[ParameterPacket]:
    encoder, decoder = ParameterEncoder(rung, TABLES), ParameterDecoder(TABLES)
    return [decoder.decode(data) for data in map(encoder.encode, vectors) if data is not None]


def x_of(concealment: Concealment, time_ms: float) -> float:
    shown = concealment.at(time_ms)
    assert shown is not None
    return float(shown.parameters(TABLES).camera.translation[0])


def test_nothing_to_show_before_the_first_packet():
    assert Concealment(TABLES).at(0.0) is None


def test_one_lost_frame_between_two_others_is_interpolated():
    packets, vectors = sent(line()), line()
    concealment = Concealment(TABLES)
    for t, packet in enumerate(packets[:22]):
        if t != 20:
            concealment.push(packet, 40.0 * t)
    assert abs(x_of(concealment, 800.0) - vectors[20, 32]) < 0.6
    assert abs(x_of(concealment, 820.0) - (vectors[20, 32] + 0.5)) < 0.6


def test_motion_goes_on_slower_and_slower_and_then_holds():
    concealment = Concealment(TABLES)
    for t, packet in enumerate(sent(line(speed=2.0))[:30]):
        concealment.push(packet, 40.0 * t)
    xs = np.array([x_of(concealment, 40.0 * (29 + k)) for k in range(12)])
    steps = np.diff(xs)
    assert steps[0] > 0.5
    assert (np.diff(steps[:5]) < 0).all()
    assert (np.abs(steps[5:]) < 1e-6).all()


def test_a_packet_after_a_gap_ends_it_within_one_picture_and_without_a_jump():
    packets, vectors = sent(line(speed=2.0)), line(speed=2.0)
    concealment = Concealment(TABLES)
    shown = []
    for t, packet in enumerate(packets):
        if not 20 <= t < 30:
            concealment.push(packet, 40.0 * t)
        shown.append(x_of(concealment, 40.0 * t))
    error = np.abs(np.array(shown) - vectors[: len(shown), 32])
    gap = error[29]
    assert gap > 4.0
    assert 0.3 * gap < error[30] < 0.7 * gap
    assert error[31] < 1.0


def test_late_and_repeated_packets_change_nothing():
    packets = sent(line())
    concealment = Concealment(TABLES)
    assert concealment.push(packets[0], 0.0)
    assert concealment.push(packets[2], 80.0)
    before = x_of(concealment, 80.0)
    assert not concealment.push(packets[1], 40.0)
    assert not concealment.push(packets[2], 80.0)
    assert x_of(concealment, 80.0) == before


def test_a_bundle_gives_its_frames_in_time():
    vectors = line()
    concealment = Concealment(TABLES)
    for k, packet in enumerate(sent(vectors, "lowest")[:8]):
        concealment.push(packet, 40.0 * (4 * k + 3))
    z = [to_z(v, TABLES) for v in vectors[16:32]]
    shown = [concealment.at(40.0 * t) for t in range(16, 32)]
    errors = [np.sqrt(((s.z - w)[:34] ** 2).sum()) for s, w in zip(shown, z, strict=True) if s is not None]
    assert len(errors) == 16
    assert np.sqrt(np.mean(np.square(errors))) < 2.5


def test_any_gap_gives_finite_numbers():
    packets = sent(line())
    concealment = Concealment(TABLES)
    concealment.push(packets[0], 0.0)
    concealment.push(packets[1], 1e9)
    shown = concealment.at(2e9)
    assert shown is not None
    assert np.isfinite(shown.z).all()


def shown_after_a_burst(rung: str, then: str | None = None) -> tuple[np.ndarray, float]:
    """(8,) errors of the pictures from the last of ten lost frames on, a faster head's x in pixels, and the usual error.

    then: the rung that the sender goes on with from the fourth packet after the burst on."""
    vectors = line(frames=90)
    vectors[:, 32] += 6 * np.sin(np.arange(90) / 5)
    encoder, decoder, concealment = ParameterEncoder(rung, TABLES), ParameterDecoder(TABLES), Concealment(TABLES)
    errors = []
    for t, vector in enumerate(vectors):
        if t == 73 and then is not None:
            encoder.set_rung(then)
        packet = decoder.decode(encoder.encode(vector) or b"")
        if not 60 <= t < 70:
            concealment.push(packet, 40.0 * t)
        errors.append(abs(x_of(concealment, 40.0 * t) - float(vector[32])))
    return np.array(errors[69:77]), float(np.mean(errors[20:60]))


def test_after_a_burst_the_second_picture_is_as_good_as_ever():
    errors, usual = shown_after_a_burst("normal")
    assert errors[0] > 4.0
    assert errors[2:].max() < 1.0 + 2 * usual


def test_a_loss_is_felt_where_nothing_gets_lost_until_it_is_known():
    long, _ = shown_after_a_burst("normal-clean")
    short, usual = shown_after_a_burst("normal-clean", "normal")
    assert long[-1] > 3.0
    assert short[3] > 3.0
    assert short[4:].max() < 1.0 + 2 * usual
