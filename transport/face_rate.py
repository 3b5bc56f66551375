"""With which packets the face goes out: what the link carries, what a photo needs beside it, and how much gets lost.

The rung is rate control's. While a photo travels it is one that leaves the photo room: one that takes half of what the link is known
to carry, or, where that is not known, the next cheaper one. Where packets get lost, frames ride along again
(``codec.redundancy``). Pure: time is an argument, s.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from codec.redundancy import SPOTLESS, Protection, rung_for
from transport.feedback import LinkState
from transport.rate_control import RateController, Rung

LOSS_REPORTS = 5
"""Reports, one a second or so, over which loss is averaged."""

PHOTO_SHARE = 0.6
"""Of what the link carries that the face may take while a photo travels."""

OWN = 1.15
"""What a link has shown up to so many times the face's own rate is nothing but the face."""

KNOWN_FOR = 60.0
"""Seconds for which what the link has carried is believed."""

LET_GO = 0.5
"""Seconds after a photo until the rung is rate control's again: photos come in several messages."""


class FaceRate:
    """``update`` with every state of the link, ``beside_photo`` with every message -> what to send with.

    ``controller``: rate control alone; ``loss``: share of packets lost lately.
    """

    def __init__(self, rungs: Sequence[Rung], voice_kbps: float = 0.0, echoes: bool = True) -> None:
        """rungs: dearest first. echoes: the carrier joins messages in a datagram (and
        its reports tell of a loss at once)."""
        self.controller = RateController(rungs, voice_kbps=voice_kbps)
        self.choice = Protection(rungs[0].name)
        self._echoes = echoes
        self._losses: deque[float] = deque(maxlen=LOSS_REPORTS)
        self._known: deque[tuple[float, float]] = deque(maxlen=64)
        self._photo_at = float("-inf")
        self._now = float("-inf")

    @property
    def loss(self) -> float:
        return sum(self._losses) / max(1, len(self._losses))

    def update(self, state: LinkState) -> Protection:
        """A report has come. A link that is clean beside a photo says nothing of a dearer rung."""
        self._now = max(self._now, state.time)
        self._losses.append(state.loss)
        if state.busy or not self._photo_travels:
            self.controller.update(state)
        if state.busy:
            self._known.clear()
        self._known.append(
            (state.time, state.delivered_kbps if state.busy else max(state.delivered_kbps, state.floor_kbps))
        )
        return self._choose()

    def beside_photo(self, waiting: bool, now: float) -> Protection:
        """waiting: something of a photo is to be sent or to be acknowledged."""
        self._now = max(self._now, now)
        if waiting:
            self._photo_at = now
        return self._choose()

    @property
    def _photo_travels(self) -> bool:
        return self._now - self._photo_at < LET_GO

    def _choose(self) -> Protection:
        rungs, at = self.controller.rungs, self.controller.rung
        if self._photo_travels:
            at = self._beside(rungs, at)
        self.choice = rung_for(self.loss, rungs[at].name, self.choice, self._echoes)
        if (
            self._echoes
            and self.choice.rung == "normal"
            and len(self._losses) == LOSS_REPORTS
            and not any(self._losses)
        ):
            self.choice = SPOTLESS
        return self.choice

    def _beside(self, rungs: Sequence[Rung], at: int) -> int:
        while self._known and self._now - self._known[0][0] > KNOWN_FOR:
            self._known.popleft()
        voice = self.controller.voice_kbps
        known = max((kbps for _, kbps in self._known), default=0.0) - voice
        if known <= OWN * rungs[at].wire_kbps:
            return next((i for i in range(at, len(rungs)) if rungs[i].name != rungs[at].name), at)
        return next((i for i in range(at, len(rungs)) if rungs[i].wire_kbps <= PHOTO_SHARE * known), len(rungs) - 1)
