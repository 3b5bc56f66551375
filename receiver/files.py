"""``headwire decode``: a Headwire file back to video, frame for frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from codec.errors import BitstreamError, UsageError
from codec.face_model import FaceModel
from codec.hwfile import Channel, HeadwireReader
from codec.parameters import SIZE, Picture
from models.zoo import create
from receiver.painter import FacePainter
from receiver.sinks import open_sink

ENDINGS = (".mp4", ".mkv", ".y4m")


def decode_file(source: Path, target: Path, model_name: str) -> dict[str, Any]:
    """Decode ``source`` into ``target``; exactly one picture for each frame packet, in order, at the file's rate.

    A damaged packet repeats the last picture and is counted. Raises UsageError for an impossible target, BitstreamError
    for a file that is not Headwire's or holds no photo.
    """
    if target.suffix not in ENDINGS:
        raise UsageError(f"cannot decode to {target}: the name must end in one of {', '.join(ENDINGS)}")
    reader = HeadwireReader(source)
    face_model = FaceModel.load()
    generator = create(model_name, face_model)
    painter = FacePainter(generator, face_model)
    frames, damaged, waiting = 0, 0, 0
    picture: Picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    with open_sink(str(target), fps=reader.rate, realtime=False) as sink:

        def show() -> None:
            nonlocal frames
            sink.show(picture, float(frames / reader.rate))
            frames += 1

        for message in reader:
            try:
                if message.channel is Channel.PHOTOS:
                    if painter.add_photo_message(message.data) and not frames:
                        picture = painter.still()
                        for _ in range(waiting):
                            show()
                        waiting = 0
                elif message.channel is Channel.PARAMETERS and not painter.ready:
                    waiting += 1
                elif message.channel is Channel.PARAMETERS:
                    packet = painter.decode(message.data)
                    picture = painter.paint(packet.parameters)
                    show()
            except BitstreamError:
                damaged += 1
                if message.channel is Channel.PARAMETERS:
                    show()
        if not painter.ready:
            raise BitstreamError(f"{source} holds no whole photo: nothing can be painted from it")
    return {
        "frames": frames,
        "fps": float(reader.rate),
        "damaged_messages": damaged,
        "truncated": reader.truncated,
        "model": generator.name,
        "stages_ms": painter.stages.medians_ms(),
    }
