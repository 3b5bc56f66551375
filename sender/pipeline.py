"""``headwire send``: camera or file -> encoder -> transport.

Two threads: one captures and encodes (``FaceEncoder``), the event loop sends: the photo first, and frames as soon as the
receiver says that it has the photo. A receiver that joins late, or comes back,
first gets the session's messages again; frames that nobody can receive are encoded and dropped, so that the encoder's
state goes on.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from codec.errors import TransportError
from codec.face_model import FaceModel
from codec.hwfile import Channel, Message
from codec.motion_ack import SIZE as RECEIPT
from codec.packets import KEY_ACK, frame_period_ms, stamped, with_motion
from codec.quantiser import Tables
from codec.redundancy import FELT, Protection
from receiver.sinks import Sink, open_sink
from sender.capture import Source, has_sound, open_source
from sender.curtain import photo_with_background, with_background
from sender.encoder import EncoderSettings, FaceEncoder, picture_reference, warm_up
from sender.live_motion import LiveMotion
from sender.photo_queue import PhotoQueue
from sender.tracking import FaceTracker
from transport.audio import FileAudioTrack, MicrophoneTrack, VoiceOptions, VoiceTrack
from transport.control import Control
from transport.face_rate import FaceRate
from transport.feedback import LinkState
from transport.link import LinkSpec
from transport.peer import Handlers, PeerOptions, SenderPeer
from transport.peer_base import PeerBase
from transport.process import ProcessUsage, machine_id, stop_signals
from transport.rate_control import FIELDS, LADDERS, with_field
from transport.signalling import Signalling, open_signalling
from transport.waiting import first

logger = logging.getLogger(__name__)

MAX_FPS = 25.0

BESIDE_PHOTO = 0.25
"""What is left of the motion field's rate while a photo travels."""

LOSSY_SHARE = 0.75
"""The same where frames ride along twice because packets get lost."""

SLOW_SETUP_S = 0.5
"""A set-up that takes longer (it is 1 kB each way) speaks of a link on which the photo takes seconds."""

VOICES = {"normal": VoiceOptions(20_000, 40), "low": VoiceOptions(16_000, 80), "lowest": VoiceOptions(12_000, 120)}
"""The voice by the rate that was asked for: the face rides in its packets, so they are as long as the face can wait."""

PREPARED_S = 4.0
"""What of a file is looked at, at most, before anybody has come."""

PHOTO_AGE_S = 20.0
"""How old the photo may become while a camera waits for somebody to come."""


@dataclass(frozen=True)
class SendSettings:
    """What ``headwire send`` was asked for, in the order of its options.

    signal: URL of the signalling server or ``paste``. camera or play: the source. reference: ``auto``, ``first`` or a
    picture file. rate: the rung to begin with, and the dearest that is used: a narrow link is given cheaper ones.
    record: keep the coded pictures there. log: JSON lines, what the closed loop
    thinks of the frames. loop: play the file again when it ends. start: skip so many seconds of it. background: ``blur`` or a
    picture file, in place of the room.
    """

    room: str
    signal: str
    token: str | None = None
    camera: str | None = None
    play: Path | None = None
    microphone: str | None = None
    audio: bool = True
    reference: str = "auto"
    crop: str = "auto"
    seconds: float | None = None
    rate: str = "normal"
    photos_kbps: float = 0.0
    motion: str = "off"
    link: str | None = None
    record: Path | None = None
    loop: bool = False
    start: float = 0.0
    log: Path | None = None
    background: str | None = None


def run_sender(settings: SendSettings) -> dict[str, Any]:
    """Send until the source ends, the time is over or the process is told to stop. Returns the call's figures.

    Raises UsageError for what cannot be opened, TransportError when no call comes about.
    """
    return asyncio.run(_Sender(settings).run())


class _Sender:
    def __init__(self, settings: SendSettings) -> None:
        self._settings = settings
        self._link = LinkSpec.parse(settings.link) if settings.link else None
        self._epoch = time.monotonic()
        self._peer: SenderPeer | None = None
        self._voice: VoiceTrack | None = None
        self._motion: LiveMotion | None = None
        self._video_began: float | None = None
        self._photos = PhotoQueue(self._set_field_rate)
        self._ended = asyncio.Event()
        self._called = threading.Event()
        self._stopping = False
        self._failure: Exception | None = None
        self._rate: FaceRate | None = None
        self._rungs_used: list[str] = []
        self._gone = asyncio.Event()
        self._captured = self._sent = self._payload_bytes = self._motion_bytes = 0

    async def run(self) -> dict[str, Any]:
        self._loop = asyncio.get_running_loop()
        settings = self._settings
        with ExitStack() as stack:
            source, encoder, recorder = await asyncio.to_thread(self._open, stack)
            signalling = open_signalling(settings.signal, settings.room, "sender", settings.token)
            stopped = stack.enter_context(stop_signals())
            self._encoder = encoder
            self._hello = {
                "epoch": self._epoch,
                "machine": machine_id(),
                "fps": source.fps,
                "model": encoder.model_digest,
                "tables": Tables.load().digest.hex(),
            }
            thread = threading.Thread(target=self._frames, args=(source, encoder, recorder), name="frames")
            thread.start()
            photos = asyncio.create_task(self._photos.run())
            figures: dict[str, Any] = {}
            try:
                if await first(self._connect(signalling), stopped, self._ended) is not None:
                    usage = ProcessUsage()
                    try:
                        await self._serve(signalling, encoder, stopped)
                    finally:
                        await self._stop(source, thread)
                        figures = self._figures(encoder, usage)
            finally:
                await self._stop(source, thread)
                photos.cancel()
                if self._peer is not None:
                    await self._peer.close()
                await signalling.close()
        if self._failure is not None:
            raise self._failure
        return figures

    async def _stop(self, source: Source, thread: threading.Thread) -> None:
        """End the frames. Idempotent."""
        self._stopping = True
        self._called.set()
        source.close()
        await asyncio.to_thread(thread.join)

    def _open(self, stack: ExitStack) -> tuple[Source, FaceEncoder, Sink | None]:
        settings = self._settings
        reference = settings.reference
        chosen = reference if reference in ("auto", "first") else picture_reference(Path(reference))
        source = stack.enter_context(
            open_source(
                settings.play,
                settings.camera,
                loop=settings.loop,
                seconds=settings.seconds,
                start=settings.start,
                max_fps=MAX_FPS,
            )
        )
        tracker = with_background(stack.enter_context(FaceTracker(settings.crop)), settings.background)
        if not isinstance(chosen, str):
            chosen = photo_with_background(chosen, settings.background)
        warm_up(FaceModel.load())
        if settings.motion == "auto":
            period_ms = frame_period_ms(source.fps)
            self._motion = LiveMotion(
                FaceModel.load(), period_ms, FIELDS[settings.rate][0], settings.log, photos_kbps=settings.photos_kbps
            )
            stack.callback(self._motion.close)
        encoder = FaceEncoder(
            tracker, FaceModel.load(), EncoderSettings(chosen, rung=settings.rate, silence=True), self._motion
        )
        recorder = None
        if settings.record is not None:
            rate = Fraction(source.fps).limit_denominator(1000)
            recorder = stack.enter_context(open_sink(str(settings.record), fps=rate, realtime=True))
        return source, encoder, recorder

    async def _connect(self, signalling: Signalling) -> SenderPeer:
        self._gone.clear()
        self._viewer_ready = self._started = False
        handlers = Handlers(
            key_ack=self._take_key_ack,
            control=self._take_control,
            link=self._take_link,
            media=self._begin_call,
            gone=lambda _: self._gone.set(),
        )
        options = PeerOptions(link=self._link)
        self._voice = self._open_voice()
        return await SenderPeer.connect(
            signalling, self._hello, handlers=handlers, options=options, audio_track=self._voice
        )

    def _begin_call(self, peer: PeerBase) -> None:
        """A receiver has come, and what is sent arrives: the photo, from the next frame on."""
        assert isinstance(peer, SenderPeer)
        self._peer = peer
        self._photos.connected(peer)
        if self._motion is not None:
            self._motion.enabled = peer.hello.get("motion") == 1
        voice = self._voice.options.bit_rate / 1000 if self._voice else 0.0
        ladder = [rung for rung in LADDERS[peer.carrier] if rung.frame_rate == MAX_FPS]
        if self._motion is not None and self._motion.enabled:
            ladder = with_field(ladder)
        first = next(i for i, rung in enumerate(ladder) if rung.name == self._settings.rate)
        self._rate = FaceRate(ladder[first:], voice_kbps=voice, echoes=peer.joins_messages)
        self._rungs_used = [self._settings.rate]
        self._protection = self._rate.choice
        self._encoder.set_rung(self._settings.rate)
        self._set_field_rate()
        self._called.set()
        self._encoder.new_receiver(slow=peer.media_seconds > SLOW_SETUP_S)
        if self._video_began is not None:
            self._begin_voice(self._video_began)

    def _take_link(self, state: LinkState) -> None:
        """How the link is, about once a second: another rung, perhaps, and frames that ride along twice where it loses."""
        if self._rate is None:
            return
        logger.debug("link: %s", state)
        self._protect(self._rate.update(state))
        self._set_field_rate()

    def _protect(self, protection: Protection) -> None:
        if protection != self._protection:
            self._protection = protection
            self._rungs_used.append(protection.rung)
            self._encoder.set_rung(protection.rung, protection.again)

    def _set_field_rate(self) -> None:
        """The field gives way to a photo, and takes less where packets get lost: each then counts for less."""
        if self._motion is None or self._rate is None:
            return
        loss, control = self._rate.loss, self._rate.controller
        kbps = control.rungs[control.rung].field_kbps
        kbps *= BESIDE_PHOTO if self._photos.travels else 1.0
        self._motion.set_rate(kbps * (LOSSY_SHARE if loss > FELT else 1.0), loss)

    def _take_control(self, message: Control) -> None:
        if message["kind"] == "photo":
            self._viewer_ready = True
            if self._motion is not None:
                self._motion.photo_acknowledged(message["id"])

    def _take_key_ack(self, data: bytes) -> None:
        """What the receiver has stored: a key of the parameters, or motion fields."""
        if len(data) == KEY_ACK.size:
            self._encoder.acknowledge(*KEY_ACK.unpack(data))
        elif len(data) == RECEIPT and self._motion is not None:
            self._motion.acknowledge(data)

    def _open_voice(self) -> VoiceTrack | None:
        """The microphone, or the sound of the file that is played, where it has one."""
        settings = self._settings
        if not settings.audio:
            return None
        if settings.play is None or settings.microphone is not None:
            return MicrophoneTrack(settings.microphone, VOICES[settings.rate])
        return FileAudioTrack(settings.play, VOICES[settings.rate]) if has_sound(settings.play) else None

    def _begin_voice(self, video_began: float) -> None:
        """video_began: monotonic time of the file's time stamp 0."""
        self._video_began = video_began
        if isinstance(self._voice, FileAudioTrack):
            self._voice.begin(video_began)

    async def _serve(self, signalling: Signalling, encoder: FaceEncoder, stopped: asyncio.Event) -> None:
        """Until the source ends: keep a receiver connected, and give a new one what it needs."""
        while not self._ended.is_set() and not stopped.is_set():
            await first(self._gone.wait(), stopped, self._ended)
            if not self._gone.is_set() or self._ended.is_set() or stopped.is_set():
                return
            assert self._peer is not None
            logger.info("receiver gone: %s", self._peer.gone_reason)
            await self._peer.close()
            self._photos.disconnected()
            try:
                if await first(self._connect(signalling), stopped, self._ended) is None:
                    return
            except TransportError as error:
                logger.warning("%s", error)
                self._gone.set()
                await asyncio.sleep(0.5)
                continue

    def _frames(self, source: Source, encoder: FaceEncoder, recorder: Sink | None) -> None:
        """The frame's path, in its own thread: captured -> encoder -> messages -> the loop."""
        try:
            self._prepare(source, encoder)
            for frame in source if not self._stopping else ():
                time_ms = round(1000 * (frame.captured_at - self._epoch))
                if self._video_began is None:
                    began = frame.captured_at - frame.time_s - self._settings.start
                    self._loop.call_soon_threadsafe(self._begin_voice, began)
                messages = encoder.encode(frame.picture, time_ms)
                self._captured = frame.index + 1
                if messages:
                    self._loop.call_soon_threadsafe(self._post, messages)
                if self._motion is not None and encoder.tracked is not None and not encoder.opening:
                    left, waiting = encoder.frames_to_packet
                    if left == 1:  # so that its field rides with the next packet
                        unsent = encoder.newest if waiting else None
                        self._motion.frame(encoder.tracked.picture, time_ms, encoder.newest.confidence > 0, unsent)
                if recorder is not None and encoder.tracked is not None and not encoder.opening:
                    recorder.show(encoder.tracked.picture, time_ms / 1000)
            if not self._stopping or not encoder.opening:
                self._loop.call_soon_threadsafe(self._post, encoder.finish())
        except Exception as error:  # noqa: BLE001 - handed to the event loop, which raises it
            self._failure = error
        finally:
            self._loop.call_soon_threadsafe(self._ended.set)

    def _prepare(self, source: Source, encoder: FaceEncoder) -> None:
        """The opening while nobody is there: identity and photo are ready when a receiver comes, and not old.

        Of a file its first second, as fast as it can be read; of a camera what it sees, again and again.
        """
        play, start = self._settings.play, self._settings.start
        if play is not None:
            with open_source(
                play, None, realtime=False, start=start, seconds=PREPARED_S, max_fps=MAX_FPS
            ) as first_second:
                self._look(first_second, encoder)
            self._called.wait()
            return
        while not self._called.is_set():
            self._look(source, encoder)
            if not encoder.opening and not self._called.wait(PHOTO_AGE_S):
                encoder.reopen()

    def _look(self, source: Source, encoder: FaceEncoder) -> None:
        for frame in source:
            live = frame.captured_at - self._epoch
            time_ms = round(1000 * (frame.time_s if self._settings.play is not None else live))
            before = encoder.greeted
            messages = encoder.encode(frame.picture, time_ms)
            if not encoder.opening:
                encoder.prepare_first_photo()
            if encoder.greeted > before:
                self._loop.call_soon_threadsafe(self._post, messages)
            if self._stopping or self._called.is_set() or not encoder.opening:
                return

    def _post(self, messages: list[Message]) -> None:
        peer = self._peer
        if peer is None or not peer.alive:
            return
        if self._rate is not None:
            self._protect(self._rate.beside_photo(peer.photo_travels or self._photos.travels, time.monotonic()))
        for data in self._motion.take_news() if self._motion is not None else []:
            self._photos.put(data)
        for message in messages:
            if message.channel is Channel.PHOTOS:
                self._photos.put(message.data)
            elif self._viewer_ready:
                if not self._started:
                    self._started = True
                    self._photos.face_moves()
                    peer.send_control({"kind": "start", "time": message.time_ms / 1000})
                riding = self._motion.take(message.time_ms) if self._motion is not None else []
                body = with_motion(riding, message.data)
                sent = peer.send_parameters(stamped(message.time_ms, body), self._protection.echo)
                self._sent += 1
                self._payload_bytes += sent - 1
                self._motion_bytes += len(body) - len(message.data)

    def _figures(self, encoder: FaceEncoder, usage: ProcessUsage) -> dict[str, Any]:
        assert self._peer is not None
        seconds = usage.seconds
        return {
            "seconds": round(seconds, 3),
            "frames_captured": self._captured,
            "frames_sent": self._sent,
            "fps": round(self._sent / seconds, 3),
            "payload_kbps": round(self._payload_bytes * 8 / 1000 / seconds, 4),
            "motion_kbps": round(self._motion_bytes * 8 / 1000 / seconds, 4),
            "audio_kbps": round(self._voice.payload_bytes * 8 / 1000 / seconds, 4) if self._voice else 0.0,
            "reference_bytes": self._photos.sent_bytes,
            **self._peer.wire().as_dict(),
            "stages_ms": encoder.stages.medians_ms() | (self._motion.medians_ms() if self._motion is not None else {}),
            "cpu_percent": {"sender": usage.cpu_percent},
            "rss_mb": {"sender": usage.rss_mb},
            "carrier": self._peer.carrier,
            "rungs": self._rungs_used,
            "setup_seconds": round(self._peer.setup_seconds, 3),
        }
