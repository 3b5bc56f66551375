"""What is listed is what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from sender.devices import list_devices


def test_cameras_and_inference_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for node, name in (("video0", "Integrated Camera"), ("video2", "USB Cam")):
        (tmp_path / node).mkdir()
        (tmp_path / node / "name").write_text(name + "\n")
        (tmp_path / node / "index").write_text("0\n")
    found = list_devices(tmp_path)
    assert [(device.index, device.name) for device in found.of("camera")] == [(0, "Integrated Camera"), (2, "USB Cam")]
    assert "CPU" in [device.index for device in found.of("inference")]
    assert all(device.name for device in found.devices)
    # either the sound devices could be looked for, or a note says why not
    sounds = found.of("microphone") + found.of("speaker")
    assert not (sounds and any(note.startswith("no sound") for note in found.notes))


def test_no_cameras(tmp_path: Path) -> None:
    assert list_devices(tmp_path / "none").of("camera") == []
