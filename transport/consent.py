"""Consent to send (RFC 7675), asked for no more often than needed and with patience for slow links.

The RFC lets consent live for 30 s and forbids checks less than 4 s apart; 5 s is its default. A check costs 112 bytes and
an answer 92, in either direction. Here they are ``CALM`` seconds apart, and 5 s only once one went unanswered. aioice gives an
answer half a second, which kills every call over a link with a longer round trip; here it counts whenever it comes.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Any

from aioice import stun

logger = logging.getLogger(__name__)

CALM = 11.0
WORRIED = 5.0
EXPIRES = 30.0
_SPREAD = (0.8, 1.2)


class Consent:
    """``run`` in place of an ICE agent's own checks: asks until consent expires, then closes the agent."""

    def __init__(self, agent: Any, calm: float = CALM, expires: float = EXPIRES) -> None:
        self._agent = agent
        self._calm = calm
        self._expires = expires
        self._granted = 0.0
        self._asked = 0.0
        self._checks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        self._granted = time.monotonic()
        try:
            while time.monotonic() - self._granted < self._expires:
                await asyncio.sleep(self._pause())
                self._asked = time.monotonic()
                for pair in list(self._agent._nominated.values()):
                    check = asyncio.create_task(self._check(pair))
                    self._checks.add(check)
                    check.add_done_callback(self._checks.discard)
            logger.info("consent to send has expired")
            self._agent._query_consent_task = None
            await self._agent.close()
        finally:
            for check in self._checks:
                check.cancel()

    def _pause(self) -> float:
        basic = self._calm if self._granted >= self._asked else min(WORRIED, self._calm)
        left = self._granted + self._expires - time.monotonic()
        return max(0.0, min(basic * random.uniform(*_SPREAD), left))

    async def _check(self, pair: Any) -> None:
        key = self._agent.remote_password.encode()
        request = self._agent.build_request(pair, nominate=False)
        request.add_message_integrity(key)
        transaction = stun.Transaction(request, pair.remote_addr, pair.protocol, retransmissions=0, integrity_key=key)
        transaction._Transaction__timeout_delay = self._expires  # type: ignore[attr-defined]
        pair.protocol.transactions[request.transaction_id] = transaction
        try:
            await transaction.run()
            self._granted = time.monotonic()
        except stun.TransactionError:
            logger.debug("a consent check was not answered")
        finally:
            pair.protocol.transactions.pop(request.transaction_id, None)
