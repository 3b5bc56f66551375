"""What this machine has: cameras, microphones, speakers, inference devices, by name."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from pathlib import Path

from codec.errors import HeadwireError
from models import inference
from sender.cameras import V4L, linux_cameras

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Device:
    """kind: "camera", "microphone", "speaker" or "inference". index: what the options take (cameras, sound). name: by name."""

    kind: str
    index: int | str
    name: str


@dataclass(frozen=True)
class DeviceList:
    """devices: all that was found. notes: sentences on what could not be looked for, and why."""

    devices: tuple[Device, ...]
    notes: tuple[str, ...]

    def of(self, kind: str) -> list[Device]:
        """The devices of one kind."""
        return [device for device in self.devices if device.kind == kind]


def list_devices(v4l: Path = V4L) -> DeviceList:
    """Look for everything; takes about half a second. Never raises: what fails becomes a note."""
    found: list[Device] = []
    notes: list[str] = []
    if sys.platform.startswith("linux"):
        found += [Device("camera", index, name) for index, name in linux_cameras(v4l)]
    else:
        notes.append("cameras are not listed on this system: give --camera the name that the system shows")
    try:
        import sounddevice
    except OSError:
        notes.append("no sound: the library PortAudio is missing (Debian: apt install libportaudio2)")
    except ImportError:
        notes.append("no sound: the package sounddevice is missing (run 'make setup')")
    else:
        try:
            sounds = sounddevice.query_devices()
        except sounddevice.PortAudioError as error:
            notes.append(f"no sound: {error}")
        else:
            for index, sound in enumerate(sounds):
                if sound["max_input_channels"] > 0:
                    found.append(Device("microphone", index, str(sound["name"])))
                if sound["max_output_channels"] > 0:
                    found.append(Device("speaker", index, str(sound["name"])))
    try:
        core = inference.core()
    except HeadwireError:
        notes.append("no inference devices: the package openvino is missing (run 'make setup')")
    else:
        for key in core.available_devices:
            try:
                name = str(core.get_property(key, "FULL_DEVICE_NAME"))
            except RuntimeError as error:
                log.debug("device %s: %s", key, error)
                name = key
            found.append(Device("inference", key, name))
    return DeviceList(tuple(found), tuple(notes))
