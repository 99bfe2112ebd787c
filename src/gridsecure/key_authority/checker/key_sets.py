"""Key sets of gateways: made when a gateway asks, and moved by custodians' signatures.

A gateway asks under the pseudonym of the year, with a message signed by the key that the identity
authority vouches for; nobody keeps a list of gateways.

1. the identity authority vouches for one gateway in a billing domain, and did so lately;
2. the request is signed by that gateway, for that domain;
3. the gateway's key set in force is found, or the vault generates one;
4. the notice is signed, kept with the public objects, and entered in the evidence log.

Asked twice, also at once, there is one key set. *Rotated*, a key set is retired: the gateway is
given the next generation when it asks, and what was encrypted before is still computed on and
decrypted. *Revoked*, it is neither. *Suspended*, it is given to nobody and decrypts nothing until
custodians resume it; *destroyed*, its secret half is gone. Custodians sign each of these moves, and
the vault keeps the states and holds to them; here they are followed, so that nobody encrypts or
computes in vain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from gridsecure.credentials.seats import verify_gateway
from gridsecure.errors import ConflictError, GridSecureError, UnknownMeterError
from gridsecure.homomorphic.keys import PublicKeySet
from gridsecure.homomorphic.parameters import find_parameters
from gridsecure.key_authority.checker.tables import KeyRevocationRow, KeySetRow
from gridsecure.key_authority.checker.vault_counts import follow_counts
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.key_authority.packages import KeyOrder
from gridsecure.messages import (
    KeyNotice,
    KeyRevocation,
    KeySetRequest,
    Signed,
    open_message,
    sign_message,
)
from gridsecure.plans.key_ring import KeyRing, KnownKeys
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.pages import PageAsked, newest, read_page
from gridsecure.store.rows import advance, find, keep_once, load_row
from gridsecure.vault_messages import KeyLife, KeyMove, KeyState

IN_FORCE: Final = "in-force"
SUSPENDED: Final = "suspended"
RETIRED: Final = "retired"
REVOKED: Final = "revoked"
DESTROYED: Final = "destroyed"
_OF_LIFE: Final[Mapping[KeyState, str]] = {
    "active": IN_FORCE,
    "suspended": SUSPENDED,
    "deactivated": RETIRED,
    "compromised": REVOKED,
    "destroyed": DESTROYED,
}
"""What a key set is to gateways and platforms, by its state at the vault."""
MOVED: Final = "key-set.move"
FOLLOWED: Final = "key-set.followed"
"""Entries of the log with which a key set changes its state."""
MAX_WORD_AGE: Final = timedelta(days=1)
"""How old the identity authority's word on a gateway may be: it may have been revoked since."""


@dataclass(frozen=True, slots=True)
class KeptKeySet:
    """A key set as the authority knows it.

    Args:
        notice: The notice, read.
        envelope: As it was signed.
        state: "in-force", "suspended", "retired", "revoked" or "destroyed".
    """

    notice: KeyNotice
    envelope: Signed
    state: str


def give_key_set(
    zone: AuthorityZone, request: Signed, *, registrations: Signed, at: datetime
) -> Signed:
    """A gateway's own key set in force, generated where it has none.

    Args:
        request: A signed `KeySetRequest`.
        registrations: The identity authority's signed word on the gateway.

    Returns:
        The signed notice.

    Raises:
        AuthenticityError: Nobody vouches for the gateway in that domain, or did so too long ago
            (`authenticity.registration`), or another signed the request.
        NotFoundError: There is no such parameter set (`parameters.unknown`).
        GridSecureError: The vault is down, or cannot keep a key set.
    """
    # 1. who may ask
    vouched = verify_gateway(registrations, identity=zone.identity)
    if not at - MAX_WORD_AGE <= vouched.issued_at <= at + MAX_WORD_AGE:
        raise UnknownMeterError(
            "The gateway's registration statement is too old.",
            reason="authenticity.registration",
            remedy="Fetch the gateway's registration anew.",
        )
    # 2. who asks
    key = vouched.key
    asked = open_message(request, expect=KeySetRequest, trusted={key.thumbprint: key})
    if asked.domain != vouched.domain:
        raise UnknownMeterError(
            "A gateway asks for a key set outside the domain it is registered in.",
            reason="authenticity.registration",
        )
    # 3. and 4.
    find_parameters(asked.parameters)
    return _in_force(zone, key.thumbprint, asked.parameters, at=at)


def public_objects(zone: AuthorityZone, envelope: Signed) -> list[bytes]:
    """The key objects that a notice names."""
    notice = KeyNotice.parse(envelope.body)
    digests = (notice.public_key, notice.relinearisation_keys)
    return [zone.objects.get(digest) for digest in digests if digest]


def list_key_sets(zone: AuthorityZone, *, gateway: str = "") -> list[KeptKeySet]:
    """All key sets, oldest first, perhaps of one gateway only."""
    with read_session(zone.engine) as session:
        found = session.exec(_rows(gateway).order_by(col(KeySetRow.id)))
        return [_kept(row) for row in found]


def page_key_sets(
    session: Session, asked: PageAsked, *, gateway: str
) -> tuple[list[KeptKeySet], int | None]:
    """A page of what `list_key_sets` lists, and the number it ends at if there are more."""
    page = read_page(session, _rows(gateway), key=KeySetRow.id, asked=asked)
    return [_kept(row) for row in page.rows], page.after


def read_revision(session: Session) -> object:
    """Differs whenever a key set comes or changes its state, which is noted in the log.

    Not the log's head: with every entry of any kind the list would have to be read anew.
    """
    return newest(session, KeySetRow.id), evidence.find_newest(session, (MOVED, FOLLOWED))


def _rows(gateway: str) -> SelectOfScalar[KeySetRow]:
    rows = select(KeySetRow)
    return rows.where(KeySetRow.gateway == gateway) if gateway else rows


def revoke_key_set(zone: AuthorityZone, key_id: str, *, actor: str, at: datetime) -> Signed:
    """Withdraw a key set for good that a custodian revoked at the vault.

    A second time gives the same answer.

    Returns:
        The signed revocation, for the platform.

    Raises:
        NotFoundError: There is no such key set (`not-found.key-set`).
        ConflictError: No custodian revoked it (`conflict.key-set-state`).
        GridSecureError: The vault is down.
    """
    with read_session(zone.engine) as session:
        notice = _kept(load_row(session, KeySetRow, key_id=key_id)).notice
        told = find(session, KeyRevocationRow, key_id=key_id)
        if told is not None:
            return told.envelope
    if KeyLife.parse(read_life(zone, key_id, at=at).body).state != "compromised":
        raise ConflictError(
            "The key set is not revoked at the vault.",
            reason="conflict.key-set-state",
            remedy="Have a custodian revoke it with the own key (`gridsecure keys revoke`).",
        )
    revocation = KeyRevocation(key_id=key_id, gateway=notice.gateway, revoked_at=at.isoformat())
    envelope = sign_message(revocation, key=zone.signing_key)  # before the transaction
    message = envelope.model_dump_json()
    row = KeyRevocationRow(key_id=key_id, digest=envelope.digest, message=message, at=at)
    is_new = keep_once(zone.engine, row)
    with write_session(zone.engine) as session:
        if is_new:
            _enter(session, "key-set.revoked", notice, actor=actor, at=at)
        return load_row(session, KeyRevocationRow, key_id=key_id).envelope


def read_life(zone: AuthorityZone, key_id: str, *, at: datetime) -> Signed:
    """How a key set stands, in the vault's own word: a `KeyLife`.

    A checker that was killed after the vault had moved it follows now.

    Raises:
        NotFoundError: There is no such key set (`not-found.key-set`).
        GridSecureError: The vault is down.
    """
    with read_session(zone.engine) as session:
        kept = _kept(load_row(session, KeySetRow, key_id=key_id))
    envelope = zone.vault.read_life(kept.notice.gateway, key_id)
    state = KeyLife.parse(envelope.body).state
    if _lags(kept.state, state):
        with write_session(zone.engine) as session:
            _follow(session, key_id, state)
            actor = "key-authority"
            _enter(session, FOLLOWED, kept.notice, actor=actor, at=at, state=state)
    return envelope


def move_key_set(zone: AuthorityZone, move: Signed, *, actor: str, at: datetime) -> Signed:
    """Carry a custodian's `KeyMove` to the vault, and follow what came of it; the `KeyLife` then.

    Args:
        actor: Who brought it.

    Raises:
        NotFoundError: There is no such key set (`not-found.key-set`).
        GridSecureError: The vault refuses it, which is entered in the log, or is down.
    """
    asked = KeyMove.parse(move.body)
    with read_session(zone.engine) as session:
        notice = _kept(load_row(session, KeySetRow, key_id=asked.key_id)).notice
    said = {"target": asked.target, "signer": move.signer}
    try:
        envelope = zone.vault.move_key_set(move)
    except GridSecureError as error:
        with write_session(zone.engine) as session:
            more = said | {"reason": error.reason}
            _enter(session, "key-set.move-refused", notice, actor=actor, at=at, **more)
        raise
    life = KeyLife.parse(envelope.body)
    with write_session(zone.engine) as session:
        _follow(session, asked.key_id, life.state)
        _enter(session, MOVED, notice, actor=actor, at=at, state=life.state, **said)
    follow_counts(zone, at=at)
    return envelope


def _lags(state: str, told: KeyState) -> bool:
    """Whether a key set stands otherwise here than at the vault."""
    # What releases retired that had no custodians' signatures is active at the vault.
    return state != _OF_LIFE[told] and (state, told) != (RETIRED, "active")


def _follow(session: Session, key_id: str, told: KeyState) -> None:
    state = load_row(session, KeySetRow, key_id=key_id).state
    if _lags(state, told):
        advance(session, KeySetRow, source=state, target=_OF_LIFE[told], key_id=key_id)


def key_ring(zone: AuthorityZone) -> KeyRing:
    """What the checker computes with: the authority's own published keys."""
    kept = list_key_sets(zone)
    revoked = frozenset(one.notice.key_id for one in kept if one.state in {REVOKED, DESTROYED})
    return KeyRing(KnownKeys(tuple(one.notice for one in kept), revoked), zone.objects.get)


def _in_force(zone: AuthorityZone, gateway: str, parameters: str, *, at: datetime) -> Signed:
    """Steps 3 and 4."""
    earlier = [
        one for one in list_key_sets(zone, gateway=gateway) if one.notice.parameters == parameters
    ]
    for one in reversed(earlier):
        if one.state == IN_FORCE:
            return one.envelope
        if one.state == SUSPENDED:
            raise ConflictError(
                "The gateway's key set is suspended, and nothing new is encrypted under it.",
                reason="conflict.key-set-state",
                remedy="Wait until custodians resume it, or have one rotate it; then the "
                "gateway is given the next one.",
            )
    # The generation names the key set before it is made: whoever asks at the same moment, and
    # whoever asks again after a crash between the key file and its notice, gets this very one.
    generation = len(earlier) + 1
    until = ""
    if earlier:  # what a custodian signed, so that no crash loses it and nobody here changes it
        key_id = earlier[-1].notice.key_id
        until = KeyLife.parse(zone.vault.read_life(gateway, key_id).body).until
    order = KeyOrder(
        gateway=gateway, parameters=parameters, generation=generation, created_at=at.isoformat()
    )
    key_set = zone.vault.create_key_set(sign_message(order, key=zone.signing_key))
    return publish_key_set(zone, key_set, place=(gateway, generation), at=at, until=until)


def publish_key_set(
    zone: AuthorityZone,
    key_set: PublicKeySet,
    *,
    place: tuple[str, int],
    at: datetime,
    until: str = "",
) -> Signed:
    """Sign the notice of a key set and keep it; where another process came first, return its.

    Args:
        place: The gateway whose it is, and its generation.
        until: When the gateway's earlier ones of these parameters end; empty if they do not.
    """
    (gateway, generation), parameters = place, key_set.parameters
    relinearisation = None
    if key_set.relinearisation_keys:
        relinearisation = zone.objects.put(key_set.relinearisation_keys)
    notice = KeyNotice(
        key_id=key_set.key_id,
        gateway=gateway,
        generation=generation,
        parameters=parameters.name,
        parameters_digest=parameters.digest,
        public_key=zone.objects.put(key_set.public_key),
        relinearisation_keys=relinearisation,
        created_at=at.isoformat(),
        earlier_until=until,
    )
    row = _in_force_row(notice, sign_message(notice, key=zone.signing_key), at=at)
    try:
        is_new = keep_once(zone.engine, row)
    except ConflictError:  # signed by another process a moment before: theirs is the notice
        is_new = False
    with write_session(zone.engine) as session:
        if is_new:
            _enter(session, "key-set.published", notice, actor="key-authority", at=at)
        return load_row(session, KeySetRow, key_id=notice.key_id).envelope


def _in_force_row(notice: KeyNotice, envelope: Signed, *, at: datetime) -> KeySetRow:
    return KeySetRow(
        key_id=notice.key_id,
        gateway=notice.gateway,
        parameters=notice.parameters,
        generation=notice.generation,
        digest=envelope.digest,
        message=envelope.model_dump_json(),
        state=IN_FORCE,
        at=at,
    )


def _enter(
    session: Session,
    action: str,
    notice: KeyNotice,
    *,
    actor: str,
    at: datetime,
    **more: str,
) -> None:
    detail: dict[str, evidence.JSON] = {
        "key_id": notice.key_id,
        "gateway": notice.gateway,
        "parameters": notice.parameters,
        "generation": notice.generation,
        **more,
    }
    evidence.append(session, at=at, actor=actor, action=action, detail=detail)


def _kept(row: KeySetRow) -> KeptKeySet:
    envelope = row.envelope
    return KeptKeySet(KeyNotice.parse(envelope.body), envelope, row.state)
