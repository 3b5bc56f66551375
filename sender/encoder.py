"""From pictures to messages: what ``send`` and ``encode`` share.

The path of a frame, top to bottom: picture -> crop and landmarks -> fit -> smoothing -> packet. Before the first packet
comes the opening: a second or two of frames from which the identity is solved and the photo is chosen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codec.errors import UsageError
from codec.face_model import FaceModel
from codec.fitting import Fitter
from codec.hwfile import Channel, Message
from codec.motion import SEQUENCES
from codec.packets import window_integers
from codec.parameter_encoder import ParameterEncoder
from codec.parameters import SIZE, Camera, Floats, FrameParameters, Picture, Region
from codec.photo import PHOTO_BUDGET, Photo, completes_picture, encode_identity, encode_photo
from codec.seen_points import SeenPoints
from codec.smoothing import Smoother
from codec.stages import Stages
from sender.closed_loop import ClosedLoop
from sender.identity import IdentityRefiner
from sender.judgement import Judgement
from sender.live_motion import LiveMotion
from sender.motion import MotionSettings
from sender.reference import best_reference
from sender.tracking import FaceTracker, Tracked
from sender.viewer import ViewersCopy


@dataclass(frozen=True)
class EncoderSettings:
    """How to open a session.

    reference: ``auto`` (the best frame of the opening), ``first`` (the first with a face), or a tracked picture.
    opening_ms: how long the opening lasts, from the first face on. every_frame: the opening's frames are sent too, once it
    is over (a file); in a call they would be stale. photo_bytes: most that a photo may take; first_photo_bytes: one that
    is sent before it over a slow link. rung: of the parameter codec (``Tables.names``). reliable: every packet arrives (a
    file), so keys count as acknowledged at once. motion: a residual motion field for every second frame; for files only.
    photos_kbps: for pictures after the first, where there is motion. silence: packets of a face that does not move are left out
    (``codec.reconstruction.LONGEST_SILENCE``).
    """

    reference: str | Tracked = "auto"
    opening_ms: int = 1000
    every_frame: bool = False
    photo_bytes: int = PHOTO_BUDGET
    first_photo_bytes: int = 2000
    rung: str = "normal"
    reliable: bool = False
    motion: bool = False
    photos_kbps: float = 0.0
    silence: bool = False


class FaceEncoder:
    """Turns pictures into messages. Not thread-safe: one thread encodes.

    ``tracked`` is the last frame as cropped; ``greeted``: receivers that were given the session's messages. What other threads
    have to say (``acknowledge``, ``new_receiver``, ``set_rung``) is heeded before the next frame.
    """

    def __init__(
        self, tracker: FaceTracker, model: FaceModel, settings: EncoderSettings, live: LiveMotion | None = None
    ) -> None:
        """live: a call's motion, which is told what is sent."""
        self.stages = Stages()
        self.tracked: Tracked | None = None
        self.greeted = 0
        self._tracker = tracker
        self._model = model
        self._settings = settings
        self._live = live
        self._opening: list[tuple[int, Tracked]] | None = []
        self._refiner = IdentityRefiner(model)
        self._smoother = Smoother()
        self._greet: bool | None = None
        self._first_photo: bytes | None = None
        self._viewer = ViewersCopy(model) if settings.motion else None
        self._judgement = None if self._viewer is None else self._judge(self._viewer)
        self._unsent: list[tuple[Picture, int]] = []
        self._looked_at = 0
        self._coder: ParameterEncoder | None = None
        self._last: FrameParameters | None = None
        self._orders: deque[Callable[[ParameterEncoder], object]] = deque()

    @property
    def opening(self) -> bool:
        """Whether the session's messages are still to come."""
        return self._opening is not None

    @property
    def newest(self) -> FrameParameters:
        """The last frame's numbers, after the opening."""
        return self._last_sent

    @property
    def frames_to_packet(self) -> tuple[int, bool]:
        """With how many more frames the next packet goes out; whether the last frame is still to be sent with it."""
        assert self._coder is not None
        coder = self._coder
        return int(coder.tables.frames[coder.rung]) - coder.again - coder.waiting, coder.waiting > 0

    @property
    def model_digest(self) -> str:
        """What the receiver compares with its own face model."""
        return self._model.digest.hex()

    def acknowledge(self, slot: int, check: int) -> None:
        """The receiver has stored a key."""
        self._orders.append(lambda coder: coder.acknowledge(slot, check))

    def new_receiver(self, slow: bool = False) -> None:
        """Another receiver has come, which holds nothing: it gets identity and photo before the next frame.

        slow: its link is; a third of the bytes bring a first photo, and the good one follows.
        """
        self._orders.append(lambda coder: self._greet_next(coder, slow))

    def reopen(self) -> None:
        """Begin again with another opening: nobody has seen anything of the one before."""
        self._opening = []
        self._refiner = IdentityRefiner(self._model)
        self._first_photo = None

    def prepare_first_photo(self) -> None:
        """Code the small photo now, not when somebody waits for it."""
        if self._first_photo is None:
            self._first_photo = encode_photo(self._photo_picture, self._settings.first_photo_bytes)

    def set_rung(self, name: str, again: int = 0) -> None:
        """Go on with other steps and bundles: a name of ``Tables.names``; again: frames that ride along a second time."""
        self._orders.append(lambda coder: coder.set_rung(name, again))

    def encode(self, picture: NDArray[np.uint8], time_ms: int) -> list[Message]:
        """One frame of the source, (H, W, 3) uint8, and its time since the session's epoch -> messages to send.

        Empty during the opening; then the session's messages and frames, then a packet whenever a bundle is full.
        """
        with self.stages.measure("landmarks"):
            tracked = self._tracker.track(picture)
        self.tracked = tracked
        if self._opening is None:
            messages = self._heed() + self._frame(tracked, time_ms)
            if self._live is not None:
                self._live.sent(messages)
            return messages
        self._opening.append((time_ms, tracked))
        if tracked.landmarks is not None:
            self._refiner.add(tracked.landmarks)
        since = next((time for time, t in self._opening if t.landmarks is not None), None)
        if since is None and not self._settings.every_frame:
            self._opening.clear()
        if since is None or time_ms - since < self._settings.opening_ms:
            return []
        messages = self._open()
        if self._live is not None:
            self._live.sent(messages)
        return messages

    def finish(self) -> list[Message]:
        """The source has ended: what an unfinished opening or bundle holds. The last bundle is filled with copies of its
        last frame. Raises UsageError if no face was ever seen."""
        messages = []
        if self._opening is not None:
            if not any(t.landmarks is not None for _, t in self._opening):
                raise UsageError(
                    "no face was found in any frame: the face must be at least about 60 pixels high and lit"
                )
            messages = self._open()
        assert self._coder is not None
        last: list[Message] = []
        while self._coder.waiting:
            last += self._code(self._last_sent, self._last_time_ms)
        return messages + last + self._look([m.data for m in last])

    def _heed(self) -> list[Message]:
        """Carry out what other threads asked for; the session's messages for a new receiver."""
        assert self._coder is not None
        while self._orders:
            self._orders.popleft()(self._coder)
        greet, self._greet = self._greet, None
        if greet is None:
            return []
        self.greeted += 1
        return self._session(slow=greet)

    def _greet_next(self, coder: ParameterEncoder, slow: bool) -> None:
        coder.forget_keys()
        if self._live is not None:
            self._live.new_receiver()
        coder.set_reference(self._photo.fit, window_integers(self._photo.parameters.window))
        self._greet = slow

    def _session(self, slow: bool = False) -> list[Message]:
        """What a receiver needs before any frame."""
        messages = [encode_identity(self._fitter.identity, self._photo.identity_version)]
        if slow:
            self.prepare_first_photo()
            assert self._first_photo is not None
            messages += replace(self._photo, coded=self._first_photo).messages()
        messages += self._photo.messages()
        return [Message(Channel.PHOTOS, data) for data in messages]

    def _open(self) -> list[Message]:
        assert self._opening is not None
        opening, self._opening = self._opening, None
        self._fitter = Fitter(self._model, identity=self._refiner.settle())
        self._photo = self._choose_photo([t for _, t in opening])
        self._last = self._last_sent = self._photo.parameters
        self._fitter.restart()
        self._coder = ParameterEncoder(self._settings.rung, points=self._seen_points(), silence=self._settings.silence)
        self._coder.set_reference(self._photo.fit, window_integers(self._photo.parameters.window))
        messages = self._heed() or self._session()
        if self._judgement is not None and self._viewer is not None:
            for message in messages:
                reference = self._viewer.add_photo_message(message.data)
                if reference is not None:
                    self._judgement.came(reference)
        for time_ms, tracked in opening if self._settings.every_frame else []:
            messages += self._frame(tracked, time_ms)
        return messages

    def _seen_points(self) -> SeenPoints:
        return SeenPoints(self._model, self._model.neutral(self._fitter.identity))

    def _refine(self, landmarks: Floats) -> list[Message]:
        """Let the identity go on improving; when that pays, the messages that bring it, and the photo's fit, up to date."""
        identity = self._refiner.add(landmarks)
        if identity is None:
            return []
        assert self._coder is not None
        self._fitter.set_identity(identity)
        self._fitter.restart()
        parameters = replace(self._fitter.fit(self._photo_landmarks).parameters, window=self._photo.parameters.window)
        self._fitter.restart()
        self._smoother.restart()
        self._photo = Photo(0, self._photo.identity_version + 1, self._photo.coded, parameters)
        self._coder.points = self._seen_points()
        messages = [encode_identity(identity, self._photo.identity_version), self._photo.refit()]
        return [Message(Channel.PHOTOS, data) for data in messages]

    def _choose_photo(self, opening: list[Tracked]) -> Photo:
        chosen = self._settings.reference
        if isinstance(chosen, str):
            seen = [t for t in opening if t.landmarks is not None]
            landmarks = [t.landmarks for t in seen if t.landmarks is not None]
            fits = [self._fitter.fit(x).parameters for x in landmarks]
            best = 0 if chosen == "first" else best_reference([t.picture for t in seen], landmarks, fits)
            chosen = seen[best]
        assert chosen.landmarks is not None
        self._photo_landmarks, self._photo_picture = chosen.landmarks, chosen.picture
        self._fitter.restart()
        parameters = replace(self._fitter.fit(chosen.landmarks).parameters, window=chosen.window)
        return Photo(0, 0, encode_photo(chosen.picture, self._settings.photo_bytes), parameters)

    def _frame(self, tracked: Tracked, time_ms: int) -> list[Message]:
        messages = []
        with self.stages.measure("fit"):
            if tracked.landmarks is not None and not self._settings.every_frame:
                messages = self._refine(tracked.landmarks)
            parameters = self._smoother.smooth(self._fit(tracked))
        if self._judgement is not None:
            self._unsent.append((tracked.picture, time_ms))
        with self.stages.measure("encode"):
            messages += self._code(parameters, time_ms)
        with self.stages.measure("motion"):
            return messages + self._look([m.data for m in messages if m.channel is Channel.PARAMETERS])

    def _look(self, packets: list[bytes]) -> list[Message]:
        """Compare what the viewer now paints with what the camera saw, and send the rest of the motion."""
        if self._judgement is None or self._viewer is None:
            return []
        messages = []
        for packet in packets:
            for parameters, (picture, time_ms) in zip(self._viewer.push(packet), self._unsent, strict=False):
                number, self._looked_at = self._looked_at, self._looked_at + 1
                if parameters.confidence == 0:
                    continue
                messages += self._compare(self._judgement, self._viewer, parameters, picture, number, time_ms / 1000)
        if packets:
            self._unsent.clear()
        return messages

    def _judge(self, viewer: ViewersCopy) -> Judgement:
        return Judgement(ClosedLoop(MotionSettings(reliable=True)), viewer.memory, self._settings.photos_kbps)

    def _compare(
        self,
        judgement: Judgement,
        viewer: ViewersCopy,
        parameters: FrameParameters,
        picture: Picture,
        number: int,
        time_s: float,
    ) -> list[Message]:
        """What one frame of the viewer's needs: a field, and perhaps another picture for the memory."""
        if number % judgement.loop.encoder.settings.every:
            return []
        frame, sequence = viewer.memory.driving(parameters), number % SEQUENCES
        look = judgement.look(picture, frame, sequence, time_s, self._photo.identity_version)
        data = look.report.data
        for message in look.news:
            reference = viewer.add_photo_message(message)
            if reference is not None and completes_picture(message):
                judgement.came(reference)
                if reference.region is Region.WHOLE:
                    data = judgement.field(picture, frame, sequence).data
        messages = [Message(Channel.PHOTOS, news) for news in look.news]
        return messages if data is None else [*messages, Message(Channel.MOTION, bytes((number % 256,)) + data)]

    def _code(self, parameters: FrameParameters, time_ms: int) -> list[Message]:
        assert self._coder is not None
        self._last_sent, self._last_time_ms = parameters, time_ms
        window = window_integers(parameters.window)
        data = self._coder.encode(parameters.vector(), parameters.confidence, window)
        if self._settings.reliable:
            self._coder.acknowledge_all()
        return [] if data is None else [Message(Channel.PARAMETERS, data, time_ms)]

    def _fit(self, tracked: Tracked) -> FrameParameters:
        assert self._last is not None
        if tracked.landmarks is not None:
            result = self._fitter.fit(tracked.landmarks)
            if not result.lost:
                self._last = replace(result.parameters, window=tracked.window)
                return self._last
        return replace(self._last, confidence=0.0)


def warm_up(model: FaceModel) -> None:
    """Fit and encode a face that is none, so that code is compiled (for seconds, the first time ever) before a call begins."""
    middle = np.array([SIZE / 2, SIZE / 2, 0], np.float32)
    landmarks = model.project(model.mean, Camera(SIZE / 3.5, np.zeros(3, np.float32), middle))
    refiner = IdentityRefiner(model)
    for turn in range(4):
        refiner.add(landmarks + np.float32(turn))
    fitter, smoother = Fitter(model, identity=refiner.settle()), Smoother()
    coder = ParameterEncoder("low", points=SeenPoints(model, model.neutral(fitter.identity)))
    for turn in range(6):
        parameters = smoother.smooth(fitter.fit(landmarks + np.float32(turn)).parameters)
        coder.encode(parameters.vector(), parameters.confidence)
    Photo(0, 0, b"", parameters).messages()


def picture_reference(path: Path) -> Tracked:
    """A photo of the user's as the reference. Raises UsageError if it is no picture or shows no face."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            picture: Picture = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UsageError(f"cannot read the photo {path}: give a JPEG, PNG or WebP picture") from error
    with FaceTracker("auto") as tracker:
        tracked = tracker.track(picture)
    if tracked.landmarks is None:
        raise UsageError(f"no face was found in the photo {path}: give a frontal one")
    return tracked
