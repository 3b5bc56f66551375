"""How a call is protected from loss: frames ride along again in the packets after their own.

A packet of a bundle of n frames may begin with frames that were in the packet before (``ParameterEncoder``'s ``again``); the
syntax is that of any packet, and a receiver takes what is new to it. A bundle of four of which three are repeated goes out
with every frame, as often as packets of ``normal``, and leaves a hole only where four packets in a row are lost. What it costs
is the bundle's delay: 40 ms for two frames, 120 ms for four.

Where the carrier joins messages in a datagram (``opus``), whole packets can go out again with the next ones, too: an *echo*.
It costs no datagram, so it is what the cheapest rung can afford; a packet that is made good so comes a bundle later, and the
receiver waits for it. Where nothing at all gets lost, ``normal`` may be felt for a second after a lost packet, and is a third
cheaper: the first loss that is reported ends that, and with it what the lost packet did.
"""

from __future__ import annotations

from typing import NamedTuple

FELT = 0.05
"""Share of lost packets from which on frames ride along again."""

OVER = 0.02
"""Share below which they no longer do: between the two, what was chosen stays."""

HEAVY = 0.12
"""Share from which on 120 ms of delay are the smaller evil, where ``normal`` is wanted."""


class Protection(NamedTuple):
    """rung: a name of ``Tables.names``. again: frames of each packet that were in the packet before, too. echo: packets before
    it that go out once more with each packet."""

    rung: str
    again: int = 0
    echo: int = 0


SPOTLESS = Protection("normal-clean")
"""In place of ``normal`` where no packet has been lost for some time."""

_LIGHT = {"normal": Protection("low", 1), "low": Protection("lowest-mid", 2), "lowest": Protection("lowest", 0, 1)}
_HEAVY = {
    "normal": Protection("lowest-mid", 3),
    "low": Protection("lowest-mid", 2, 1),
    "lowest": Protection("lowest", 0, 2),
}


def rung_for(loss: float, wanted: str, before: Protection | None = None, echoes: bool = True) -> Protection:
    """What to send with where rate control wants a rung: never more packets a second than that rung has.

    loss: share of packets lost lately, 0..1. wanted: a name of ``Tables.names``. before: what this gave last. echoes: the
    carrier joins messages; without them ``lowest`` stays as it is, for what else repeats its frames is a dearer rung.
    """
    light, heavy = _LIGHT.get(wanted), _HEAVY.get(wanted)
    if light is None or heavy is None:
        return Protection(wanted)
    if not echoes:
        light, heavy = light._replace(echo=0), heavy._replace(echo=0)
    if loss < (OVER if before in (light, heavy) else FELT):
        return Protection(wanted)
    return heavy if loss >= (FELT if before == heavy else HEAVY) else light
