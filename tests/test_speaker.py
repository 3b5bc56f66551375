"""The loudspeaker's buffer, with a stand-in for the sound device that a test machine lacks."""

from __future__ import annotations

import logging
import sys
import types
from typing import Any

import numpy as np
import pytest

from receiver.speaker import LONGEST_WAIT_S, Speaker


class PortAudioError(Exception):
    pass


def stand_in(stream: Any) -> types.ModuleType:
    module = types.ModuleType("sounddevice")
    module.__dict__.update(OutputStream=stream, PortAudioError=PortAudioError)
    return module


class Stream:
    """Stands in for the sound device."""

    def __init__(self, callback: Any, **_: object) -> None:
        self.callback = callback
        self.open = False

    def start(self) -> None:
        self.open = True

    def close(self) -> None:
        self.open = False


def test_plays_in_order_then_silence_and_skips_what_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", stand_in(Stream))
    speaker = Speaker(16000)
    stream = speaker._stream
    assert stream.open
    speaker.play(np.arange(300, dtype=np.float32))
    speaker.play(np.arange(300, 400, dtype=np.float32))
    out = np.full((256, 1), 9, np.float32)
    stream.callback(out, 256, None, None)
    assert (out[:, 0] == np.arange(256)).all()
    stream.callback(out, 256, None, None)
    assert (out[:, 0] == np.r_[np.arange(256, 400), np.zeros(112)]).all()
    speaker.play(np.arange(16000, dtype=np.float32))
    stream.callback(out, 256, None, None)
    assert out[0, 0] == 16000 - round(LONGEST_WAIT_S * 16000)
    speaker.close()
    speaker.close()
    assert not stream.open


def test_no_device_is_a_warning(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def none(**_: object) -> None:
        raise PortAudioError("no device")

    monkeypatch.setitem(sys.modules, "sounddevice", stand_in(none))
    with caplog.at_level(logging.WARNING):
        speaker = Speaker(16000)
    assert [record.message for record in caplog.records] == ["no sound: no loudspeaker can be opened"]
    speaker.play(np.zeros(10, np.float32))
    speaker.close()
