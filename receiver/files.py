"""``headwire decode``: a Headwire file back to video, frame for frame."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from codec.errors import BitstreamError, UsageError
from codec.face_model import FaceModel
from codec.file_sound import RATE as SOUND_RATE
from codec.hwfile import Channel, HeadwireReader
from codec.motion import SEQUENCES
from codec.parameters import Floats, FrameParameters
from models.backdrop import Backdrop
from models.generator import Generator
from models.zoo import create
from receiver.file_sound import file_sound
from receiver.painter import FacePainter
from receiver.sinks import Sink, open_sink

LONGEST_BUNDLE = 4
ENDINGS = (".mp4", ".mkv", ".y4m")


def decode_file(source: Path, target: Path, model: str | Generator, background: str | None = None) -> dict[str, Any]:
    """Decode ``source`` into ``target``; exactly one picture for each frame packet, in order, at the file's rate.

    model: a generator's name, or one that has seen nothing yet. background: ``blur`` or a picture file, in place of the sender's room.

    Sound that the file has goes into the video, and to a generator that hears. A damaged packet repeats the last picture and
    is counted. Raises UsageError for an impossible target, BitstreamError for a file that is not Headwire's or holds no photo.
    """
    if target.suffix not in ENDINGS:
        raise UsageError(f"cannot decode to {target}: the name must end in one of {', '.join(ENDINGS)}")
    reader = HeadwireReader(source)
    face_model = FaceModel.load()
    generator = create(model, face_model) if isinstance(model, str) else model
    backdrop = None if background is None else Backdrop(background)
    painter = FacePainter(generator, face_model, backdrop=backdrop)
    damaged, early = 0, 0
    period_ms = float(1000 / reader.rate)
    painter.restart(period_ms)
    sound = file_sound(source)
    if painter.hearing is not None:
        painter.hearing.hear_all(sound)
    bundle: list[FrameParameters] = []
    size = 1
    with open_sink(str(target), fps=reader.rate, realtime=False, audio=bool(len(sound))) as sink:
        film = _Film(painter, sink, reader.rate, sound)
        for message in reader:
            try:
                if message.channel is Channel.PHOTOS:
                    film.paint()
                    painter.add_photo_message(message.data)
                elif message.channel is Channel.MOTION and message.data:
                    frames = film.frames
                    nearest = frames + (message.data[0] - frames + 128) % 256 - 128
                    painter.add_motion(message.data[1:], nearest % SEQUENCES)
                    film.paint()
                elif message.channel is Channel.PARAMETERS and not painter.ready:
                    early += 1
                elif message.channel is Channel.PARAMETERS:
                    last = bundle[-1] if bundle else painter.reference_parameters
                    film.paint()
                    film.add(bundle)
                    bundle = [last] * size
                    packet = painter.decode(message.data)
                    size = len(packet.frames)
                    frames = film.frames + len(film.waiting)
                    painter.push(packet, (frames + size - 1) * period_ms)
                    numbers = [painter.frame_at((frames + i) * period_ms) for i in range(size)]
                    bundle = [n for n in numbers if n is not None]
            except BitstreamError:
                damaged += 1
        if not painter.ready:
            raise BitstreamError(f"{source} holds no whole photo: nothing can be painted from it")
        film.paint()
        if reader.frames is not None:
            bundle += bundle[-1:] * min(reader.frames - film.frames - len(bundle), LONGEST_BUNDLE * damaged)
            bundle = bundle[: max(0, reader.frames - film.frames)]
        film.add(bundle)
        film.paint()
    return {
        "frames": film.frames,
        "fps": float(reader.rate),
        "damaged_messages": damaged + early,
        "truncated": reader.truncated,
        "model": generator.name,
        "stages_ms": painter.stages.medians_ms(),
    }


class _Film:
    """Paints frames in order. The last one waits for what comes next: it may be the motion field after it, and then the frame is
    shown between both.
    """

    def __init__(self, painter: FacePainter, sink: Sink, rate: Fraction, sound: Floats) -> None:
        self._painter, self._sink, self._rate, self._sound = painter, sink, rate, sound
        self.frames = 0
        self.waiting: list[FrameParameters] = []

    def add(self, numbers: list[FrameParameters]) -> None:
        """Frames whose own motion fields have come."""
        self.waiting += numbers
        self._paint(self.waiting[:-1])
        del self.waiting[:-1]

    def paint(self) -> None:
        """Whatever waits."""
        self._paint(self.waiting)
        self.waiting.clear()

    def _paint(self, numbers: list[FrameParameters]) -> None:
        for parameters in numbers:
            time_s = float(self.frames / self._rate)
            self._sink.show(self._painter.paint(parameters, self.frames % SEQUENCES, time_s), time_s)
            self.frames += 1
            played = round(self.frames * SOUND_RATE / self._rate)
            if len(piece := self._sound[round((self.frames - 1) * SOUND_RATE / self._rate) : played]):
                self._sink.play(piece, time_s)
