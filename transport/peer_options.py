"""What a user of a peer decides: whom it tells what arrives, and how it connects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from transport import control
from transport.carriers import CARRIERS
from transport.connection import IceOptions
from transport.feedback import LinkState
from transport.keepalive import KeepaliveOptions
from transport.link import LinkSpec
from transport.signalling import PROTOCOL_VERSION
from transport.voice_receiver import AudioChunk

if TYPE_CHECKING:
    from transport.peer_base import PeerBase


def _ignore(*_: Any) -> None:
    """Takes what nobody asked for."""


@dataclass(frozen=True)
class Handlers:
    """What is called, on the event loop, with what arrives. arrival: monotonic time, s. Each must return at once.

    parameters(data, arrival), photo(data, arrival): messages, in order of arrival. control(message): a checked control
    message of the kinds that are not the transport's own. audio(chunk): decoded voice, in order. key_ack(data): what the
    receiver gave to ``send_key_ack``, perhaps twice. link(state): how the way to the receiver is, about once a second.
    media(peer): what is sent from now on arrives, once, before ``connect`` returns: the ``opus`` carrier needs no channel, so that
    photos leave two round trips before the channels are open.
    gone(reason): the peer is gone, once, with a sentence.
    """

    parameters: Callable[[bytes, float], None] = _ignore
    photo: Callable[[bytes, float], None] = _ignore
    control: Callable[[control.Control], None] = _ignore
    audio: Callable[[AudioChunk], None] = _ignore
    key_ack: Callable[[bytes], None] = _ignore
    link: Callable[[LinkState], None] = _ignore
    media: Callable[[PeerBase], None] = _ignore
    gone: Callable[[str], None] = _ignore


@dataclass(frozen=True)
class PeerOptions:
    """link: spoils what this end sends; None for the network as it is. setup_seconds: from the peer's arrival to open
    channels. photo_flight: bytes of photos that may wait when ``send_photo_message`` returns. carriers: what this end
    offers, best first; the data channel is always there. short_tag: 4 bytes of authentication on RTP packets, not 10.
    version: of the protocol; other than ours only in tests.
    """

    ice: IceOptions = field(default_factory=IceOptions)
    link: LinkSpec | None = None
    keepalive: KeepaliveOptions = field(default_factory=KeepaliveOptions)
    setup_seconds: float = 20.0
    photo_flight: int = 1200
    carriers: tuple[str, ...] = CARRIERS
    short_tag: bool = True
    version: int = PROTOCOL_VERSION
