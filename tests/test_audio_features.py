"""h_audio: the 84 low-level numbers beside pyAudioAnalysis' own, and how they and the logits become 300."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from codec import audio_features
from codec.audio_features import AHEAD, CLASSES, FEATURES, LOW, PART, PARTS, SHORT, STEP, WINDOW, Mix
from codec.parameters import Floats

GOLDEN = Path(__file__).parent / "golden" / "short_term_features.json"


def signal() -> Floats:
    """(3200,) a gliding tone with an overtone, louder in the middle, over a little noise; no mean, its peak is one.

    Exactly representable in float32, so that the reference sees the same numbers.
    """
    t = np.arange(3200)
    noise = (np.cumsum(t * 7919 % 104_729) * 48_271 % 65_537) / 65_537 - 0.5
    tone = np.sin(0.05 * t + 2e-5 * t**2) + 0.5 * np.sin(0.31 * t)
    x = np.rint((tone * np.hanning(3200) + 0.2 * noise) * 10_000)
    x -= round(float(x.mean()))
    x[0] -= x.sum()
    return (x / np.abs(x).max()).astype(np.float32)


def test_short_term_features_are_pyaudioanalysis() -> None:
    said = json.loads(GOLDEN.read_text(encoding="utf-8"))
    reference = np.array(said["features"])
    x = signal()
    found = audio_features.short_term(x[WINDOW:], x[:WINDOW])
    assert found.shape == (len(reference) - 1, SHORT) == (len(x) // STEP - 2, len(said["names"]))
    np.testing.assert_allclose(found, reference[1:], rtol=1e-4, atol=1e-5)


def test_silence_has_features() -> None:
    found = audio_features.low_level(np.zeros(2 * PART, np.float32))
    assert found.shape == (2, LOW)
    assert np.isfinite(found).all()


def test_sound_cut_anywhere_gives_the_same() -> None:
    x = signal()
    whole = audio_features.short_term(x)
    parts = [audio_features.short_term(x[:960]), audio_features.short_term(x[960:], x[960 - WINDOW : 960])]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


@pytest.mark.parametrize("count", [1, PART + 1])
def test_sound_that_is_no_whole_part(count: int) -> None:
    with pytest.raises(ValueError, match="multiple"):
        audio_features.low_level(np.zeros(count, np.float32))


def _mix() -> Mix:
    zero = np.zeros(LOW + CLASSES, np.float32)
    return Mix(zero, zero + 1, zero - 1)


def test_a_frame_has_its_own_sound_and_the_parts_around_it() -> None:
    low = np.tile(np.arange(10, dtype=np.float32)[:, None] / 10, (1, LOW))
    logits = np.tile(np.arange(10, dtype=np.float32)[:, None] / 10, (1, CLASSES))
    h = _mix().frames(low, logits)
    assert h.shape == (10, FEATURES) == (10, 300)
    assert (h[5, :LOW] == np.float32(0.5)).all()
    around = h[5, LOW:].reshape(PARTS, CLASSES)
    np.testing.assert_allclose(around[:, 0], np.arange(2, 10) / 10, atol=1e-6)
    assert (h[0, LOW:].reshape(PARTS, CLASSES)[: PARTS - 1 - AHEAD] == -1).all()
    assert (h[9, LOW:].reshape(PARTS, CLASSES)[-AHEAD:] == -1).all()


def test_without_look_ahead_a_frame_needs_nothing_later() -> None:
    rng = np.random.default_rng(0)
    low, logits = (rng.standard_normal((9, n)).astype(np.float32) for n in (LOW, CLASSES))
    other = logits.copy()
    other[6:] += 1
    assert np.array_equal(_mix().frames(low, logits, 0)[:6], _mix().frames(low, other, 0)[:6])
    assert not np.array_equal(_mix().frames(low, logits)[:6], _mix().frames(low, other)[:6])


def test_what_is_far_from_speech_is_held() -> None:
    low, logits = np.full((1, LOW), 1e6, np.float32), np.full((1, CLASSES), -1e6, np.float32)
    h = _mix().frames(low, logits)
    assert h.max() == 6
    assert h.min() == -6


def test_silence_is_a_frame_of_quiet_parts() -> None:
    mix = _mix()
    low, logits = np.full((20, LOW), -1, np.float32), np.full((20, CLASSES), -1, np.float32)
    np.testing.assert_array_equal(mix.frames(low, logits)[10], mix.silence())
