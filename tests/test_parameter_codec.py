"""Parameter packets: exact on every machine, each decodable by itself given its key, and safe against any bytes."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.errors import BitstreamError
from codec.face_model import FaceModel
from codec.parameter_codec import MAX_PACKET, SURE, Key, ParameterDecoder, decode_fit, encode_fit
from codec.parameter_encoder import ParameterEncoder
from codec.parameters import PARAMETERS
from codec.quantiser import UNIT, Tables, dequantise, from_z, quantise, to_z
from codec.reconstruction import LONGEST_SILENCE, Reconstruction
from codec.seen_points import SeenPoints
from tests.golden.make_parameters import PATH, call, packets

TABLES = Tables.load()
GOLDEN = json.loads(PATH.read_text())


def test_golden_packets_decode_to_the_exact_integers():
    assert GOLDEN["tables"] == TABLES.digest.hex(), "the tables have changed: python -m tests.golden.make_parameters"
    for name, golden in GOLDEN["rungs"].items():
        decoder = ParameterDecoder(TABLES)
        decoder.keys.set_reference(np.array(golden["reference"]))
        for row in golden["packets"]:
            packet = decoder.decode(bytes.fromhex(row["bytes"]))
            assert (packet.rung, packet.sequence, packet.slot) == (TABLES.rung(name), row["sequence"], row["slot"])
            assert list(packet.window) == row["window"]
            assert packet.stored == (tuple(row["stored"]) if row["stored"] else None)
            frames = [{"role": f.role, "confidence": f.confidence, "values": f.values.tolist()} for f in packet.frames]
            assert frames == row["frames"]


def test_golden_packets_use_keys_windows_and_lost_faces():
    rows = [row for golden in GOLDEN["rungs"].values() for row in golden["packets"]]
    assert any(row["slot"] for row in rows)
    assert any(row["stored"] for row in rows)
    assert any(row["window"] != [0, 0, 0] for row in rows)
    assert any(f["confidence"] == 0 for row in rows for f in row["frames"])


@pytest.mark.parametrize("rung", TABLES.names)
def test_what_is_shown_is_near_what_was_sent(rung: str):
    reference, sent = packets(rung, TABLES)
    decoder, reconstruction = ParameterDecoder(TABLES), Reconstruction(TABLES)
    decoder.keys.set_reference(np.array(reference))
    reconstruction.set_reference(np.array(reference))
    shown = [s.z for data, _ in sent for s in reconstruction.push(decoder.decode(data))]
    wanted = np.array([to_z(v, TABLES) for v in call()[: len(shown)]])
    error = np.sqrt(((np.array(shown) - wanted)[:, :34] ** 2).sum(axis=1))
    number = TABLES.rung(rung)
    step = TABLES.gain[number] / 64 * TABLES.step[number, 0] / UNIT
    if TABLES.step[number, 2] or TABLES.frames[number] < 4:
        assert np.sqrt((error**2).mean()) < 3.5 * step
    assert len(shown) >= len(call()) - 3


def test_every_packet_decodes_with_all_others_lost():
    for rung in ("normal", "lowest"):
        reference, sent = packets(rung, TABLES)
        whole = ParameterDecoder(TABLES)
        whole.keys.set_reference(np.array(reference))
        keys = {0: whole.keys[0]}
        for data, _ in sent:
            packet = whole.decode(data)
            alone = ParameterDecoder(TABLES)
            for slot, key in keys.items():
                assert key is not None
                alone.keys[slot] = key
            again = alone.decode(data)
            assert [f.values.tolist() for f in again.frames] == [f.values.tolist() for f in packet.frames]
            if packet.stored:
                keys[packet.stored[0]] = whole.keys[packet.stored[0]]


def test_a_key_is_used_only_once_it_is_acknowledged():
    encoder, decoder = ParameterEncoder("normal", TABLES), ParameterDecoder(TABLES)
    stored = []
    for vector in call(frames=120):
        packet = decoder.decode(encoder.encode(vector) or b"")
        assert packet.slot == 0
        stored += [packet.stored] if packet.stored else []
    slot, check = stored[-1]
    assert not encoder.acknowledge(slot, check ^ 1)
    assert encoder.acknowledge(slot, check)
    assert not encoder.acknowledge(slot, check)
    kept = decoder.keys[slot]
    assert kept is not None
    assert kept.check == check
    slots = {decoder.decode(encoder.encode(v) or b"").slot for v in call()[::-1]}
    assert slots == {0, slot}
    encoder.forget_keys()
    assert {decoder.decode(encoder.encode(v) or b"").slot for v in call()} == {0}


def test_a_packet_against_a_missing_key_is_refused():
    _, sent = packets("normal", TABLES)
    late = sent[-1][0]
    with pytest.raises(BitstreamError, match="never came"):
        ParameterDecoder(TABLES).decode(late)


def test_other_rungs_lengths_and_versions_are_refused():
    decoder = ParameterDecoder(TABLES)
    later_rung = bytes.fromhex("4bed")  # against the photo's key, with a long name: 15
    for data in (b"", later_rung, b"\xf0abc", bytes(MAX_PACKET + 1)):
        with pytest.raises(BitstreamError):
            decoder.decode(data)


@given(st.binary(max_size=60))
@settings(deadline=None, max_examples=300)
def test_any_bytes_give_integers_or_a_bitstream_error(data: bytes):
    decoder = ParameterDecoder(TABLES)
    before = [decoder.keys[s] for s in range(4)]
    try:
        packet = decoder.decode(data)
    except BitstreamError:
        assert [decoder.keys[s] for s in range(4)] == before
        return
    shown = Reconstruction(TABLES).push(packet)
    assert all(np.isfinite(s.parameters(TABLES).vector()).all() for s in shown)


@given(st.integers(0, 10_000), st.data())
@settings(deadline=None, max_examples=200)
def test_damaged_packets_do_no_harm(at: int, data: st.DataObject):
    rows = GOLDEN["rungs"]["low"]["packets"]
    good = bytes.fromhex(rows[at % len(rows)]["bytes"])
    kind = data.draw(st.sampled_from(("flip", "cut", "splice")))
    if kind == "flip":
        bit = data.draw(st.integers(0, 8 * len(good) - 1))
        bad = bytes(b ^ (1 << bit % 8 if i == bit // 8 else 0) for i, b in enumerate(good))
    elif kind == "cut":
        bad = good[: data.draw(st.integers(0, len(good) - 1))]
    else:
        bad = good + bytes.fromhex(rows[(at + 1) % len(rows)]["bytes"])
    decoder = ParameterDecoder(TABLES)
    for slot in range(1, 4):
        decoder.keys[slot] = Key(np.zeros(PARAMETERS, np.int64))
    try:
        packet = decoder.decode(bad)
    except BitstreamError:
        return
    assert max(int(np.abs(f.values).max()) for f in packet.frames) < 1 << 31


@pytest.mark.parametrize("bad", [np.full(35, np.nan), np.full(35, np.inf), np.full(35, -1e30), np.zeros(35)])
def test_absurd_numbers_still_make_a_packet(bad: np.ndarray):
    encoder, decoder = ParameterEncoder("normal", TABLES), ParameterDecoder(TABLES)
    for vector in (call()[0], bad.astype(np.float32), call()[1]):
        data = encoder.encode(vector)
        assert data is not None
        decoder.decode(data)


def test_a_still_face_is_hardly_sent():
    encoder, decoder = ParameterEncoder("normal", TABLES, silence=True), ParameterDecoder(TABLES)
    vector = call()[0]
    encoder.set_reference(quantise(vector))
    decoder.keys.set_reference(quantise(vector))
    sent = [encoder.encode(vector) for _ in range(100)]
    assert sum(s is not None for s in sent) <= 100 // (LONGEST_SILENCE + 1) + 2
    reconstruction = Reconstruction(TABLES)
    reconstruction.set_reference(quantise(vector))
    for data in sent:
        if data is not None:
            reconstruction.push(decoder.decode(data), silent=LONGEST_SILENCE)
    assert reconstruction.z is not None
    assert np.abs(reconstruction.z - to_z(vector, TABLES))[:34].max() < 0.3


def test_bundles_hold_frames_back_and_change_of_rung_waits_for_the_bundle():
    encoder = ParameterEncoder("lowest", TABLES)
    made = []
    for t, vector in enumerate(call()[:6]):
        made.append(encoder.encode(vector))
        if t == 1:
            encoder.set_rung("normal")
    assert [m is not None for m in made] == [False, False, False, True, True, True]


def test_the_mesh_aware_choice_spares_the_worst_points():
    model = FaceModel.load()
    neutral = model.neutral(np.zeros(model.identities, np.float32))
    points = SeenPoints(model, neutral, TABLES)
    worst = []
    for mesh in (None, points):
        encoder = ParameterEncoder("normal", TABLES, mesh)
        decoder, reconstruction = ParameterDecoder(TABLES), Reconstruction(TABLES)
        far = []
        for vector in call():
            shown = reconstruction.push(decoder.decode(encoder.encode(vector) or b""))[0]
            moved = np.einsum("i,ixn->xn", (shown.z - to_z(vector, TABLES))[:34], points.jacobian(vector))
            far.append(np.sqrt((moved**2).sum(axis=0)))
        worst.append(np.percentile(np.array(far[1:]), 99))
    assert worst[1] < 0.95 * worst[0]


def test_the_derivative_of_the_mesh_is_right():
    model = FaceModel.load()
    neutral = model.neutral(np.zeros(model.identities, np.float32))
    points = SeenPoints(model, neutral, TABLES)
    vector = call()[40]
    jacobian = points.jacobian(vector)
    z = to_z(vector, TABLES)
    for i in (0, 3, 11, 30):
        moved = z.copy()
        moved[i] += 0.05
        there, here = from_z(moved, TABLES), from_z(z, TABLES)
        seen = points.project(there) - points.project(here)
        assert np.abs(seen * 73.8 / here[28] / 0.05 - jacobian[i]).max() < 0.1


def test_quantised_fits_survive():
    for vector in call()[::9]:
        back = dequantise(quantise(vector))
        assert np.abs(to_z(back, TABLES) - to_z(vector, TABLES)).max() <= 0.51 / UNIT + 1e-3


def test_a_photo_s_fit_travels_in_few_bytes():
    integers = quantise(call()[50])
    data = encode_fit(integers, TABLES)
    assert len(data) < 45
    assert np.abs(decode_fit(data, TABLES) - integers).max() <= TABLES.step[0, 3] // 2


@given(st.binary(max_size=60))
@settings(deadline=None, max_examples=100)
def test_any_bytes_give_a_fit_or_a_bitstream_error(data: bytes):
    try:
        values = decode_fit(data, TABLES)
    except BitstreamError:
        return
    assert np.isfinite(dequantise(values)).all()


def test_confidence_has_four_steps():
    encoder, decoder = ParameterEncoder("normal", TABLES), ParameterDecoder(TABLES)
    got = [decoder.decode(encoder.encode(call()[0], c) or b"").frames[0].confidence for c in (0.0, 0.3, 0.7, 1.0)]
    assert got == [0, 1, 2, SURE]
