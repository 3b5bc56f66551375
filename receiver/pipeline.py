"""``headwire receive``: transport -> jitter buffer -> painter -> sinks.

The event loop talks to the sender; the painting thread (``Player``) follows the frames. No picture is ever painted on the
event loop.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codec.errors import TransportError
from codec.face_model import FaceModel
from codec.motion_track import EASE
from codec.packets import KEY_ACK, NOMINAL_FPS, frame_period_ms
from codec.photo import opens_session
from codec.quantiser import Tables
from models.backdrop import Backdrop
from models.zoo import create
from receiver.painter import FacePainter
from receiver.player import Player
from receiver.sinks import open_sink
from transport.control import Control
from transport.link import LinkSpec
from transport.peer import Handlers, PeerOptions, ReceiverPeer
from transport.peer_base import PeerBase
from transport.photos import Inbox
from transport.process import ProcessUsage, machine_id, stop_signals
from transport.signalling import Signalling, open_signalling
from transport.waiting import first

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReceiveSettings:
    """What ``headwire receive`` was asked for, in the order of its options. log: JSON lines, one for each frame shown.
    background: ``blur`` or a picture file, in place of the sender's room.
    """

    room: str
    signal: str
    token: str | None = None
    sink: str = "window"
    model: str = "auto"
    record: Path | None = None
    seconds: float | None = None
    link: str | None = None
    log: Path | None = None
    background: str | None = None


def run_receiver(settings: ReceiveSettings) -> dict[str, Any]:
    """Show the room's face until the sender ends the call, the time is over or the process is told to stop.

    Returns the call's figures. Raises UsageError for a sink or model that cannot be had, TransportError when no call
    comes about.
    """
    return asyncio.run(_Receiver(settings).run())


class _Receiver:
    def __init__(self, settings: ReceiveSettings) -> None:
        self._settings = settings
        self._link = LinkSpec.parse(settings.link) if settings.link else None
        self._model = FaceModel.load()
        self._peer: ReceiverPeer | None = None
        self._inbox = Inbox(opens_session)
        self._met_at = 0.0
        self._gone = asyncio.Event()
        self._ended = asyncio.Event()

    async def run(self) -> dict[str, Any]:
        settings, loop = self._settings, asyncio.get_running_loop()
        with ExitStack() as stack:
            generator = await asyncio.to_thread(create, settings.model, self._model, NOMINAL_FPS, True)
            backdrop = None if settings.background is None else Backdrop(settings.background)
            painter = FacePainter(generator, self._model, ease_motion=EASE, backdrop=backdrop)
            await asyncio.to_thread(painter.warm_up)
            specs = [settings.sink] + ([str(settings.record)] if settings.record else [])
            sinks = [stack.enter_context(open_sink(spec, fps=NOMINAL_FPS, audio=True)) for spec in specs]
            signalling = open_signalling(settings.signal, settings.room, "receiver", settings.token)
            stopped = stack.enter_context(stop_signals())
            self._player = Player(
                painter,
                sinks,
                settings.log,
                self._to_local,
                lambda: loop.call_soon_threadsafe(self._ended.set),
                self._acknowledge,
                lambda photo: loop.call_soon_threadsafe(self._say_photo_came, photo),
                lambda receipt: loop.call_soon_threadsafe(self._say_fields_came, receipt),
            )
            try:
                if await first(self._connect(signalling), stopped) is None:
                    return {}
                usage = ProcessUsage()
                if settings.seconds is not None:
                    loop.call_later(settings.seconds, stopped.set)
                await self._serve(signalling, stopped)
                await asyncio.to_thread(self._player.stop)
                figures = self._figures(painter, generator.name, usage)
            finally:
                if self._player.is_alive():
                    await asyncio.to_thread(self._player.stop)
                if self._peer is not None:
                    await self._peer.close()
                await signalling.close()
            if self._player.failure is not None:
                raise self._player.failure
        return figures

    async def _connect(self, signalling: Signalling) -> ReceiverPeer:
        self._gone.clear()
        handlers = Handlers(
            parameters=self._player.take_packet,
            photo=lambda data, _: self._player.take_photo(data),
            control=self._take_control,
            audio=lambda chunk: self._player.take_sound(chunk, self._epoch),
            media=lambda peer: self._begin(peer, digests),
            gone=lambda _: self._gone.set(),
        )
        digests = {"model": self._model.digest.hex(), "tables": Tables.load().digest.hex()}
        hello = {"machine": machine_id(), "motion": 1} | digests
        options = PeerOptions(link=self._link)
        peer = await ReceiverPeer.connect(signalling, hello, handlers=handlers, options=options, inbox=self._inbox)
        if not _fits(peer, digests):
            await peer.close("it has another face model; use the same version of Headwire on both ends")
            raise TransportError("the sender has another face model: use the same version of Headwire on both ends")
        return peer

    def _begin(self, peer: PeerBase, digests: dict[str, str]) -> None:
        """The sender's photo may come from now on."""
        if not isinstance(peer, ReceiverPeer) or not _fits(peer, digests):
            return
        self._peer = peer
        self._met_at = self._met_at or peer.met_at
        self._player.connected(frame_period_ms(peer.hello.get("fps")))
        if not self._player.is_alive():
            self._player.start()

    def _take_control(self, message: Control) -> None:
        if message["kind"] == "start":
            self._player.begin(message["time"])

    def _say_photo_came(self, photo: int) -> None:
        if self._peer is not None:
            self._peer.send_control({"kind": "photo", "id": photo})

    def _say_fields_came(self, receipt: bytes) -> None:
        if self._peer is not None:
            self._peer.send_receipt(receipt)

    def _acknowledge(self, slot: int, check: int) -> None:
        if self._peer is not None:
            self._peer.send_key_ack(KEY_ACK.pack(slot, check))

    async def _serve(self, signalling: Signalling, stopped: asyncio.Event) -> None:
        """Until the sender ends the call: when it only disappeared, wait for it to come back."""
        while not stopped.is_set() and not self._ended.is_set():
            await first(self._gone.wait(), stopped, self._ended)
            if not self._gone.is_set() or stopped.is_set() or self._ended.is_set():
                return
            assert self._peer is not None
            if self._peer.ended:
                return
            logger.info("sender gone: %s", self._peer.gone_reason)
            self._player.disconnected()
            await self._peer.close()
            try:
                if await first(self._connect(signalling), stopped, self._ended) is None:
                    return
            except TransportError as error:
                logger.warning("%s", error)
                if signalling.by_hand:
                    return
                self._gone.set()
                await asyncio.sleep(0.5)

    def _to_local(self, seconds: float) -> float | None:
        """The sender's time since its epoch on this machine's monotonic clock."""
        peer, epoch = self._peer, self._epoch
        if peer is None or epoch is None:
            return None
        if peer.hello.get("machine") == machine_id():
            return epoch + seconds
        return peer.clock.to_local(epoch + seconds)

    @property
    def _epoch(self) -> float | None:
        """The sender's time 0, on its own clock, as its hello has it."""
        epoch = self._peer.hello.get("epoch") if self._peer is not None else None
        return epoch if isinstance(epoch, float) else None

    def _figures(self, painter: FacePainter, model: str, usage: ProcessUsage) -> dict[str, Any]:
        assert self._peer is not None
        played, jitter = self._player.figures, self._player.jitter
        seconds = usage.seconds
        showing = max(played.last_at - played.first_at, 1e-9)
        return {
            "seconds": round(seconds, 3),
            "frames_shown": played.shown,
            "fps": round((played.shown - 1) / showing, 3) if played.shown > 1 else 0.0,
            "payload_kbps": round(played.payload_bytes * 8 / 1000 / seconds, 4),
            "audio_kbps": 0.0,
            "reference_bytes": played.photo_bytes,
            "resumed_bytes": self._inbox.resumed,
            **self._peer.wire().as_dict(),
            "first_picture_s": _after(self._met_at, played.photo_at),
            "first_frame_s": _after(self._met_at, played.first_at),
            "latency_ms": played.latency_ms(),
            "freeze_ms_max": round(1000 * played.freeze_s, 2),
            "lost": jitter.lost,
            "recovered": jitter.recovered,
            "late": jitter.late,
            "skipped": jitter.skipped,
            "early": played.early,
            "damaged": played.damaged,
            "fields": played.fields,
            "fields_dropped": played.fields_dropped,
            "av_skew_ms": played.skew_ms(),
            "stages_ms": painter.stages.medians_ms(),
            "cpu_percent": {"receiver": usage.cpu_percent},
            "rss_mb": {"receiver": usage.rss_mb},
            "model": model,
            "device": "cpu",
            "threads": 1,
        }


def _fits(peer: PeerBase, digests: dict[str, str]) -> bool:
    """Both ends hold the same face model and tables."""
    return all(peer.hello.get(name) == digest for name, digest in digests.items())


def _after(met_at: float, at: float) -> float | None:
    """Seconds from the sender's arrival to a moment that has come."""
    return round(at - met_at, 3) if at else None
