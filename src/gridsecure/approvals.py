"""Approvals of releases: who agreed, besides whoever asked, and how anybody can check it.

What is asked for has a text, the *subject*, and the subject a digest. An officer signs the digest
with a key of their own. Vault, checker and readers of a certificate check the signatures by the
functions here, each with public keys that were pinned where it runs.

Invariants:
- A key is one officer's, and an officer has one role.
- An approval is of one subject. Whoever asked for it does not approve it.
- An approval ends by itself.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Final, Literal, NamedTuple, Self, TypeVar

from pydantic import Field, model_validator

from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import (
    AuthenticityError,
    InputError,
    InvalidMessageError,
    ReleaseRefusedError,
    SignatureError,
)
from gridsecure.messages import (
    VERSION,
    ColumnEntry,
    Digest,
    Message,
    PlanName,
    ReleaseCertificate,
    RosterManifest,
    Signed,
    open_message,
)
from gridsecure.month_texts import read_moment

OfficersT = TypeVar("OfficersT", "ReleaseApproval", "ReleaseAuthorisation")

ApproverRole = Literal["data-owner", "privacy-officer"]
APPROVER_ROLES: Final[tuple[ApproverRole, ...]] = ("data-owner", "privacy-officer")

PersonRole = Literal[
    ApproverRole, "billing", "analyst", "custodian", "regulator", "operator", "member"
]
"""What people may log in as; a member is of an organisation of the data market, which says there
what it may."""

Scope = Literal["everything", "domain", "purpose"]
"""整体授权, 分领域授权, 依场景授权."""
Domain = Literal["bills", "load-curves", "previews", "queries"]
"""What a standing authorisation of a domain is about; corrections are bills."""
DOMAINS: Final[tuple[Domain, ...]] = ("bills", "load-curves", "previews", "queries")

LONGEST_DAYS: Final = 31
"""Longest that an approval may hold [days]."""
LONGEST_STANDING_DAYS: Final = 366
"""Longest that a standing authorisation may hold [days]."""
SKEW: Final = timedelta(minutes=5)
"""How far the clock of whoever signs may be ahead."""

SUPPLIER: Final = "supplier:"
"""Before the first digits of a supplier's officer's key, where lists say what is missing."""
_SHOWN: Final = 16

MISSING: Final = "approval.missing"
EXPIRED: Final = "approval.expired"
REVOKED: Final = "approval.revoked"
REJECTION: Final = "approval.rejected"


class AskedCell(Message):
    """A cell of which something would be told, and how many meter points are in it."""

    kind: ClassVar[str] = "asked-cell"
    zone: str
    customer_class: str
    meter_points: int


class ReleaseSubject(Message):
    """What is asked to be released, as approvers see and sign it.

    Args:
        request_id: The request; its name is made of all that it asks for.
        requested_by: Who asked; of an analyst the query, which names nobody.
        resolutions: How often its numbers are given.
        transcripts: SM3 over the digests of the signed transcripts, in their order.
        outputs: Of each transcript, SM3 over the sorted digests of all of it that would be
            decrypted; sorted.
        rosters: SM3 of the text of every roster that the vault would be handed, sorted. A roster
            says which slot is in which cell.
        tariffs: Likewise of every tariff.
        policy: Digest of the policy that it would be released under.
        needed: Roles whose approval that policy wants.
        standing: Those of them for which it takes a standing authorisation as well.
        question: Of a sealed query, the salted digest of what is asked, which officers read at the
            authority. Its cells are then all that lies there, whomever the question is about.
        groups: Digest over who would be added to whom.
        steps: Digest of what would be added up when.
        epsilon: What its numbers may cost, where they are told with noise; else empty.
        suppliers: Of each owner of columns who wants to be asked, thumbprints of its officers'
            keys. One of them approves this very subject: no authorisation will do.
    """

    kind: ClassVar[str] = "release-subject"
    request_id: str
    plan: PlanName
    start: str
    end: str
    purpose: str
    requested_by: str
    resolutions: list[str]
    measures: list[str]
    cells: list[AskedCell]
    transcripts: Digest
    outputs: list[Digest]
    rosters: list[Digest]
    tariffs: list[Digest]
    policy: Digest
    policy_name: str
    policy_version: int
    needed: list[ApproverRole]
    standing: list[ApproverRole]
    question: Digest = ""
    groups: Digest = ""
    steps: Digest = ""
    epsilon: str = ""
    suppliers: list[list[Digest]] = Field(default=[])


class ReleaseApproval(Message):
    """What an officer decided about one subject.

    Args:
        subject: Digest of the subject's text.
        person: As the officer's key is pinned.
        decided_at: ISO 8601, aware; likewise `expires_at`, after which it counts no more.
        note: Why, in words; public.
    """

    kind: ClassVar[str] = "release-approval"
    subject: Digest = Field(pattern=r"^[0-9a-f]{64}$")
    decision: Literal["approve", "reject"]
    person: str
    role: ApproverRole
    decided_at: str
    expires_at: str
    note: str = Field(default="", max_length=300)


class ReleaseAuthorisation(Message):
    """An officer's standing authorisation: approves whatever is in its scope until it ends.

    Args:
        scope: Everything, one domain, or one purpose.
        domain: The domain, of that scope; else empty.
        purpose: The purpose, of that scope; else empty.
        policy: Digest of the policy under which it holds: another one needs another authorisation.
        issued_at: ISO 8601, aware; likewise `expires_at`.
    """

    kind: ClassVar[str] = "release-authorisation"
    person: str
    role: ApproverRole
    scope: Scope
    domain: Literal["", Domain] = ""
    purpose: str = Field(default="", max_length=64)
    policy: Digest = Field(pattern=r"^[0-9a-f]{64}$")
    issued_at: str
    expires_at: str
    note: str = Field(default="", max_length=300)

    @model_validator(mode="after")
    def _says_its_scope(self) -> Self:
        if (self.scope == "domain") != bool(self.domain) or (
            (self.scope == "purpose") != bool(self.purpose)
        ):
            raise ValueError("a scope says its domain or its purpose, and nothing else")
        return self


def subject_domain(subject: ReleaseSubject) -> Domain:
    """The domain of a subject."""
    if subject.purpose == "preview":
        return "previews"
    if subject.plan == "query":
        return "queries"
    return "load-curves" if subject.plan == "load-curve" else "bills"


def subject_digest(text: str) -> Digest:
    """What approvers sign of a subject's exact text."""
    return sm3_hex(f"gridsecure/{VERSION}/{ReleaseSubject.kind}\n{text}".encode())


def list_digest(digests: Iterable[Digest]) -> Digest:
    """What a subject says of a list of digests."""
    return sm3_hex("".join(digests).encode())


def outputs_digest(entries: Iterable[ColumnEntry]) -> Digest:
    """What a subject says of all that would be decrypted of one transcript."""
    return list_digest(sorted({entry.digest for entry in entries}))


def roster_digest(roster: RosterManifest) -> Digest:
    """What a subject says of a roster."""
    return sm3_hex(roster.model_dump_json().encode())


@dataclass(frozen=True, slots=True)
class Approver:
    """An officer whose approval counts.

    Args:
        person: The name that the officer signs in with.
    """

    person: str
    role: ApproverRole
    key: Sm2PublicKey


Approvers = Mapping[Digest, Approver]
"""Officers by the thumbprint of their key."""


class Ground(NamedTuple):
    """A signed approval that holds.

    Args:
        digest: Of the signed message.
        signer: Thumbprint of the officer's key.
        is_standing: Whether it is an authorisation, given before anything was asked.
    """

    digest: Digest
    signer: Digest
    person: str
    role: ApproverRole
    expires_at: datetime
    is_standing: bool = False


def pin_approvers(officers: Iterable[Approver]) -> Approvers:
    """Officers by key.

    Raises:
        InputError: A key or a person is there twice (`approval.person`): one person would count as
            two.
    """
    found = list(officers)
    by_key = {one.key.thumbprint: one for one in found}
    if len(by_key) != len(found) or len({one.person for one in found}) != len(found):
        raise InputError(
            "Two approvers are one person, or have one key.",
            reason="approval.person",
            remedy="Give every approver a name, a key and one role of their own.",
        )
    return by_key


def open_approval(envelope: Signed, *, approvers: Approvers) -> ReleaseApproval:
    """Read an officer's decision, of whatever subject.

    Raises:
        SignatureError: None of the officers signed it (`approval.signature`).
        InvalidMessageError: Signed, but of another shape.
        ReleaseRefusedError: It says another person or role than the key is pinned for
            (`approval.role`), or holds for too long (`approval.lifetime`).
    """
    approval = _open(envelope, ReleaseApproval, approvers)
    _check_lifetime(approval.decided_at, approval.expires_at, days=LONGEST_DAYS)
    return approval


def open_authorisation(envelope: Signed, *, approvers: Approvers) -> ReleaseAuthorisation:
    """Read an officer's standing authorisation.

    Raises:
        SignatureError, InvalidMessageError, ReleaseRefusedError: As `open_approval`.
    """
    standing = _open(envelope, ReleaseAuthorisation, approvers)
    _check_lifetime(standing.issued_at, standing.expires_at, days=LONGEST_STANDING_DAYS)
    return standing


def _open(envelope: Signed, expect: type[OfficersT], approvers: Approvers) -> OfficersT:
    keys = {name: one.key for name, one in approvers.items()}
    try:
        said = open_message(envelope, expect=expect, trusted=keys)
    except InvalidMessageError:
        raise
    except AuthenticityError as error:
        raise SignatureError(
            "An approval is not signed by an officer who may approve.",
            reason="approval.signature",
            remedy="Sign it with the key that is pinned for this officer.",
        ) from error
    officer = approvers[envelope.signer]
    if (said.person, said.role) != (officer.person, officer.role):
        raise _refused("An approval names another officer or role than its key is for", "role")
    return said


def _check_lifetime(begins: str, ends: str, *, days: int) -> None:
    start = _moment(begins)
    if not start < _moment(ends) <= start + timedelta(days=days):
        raise _refused(f"An approval of this kind may hold for {days} days at the most", "lifetime")


def check_authorisation(
    standing: ReleaseAuthorisation, subject: ReleaseSubject, *, now: datetime
) -> None:
    """Refuse an authorisation that a subject does not fall under.

    A sealed question falls under those of its own domain alone: whoever authorised everything, or a
    purpose, did not say that questions are released which no officer reads.

    Raises:
        ReleaseRefusedError: Another domain, purpose or policy (`approval.scope`); of the
            requester's (`approval.requester`); or it does not hold at this time
            (`approval.expired`).
    """
    is_question = subject.plan == "query"
    scopes = {
        "everything": not is_question,
        "domain": standing.domain == subject_domain(subject),
        "purpose": standing.purpose == subject.purpose and not is_question,
    }
    if not scopes[standing.scope] or standing.policy != subject.policy:
        raise _refused("A standing authorisation is of something else", "scope")
    _check_holds(standing.person, subject, (standing.issued_at, standing.expires_at), now)


def check_approval(
    approval: ReleaseApproval, subject: ReleaseSubject, *, digest: Digest, now: datetime
) -> None:
    """Refuse a decision that does not count for a subject.

    Args:
        digest: The subject's.

    Raises:
        ReleaseRefusedError: It is about another subject (`approval.subject`), of the requester's
            (`approval.requester`), or does not hold at this time (`approval.expired`).
    """
    if approval.subject != digest:
        raise _refused("An approval is of another request", "subject")
    _check_holds(approval.person, subject, (approval.decided_at, approval.expires_at), now)


def _check_holds(
    person: str, subject: ReleaseSubject, span: tuple[str, str], now: datetime
) -> None:
    if person == subject.requested_by:
        raise _refused("Whoever asks for a release does not approve it", "requester")
    begins, ends = map(_moment, span)
    if not begins - SKEW <= now < ends:
        raise _refused("An approval has expired, or is dated in the future", "expired")


def read_ground(
    envelope: Signed,
    subject: ReleaseSubject,
    *,
    digest: Digest,
    approvers: Approvers,
    now: datetime,
) -> Ground:
    """An approval, or a standing authorisation, that holds for a subject.

    Raises:
        AuthenticityError, InvalidMessageError, ReleaseRefusedError: As `open_approval` and
            `check_approval`, or `open_authorisation` and `check_authorisation`; or it is a
            rejection (`approval.rejected`).
    """
    if envelope.body_kind == ReleaseAuthorisation.kind:
        standing = open_authorisation(envelope, approvers=approvers)
        check_authorisation(standing, subject, now=now)
        return Ground(
            envelope.digest,
            envelope.signer,
            standing.person,
            standing.role,
            _moment(standing.expires_at),
            is_standing=True,
        )
    approval = open_approval(envelope, approvers=approvers)
    check_approval(approval, subject, digest=digest, now=now)
    if approval.decision != "approve":
        raise rejected_error()
    return Ground(
        envelope.digest,
        envelope.signer,
        approval.person,
        approval.role,
        _moment(approval.expires_at),
    )


def check_grounds(
    grounds: Iterable[Ground],
    *,
    needed: Iterable[str],
    standing: Iterable[str],
    suppliers: Iterable[Sequence[Digest]] = (),
) -> None:
    """Refuse what too few officers approved.

    Args:
        needed: Roles whose approval is needed.
        standing: Those of them for which an authorisation will do.
        suppliers: As a subject names them.

    Raises:
        ReleaseRefusedError: A person is counted twice (`approval.repeated`); a role or a supplier
            is missing (`approval.missing`).
    """
    found, may_stand = list(grounds), set(standing)
    if len({ground.person for ground in found}) != len(found):
        raise _refused("One person approves a release twice", "repeated")
    given = {one.role for one in found if not one.is_standing or one.role in may_stand}
    signed = {one.signer for one in found if not one.is_standing}
    lacking = sorted(set(needed) - given) + name_lacking(suppliers, signed)
    if lacking:
        raise missing_error(lacking)


def name_lacking(suppliers: Iterable[Sequence[Digest]], signed: Container[Digest]) -> list[str]:
    """Suppliers of whom nobody signed, as lists of what is missing name them.

    Args:
        signed: Thumbprints of the keys that approved the very subject.
    """
    return [
        "/".join(f"{SUPPLIER}{name[:_SHOWN]}" for name in own)
        for own in suppliers
        if not any(name in signed for name in own)
    ]


def is_lacking(officer: Approver, missing: Iterable[str]) -> bool:
    """Whether an officer's approval is among those that are missing."""
    own = f"{SUPPLIER}{officer.key.thumbprint[:_SHOWN]}"
    return any(own in one.split("/") or one == officer.role for one in missing)


def verify_certificate(
    certificate: ReleaseCertificate, *, approvers: Approvers, roles: Iterable[str]
) -> list[Ground]:
    """Who approved what a certificate releases, by officers' keys that its reader pinned.

    Args:
        certificate: Its own signature was verified.
        roles: Those that its reader wants to have approved, besides those that its subject names:
            nobody but the authority answers for what the subject says that policy wanted.

    Raises:
        ReleaseRefusedError: It names no approvals (`approval.none`), those of something else
            (`approval.certificate`), or as `read_ground` and `check_grounds`.
        AuthenticityError: A signature is none of the officers'.
    """
    if not certificate.subject:
        raise _refused("The certificate names no approvals", "none")
    subject = ReleaseSubject.parse(certificate.subject)
    said = certificate
    if (
        (subject.request_id, subject.plan, subject.purpose, subject.requested_by)
        != (said.release_id, said.plan, said.purpose, said.requested_by)
        or (subject.start, subject.end) != (said.start, said.end)
        or (subject.policy, subject.transcripts) != (said.policy, list_digest(said.transcripts))
        or subject.question != said.question
    ):
        raise _refused("The certificate releases something else than was approved", "certificate")
    grounds = [
        read_ground(
            one,
            subject,
            digest=subject_digest(certificate.subject),
            approvers=approvers,
            now=_moment(certificate.released_at),
        )
        for one in certificate.approvals
    ]
    check_grounds(
        grounds,
        needed={*subject.needed, *roles},
        standing=subject.standing,
        suppliers=subject.suppliers,
    )
    return grounds


def missing_error(roles: Iterable[str]) -> ReleaseRefusedError:
    """That approvals are still missing."""
    return ReleaseRefusedError(
        f"The release waits for the approval of: {', '.join(roles)}.",
        reason=MISSING,
        remedy="Have them sign it (gridsecure approval sign), then start another release round.",
    )


def rejected_error() -> ReleaseRefusedError:
    """That an officer said no."""
    return _refused("An officer rejected the release", "rejected")


def revoked_error() -> ReleaseRefusedError:
    """That an approval, or the officer who gave it, was revoked."""
    return _refused("An approval rests on a key or word that was revoked", "revoked")


def expired_error() -> ReleaseRefusedError:
    """That an approval ended while the release was at work."""
    return _refused("An approval expired before the release was done", "expired")


def _refused(message: str, code: str) -> ReleaseRefusedError:
    return ReleaseRefusedError(
        f"{message}.",
        reason=f"approval.{code}",
        remedy="Look at the request (gridsecure approval show), and have it approved anew.",
    )


def _moment(text: str) -> datetime:
    moment = read_moment(text)
    if moment is None:
        raise InvalidMessageError("A time of an approval is none.", reason="approval.time")
    return moment
