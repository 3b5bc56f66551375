"""Frames that ride along again: what is chosen at which loss, and that a lost packet then leaves no hole."""

import numpy as np
import pytest

from codec.parameter_codec import ParameterDecoder
from codec.parameter_encoder import ParameterEncoder
from codec.quantiser import Tables, to_z
from codec.redundancy import FELT, HEAVY, Protection, rung_for
from receiver.concealment import Concealment
from tests.golden.make_parameters import call

TABLES = Tables.load()
PERIOD_MS = 40.0


def shown(rung: str, again: int, dropped: set[int], frames: int = 60) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """z as sent and as shown (frames', 35), one bundle later; at which frames packets left."""
    vectors = call(3, frames)
    encoder, decoder = ParameterEncoder(rung, TABLES, again=again), ParameterDecoder(TABLES)
    concealment, out = Concealment(TABLES, PERIOD_MS), []
    left: list[int] = []
    wait = int(TABLES.frames[encoder.rung]) - 1
    for t, vector in enumerate(vectors):
        data = encoder.encode(vector)
        if data is not None:
            if len(left) not in dropped:
                assert concealment.push(decoder.decode(data), t * PERIOD_MS)
            left.append(t)
        now = concealment.at((t - wait) * PERIOD_MS) if t >= wait else None
        if now is not None:
            out.append(now.z)
    return np.array([to_z(v, TABLES) for v in vectors[: len(out)]]), np.array(out), left


@pytest.mark.parametrize(("rung", "again", "stride"), [("low", 1, 1), ("lowest-mid", 2, 2), ("lowest-mid", 3, 1)])
def test_packets_leave_with_every_new_frame(rung, again, stride):
    sent, got, left = shown(rung, again, set())
    assert set(np.diff(left)) == {stride}
    assert len(got) == 60 - again - (TABLES.frames[TABLES.rung(rung)] - 1 - again)
    assert np.sqrt(((got - sent) ** 2).mean(axis=1)).max() < 2 * TABLES.step[TABLES.rung(rung), 0] / 256


@pytest.mark.parametrize(("rung", "again"), [("low", 1), ("lowest-mid", 2), ("lowest-mid", 3)])
def test_a_lost_packet_is_made_good_by_the_next(rung, again):
    """Invented faces, which jump: without repetition a lost packet costs several times the coding's own error."""
    one_in_four = set(range(9, 60, 4))
    sent, whole, _ = shown(rung, again, set())
    _, lossy, _ = shown(rung, again, one_in_four)
    _, bare, _ = shown(rung, 0, one_in_four)
    error = [float(np.sqrt(((z - sent[: len(z)]) ** 2).mean())) for z in (whole, lossy, bare)]
    assert error[1] < 1.5 * error[0]
    assert error[2] > 1.25 * error[1]


def test_the_rung_may_change_with_frames_riding_along():
    encoder, decoder = ParameterEncoder("normal", TABLES), ParameterDecoder(TABLES)
    concealment, newest = Concealment(TABLES, PERIOD_MS), 0
    changes = {20: ("low", 1), 40: ("lowest-mid", 3), 60: ("lowest", 0), 70: ("normal", 0)}
    for t, vector in enumerate(call(5)):
        if t in changes:
            encoder.set_rung(*changes[t])
        data = encoder.encode(vector)
        if data is not None:
            assert concealment.push(decoder.decode(data), t * PERIOD_MS)
            assert t - newest <= 4
            newest = t
            now = concealment.at(t * PERIOD_MS)
            assert now is not None
            assert np.sqrt(((now.z - to_z(vector, TABLES)) ** 2).mean()) < 2.0


def test_no_bundle_repeats_all_its_frames():
    with pytest.raises(ValueError, match="ride along"):
        ParameterEncoder("low", TABLES, again=2)


@pytest.mark.parametrize("wanted", TABLES.names)
def test_what_is_chosen_exists_and_needs_no_more_packets_than_wanted(wanted):
    for loss in np.linspace(0, 1, 21):
        chosen = rung_for(float(loss), wanted)
        new = TABLES.frames[TABLES.rung(chosen.rung)] - chosen.again
        assert new >= TABLES.frames[TABLES.rung(wanted)]


def test_loss_is_answered_and_the_answer_does_not_flutter():
    assert rung_for(0.0, "normal") == Protection("normal")
    light = rung_for(FELT, "normal")
    heavy = rung_for(HEAVY, "normal", light)
    assert light.again
    assert heavy.again > light.again
    assert rung_for(FELT + 0.02, "normal", heavy) == heavy
    assert rung_for(FELT - 0.01, "normal", light) == light
    assert rung_for(0.0, "normal", heavy) == Protection("normal")
    assert rung_for(0.3, "lowest") == Protection("lowest", 0, 2), "the packets that there are carry those before them"
    assert rung_for(0.3, "lowest", echoes=False) == Protection("lowest")
    assert rung_for(0.3, "low", echoes=False).echo == 0
