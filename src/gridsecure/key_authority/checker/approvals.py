"""Approvals as the checker keeps them: taken in from officers, gathered for the vault, revoked.

The checker's word about them is worth nothing to the vault, which checks the signatures again with
keys of its own. What is checked here spares the vault's time and tells officers what is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from gridsecure.approvals import (
    Approver,
    Approvers,
    ReleaseApproval,
    ReleaseSubject,
    check_approval,
    check_grounds,
    name_lacking,
    open_approval,
    read_ground,
    rejected_error,
    revoked_error,
)
from gridsecure.errors import ConflictError, NotFoundError, ReleaseRefusedError
from gridsecure.key_authority.checker.agreements import require_agreement
from gridsecure.key_authority.checker.authorisations import find_standing
from gridsecure.key_authority.checker.subjects import (
    REFUSED,
    REJECTED,
    RELEASED,
    WAITING,
    Subject,
)
from gridsecure.key_authority.checker.tables import (
    ApprovalRow,
    ApproverRevocationRow,
    SubjectRow,
)
from gridsecure.key_authority.checker.vault_counts import follow_counts
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.key_authority.packages import Approved, GroundRevocation
from gridsecure.messages import Digest, Signed, sign_message
from gridsecure.month_texts import read_moment
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.pages import PageAsked, narrow, newest, read_page
from gridsecure.store.rows import advance, find, find_each, keep, load_row

GIVEN, EXPIRED = "given", "expired"


@dataclass(frozen=True, slots=True)
class AskedApproval:
    """A subject, and what officers said of it.

    Args:
        text: The subject's exact text.
        state: "waiting", "rejected", "refused" or "released".
        decisions: Signed, oldest first; also those that expired.
        missing: Roles whose approval is still needed, and suppliers, as `name_lacking` has them.
    """

    digest: Digest
    text: str
    state: str
    decisions: list[Signed]
    missing: list[str]


def gather_approvals(zone: AuthorityZone, subject: Subject, *, now: datetime) -> Approved:
    """What the vault is shown of a subject's approvals, once there are enough.

    Raises:
        ReleaseRefusedError: An officer rejected it (`approval.rejected`), or approvals are missing
            (`approval.missing`): those that expired or were revoked count no more. Or policy wants
            an agreement, and none that was named holds (`agreement.missing`).
        AuthenticityError: What is kept of an approval was altered.
    """
    with read_session(zone.engine) as session:
        row = load_row(session, SubjectRow, digest=subject.digest)
        kept = _decisions(session, [subject.digest])
        revoked = _revoked(session)
    if row.state == REJECTED:
        raise rejected_error()
    _enter_expired(zone, [one for one in kept if _is_over(one, now)], now=now)
    officers = _unrevoked(zone.approvers, revoked)
    live = [one.envelope for one in kept if _counts(one, officers, now)]
    message = subject.message
    lacking = set(message.standing) - {zone.approvers[one.signer].role for one in live}
    if lacking and not _was_rejected(zone, message):
        live += find_standing(zone, message, roles=lacking, now=now)
    grounds = [
        read_ground(one, message, digest=subject.digest, approvers=zone.approvers, now=now)
        for one in live
    ]
    check_grounds(
        grounds,
        needed=message.needed,
        standing=message.standing,
        suppliers=message.suppliers,
    )
    agreement = require_agreement(zone, message, now=now)
    level = zone.level.digest if zone.level else ""
    return Approved(subject=subject.text, grounds=live, level=level, agreement=agreement)


def record_approval(zone: AuthorityZone, envelope: Signed, *, bearer: str, now: datetime) -> None:
    """Keep what an officer decided; the same again changes nothing.

    Args:
        bearer: Who sends it; only officers themselves send their decisions.

    Raises:
        SignatureError, InvalidMessageError: As `open_approval`.
        ReleaseRefusedError: Its key was revoked (`approval.revoked`); another officer sends it
            (`approval.role`); it is about a subject of another policy (`approval.policy`); or as
            `open_approval` and `check_approval`.
        ConflictError: It comes after the release (`approval.released`) or a rejection
            (`approval.rejected`), or this officer's earlier approval still holds
            (`approval.repeated`).
        NotFoundError: Nobody asked for such a release (`not-found.release-subject`).
    """
    approval = open_approval(envelope, approvers=zone.approvers)
    if bearer != approval.person:
        raise ReleaseRefusedError(
            "An approval is sent by another person than signed it.",
            reason="approval.role",
            remedy="Sign in as the officer who signed it.",
        )
    with write_session(zone.engine) as session:
        row = load_row(session, SubjectRow, digest=approval.subject)
        if find(session, ApprovalRow, digest=envelope.digest) is not None:
            return
        if envelope.signer in _revoked(session):
            raise revoked_error()
        _check_state(zone, row)
        check_approval(approval, ReleaseSubject.parse(row.text), digest=row.digest, now=now)
        earlier = _decisions(session, [row.digest])
        if approval.decision == "approve" and any(
            one.signer == envelope.signer and _counts(one, zone.approvers, now) for one in earlier
        ):
            raise _conflict("This officer has approved the request already", "repeated")
        _keep(session, envelope, approval, at=now)
        if approval.decision == "reject":
            advance(session, SubjectRow, source=WAITING, target=REJECTED, digest=row.digest)


def _was_rejected(zone: AuthorityZone, subject: ReleaseSubject) -> bool:
    """Whether an officer said no to what a subject asks for, whoever asked for it then.

    A request is named by who asks and by its transcripts: the same ordered again has another name.
    """
    with read_session(zone.engine) as session:
        texts = session.exec(select(col(SubjectRow.text)).where(SubjectRow.state == REJECTED)).all()
    return any(_is_like(subject, ReleaseSubject.parse(text)) for text in texts)


def _is_like(one: ReleaseSubject, other: ReleaseSubject) -> bool:
    """Whether two subjects are of one plan, of times that overlap, and share a cell.

    The cells of sealed questions are all that lies there, so any of the same time is like another:
    one meter point more or less would make a rejected question a new one.
    """
    if one.plan != other.plan:
        return False
    cells, others = ({(c.zone, c.customer_class) for c in each.cells} for each in (one, other))
    start, end = read_moment(one.start), read_moment(one.end)
    began, ended = read_moment(other.start), read_moment(other.end)
    if not (start and end and began and ended):
        return True  # a time that cannot be read is no way round a rejection
    return start < ended and began < end and not cells.isdisjoint(others)


def settle_subject(session: Session, digest: Digest) -> None:
    """Note that a subject was released, in the transaction that keeps what was.

    Raises:
        ReleaseRefusedError: An officer rejected it meanwhile (`approval.rejected`).
    """
    if not advance(session, SubjectRow, source=WAITING, target=RELEASED, digest=digest):
        raise rejected_error()


def revoke_approver(zone: AuthorityZone, person: str, *, actor: str, at: datetime) -> None:
    """Let an officer's key approve nothing from now on, also what is being released.

    The vault is told first: once this returns, it decrypts nothing more by that key.

    Raises:
        NotFoundError: There is no officer of that name (`not-found.approver`).
        GridSecureError: The vault cannot be reached (`vault.down`); nothing is revoked.
    """
    officer = _find_officer(zone.approvers.values(), person)
    signer = officer.key.thumbprint
    zone.vault.revoke_ground(sign_message(GroundRevocation(name=signer), key=zone.signing_key))
    follow_counts(zone, at=at)
    with write_session(zone.engine) as session:
        if keep(session, ApproverRevocationRow(signer=signer, at=at)):
            detail: dict[str, evidence.JSON] = {"person": person, "signer": signer}
            evidence.append(session, at=at, actor=actor, action="approver.revoked", detail=detail)


def read_subjects(
    session: Session,
    asked: PageAsked,
    *,
    state: str,
    officers: Approvers,
    now: datetime,
    keys: Collection[Digest] | None = None,
) -> tuple[list[AskedApproval], int | None]:
    """A page of subjects with their decisions, oldest first, and where it ends if more come.

    Args:
        keys: Those alone that want the approval of a supplier's officer with one of these keys, so
            that a page may have fewer; None for all.
    """
    found = narrow(select(SubjectRow), [(SubjectRow.state, state)])
    page = read_page(session, found, key=SubjectRow.id, asked=asked)
    rows = [row for row in page.rows if keys is None or _concerns(row, keys)]
    return _asked(session, rows, officers=officers, now=now), page.after


def _concerns(row: SubjectRow, keys: Collection[Digest]) -> bool:
    """Whether one of some keys is asked for a supplier's approval."""
    suppliers = ReleaseSubject.parse(row.text).suppliers
    return any(name in keys for own in suppliers for name in own)


def read_subject(
    zone: AuthorityZone, digest: Digest, *, now: datetime, keys: Collection[Digest] | None = None
) -> AskedApproval:
    """One subject with its decisions.

    Args:
        keys: As of `read_subjects`.

    Raises:
        NotFoundError: There is none (`not-found.release-subject`).
    """
    with read_session(zone.engine) as session:
        row = load_row(session, SubjectRow, digest=digest)
        if keys is not None and not _concerns(row, keys):
            row = load_row(session, SubjectRow, digest="")  # as where there is none
        (one,) = _asked(session, [row], officers=zone.approvers, now=now)
    return one


def read_revision(session: Session) -> object:
    """Differs whenever a list of subjects does, but for what time alone changes.

    A subject's state only ever changes from waiting, or to it.
    """
    waiting = select(SubjectRow.id).where(SubjectRow.state == WAITING).order_by(col(SubjectRow.id))
    return (
        newest(session, SubjectRow.id),
        newest(session, ApprovalRow.id),
        list(session.exec(waiting)),
        sorted(_revoked(session)),
    )


def list_approvers(zone: AuthorityZone) -> list[tuple[Approver, bool]]:
    """The officers, and whether the key of each was revoked."""
    with read_session(zone.engine) as session:
        revoked = _revoked(session)
    officers = sorted(zone.approvers.values(), key=lambda one: one.person)
    return [(one, one.key.thumbprint in revoked) for one in officers]


def _asked(
    session: Session, rows: Iterable[SubjectRow], *, officers: Approvers, now: datetime
) -> list[AskedApproval]:
    found = list(rows)
    counted = _unrevoked(officers, _revoked(session))
    by_subject: dict[str, list[ApprovalRow]] = {row.digest: [] for row in found}
    for one in _decisions(session, list(by_subject)):
        by_subject[one.subject].append(one)
    made = []
    for row in found:
        own = by_subject[row.digest]
        # What is over misses nothing, and most of a list is over.
        missing = _missing(row, own, counted, now) if row.state == WAITING else []
        envelopes = [one.envelope for one in own]
        made.append(AskedApproval(row.digest, row.text, row.state, envelopes, missing))
    return made


def _missing(
    row: SubjectRow, decisions: Iterable[ApprovalRow], officers: Approvers, now: datetime
) -> list[str]:
    live = [
        (one.signer, ReleaseApproval.parse(one.envelope.body))
        for one in decisions
        if _counts(one, officers, now)
    ]
    given = {one.role for _, one in live if one.decision == "approve"}
    signed = {signer for signer, one in live if one.decision == "approve"}
    subject = ReleaseSubject.parse(row.text)
    return [
        *(role for role in subject.needed if role not in given),
        *name_lacking(subject.suppliers, signed),
    ]


def _decisions(session: Session, subjects: list[str]) -> list[ApprovalRow]:
    """What was decided about some subjects, oldest first."""
    found = find_each(session, ApprovalRow, subjects, by="subject")
    return sorted(found, key=lambda row: row.id or 0)


def _revoked(session: Session) -> set[str]:
    """Thumbprints of keys that approve nothing any more: as few as there ever were officers."""
    return set(session.exec(select(col(ApproverRevocationRow.signer))))


def _unrevoked(officers: Approvers, revoked: set[str]) -> Approvers:
    return {signer: one for signer, one in officers.items() if signer not in revoked}


def _is_over(row: ApprovalRow, now: datetime) -> bool:
    return now >= row.expires_at


def _counts(row: ApprovalRow, officers: Approvers, now: datetime) -> bool:
    """Whether an approval holds, by the officers as they are now: with new keys, or names.

    Args:
        officers: Whose keys were not revoked.
    """
    officer = officers.get(row.signer)
    if officer is None or _is_over(row, now):
        return False
    said = ReleaseApproval.parse(row.envelope.body)
    return (said.person, said.role) == (officer.person, officer.role)


def _check_state(zone: AuthorityZone, row: SubjectRow) -> None:
    if row.state == RELEASED:
        raise _conflict("The request was released before this was decided", "released")
    if row.state == REFUSED:
        raise _conflict("The request was refused for another reason", "refused")
    if row.state == REJECTED:
        raise _conflict("An officer has rejected the request", "rejected")
    if row.policy != zone.policy.digest:
        raise ReleaseRefusedError(
            "The request was asked for under another policy than holds now.",
            reason="approval.policy",
            remedy="Start a release round, which asks anew, and approve what it lists then.",
        )


def _keep(session: Session, envelope: Signed, approval: ReleaseApproval, *, at: datetime) -> None:
    row = ApprovalRow(
        subject=approval.subject,
        signer=envelope.signer,
        decision=approval.decision,
        expires_at=datetime.fromisoformat(approval.expires_at),
        state=GIVEN,
        digest=envelope.digest,
        message=envelope.model_dump_json(),
        at=at,
    )
    keep(session, row)
    said = "given" if approval.decision == "approve" else "rejected"
    _enter(session, f"approval.{said}", row, approval, at=at)


def _enter_expired(zone: AuthorityZone, rows: list[ApprovalRow], *, now: datetime) -> None:
    """Enter each approval that expired before it was used, once."""
    new = [row for row in rows if row.state == GIVEN]
    if not new:
        return
    with write_session(zone.engine) as session:
        for row in new:
            if advance(session, ApprovalRow, source=GIVEN, target=EXPIRED, digest=row.digest):
                approval = ReleaseApproval.parse(json.loads(row.message)["body"])
                _enter(session, "approval.expired", row, approval, at=now)


def _enter(
    session: Session, action: str, row: ApprovalRow, approval: ReleaseApproval, *, at: datetime
) -> None:
    detail: dict[str, evidence.JSON] = {
        "subject": approval.subject,
        "approval": row.digest,
        "person": approval.person,
        "role": approval.role,
        "expires_at": approval.expires_at,
    }
    evidence.append(session, at=at, actor=approval.person, action=action, detail=detail)


def _find_officer(officers: Iterable[Approver], person: str) -> Approver:
    for officer in officers:
        if officer.person == person:
            return officer
    raise NotFoundError(
        "There is no approver of that name.",
        reason="not-found.approver",
        remedy="Name one of GRIDSECURE_AUTHORITY_APPROVERS.",
    )


def _conflict(message: str, code: str) -> ConflictError:
    return ConflictError(
        f"{message}.",
        reason=f"approval.{code}",
        remedy="Look at the request (gridsecure approval show).",
    )
