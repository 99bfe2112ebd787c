"""Publishing key sets: the vault generates, the checker signs a notice and keeps the objects."""

from __future__ import annotations

from datetime import datetime

from gridsecure.crypto.keys import PublicKeySet
from gridsecure.crypto.parameters import PARAMETER_SETS
from gridsecure.key_authority.packages import KeyOrder
from gridsecure.key_authority.zone import AuthorityZone
from gridsecure.messages import KeyNotice, Signed, signed
from gridsecure.store import evidence
from gridsecure.store.database import write_session
from gridsecure.store.records import Record, listed, record


def publish_key_sets(zone: AuthorityZone, *, at: datetime) -> list[Signed]:
    """Create the key sets that are missing, and return the notices of all.

    Raises:
        GridSecureError: The vault refuses or is down.
    """
    published = key_notices(zone)
    known = {KeyNotice.parsed(notice.body).parameters for notice in published}
    # A key set whose notice was lost on the way (killed in between) is published now.
    for key_set in zone.vault.public_key_sets():
        if key_set.parameters.name not in known:
            published.append(_publish(zone, key_set, at=at))
            known.add(key_set.parameters.name)
    for name in sorted(set(PARAMETER_SETS) - known):
        order = KeyOrder(parameters=name, created_at=at.isoformat())
        key_set = zone.vault.create_key_set(signed(order, key=zone.signing_key))
        published.append(_publish(zone, key_set, at=at))
    return published


def key_notices(zone: AuthorityZone) -> list[Signed]:
    """Notices of the key sets in force."""
    with write_session(zone.engine) as session:
        return [Signed.parsed(item.text) for item in listed(session, kind="key-set")]


def _publish(zone: AuthorityZone, key_set: PublicKeySet, *, at: datetime) -> Signed:
    relinearisation = None
    if key_set.relinearisation_keys:
        relinearisation = zone.objects.put(key_set.relinearisation_keys)
    notice = KeyNotice(
        key_id=key_set.key_id,
        parameters=key_set.parameters.name,
        parameters_digest=key_set.parameters.digest,
        public_key=zone.objects.put(key_set.public_key),
        relinearisation_keys=relinearisation,
        created_at=at.isoformat(),
    )
    envelope = signed(notice, key=zone.signing_key)
    name, scope = key_set.key_id, key_set.parameters.name
    with write_session(zone.engine) as session:
        entry = Record("key-set", name, scope, envelope.digest, "", envelope.model_dump_json())
        record(session, entry, at=at)
        evidence.append(
            session,
            at=at,
            actor="key-authority",
            action="key-set.published",
            detail={"key_id": name, "parameters": scope},
        )
    return envelope
