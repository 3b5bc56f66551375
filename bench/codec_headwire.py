"""Headwire itself as a codec of the benchmark, the paper's raw numbers, and a photo that never moves.

Bytes on the wire are those of a call without a voice over the ``opus`` carrier, measured on localhost by the means of
``headwire bench wire``: 54 bytes of headers a parameter message; a photo of 7 kB costs 1.53 times its size beside one
message a frame, 1.74 times beside one in four frames. A voice would take most of the headers. A motion packet rides in the
message of its frames.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np

from bench.codecs import RTCP_RETURN_KBPS, Codec, Encoded, Frames, MissingCodecError, Packet, rtp_bytes
from codec.errors import HeadwireError, UsageError

MESSAGE_HEADERS = 54
"""IPv4 20, UDP 8, RTP 12, SRTP tag 10, Opus packet of silence and extension 4."""

PHOTO_FACTOR = {1: 1.53, 2: 1.64, 4: 1.74}
"""Bytes on the wire of a photo over its own, by frames a message; 2 is interpolated."""

MOTION_FRAMING = 1
"""In a message that is sent anyway a motion packet has a head of two bytes, in a file of one."""

RETURN_KBPS = 0.8
"""Acknowledgements of keys and photos with RTCP."""

DEFAULTS = "3:auto"
"""Photos and motion of ``headwire encode`` without options."""

RATES = ("normal", "low", "lowest", "normal@1", "normal@6", "normal@0:off")
"""Every rung, several budgets of photos, and the paper's mode."""

FROZEN_BYTES = 7000
_PHOTO_STARTS = (b"\x12", b"\x15")
_FOLDERS = ("codec", "models", "receiver", "sender", "bench/codec_painting.py")


class Headwire(Codec):
    """A Headwire file, written and read again by ``headwire encode`` and ``decode``.

    A rate is ``normal``, ``low`` or ``lowest`` with what the command line sends by default; or with the photos' budget and
    the residual motion, ``normal@3:auto``. ``normal@0:off`` is the paper's mode.
    """

    rungs = ("normal", "low", "lowest")
    folders = _FOLDERS
    stream = "headwire"

    def __init__(self, model: str, rates: tuple[str, ...] = RATES) -> None:
        from models.zoo import ZOO

        self.name = self._model = model
        self.rates = rates
        file = ZOO[model].weights if model in ZOO else None
        self.weights = (file,) if file else ()
        self.beside = ("warp",) if model == "light" else ()
        self.about = f"Headwire, generator {model}"

    def check(self) -> None:
        from models.zoo import ZOO, create

        if self._model not in ZOO:
            raise MissingCodecError(f"there are no weights of {self._model} among `headwire models`")
        try:
            from codec.face_model import FaceModel

            create(self._model, FaceModel.load())
        except (HeadwireError, ImportError) as error:
            raise MissingCodecError(f"{self._model} cannot run here: {error}") from error

    def takes(self, rate: str) -> bool:
        try:
            _parse(rate)
        except ValueError:
            return False
        return True

    def encode(self, frames: Frames, fps: Fraction, rate: str) -> Encoded:
        from codec.hwfile import Channel, HeadwireReader
        from sender.files import EncodeSettings, encode_file

        rung, photos, motion = _parse(rate)
        with _folder() as folder:
            source, target = folder / "frames.mkv", folder / "clip.hw"
            _write(source, frames, fps)
            encode_file(EncodeSettings(source, target, crop="none", rate=rung, photos_kbps=photos, motion=motion))
            reader = HeadwireReader(target)
            messages = list(reader)
        bundle = _bundle(m.data for m in messages if m.channel is Channel.PARAMETERS)
        packets: list[Packet] = []
        sent = 0
        for message in messages:
            if message.channel is Channel.PARAMETERS:
                sent += bundle
                frame = min(sent, len(frames)) - 1
                packets.append(Packet("parameters", message.data, len(message.data) + MESSAGE_HEADERS, frame))
            elif message.channel is Channel.PHOTOS:
                kind = "photo" if sent == 0 else "photos"
                packets.append(Packet(kind, message.data, len(message.data) * PHOTO_FACTOR[bundle], max(0, sent - 1)))
            elif message.channel is Channel.MOTION:
                packets.append(Packet("motion", message.data, len(message.data) + MOTION_FRAMING, max(0, sent - 1)))
        delay = (bundle - 1) * 1000 / float(fps)
        photos_sent = sum(packet.kind == "photos" and packet.data[:1] in _PHOTO_STARTS for packet in packets)
        note = f"{bundle} frames a message, photos after the first at {photos:g} kbps: {photos_sent}, motion {motion}"
        return Encoded(tuple(packets), fps, len(frames), note, delay, RETURN_KBPS)

    def decode(self, encoded: Encoded) -> Frames:
        from receiver.files import decode_file

        with _coded_file(encoded) as (source, target):
            decode_file(source, target, self._model)
            return _read(target)

    def decode_all(self, encoded: Encoded) -> dict[str, Frames]:
        if not self.beside:
            return super().decode_all(encoded)
        from bench.codec_painting import decode_both

        with _coded_file(encoded) as (source, target):
            return {"warp": decode_both(source, target), self.name: _read(target)}


class RawFloats(Codec):
    """The paper's figure: one photo and 35 float32 a frame, a packet each, painted without any coding of the numbers."""

    rates = ("float32",)
    name = "raw"
    folders = _FOLDERS

    def __init__(self, model: str) -> None:
        self._model = model
        self.about = f"one photo and 28 + 7 float32 a frame, generator {model}"

    def takes(self, rate: str) -> bool:
        return rate in self.rates

    def encode(self, frames: Frames, fps: Fraction, rate: str) -> Encoded:
        from codec.fitting import Fitter
        from codec.photo import encode_photo
        from sender.tracking import FaceTracker

        with FaceTracker("none") as tracker:
            landmarks = [tracker.track(frame).landmarks for frame in frames]
        seen = [points for points in landmarks if points is not None]
        if not seen:
            raise UsageError("the clip shows no face")
        opening = Fitter()
        for found in seen:
            opening.fit(found)
        fitter = Fitter(identity=opening.identity)
        first = next(n for n, points in enumerate(landmarks) if points is not None)
        photo = encode_photo(frames[first], FROZEN_BYTES)
        packets = [
            Packet("photo", photo, len(photo) * PHOTO_FACTOR[1]),
            Packet("session", fitter.identity.tobytes(), rtp_bytes(fitter.identity.nbytes)),
        ]
        last = fitter.fit(seen[0]).parameters
        for n, points in enumerate(landmarks):
            if points is not None:
                last = fitter.fit(points).parameters
            data = last.vector().tobytes()
            packets.append(Packet("parameters", data, len(data) + MESSAGE_HEADERS, n))
            if n == first:
                packets.insert(2, Packet("session", data, rtp_bytes(len(data))))
        return Encoded(tuple(packets), fps, len(frames), "140 bytes a frame", 0.0, RETURN_KBPS)

    def decode(self, encoded: Encoded) -> Frames:
        from codec import raster
        from codec.face_model import FaceModel
        from codec.parameters import FrameParameters, ReferenceFrame
        from codec.photo import decode_photo
        from models.generator import DrivingFrame
        from models.zoo import create

        photo, identity, at, *rest = (packet.data for packet in encoded.packets)
        model = FaceModel.load()
        generator = create(self._model, model)
        who = np.frombuffer(identity, np.float32)
        reference = FrameParameters.from_vector(np.frombuffer(at, np.float32))
        generator.prepare(ReferenceFrame(0, decode_photo(photo), reference, who))
        neutral, out = model.neutral(who), []
        for data in rest:
            parameters = FrameParameters.from_vector(np.frombuffer(data, np.float32))
            vertices = model.project(model.express(neutral, parameters.expression), parameters.camera)
            out.append(
                generator.generate(DrivingFrame(parameters, vertices, raster.rasterise(vertices, model.triangles)))
            )
        return np.stack(out)


class Frozen(Codec):
    """The floor: the first frame as an AVIF photo, shown again and again."""

    rates = ("photo",)
    name = "frozen"
    folders = ("codec",)
    about = "the first frame as a photo of 7 kB, nothing after it"

    def takes(self, rate: str) -> bool:
        return rate in self.rates

    def encode(self, frames: Frames, fps: Fraction, rate: str) -> Encoded:
        from codec.photo import encode_photo

        data = encode_photo(frames[0], FROZEN_BYTES)
        return Encoded((Packet("photo", data, rtp_bytes(len(data))),), fps, len(frames), return_kbps=RTCP_RETURN_KBPS)

    def decode(self, encoded: Encoded) -> Frames:
        from codec.photo import decode_photo

        picture = decode_photo(encoded.packets[0].data)
        return np.repeat(picture[None], encoded.frames, axis=0)


def _parse(rate: str) -> tuple[str, float, str]:
    """``normal@3:auto`` -> rung, kbps of photos, motion. Raises ValueError for anything else."""
    rung, given, how = rate.partition("@")
    photos, _, motion = how.partition(":") if given else DEFAULTS.partition(":")
    kbps, motion = float(photos or 0), motion or DEFAULTS.partition(":")[2]
    if rung not in Headwire.rungs or motion not in ("off", "auto") or not 0 <= kbps <= 1000:
        raise ValueError(rate)
    return rung, kbps, motion


def _bundle(messages: Iterator[bytes]) -> int:
    """Frames of a parameter message."""
    from codec.parameter_codec import RungReader
    from codec.quantiser import Tables

    first = next(messages, None)
    if not first:
        raise UsageError("the clip shows no face long enough to send one")
    return int(Tables.load().frames[RungReader().rung(first)])


def _write(path: Path, frames: Frames, fps: Fraction) -> None:
    from receiver.sinks import open_sink

    with open_sink(str(path), fps=fps, realtime=False) as sink:
        for n, picture in enumerate(frames):
            sink.show(picture, float(n / fps))


@contextmanager
def _coded_file(encoded: Encoded) -> Iterator[tuple[Path, Path]]:
    """The Headwire file, and where its pictures may be written."""
    from codec.hwfile import Channel, HeadwireWriter, Message

    with _folder() as folder:
        source = folder / "clip.hw"
        with HeadwireWriter(source, encoded.fps) as writer:
            writer.frames = encoded.frames
            for packet in encoded.packets:
                channel = {"parameters": Channel.PARAMETERS, "motion": Channel.MOTION}.get(packet.kind)
                writer.write(Message(channel or Channel.PHOTOS, packet.data))
        yield source, folder / "frames.mkv"


def _read(path: Path) -> Frames:
    from training.dataset import frames

    return np.stack(list(frames(path)))


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="headwire-bench-") as folder:
        yield Path(folder)
