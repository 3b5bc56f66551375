"""What the receiver tells the sender about the link, and what the sender makes of it: loss, queueing, what gets through.

A report is the body of an RTCP application layer feedback message (RFC 4585 section 6.4): about one a second, never
repeated, so it costs half a kilobit per second and no acknowledgement. Acknowledgements of keys and photos ride in it.
Both halves are pure: time is an argument, in seconds of the own monotonic clock.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from dataclasses import dataclass

from codec.errors import BitstreamError

CALM = 1.25
"""Seconds between two reports of a link on which nothing happens, and between two acknowledgements of keys."""

HURRY = 0.25
"""The same while the first photos travel or a queue builds up."""

LATER = 0.8
"""The same while a later photo travels: nobody waits for it."""

STARTLED_AFTER = 5.0
"""Seconds without a gap among the packets, after which the first one is reported in a hurry: until then the sender may have used
packets that forgive no loss (``codec.redundancy.SPOTLESS``)."""

OVERTAKEN = 0.03
"""Seconds for which a gap may be a packet that was overtaken."""

FIRST_BLOCKS = 320
"""Blocks of photos that are waited for: a small photo and the better one."""

NOTICED = 0.06
"""Seconds of queueing from which on a report does not wait."""

MAX_KEYS = 4
MAX_KEY = 8
MAX_BITMAP = 16
_SIGN = 0x48
_HEAD = struct.Struct(">BBHHHHBH")
_WINDOW = 20.0
_LONGER = 24
"""Bytes that a packet must be longer than others for its delay to say something about the link."""

_TICK = 0.002
_OVERHEAD = 28 + 12 + 4
"""Bytes of a packet besides RTP's payload: IPv4, UDP, RTP, SRTP's tag."""


@dataclass(frozen=True)
class Report:
    """newest: RTP sequence number. arrival: of the newest, ms of the receiver's clock modulo 2^16. packets, octets
    (of RTP payload): received since the call began, modulo 2^16. least: the packet, counted back from the newest, that
    was delayed least since the report before; least_arrival: its arrival. photo: the first missing block and a bitmap of the
    blocks after it, most significant bit first. keys: acknowledgements."""

    newest: int
    arrival: int
    packets: int
    octets: int
    least: int
    least_arrival: int
    photo: tuple[int, bytes] | None = None
    keys: tuple[bytes, ...] = ()

    def pack(self) -> bytes:
        """A multiple of 4 bytes."""
        out = _HEAD.pack(
            _SIGN,
            (self.photo is not None) << 7 | len(self.keys),
            self.newest,
            self.arrival,
            self.packets,
            self.octets,
            self.least,
            self.least_arrival,
        )
        if self.photo is not None:
            first, bitmap = self.photo
            out += struct.pack(">HB", first, len(bitmap)) + bitmap
        out += b"".join(bytes([len(key)]) + key for key in self.keys)
        return out + bytes(-len(out) % 4)

    @staticmethod
    def parse(data: bytes) -> Report:
        """Raises BitstreamError for bytes that are no report."""
        if len(data) < _HEAD.size or data[0] != _SIGN:
            raise BitstreamError("feedback that is not Headwire's")
        _, flags, newest, arrival, packets, octets, least, least_arrival = _HEAD.unpack_from(data)
        at = _HEAD.size
        photo = None
        try:
            if flags & 128:
                first, size = struct.unpack_from(">HB", data, at)
                at += 3 + size
                if at > len(data) or size > MAX_BITMAP:
                    raise BitstreamError("feedback that ends in its bitmap")
                photo = first, bytes(data[at - size : at])
            keys = []
            for _ in range(flags & 127):
                size = data[at]
                at += 1 + size
                if at > len(data) or size > MAX_KEY:
                    raise BitstreamError("feedback that ends in a key")
                keys.append(bytes(data[at - size : at]))
        except (struct.error, IndexError) as error:
            raise BitstreamError("feedback that ends too early") from error
        return Report(newest, arrival, packets, octets, least, least_arrival, photo, tuple(keys))


class Least:
    """The smallest of the values of the last ``_WINDOW`` to twice that many seconds: what a delay is without a queue."""

    def __init__(self) -> None:
        self._old = self._new = float("inf")
        self._since = float("-inf")

    def add(self, value: float, now: float) -> float:
        if now - self._since > _WINDOW:
            self._old, self._new, self._since = self._new, value, now
        self._new = min(self._new, value)
        return min(self._old, self._new)


class Reporter:
    """The receiver's half: fed with every RTP packet, it says when a report is due, and makes it."""

    def __init__(self) -> None:
        self._newest: int | None = None
        self._arrival = self._last = float("-inf")
        self._packets = self._octets = self._told = 0
        self._base = Least()
        self._least: tuple[float, int, float] | None = None
        self._queueing = self._told_queueing = 0.0
        self._keys: OrderedDict[bytes, int] = OrderedDict()
        self._photo: tuple[int, bytes] | None = None
        self._photo_news = self._waited_for = False
        self._receipt: bytes | None = None
        self._gap_at = float("-inf")
        self._startled = False

    def packet(self, sequence: int, timestamp: float, size: int, now: float) -> None:
        """timestamp: RTP's, unwrapped, in seconds."""
        self._packets += 1
        self._octets += size
        ahead = 1 if self._newest is None else (sequence - self._newest + 0x8000) % 0x10000 - 0x8000
        if ahead > 1:
            self._startled |= now - self._gap_at > STARTLED_AFTER
            self._gap_at = now
        if ahead > 0:
            self._newest, self._arrival = sequence, now
        delay = now - timestamp
        self._queueing = delay - self._base.add(delay, now)
        if self._least is None or delay < self._least[0]:
            self._least = delay, sequence, now

    def key(self, data: bytes) -> None:
        """Acknowledge a key in the next two reports; the newest ``MAX_KEYS`` count."""
        self._keys[data] = 2
        self._keys.move_to_end(data)
        while len(self._keys) > MAX_KEYS:
            self._keys.popitem(last=False)

    def receipt(self, data: bytes) -> None:
        """What the next report says like an acknowledgement of a key; a newer one takes its place."""
        self._receipt = data

    def photo(self, first_missing: int, bitmap: bytes) -> None:
        """Blocks of a photo came."""
        self._photo = first_missing, bitmap[:MAX_BITMAP]
        self._photo_news = True
        self._waited_for = first_missing < FIRST_BLOCKS

    def due(self) -> float | None:
        """When a report is due, s; None while there is nothing to say."""
        if self._newest is None or (self._packets == self._told and not self._photo_news and not self._keys):
            return None
        grown = self._queueing > NOTICED and self._queueing > 1.3 * self._told_queueing
        if grown or (self._photo_news and self._waited_for):
            return self._last + HURRY
        if self._startled:
            return max(self._last + HURRY, self._gap_at + OVERTAKEN)
        return self._last + (LATER if self._photo_news else CALM)

    def report(self, now: float) -> bytes:
        """Only after ``due`` has said so."""
        assert self._newest is not None
        _, sequence, arrival = self._least or (0.0, self._newest, self._arrival)
        back = (self._newest - sequence) % 0x10000
        keys = tuple(self._keys)
        riding = keys if self._receipt is None else (*keys[1 - MAX_KEYS :], self._receipt)
        report = Report(
            self._newest,
            _milliseconds(self._arrival),
            self._packets % 0x10000,
            self._octets % 0x10000,
            min(back, 255),
            _milliseconds(arrival if back < 256 else self._arrival),
            self._photo if self._photo_news else None,
            riding,
        )
        for key in keys:
            self._keys[key] -= 1
            if not self._keys[key]:
                del self._keys[key]
        self._last, self._told, self._told_queueing = now, self._packets, self._queueing
        self._least, self._photo_news, self._receipt, self._startled = None, False, None, False
        return report.pack()


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000) % 0x10000


@dataclass(frozen=True)
class LinkState:
    """What one report says of the time since the one before. time: when it came. loss: share of packets. queueing: s that
    the least delayed packet waited in queues. delivered_kbps, sent_kbps: on the wire, of this carrier's packets.
    round_trip: s, at most. floor_kbps: the link carries at least that, as a longer packet showed; 0 if none did.
    busy: a queue stood there all the time, so that ``delivered_kbps`` is the link's capacity."""

    time: float
    loss: float
    queueing: float
    delivered_kbps: float
    sent_kbps: float
    round_trip: float
    floor_kbps: float = 0.0

    @property
    def busy(self) -> bool:
        return self.queueing > NOTICED


@dataclass(frozen=True)
class _Sent:
    at: float
    size: int
    octets: int


class LinkMeter:
    """The sender's half: remembers when each packet left, and turns reports into ``LinkState``."""

    def __init__(self) -> None:
        self._sent: OrderedDict[int, _Sent] = OrderedDict()
        self._before: tuple[Report, _Sent] | None = None
        self._delay = Least()
        self._size = Least()
        self._origin: int | None = None
        self._octets = 0

    def sent(self, sequence: int, size: int, now: float) -> None:
        """size: of the datagram, IP and UDP included."""
        self._octets += size
        self._size.add(size, now)
        self._sent[sequence] = _Sent(now, size, self._octets)
        while len(self._sent) > 3000:
            self._sent.popitem(last=False)

    def report(self, report: Report, now: float) -> LinkState | None:
        """None for a report of packets that were never sent, or that is older than another, and for the first."""
        newest = self._sent.get(report.newest)
        if newest is None:
            return None
        before = self._before
        if before is not None and (report.newest - before[0].newest) % 0x10000 >= 0x8000:
            return None
        self._before = report, newest
        least = self._sent.get((report.newest - report.least) % 0x10000, newest)
        queueing = self._waited(report.least_arrival, least.at, now)
        waited = self._waited(report.arrival, newest.at, now)
        if before is None:
            return None
        old, old_newest = before
        expected = (report.newest - old.newest) % 0x10000
        received = (report.packets - old.packets) % 0x10000
        apart = ((report.arrival - old.arrival) % 0x10000) / 1000
        delivered = (report.octets - old.octets) % 0x10000 + received * _OVERHEAD
        longer = newest.size - self._size.add(newest.size, now)
        return LinkState(
            time=now,
            loss=min(1.0, max(0.0, 1 - received / expected)) if expected else 0.0,
            queueing=queueing,
            delivered_kbps=delivered * 0.008 / apart if apart > 0.02 else 0.0,
            sent_kbps=(newest.octets - old_newest.octets) * 0.008 / max(newest.at - old_newest.at, 0.02),
            round_trip=now - newest.at,
            floor_kbps=longer * 0.008 / max(waited, _TICK) if longer >= _LONGER else 0.0,
        )

    def _waited(self, arrival: int, left: float, now: float) -> float:
        """Seconds beyond the shortest delay that was seen."""
        raw = (arrival - int(left * 1000)) % 0x10000
        if self._origin is None:
            self._origin = raw
        delay = ((raw - self._origin + 0x8000) % 0x10000 - 0x8000) / 1000
        return max(0.0, delay - self._delay.add(delay, now))
