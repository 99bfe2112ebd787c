"""Certificates of TLS: a zone's own authority, and what it signs for the zone's services.

Each party makes an authority of its own and gives its neighbours `ca.pem`; nobody depends on
another's. It says of itself which hosts it may sign for (RFC 5280, 4.2.1.10), so that neighbours
who believe it believe nothing of it about anybody else's. The authority's key stays on a machine
that serves nothing. A certificate is good for weeks, names the hosts that a service answers at, and
says by a URI what the service acts as (`urn:gridsecure:service:platform`), which peers compare with
its tokens. Keys are ECDSA on P-256, with SHA-256: what every TLS library speaks. TLS of the GM
suites stands in front (docs/tls.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gridsecure.errors import ConflictError, InputError, StorageError
from gridsecure.whole_files import create_file, replace_file

CA: Final = "ca.pem"
CA_KEY: Final = "ca-key.pem"
CERTIFICATE: Final = "certificate.pem"
KEY: Final = "key.pem"
SERVICE_URI: Final = "urn:gridsecure:service:"

AUTHORITY_LIFETIME: Final = timedelta(days=3 * 365)
MOST_LIFETIME: Final = timedelta(days=398)
"""Longest that a service's certificate may be good for, as browsers have it."""
_BACKDATED: Final = timedelta(minutes=5)
"""A certificate holds so long before it was made: neighbours' clocks may be behind."""


@dataclass(frozen=True, slots=True)
class CertificateOrder:
    """What a certificate is to say.

    Args:
        service: What the service acts as, as in its tokens' roles.
        hosts: Names and addresses that it answers at; at least one.
        lifetime: How long it is good for.
    """

    service: str
    hosts: tuple[str, ...]
    lifetime: timedelta


@dataclass(frozen=True, slots=True)
class Validity:
    """Whose a certificate is, and until when it is good.

    Args:
        hosts: At which its service answers; of an authority those that it may sign for, and none
            where it may sign for all.
        begins: Aware; the next one, too.
        is_authority: Whether it signs certificates.
    """

    service: str
    hosts: tuple[str, ...]
    begins: datetime
    ends: datetime
    is_authority: bool = False

    def is_due(self, now: datetime) -> bool:
        """Whether less than a third of its life is left."""
        return self.ends - now < (self.ends - self.begins) / 3


def make_authority(folder: Path, *, zone: str, hosts: Sequence[str], now: datetime) -> Path:
    """Make a zone's authority: its key, and the certificate that neighbours are given.

    Args:
        zone: The zone's name, for people.
        hosts: What it may sign for: names, with all below them, and addresses.

    Returns:
        The certificate's file.

    Raises:
        InputError: No host, or one that is none (`certificate.host`).
        ConflictError: There is one (`certificate.exists`).
        StorageError: The disk refuses (`certificate.files`).
    """
    bounds = _bounds(_host_names(hosts))
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"GridSecure authority of {zone}")])
    made = (
        _builder(name, name, key.public_key(), valid=(now, now + AUTHORITY_LIFETIME))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(bounds, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        create_file(folder / CA_KEY, _private_bytes(key))
        replace_file(folder / CA, [made.public_bytes(Encoding.PEM)], mode=0o644)
    except FileExistsError as error:
        raise ConflictError(
            f"{folder / CA_KEY} is there already.",
            reason="certificate.exists",
            remedy="Use it, or name another folder: neighbours trust the one that they were given.",
        ) from error
    except OSError as error:
        raise _unusable(folder) from error
    return folder / CA


def issue(authority: Path, order: CertificateOrder, *, output: Path, now: datetime) -> Validity:
    """Make a key and a certificate, in place of those that may be there.

    The certificate is followed by the authority's, and the key is replaced first: who starts
    between the two is told that they do not belong together, and starts again.

    Args:
        authority: From `make_authority`.
        output: The service's folder of certificates.

    Raises:
        InputError: No host, a host that is none or that the authority may not sign for
            (`certificate.host`), too long a life or none (`certificate.lifetime`).
        StorageError: A file is missing or holds no key, or the disk refuses (`certificate.files`).
    """
    if not timedelta() < order.lifetime <= MOST_LIFETIME:
        raise InputError(
            f"A certificate is good for 1 to {MOST_LIFETIME.days} days.",
            reason="certificate.lifetime",
            remedy="Choose weeks, and renew it by a timer.",
        )
    names = _host_names(order.hosts)
    ca, ca_key = _load_authority(authority)
    _check_bounds(ca, order.hosts)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, order.service)])
    ends = min(now + order.lifetime, ca.not_valid_after_utc)
    names.append(x509.UniformResourceIdentifier(SERVICE_URI + order.service))
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    made = (
        _builder(subject, ca.subject, key.public_key(), valid=(now, ends))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, SHA256())
    )
    try:
        output.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(output / KEY, [_private_bytes(key)])
        chain = [made.public_bytes(Encoding.PEM), ca.public_bytes(Encoding.PEM)]
        replace_file(output / CERTIFICATE, chain, mode=0o644)
    except OSError as error:
        raise _unusable(output) from error
    return _validity(made)


def read_validity(path: Path) -> Validity:
    """Whose the certificate in a file is, the first if there are several.

    Raises:
        StorageError: It cannot be read (`certificate.files`).
    """
    return _validity(_load_certificate(path))


def service_names(uris: Sequence[str]) -> frozenset[str]:
    """What the URIs of a certificate say that its holder acts as."""
    return frozenset(uri.removeprefix(SERVICE_URI) for uri in uris if uri.startswith(SERVICE_URI))


def read_certificates(path: Path) -> list[Validity]:
    """Whose all certificates in a file are, such as the authorities that a service believes.

    Raises:
        StorageError: It cannot be read (`certificate.files`).
    """
    return [_validity(one) for one in _load_certificates(path)]


def _authority(made: x509.Certificate) -> Validity:
    name = made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Validity(
        str(name[0].value) if name else "",
        tuple(_allowed(made)),
        made.not_valid_before_utc,
        made.not_valid_after_utc,
        is_authority=True,
    )


def _bounds(names: Sequence[x509.GeneralName]) -> x509.NameConstraints:
    """What an authority may sign for. Of a kind of name that it lists none of, it may none."""
    permitted: list[x509.GeneralName] = [
        x509.IPAddress(ip_network(one.value)) if isinstance(one, x509.IPAddress) else one
        for one in names
    ]
    excluded: list[x509.GeneralName] = []
    if not any(isinstance(one, x509.DNSName) for one in permitted):
        excluded.append(x509.DNSName(""))
    if not any(isinstance(one, x509.IPAddress) for one in permitted):
        excluded += [x509.IPAddress(ip_network(every)) for every in ("0.0.0.0/0", "::/0")]
    return x509.NameConstraints(permitted, excluded or None)


def _allowed(ca: x509.Certificate) -> list[str]:
    """The hosts that an authority may sign for; empty for all."""
    try:
        bounds = ca.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return []
    return [str(one.value) for one in bounds.permitted_subtrees or ()]


def _check_bounds(ca: x509.Certificate, hosts: Sequence[str]) -> None:
    allowed = _allowed(ca)
    for host in hosts:
        try:
            is_inside = any(ip_address(host) in ip_network(one) for one in allowed if "/" in one)
        except ValueError:
            is_inside = any(f".{host}".endswith(f".{one}") for one in allowed)
        if allowed and not is_inside:
            raise _no_host(host, f"The authority signs for {', '.join(allowed)}.")


def _validity(made: x509.Certificate) -> Validity:
    if _signs(made):
        return _authority(made)
    try:
        names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    hosts = [*names.get_values_for_type(x509.DNSName)]
    hosts += [str(one) for one in names.get_values_for_type(x509.IPAddress)]
    services = service_names(names.get_values_for_type(x509.UniformResourceIdentifier))
    return Validity(
        next(iter(sorted(services)), ""),
        tuple(hosts),
        made.not_valid_before_utc,
        made.not_valid_after_utc,
    )


def _signs(made: x509.Certificate) -> bool:
    """Whether a certificate is one that signs others."""
    try:
        return made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _host_names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for host in hosts:
        try:
            found.append(x509.IPAddress(ip_address(host)))
        except ValueError:
            if not host or not host.isascii() or any(sign in host for sign in " :/@"):
                raise _no_host(host) from None
            found.append(x509.DNSName(host))
    if not found:
        raise _no_host("")
    return found


def _no_host(host: str, why: str = "It is no name and no address of a machine.") -> InputError:
    return InputError(
        f"The host {host!r} cannot be taken. {why}",
        reason="certificate.host",
        remedy="Name what the service's address has, as platform.example or 10.0.0.7.",
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    *,
    valid: tuple[datetime, datetime],
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid[0] - _BACKDATED)
        .not_valid_after(valid[1])
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _private_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _load_authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        key = load_pem_private_key((folder / CA_KEY).read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:  # TypeError: it is sealed by a password
        raise _unusable(folder / CA_KEY) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _unusable(folder / CA_KEY)
    return _load_certificate(folder / CA), key


def _load_certificate(path: Path) -> x509.Certificate:
    return _load_certificates(path)[0]


def _load_certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _unusable(path) from error


def _unusable(path: Path) -> StorageError:
    return StorageError(
        f"{path} cannot be used for certificates.",
        reason="certificate.files",
        remedy="Check the disk and who may read it, or make it anew (docs/tls.md).",
    )
