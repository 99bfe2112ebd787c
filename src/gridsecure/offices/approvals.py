"""An approver's part: what waits to be released, looked at and signed with the officer's own key.

What is shown is what is signed: the subject's text comes from the key authority, and its digest is
computed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from gridsecure.approvals import (
    APPROVER_ROLES,
    LONGEST_DAYS,
    Approver,
    ApproverRole,
    Domain,
    Ground,
    ReleaseApproval,
    ReleaseAuthorisation,
    ReleaseSubject,
    Scope,
    check_approval,
    is_lacking,
    pin_approvers,
    verify_certificate,
)
from gridsecure.credentials.sealed_questions import question_digest
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.errors import (
    AccessDeniedError,
    InputError,
    InvalidMessageError,
    NotFoundError,
)
from gridsecure.messages import Digest, ReleaseCertificate, Signed, open_message, sign_message
from gridsecure.offices.officers import Call
from gridsecure.wire.asked_releases import AskedRelease, other_text, read_listed
from gridsecure.wire.authority import ApprovalListed

APPROVALS: Final = "/approvals"
APPROVERS: Final = "/approvers"
AUTHORISATIONS: Final = "/authorisations"
USUAL_DAYS: Final = 7
"""How long an approval holds if nobody says [days]."""

Decision = Literal["approve", "reject"]


def list_asked(call: Call, *, state: str = "waiting") -> list[AskedRelease]:
    """What was asked to be released, oldest first.

    Args:
        call: Calls the services as somebody who may read approvals.
        state: Only those in it; empty for all.

    Raises:
        SignatureError: A text is not what its digest says (`approval.text`).
    """
    answer = call("authority", "GET", APPROVALS, params={"only": state})
    return [_read(one) for one in answer]


def read_asked(call: Call, digest: str) -> AskedRelease:
    """One of them, by its digest or the first digits of it.

    Raises:
        NotFoundError: None of what waits begins so, or several do (`approval.which`).
        SignatureError: As `list_asked`.
    """
    if len(digest) == 64:
        found = _read(call("authority", "GET", f"{APPROVALS}/{digest}"))
        if found.digest != digest:
            raise other_text()
        return found
    several = [one for one in list_asked(call) if one.digest.startswith(digest)]
    if len(several) != 1:
        raise NotFoundError(
            f"{len(several)} of the requests that wait begin with these digits.",
            reason="approval.which",
            remedy="Give the digest that `gridsecure approval list` prints.",
        )
    return several[0]


def read_question(call: Call, asked: AskedRelease) -> str:
    """What a sealed query asks, as its subject names it.

    Args:
        call: Calls the services as an officer; nobody else is told.

    Raises:
        SignatureError: It is another question than the subject's (`approval.text`).
        AccessDeniedError: Not an officer.
    """
    answer = call("authority", "GET", f"{APPROVALS}/{asked.digest}/question")
    if question_digest(answer["question"], salt=answer["salt"]) != asked.subject.question:
        raise other_text()
    return str(answer["question"])


def find_officer(call: Call, key: Sm2PrivateKey) -> Approver:
    """As whom the key authority knows a key.

    Raises:
        AccessDeniedError: It knows it as nobody's who approves (`approval.nobody`).
    """
    for one in call("authority", "GET", APPROVERS):
        if one["thumbprint"] == key.public_key.thumbprint:
            return Approver(one["person"], one["role"], key.public_key)
    raise AccessDeniedError(
        "The key authority knows this key as no approver's.",
        reason="approval.nobody",
        remedy="Have the key authority pin the officer's public key (docs/approvals.md).",
    )


def sign_decision(  # noqa: PLR0913 - who decides what, since when and how long
    subject: ReleaseSubject,
    digest: Digest,
    *,
    officer: Approver,
    key: Sm2PrivateKey,
    decision: Decision = "approve",
    now: datetime,
    days: int = USUAL_DAYS,
    note: str = "",
) -> Signed:
    """Sign what an officer decided.

    Args:
        digest: The subject's.
        days: How long it holds, 1 to 31.
        note: Why, in words that everybody may read.

    Raises:
        ReleaseRefusedError: The officer asked for it (`approval.requester`).
    """
    approval = ReleaseApproval(
        subject=digest,
        decision=decision,
        person=officer.person,
        role=officer.role,
        decided_at=now.isoformat(),
        expires_at=(now + timedelta(days=min(days, LONGEST_DAYS))).isoformat(),
        note=note,
    )
    check_approval(approval, subject, digest=digest, now=now)
    return sign_message(approval, key=key)


def send_decision(call: Call, decision: Signed) -> AskedRelease:
    """Hand a signed decision in; what is then known of the request.

    Raises:
        GridSecureError: The key authority refused it.
    """
    return _read(call("authority", "POST", APPROVALS, json=decision.model_dump()))


def approve_waiting(
    call: Call, *, key: Sm2PrivateKey, requests: Sequence[str], now: datetime
) -> list[AskedRelease]:
    """Approve those of some requests that still lack this officer's approval.

    Args:
        call: Calls the services as the officer.
        requests: Their ids, as a release round tells them.

    Returns:
        What was approved.

    Raises:
        GridSecureError: As for the functions above.
    """
    officer = find_officer(call, key)
    done = []
    for asked in list_asked(call):
        if asked.subject.request_id in requests and is_lacking(officer, asked.missing):
            decision = sign_decision(asked.subject, asked.digest, officer=officer, key=key, now=now)
            done.append(send_decision(call, decision))
    return done


def _read(answer: Any) -> AskedRelease:
    return read_listed(ApprovalListed.model_validate(answer))


def verify_approved(
    envelope: Signed, *, authority: Sm2PublicKey, officers: Sequence[str]
) -> list[Ground]:
    """Who approved what a certificate releases.

    Args:
        envelope: The certificate.
        officers: Each as ROLE=POINT, whose keys the reader pinned. Every role among them must have
            approved, whatever the certificate says that policy wanted.

    Raises:
        InputError: That is none (`approval.officer`), or as `pin_approvers`.
        AuthenticityError: A signature does not verify.
        ReleaseRefusedError: As `verify_certificate`.
    """
    trusted = {authority.thumbprint: authority}
    certificate = open_message(envelope, expect=ReleaseCertificate, trusted=trusted)
    keys = list(map(_officer, officers))
    people = {one.signer: _signed_by(one) for one in certificate.approvals}
    pinned = [
        # A reader pins keys; names are what the officers signed.
        Approver(people.get(key.thumbprint, role), role, key)
        for key, role in keys
    ]
    return verify_certificate(
        certificate, approvers=pin_approvers(pinned), roles={role for _, role in keys}
    )


def _signed_by(ground: Signed) -> str:
    """The officer whom an approval, or a standing authorisation, names."""
    if ground.body_kind == ReleaseAuthorisation.kind:
        return ReleaseAuthorisation.parse(ground.body).person
    return ReleaseApproval.parse(ground.body).person


def _officer(text: str) -> tuple[Sm2PublicKey, ApproverRole]:
    name, _, point = text.partition("=")
    for role in APPROVER_ROLES:
        if name == role:
            with suppress(ValueError, InvalidMessageError):
                return Sm2PublicKey(bytes.fromhex(point)), role
    raise InputError(
        "An officer is given as ROLE=POINT.",
        reason="approval.officer",
        remedy="Write data-owner= or privacy-officer=, then the key's 130 hexadecimal digits.",
    )


@dataclass(frozen=True, slots=True)
class StandingScope:
    """What an authorisation is about.

    Args:
        domain: Of that scope; else empty. Likewise `purpose`.
    """

    scope: Scope
    domain: Literal["", Domain] = ""
    purpose: str = ""


def give_authorisation(  # noqa: PLR0913 - who, what, under which policy, since when, how long
    call: Call,
    *,
    key: Sm2PrivateKey,
    scope: StandingScope,
    policy: Digest,
    now: datetime,
    days: int,
    note: str = "",
) -> Digest:
    """Sign a standing authorisation and hand it in; its digest.

    Args:
        policy: Digest of the policy under which it holds.
        days: How long, 1 to 366.

    Raises:
        AccessDeniedError: As `find_officer`.
        GridSecureError: The key authority refused it.
    """
    officer = find_officer(call, key)
    standing = ReleaseAuthorisation(
        person=officer.person,
        role=officer.role,
        scope=scope.scope,
        domain=scope.domain,
        purpose=scope.purpose,
        policy=policy,
        issued_at=now.isoformat(),
        expires_at=(now + timedelta(days=days)).isoformat(),
        note=note,
    )
    signed = sign_message(standing, key=key)
    call("authority", "POST", AUTHORISATIONS, json=signed.model_dump())
    return signed.digest


def list_authorisations(call: Call) -> list[tuple[Digest, str, ReleaseAuthorisation]]:
    """Standing authorisations by digest and state, as the key authority tells them."""
    return [
        (one["digest"], one["state"], ReleaseAuthorisation.parse(one["authorisation"]["body"]))
        for one in call("authority", "GET", AUTHORISATIONS)
    ]


def revoke_authorisation(call: Call, digest: str) -> None:
    """Let an authorisation count no more.

    Raises:
        NotFoundError: None, or several, begin with these digits (`approval.which`).
    """
    found = [name for name, _, _ in list_authorisations(call) if name.startswith(digest)]
    if len(found) != 1:
        raise NotFoundError(
            f"{len(found)} standing authorisations begin with these digits.",
            reason="approval.which",
            remedy="Give the digest that `gridsecure authorisation list` prints.",
        )
    call("authority", "POST", f"{AUTHORISATIONS}/{found[0]}/revoke")
