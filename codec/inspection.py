"""What is inside a Headwire file, bytes by kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codec.errors import BitstreamError
from codec.hwfile import Channel, HeadwireReader
from codec.packets import decode_frame
from codec.photo import PhotoAssembler


def inspect(path: Path) -> dict[str, Any]:
    """Figures of a ``.hw`` file, by the names of the command line. kbps are over the file's duration.

    Raises UsageError if it cannot be opened, BitstreamError if it is not one.
    """
    reader = HeadwireReader(path)
    size = dict.fromkeys(Channel, 0)
    photos, first_photo, frames, held, damaged = 0, 0, 0, 0, 0
    assembler = PhotoAssembler()
    for message in reader:
        size[message.channel] += len(message.data)
        try:
            if message.channel is Channel.PHOTOS and assembler.add(message.data):
                photos += 1
                first_photo = first_photo or size[Channel.PHOTOS]
            elif message.channel is Channel.PARAMETERS:
                frames += 1
                held += decode_frame(message.data).held
        except BitstreamError:
            damaged += 1
    seconds = frames / float(reader.rate)
    total = path.stat().st_size
    return {
        "frames": frames,
        "fps": float(reader.rate),
        "seconds": round(seconds, 3),
        "photos": photos,
        "patches": 0,
        "reference_bytes": size[Channel.PHOTOS],
        "first_photo_bytes": first_photo,
        "parameter_bytes": size[Channel.PARAMETERS],
        "motion_bytes": 0,
        "audio_bytes": size[Channel.AUDIO],
        "header_bytes": reader.header_bytes,
        "payload_kbps": _kbps(size[Channel.PARAMETERS], seconds),
        "total_kbps": _kbps(total - size[Channel.AUDIO], seconds),
        "held_frames": held,
        "damaged_messages": damaged,
        "truncated": reader.truncated,
    }


def _kbps(size: int, seconds: float) -> float:
    return round(size * 8 / 1000 / seconds, 4) if seconds else 0.0
