"""What is inside a Headwire file, bytes by kind."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from codec.errors import BitstreamError
from codec.hwfile import Channel, HeadwireReader
from codec.parameter_codec import RungReader
from codec.parameters import Region
from codec.photo import PhotoAssembler, completes_picture
from codec.quantiser import Tables


def inspect(path: Path) -> dict[str, Any]:
    """Figures of a ``.hw`` file, by the names of the command line. kbps are over the file's duration.

    Raises UsageError if it cannot be opened, BitstreamError if it is not one.
    """
    reader = HeadwireReader(path)
    size = dict.fromkeys(Channel, 0)
    photos, patches, first_photo, frames, damaged = 0, 0, 0, 0, 0
    assembler, tables = PhotoAssembler(), Tables.load()
    rungs = RungReader(tables)
    for message in reader:
        size[message.channel] += len(message.data)
        if message.channel is Channel.PARAMETERS:
            with suppress(BitstreamError):
                frames += int(tables.frames[rungs.rung(message.data)])
        elif message.channel is Channel.PHOTOS:
            try:
                picture = assembler.add(message.data)
                if picture is not None and completes_picture(message.data):
                    photos += picture.region is Region.WHOLE
                    patches += picture.region is not Region.WHOLE
                    first_photo = first_photo or size[Channel.PHOTOS]
            except BitstreamError:
                damaged += 1
    frames = frames if reader.frames is None else reader.frames
    seconds = frames / float(reader.rate)
    total = path.stat().st_size
    return {
        "frames": frames,
        "fps": float(reader.rate),
        "seconds": round(seconds, 3),
        "photos": photos,
        "patches": patches,
        "reference_bytes": size[Channel.PHOTOS],
        "first_photo_bytes": first_photo,
        "parameter_bytes": size[Channel.PARAMETERS],
        "motion_bytes": size[Channel.MOTION],
        "audio_bytes": size[Channel.AUDIO],
        "header_bytes": reader.header_bytes,
        "payload_kbps": _kbps(size[Channel.PARAMETERS] + size[Channel.MOTION], seconds),
        "total_kbps": _kbps(total - size[Channel.AUDIO], seconds),
        "damaged_messages": damaged,
        "truncated": reader.truncated,
    }


def _kbps(size: int, seconds: float) -> float:
    return round(size * 8 / 1000 / seconds, 4) if seconds else 0.0
