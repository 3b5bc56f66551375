"""One WebRTC connection, trimmed: IPv4 host candidates, one bundled transport, agreed channels, short descriptions.

What is trimmed, and why it is allowed (see also ``rtp_tuning``, ``sctp_tuning`` and ``consent``): candidates of other
machines' servers are gathered only when servers are given; the data channels are negotiated out of band (RFC 8832
section 5: fixed ids, no open messages); offers leave out codecs and RTP header extensions that a call does not use
(each is 4 to 8 bytes of every packet).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
)
from aiortc.exceptions import InvalidStateError

from codec.errors import BitstreamError, TransportError
from transport.carriers import CarrierTrack
from transport.certificate import short_certificate
from transport.consent import Consent
from transport.datagrams import keep_drained
from transport.feedback import LinkState
from transport.metering import IP_UDP_HEADER, Meter
from transport.rtp_tuning import SDP_LINES, RtpTuning
from transport.sctp_tuning import SctpTuning
from transport.signalling import Description

logger = logging.getLogger(__name__)

CONTROL_ID, PHOTOS_ID, PARAMETERS_ID = 0, 1, 2

# "a=end-of-candidates" as well: without it ICE keeps trying until we give up, however long a paste takes.
_LEFT_OUT = (
    "a=end-of-candidates",
    "a=extmap:",
    "a=rtcp:",
    "a=fingerprint:sha-384",
    "a=fingerprint:sha-512",
    "a=msid-semantic",
)


@dataclass(frozen=True)
class IceOptions:
    """servers: STUN and TURN urls (``turn:user:password@host:port`` carries its credentials); none unless given.

    addresses: local IPv4 addresses to be reached at; None: all of them, or loopback on a machine without a network.
    """

    servers: tuple[str, ...] = ()
    addresses: tuple[str, ...] | None = None


class Connection:
    """The peer connection with its three channels: ``control``, ``photos`` and ``parameters``."""

    control: RTCDataChannel
    photos: RTCDataChannel
    parameters: RTCDataChannel
    rtp: RtpTuning

    def __init__(self, ice: IceOptions, meter: Meter, short_tag: bool = True) -> None:
        self._short_tag = short_tag
        servers = [_ice_server(url) for url in ice.servers]
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=servers, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self.pc._RTCPeerConnection__certificates = [short_certificate()]  # type: ignore[attr-defined]
        self._ice = ice
        self._meter = meter
        self._open = asyncio.Event()
        self._tuning: SctpTuning | None = None
        self._failure: TransportError | None = None
        self.on_audio: Callable[[RTCRtpReceiver], None] = lambda receiver: None
        self.on_first_audio: Callable[[int, float], None] = lambda timestamp, spoken: None
        self.on_rtp_sent: Callable[[int, int], None] = lambda sequence, size: None
        self.on_media: Callable[[], None] = lambda: None
        self._first_told = False

    async def offer(self, audio: MediaStreamTrack | None) -> str:
        """The sender's session description, with a voice track if there is one."""
        if audio is not None:
            self.pc.addTransceiver(audio, direction="sendonly")
        self._create_channels()
        if isinstance(audio, CarrierTrack):
            self._watch_first_packet(audio)
        return await self._describe()

    async def answer(self, offer: Description) -> str:
        """The receiver's session description. Raises BitstreamError for an offer that is none."""
        await self._take(offer)
        for receiver in self.pc.getReceivers():
            self.on_audio(receiver)
        self._create_channels()
        return await self._describe()

    async def accept(self, answer: Description) -> None:
        """Take the receiver's answer. Raises BitstreamError for an answer that is none."""
        await self._take(answer)

    async def opened(self) -> None:
        """Return when all channels are open. Raises TransportError when the connection failed."""
        await self._open.wait()
        if self._failure is not None:
            raise self._failure
        if self.parameters.readyState != "open":
            raise TransportError(
                "no connection to the other side: its addresses cannot be reached from here; "
                "a firewall may be in between, or a TURN server is needed"
            )

    def abandon(self, failure: TransportError) -> None:
        """Let ``opened`` raise this."""
        self._failure = failure
        self._open.set()

    def watch_link(self, on_state: Callable[[LinkState], None]) -> None:
        """Be told what SCTP's acknowledgements say of the link that the parameters channel uses."""
        assert self._tuning is not None
        self._tuning.link.on_state = on_state

    async def close(self) -> None:
        if self._tuning is not None:
            self._tuning.cancel()
        await self.pc.close()

    def _create_channels(self) -> None:
        make = self.pc.createDataChannel
        self.control = make("control", negotiated=True, id=CONTROL_ID)
        self.photos = make("photos", negotiated=True, id=PHOTOS_ID)
        self.parameters = make("parameters", negotiated=True, id=PARAMETERS_ID, ordered=False, maxRetransmits=0)
        for event in ("open", "close"):
            self.parameters.on(event, self._open.set)
        self.pc.on("connectionstatechange", self._state_changed)
        self._trim()

    def _watch_first_packet(self, track: CarrierTrack) -> None:
        """Learn which RTP time stamp the track's first packet gets: aiortc adds a random number and keeps it."""

        def sent(sequence: int, timestamp: int, size: int) -> None:
            if track.first_time is not None and not self._first_told:
                self._first_told = True
                self.on_first_audio(timestamp, track.first_time)
            self.on_rtp_sent(sequence, size + IP_UDP_HEADER)

        self.rtp.on_sent = sent

    def _state_changed(self) -> None:
        logger.debug("connection %s", self.pc.connectionState)
        if self.pc.connectionState in ("failed", "closed"):
            self._open.set()

    def _trim(self) -> None:
        sctp = self.pc.sctp
        assert sctp is not None
        dtls = sctp.transport
        dtls.on("statechange", lambda: self.on_media() if dtls.state == "connected" else None)
        keep_drained(dtls)
        self._tuning = SctpTuning(sctp, lazy_stream=PARAMETERS_ID)
        self.rtp = RtpTuning(sctp.transport, self._short_tag)
        agent = sctp.transport.transport.iceGatherer._connection
        agent.query_consent = Consent(agent).run  # type: ignore[method-assign]
        agent._use_ipv6 = False
        gather = agent.get_component_candidates
        chosen = self._ice.addresses

        async def gather_chosen(component: int, addresses: list[str], timeout: int = 5) -> object:
            return await gather(component, list(chosen or addresses or ["127.0.0.1"]), timeout)

        agent.get_component_candidates = gather_chosen  # type: ignore[method-assign,assignment]

    async def _describe(self) -> str:
        with self._meter.attach():
            await self.pc.setLocalDescription()
        description = self.pc.localDescription
        if "a=candidate" not in description.sdp:
            raise TransportError("no network address of this machine could be used for the call")
        return shorten(description.sdp)

    async def _take(self, description: Description) -> None:
        try:
            await self.pc.setRemoteDescription(RTCSessionDescription(sdp=description.sdp, type=description.kind))
        except (ValueError, LookupError, TypeError, AttributeError, AssertionError, InvalidStateError) as error:
            raise BitstreamError("the other side's session description cannot be understood") from error


def shorten(sdp: str) -> str:
    """Leave out what a Headwire call does not use: other codecs than Opus, header extensions, further fingerprints."""
    lines = sdp.splitlines()
    opus = next(
        (
            line.split(":")[1].split()[0]
            for line in lines
            if line.lower().startswith("a=rtpmap:") and "opus" in line.lower()
        ),
        None,
    )
    kept: list[str] = []
    in_audio = False
    for line in lines:
        if line.startswith("m="):
            in_audio = line.startswith("m=audio")
        if line.startswith("m=audio") and opus is not None:
            line = " ".join([*line.split()[:3], opus])
        codec = line.startswith(("a=rtpmap:", "a=fmtp:", "a=rtcp-fb:")) and line.split(":")[1].split()[0] != opus
        if not (codec or line.startswith(_LEFT_OUT)):
            kept.append(line)
        if in_audio and line.startswith("c="):
            kept += SDP_LINES
    return "\r\n".join(kept) + "\r\n"


def _ice_server(url: str) -> RTCIceServer:
    scheme, _, rest = url.partition(":")
    credentials, at, host = rest.rpartition("@")
    if not at:
        return RTCIceServer(urls=url)
    user, _, password = credentials.partition(":")
    return RTCIceServer(urls=f"{scheme}:{host}", username=user, credential=password)


def unacknowledged(channel: RTCDataChannel) -> int:
    """Messages (in chunks) of this channel that wait or are under way."""
    sctp = channel.transport
    waiting = sum(chunk.stream_id == channel.id for chunk in (*sctp._outbound_queue, *sctp._sent_queue))
    return waiting + sum(item[0] is channel for item in sctp._data_channel_queue)


def in_flight(channels: Sequence[RTCDataChannel]) -> int:
    """Bytes of these channels' association that were handed over and not acknowledged yet."""
    sctp = channels[0].transport
    queued = sum(len(chunk.user_data) for chunk in sctp._outbound_queue)
    return sctp._flight_size + queued + sum(channel.bufferedAmount for channel in channels)
