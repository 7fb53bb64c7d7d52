"""For tests: certificates that vouch for themselves."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID


class Files:
    """A certificate and its key for localhost, in two files. `renew` puts others in their place."""

    def __init__(self, folder: Path, name: str = "first") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.certificate = folder / "certificate.pem"
        self.key = folder / "key.pem"
        self.renew(name)

    @property
    def arguments(self) -> list[str]:
        return ["--tls-certificate", str(self.certificate), "--tls-key", str(self.key)]

    def renew(self, name: str, *, password: bytes = b"", hosts: tuple[str, ...] = ("localhost",)) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = [x509.DNSName(host) for host in hosts]
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(
                x509.SubjectAlternativeName([*names, x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, SHA256())
        )
        how: KeySerializationEncryption = BestAvailableEncryption(password) if password else NoEncryption()
        self.certificate.write_bytes(made.public_bytes(Encoding.PEM))
        self.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))

    def trust(self) -> ssl.SSLContext:
        """A client's context that trusts the certificate as it is now."""
        return ssl.create_default_context(cafile=str(self.certificate))


def name_of(certificate: bytes) -> str:
    """Whose certificate it is (DER)."""
    return str(x509.load_der_x509_certificate(certificate).subject.rfc4514_string().removeprefix("CN="))
