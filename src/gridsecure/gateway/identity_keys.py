"""The keys this gateway's holders pin: what both openers state, and the same for ever after.

On first sight they are recorded. Other keys, later, are refused, even if both openers signed them:
an issuer with a key for each region, or for each device, could tell by it who shows a credential.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from gridsecure.credentials.pinning import check_statements, pin_keys
from gridsecure.credentials.presentations import PublicKeys
from gridsecure.credentials.suites import sm2_suite
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuthenticityError, ConflictError, NotFoundError
from gridsecure.gateway.tables import IdentityKeysRow
from gridsecure.gateway.zone import GatewayZone
from gridsecure.messages import Signed
from gridsecure.store.database import read_session
from gridsecure.store.rows import find, keep_once


def pin_identity_keys(
    zone: GatewayZone, statements: Sequence[Signed], *, at: datetime
) -> PublicKeys:
    """Check the identity authority's keys, and keep them on first sight.

    Args:
        statements: As the authority shows them.

    Raises:
        AuthenticityError: As `pin_keys`; other keys than before (`identity.keys-changed`).
        InvalidMessageError: Something stated is no key.
    """
    signers = zone.pinned.signers
    keys = pin_keys(statements, signers=signers, suite=sm2_suite())
    said = check_statements(statements, signers=signers).model_dump_json()
    text = json.dumps([statement.model_dump() for statement in statements])
    try:
        # the digest is that of the keys alone: the same keys, signed again, are the same
        row = IdentityKeysRow(digest=sm3_hex(said.encode()), statements=text, at=at)
        keep_once(zone.engine, row)
    except ConflictError as changed:
        raise AuthenticityError(
            "The identity authority's keys have changed.",
            reason="identity.keys-changed",
            remedy="Enrol nobody; compare them with the public log and ask both openers.",
        ) from changed
    return keys


def load_identity_keys(zone: GatewayZone) -> PublicKeys:
    """The keys as they were pinned.

    Raises:
        NotFoundError: None were yet (`not-found.identity-keys`).
        AuthenticityError: As `pin_keys`: the record or the settings were altered.
    """
    with read_session(zone.engine) as session:
        row = find(session, IdentityKeysRow)
    if row is None:
        raise NotFoundError(
            "This gateway has not pinned the identity authority's keys yet.",
            reason="not-found.identity-keys",
            remedy="Process a month first.",
        )
    statements = [Signed.model_validate(statement) for statement in json.loads(row.statements)]
    return pin_keys(statements, signers=zone.pinned.signers, suite=sm2_suite())
