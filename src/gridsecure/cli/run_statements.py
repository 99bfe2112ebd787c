"""The billing office's part of a run: open released statements, and learn what gateways expect.

A statement goes from the key authority to the office, sealed, and from there to nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gridsecure.analyst.releases import Release, pin_authority, verify_release
from gridsecure.cli.services_client import ServicesClient
from gridsecure.crypto.envelope import open_from
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuditBrokenError
from gridsecure.messages import ReleaseCertificate, Signed, open_message
from gridsecure.statement_checks import EXPECTED_PURPOSE, ExpectedBills

STATEMENTS_PURPOSE: Final = "statements"
_OFFICE: Final = "billing-office"


def bill_certificates(client: ServicesClient) -> dict[str, Signed]:
    """Certificates of all bill releases, verified, by release id.

    Raises:
        AuthenticityError: One is not the key authority's.
        GridSecureError: As `ServicesClient.call`.
    """
    found = {}
    for item in client.call("billing", "authority", "GET", "/releases"):
        path = f"/releases/{item['release_id']}"
        envelope = Signed.model_validate(client.call("billing", "authority", "GET", path))
        if _read(client, envelope).plan == "bill":
            found[item["release_id"]] = envelope
    return found


def bill_releases(client: ServicesClient, certificates: Mapping[str, Signed]) -> list[Release]:
    """The releases, read as an analyst's tools read them.

    Args:
        client: Signed in.
        certificates: From `bill_certificates`.

    Raises:
        GridSecureError: As `verify_release`.
    """
    authority = pin_authority(client.home.point("authority"))
    return [
        verify_release(
            envelope.model_dump_json().encode(), release_id=release_id, authority=authority
        )
        for release_id, envelope in certificates.items()
    ]


def open_statements(client: ServicesClient, certificates: Mapping[str, Signed]) -> list[bytes]:
    """The statements of releases, opened with the office's key; one document a roster.

    Args:
        client: Signed in.
        certificates: From `bill_certificates`.

    Raises:
        AuditBrokenError: A statement is not the one that was certified (`audit.object`).
        EnvelopeError: It does not open.
        GridSecureError: As `ServicesClient.call`.
    """
    statements = []
    for release_id, envelope in certificates.items():
        for roster_id, digest in _read(client, envelope).statements.items():
            path = f"/statements/{release_id}/{roster_id}"
            sealed = client.call("billing", "authority", "GET", path)
            if sm3_hex(sealed) != digest:
                raise AuditBrokenError(
                    "A roster's statements differ from the certified ones.",
                    reason="audit.object",
                    remedy="Find out what altered them at the key authority.",
                )
            key = client.home.keys[_OFFICE]
            statements.append(open_from(sealed, private_key=key, purpose=STATEMENTS_PURPOSE))
    return statements


def read_expected_digests(
    client: ServicesClient, month: str, certificates: Mapping[str, Signed]
) -> dict[str, dict[str, str]]:
    """What the gateway expects of released statements: roster -> settlement name -> bill digest.

    Args:
        client: Signed in.
        month: YYYY-MM.
        certificates: From `bill_certificates`.

    Raises:
        AuthenticityError: The answer is not the gateway's, or not sealed to the office.
        GridSecureError: As `ServicesClient.call`.
    """
    shown = [envelope.model_dump() for envelope in certificates.values()]
    path = f"/months/{month}/expected-bills"
    sealed = client.call("billing", "gateway", "POST", path, json=shown)
    text = open_from(sealed, private_key=client.home.keys[_OFFICE], purpose=EXPECTED_PURPOSE)
    gateway = client.home.keys["gateway"].public_key
    trusted = {gateway.thumbprint: gateway}
    return open_message(Signed.parsed(text), expect=ExpectedBills, trusted=trusted).rosters


def _read(client: ServicesClient, envelope: Signed) -> ReleaseCertificate:
    authority = client.home.keys["authority"].public_key
    trusted = {authority.thumbprint: authority}
    return open_message(envelope, expect=ReleaseCertificate, trusted=trusted)
