"""Writes ``call.hw``, a second of the demo clip as a Headwire file, and ``call.json``: the exact integers that are in it.

Without residual motion, whose packets are in ``motion.json``. To be run when the format changes: python -m tests.golden.make_file
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from codec.hwfile import Channel, HeadwireReader
from codec.motion import MotionDecoder
from codec.parameter_codec import ParameterDecoder
from codec.photo import PhotoAssembler
from codec.quantiser import Tables

FILE = Path(__file__).with_name("call.hw")
INTEGERS = Path(__file__).with_name("call.json")
FRAMES = 28
LARGEST = 15_000
"""Bytes of the file."""

_CHUNK_HEAD = 6
_CHUNK = 0x13


def integers_of(path: Path) -> dict[str, Any]:
    """Everything that the file's messages decode to, in order. Photos by their fits and the SHA-256 of their coded bytes."""
    reader = HeadwireReader(path)
    decoder, motion, assembler = ParameterDecoder(), MotionDecoder(), PhotoAssembler()
    messages: list[dict[str, Any]] = []
    coded, started = b"", False
    for message in reader:
        data = message.data
        row: dict[str, Any] = {"channel": message.channel.name.lower(), "bytes": len(data)}
        if message.channel is Channel.PARAMETERS:
            p = decoder.decode(data)
            row |= {"rung": p.rung, "sequence": p.sequence, "slot": p.slot, "window": list(p.window),
                    "stored": list(p.stored) if p.stored else None,
                    "frames": [[f.role, f.confidence, *f.values.tolist()] for f in p.frames]}  # fmt: skip
        elif message.channel is Channel.MOTION:
            field = motion.decode(data[1:], data[0])
            row |= {"frame": data[0], "photo": field.photo_id, "step": field.step, "lifetime": field.lifetime,
                    "control": field.control.ravel().tolist()}  # fmt: skip
        elif message.channel is Channel.PHOTOS:
            row["kind"] = data[0]
            coded += data[_CHUNK_HEAD:] if data[0] == _CHUNK else b""
            photo = assembler.add(data)
            if photo is not None:
                assert photo.fit is not None
                row |= {"photo": photo.photo_id, "size": list(photo.picture.shape), "fit": photo.fit.tolist(),
                        "identity": np.rint(photo.identity * 1024).astype(int).tolist()}  # fmt: skip
                if coded:
                    row["sha256"], coded = hashlib.sha256(coded).hexdigest(), b""
                if not started:
                    decoder.keys.set_reference(photo.fit)
                    started = True
        messages.append(row)
    rate = [reader.rate.numerator, reader.rate.denominator]
    return {"tables": Tables.load().digest.hex(), "rate": rate, "frames": reader.frames, "messages": messages}


def main() -> None:
    """Write both files."""
    import av

    from sender.demo_clip import demo_clip
    from sender.files import EncodeSettings, encode_file

    with tempfile.TemporaryDirectory() as folder:
        cut = Path(folder) / "cut.mkv"
        with av.open(str(demo_clip("wolfgang"))) as source, av.open(str(cut), "w") as target:
            source.seek(10_000_000)
            stream = target.add_stream("ffv1", rate=source.streams.video[0].average_rate)
            stream.width, stream.height = source.streams.video[0].width, source.streams.video[0].height
            stream.pix_fmt = "yuv420p"
            for number, frame in enumerate(source.decode(video=0)):
                if number == FRAMES:
                    break
                frame.pts = None
                target.mux(stream.encode(frame))
            target.mux(stream.encode())
        encode_file(EncodeSettings(cut, FILE))
    assert FILE.stat().st_size <= LARGEST
    INTEGERS.write_text(json.dumps(integers_of(FILE), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
