"""The figures of the wire, by the names of the command line's ``--stats-json``."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from transport.metering import Direction, Meter

STEADY_AFTER = 5
"""Seconds at the start of a call that ``wire_kbps_steady`` leaves out: set-up and reference photo."""


@dataclass(frozen=True)
class WireFigures:
    """Every datagram of the call, IPv4 and UDP headers included, in kbps; forward is from the sender to the receiver.

    wire_kbps_forward, wire_kbps_return: all bytes, those of the set-up too, over the call's seconds.
    wire_kbps_steady: forward, without the first 5 s; None for a call that is not longer.
    wire_kbps_return_steady: the same for the way back. setup_bytes_*: what passed before the channels were open.
    """

    wire_kbps_forward: float
    wire_kbps_return: float
    wire_kbps_steady: float | None
    wire_kbps_return_steady: float | None
    setup_bytes_forward: int
    setup_bytes_return: int
    datagrams_forward: int
    datagrams_return: int

    def as_dict(self) -> dict[str, float | int | None]:
        return asdict(self)


def wire_figures(meter: Meter, at: str) -> WireFigures:
    """at: "sender" or "receiver", the end where the meter stands. Each end counts what it sends as it leaves and what
    it receives as it arrives, so what the link lost is in the figures of the one that sent it."""
    forward, back = (meter.sent, meter.received) if at == "sender" else (meter.received, meter.sent)
    seconds = meter.seconds
    return WireFigures(
        wire_kbps_forward=_kbps(forward.bytes, seconds) or 0.0,
        wire_kbps_return=_kbps(back.bytes, seconds) or 0.0,
        wire_kbps_steady=_steady(forward, seconds),
        wire_kbps_return_steady=_steady(back, seconds),
        setup_bytes_forward=forward.setup_bytes,
        setup_bytes_return=back.setup_bytes,
        datagrams_forward=forward.datagrams,
        datagrams_return=back.datagrams,
    )


def _steady(direction: Direction, seconds: float) -> float | None:
    return _kbps(sum(direction.per_second[STEADY_AFTER:]), seconds - STEADY_AFTER)


def _kbps(size: int, seconds: float) -> float | None:
    return size * 8 / 1000 / seconds if seconds > 0 else None
