"""RTP with fewer bytes: short authentication tags, rare RTCP, and feedback that only Headwire's ends read.

All of it is set on one DTLS transport of aiortc, before it starts.

- Tags: aiortc takes AES-GCM, whose tag is 16 bytes on each packet. SRTP_AES128_CM_SHA1_32 (RFC 5764 section 4.1.2) has 4
  on RTP; RTCP keeps 10. RFC 3711 section 7.5 allows that for voice where bytes are dear: whoever forges a packet at
  random succeeds once in 2^32 tries, and what he wins is one packet. An end that does not have it gets SHA1_80.
- RTCP: the description says how much of it there is (``b=RS:`` and ``b=RR:``, RFC 3556), and that messages may stand alone
  (``a=rtcp-rsize``, RFC 5506). aiortc sends a report each second; one in ``SENDER_REPORT`` seconds leaves, and the goodbye.
- Feedback: RTCP's application layer feedback (RFC 4585 section 6.4), see ``transport.feedback``.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from aiortc import RTCDtlsTransport
from aiortc.rtcdtlstransport import SRTP_PROFILES, SRTPProtectionProfile
from aiortc.rtp import RTCP_BYE, RTCP_PSFB_APP, RtcpPacket, RtcpPsfbPacket, is_rtcp
from pylibsrtp import Policy

SENDER_REPORT = 20.0
SDP_LINES = ("b=RS:50", "b=RR:2500", "a=rtcp-rsize")
_FEEDBACK_SSRC = 1

_SHORT_TAG = SRTPProtectionProfile(
    libsrtp_profile=Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    openssl_profile=b"SRTP_AES128_CM_SHA1_32",
    key_length=16,
    salt_length=14,
)


class RtpTuning:
    """``on_sent(sequence number, time stamp, bytes of the datagram's payload)``: an RTP packet has left.
    ``on_feedback(data)``: the body of a feedback message has come."""

    def __init__(self, dtls: RTCDtlsTransport, short_tag: bool = True) -> None:
        self.on_sent: Callable[[int, int, int], None] = lambda sequence, timestamp, size: None
        self.on_feedback: Callable[[bytes], None] = lambda data: None
        self._send = dtls._send_rtp
        self._handle = dtls._handle_rtcp_data
        self._report_at = float("-inf")
        self._tag = 4 if short_tag else 10
        by_tag = sorted(SRTP_PROFILES, key=lambda profile: profile.openssl_profile != b"SRTP_AES128_CM_SHA1_80")
        dtls._srtp_profiles = [_SHORT_TAG, *by_tag] if short_tag else by_tag
        dtls._send_rtp = self._send_rtp  # type: ignore[method-assign]
        dtls._handle_rtcp_data = self._handle_rtcp_data  # type: ignore[method-assign]

    async def send_feedback(self, data: bytes) -> None:
        """data: a multiple of 4 bytes. Raises ConnectionError when the transport is closed."""
        packet = RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=_FEEDBACK_SSRC, media_ssrc=0, fci=data)
        await self._send(bytes(packet))

    async def _send_rtp(self, data: bytes) -> None:
        if is_rtcp(data):
            now = time.monotonic()
            if data[1] != RTCP_BYE and now - self._report_at < SENDER_REPORT:
                return
            self._report_at = now
            await self._send(data)
            return
        await self._send(data)
        self.on_sent(int.from_bytes(data[2:4], "big"), int.from_bytes(data[4:8], "big"), len(data) + self._tag)

    async def _handle_rtcp_data(self, data: bytes) -> None:
        try:
            packets = RtcpPacket.parse(data)
        except ValueError:
            return
        for packet in packets:
            if isinstance(packet, RtcpPsfbPacket) and packet.fmt == RTCP_PSFB_APP:
                self.on_feedback(packet.fci)
                return
        await self._handle(data)
