"""The certificate of one connection, as short as X.509 allows, for it crosses the wire in every set-up; and the cipher of DTLS.

Nobody reads a name in it: the ends know each other by its fingerprint, which came with the session description. Without names
and with a serial number of one byte it has about 220 bytes, a hundred less than aiortc's own. Of the ciphers that every WebRTC end
has, ChaCha20-Poly1305 (RFC 7905) is taken first: AES-GCM sends 8 bytes of nonce with every record, ChaCha none.
"""

from __future__ import annotations

import datetime
from typing import Any

from aiortc import RTCCertificate
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

CIPHERS = b"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256"
LIFETIME = datetime.timedelta(days=30)


class _Certificate(RTCCertificate):
    def _create_ssl_context(self, srtp_profiles: list[Any]) -> Any:
        context = super()._create_ssl_context(srtp_profiles)
        context.set_cipher_list(CIPHERS)
        return context


def short_certificate() -> RTCCertificate:
    """A new key and its certificate, for one connection."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + LIFETIME)
    )
    return _Certificate(key=key, cert=builder.sign(key, hashes.SHA256()))
