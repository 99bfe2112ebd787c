"""The keys that holders pin: what both openers signed, and the same for ever after.

1. The statement comes twice, signed once by each opener under the keys the gateway was told.
2. Both say the same, and each half of the opening key comes with its proof of possession.
3. On first sight they are recorded. Other keys, later, are refused: an issuer with a key for each
   region, or for each device, could tell by it who shows a credential.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from gridsecure.credentials.issuer_keys import IssuerPublicKey
from gridsecure.credentials.opening import Opener, joint_key
from gridsecure.credentials.presentations import PublicKeys
from gridsecure.credentials.suites import sm2_suite
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuthenticityError, ConflictError, NotFoundError, SignatureError
from gridsecure.gateway.zone import GatewayZone
from gridsecure.identity_messages import IdentityKeys
from gridsecure.messages import Signed, opened
from gridsecure.store.database import write_session
from gridsecure.store.records import Record, fetch, insert_once

_KIND: Final = "identity-keys"


def pin_identity_keys(
    zone: GatewayZone, statements: Sequence[Signed], *, at: datetime
) -> PublicKeys:
    """Check the identity authority's keys, and keep them on first sight.

    Args:
        zone: The gateway.
        statements: `IdentityKeys`, signed by each opener.
        at: Now.

    Raises:
        AuthenticityError: Not signed by both openers, or they say different things
            (`authenticity.identity-keys`); a half without proof of possession; other keys than
            before (`identity.keys-changed`).
        InvalidMessageError: Malformed keys.
    """
    # 1. who says so
    openers = (zone.pinned.utility, zone.pinned.regulator)
    trusted = {key.thumbprint: key for key in openers}
    said = {s.signer: opened(s, expect=IdentityKeys, trusted=trusted) for s in statements}
    # 2. what they say
    if len(trusted) != len(openers) or said.keys() != trusted.keys() or len(set(said.values())) > 1:
        raise SignatureError(
            "The identity authority's keys are not what both openers signed.",
            reason="authenticity.identity-keys",
            remedy="Compare the keys in the settings with the openers' own; enrol nobody before.",
        )
    keys = next(iter(said.values()))
    read = _read(keys)
    # 3. as before
    text = keys.model_dump_json()
    try:
        entry = Record(_KIND, _KIND, _KIND, sm3_hex(text.encode()), "", text)
        insert_once(zone.engine, entry, now=at)
    except ConflictError as changed:
        raise AuthenticityError(
            "The identity authority's keys are others than before.",
            reason="identity.keys-changed",
            remedy="Enrol nobody; compare them with the public log and ask both openers.",
        ) from changed
    return read


def kept_identity_keys(zone: GatewayZone) -> PublicKeys:
    """The keys as they were pinned.

    Raises:
        NotFoundError: None were yet (`not-found.identity-keys`).
    """
    with write_session(zone.engine) as session:
        try:
            text = fetch(session, kind=_KIND, name=_KIND).text
        except NotFoundError as missing:
            raise NotFoundError(
                "This gateway has not met the identity authority yet.",
                reason="not-found.identity-keys",
                remedy="Process a month first.",
            ) from missing
    return _read(IdentityKeys.parsed(text))


def _read(keys: IdentityKeys) -> PublicKeys:
    suite = sm2_suite()
    halves: dict[Opener, bytes] = {
        "utility": bytes.fromhex(keys.utility),
        "regulator": bytes.fromhex(keys.regulator),
    }
    issuer = IssuerPublicKey.from_bytes(bytes.fromhex(keys.issuer), suite=suite)
    return PublicKeys(issuer, joint_key(halves, suite=suite))
