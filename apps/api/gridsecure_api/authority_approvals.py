"""Approvals: what waits to be released, and what officers decide about it.

A token says who sends; what counts is the officer's own signature, which the vault checks again.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import TypeAdapter

from gridsecure.approvals import APPROVER_ROLES, ReleaseApproval
from gridsecure.circulation.agreed_releases import AgreementProof
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.key_authority.checker import agreements, approvals, authorisations, query_answers
from gridsecure.messages import Signed
from gridsecure.wire.authority import (
    AgreementNamed,
    ApprovalListed,
    ApproverListed,
    AuthorisationListed,
    QuestionShown,
)
from gridsecure_api.authority_state import State
from gridsecure_api.deps import is_guest, read_claims, require
from gridsecure_api.lists import KEPT_ANSWERS, PAGED, Paging, answer_page, answer_whole

Officer = Annotated[TokenClaims, Depends(require(*APPROVER_ROLES))]
Reader = Depends(require(*APPROVER_ROLES, "billing", "custodian", "operator", "regulator"))


async def _own_keys(request: Request, state: State) -> frozenset[str] | None:
    """The keys of an officer of another tenant, who is shown what is about them; None of others."""
    if not is_guest(request):
        return None
    person, officers = read_claims(request).subject, state.zone.approvers
    return frozenset(name for name, one in officers.items() if one.person == person)


OwnKeys = Annotated[frozenset[str] | None, Depends(_own_keys)]
Namer = Annotated[TokenClaims, Depends(require("member"))]
Revoker = Annotated[TokenClaims, Depends(require(*APPROVER_ROLES, "custodian"))]
StateAsked = Annotated[
    Literal["", "waiting", "rejected", "refused", "released"],
    Query(description="Only those in this state."),
]

_LISTED: Final = TypeAdapter(list[ApprovalListed])
_STANDING: Final = TypeAdapter(list[AuthorisationListed])

router = APIRouter(tags=["approvals"])


@router.get(
    "/approvals", dependencies=[Reader], response_model=list[ApprovalListed], responses=PAGED
)
async def list_approvals(
    request: Request, state: State, asked: Paging, keys: OwnKeys, only: StateAsked = ""
) -> Response:
    """What was asked to be released, oldest first, page by page, with what officers decided.

    Officers of other tenants are shown what wants their approval as suppliers.
    """
    now = state.clock()
    return await answer_page(
        request,
        state.zone.engine,
        # Approvals expire while nothing is written: a page is as old as its minute at the most.
        revision=lambda session: (approvals.read_revision(session), f"{now:%Y%m%d%H%M}"),
        read=lambda session: approvals.read_subjects(
            session, asked, state=only, officers=state.zone.approvers, now=now, keys=keys
        ),
        write=lambda found: _LISTED.dump_json([_listed(one) for one in found]),
        # A reader of the own tenant sees all, and a guest without a key of an officer's none.
        scope=None if keys is None else tuple(sorted(keys)),
    )


@router.get("/approvals/{subject}", dependencies=[Reader])
def read_approval(subject: str, state: State, keys: OwnKeys) -> ApprovalListed:
    """One of them."""
    return _listed(approvals.read_subject(state.zone, subject, now=state.clock(), keys=keys))


@router.get("/approvals/{subject}/question")
def read_question(subject: str, state: State, _officer: Officer, keys: OwnKeys) -> QuestionShown:
    """What a sealed query asks, for officers alone: its text, and the salt of its digest."""
    approvals.read_subject(state.zone, subject, now=state.clock(), keys=keys)
    content = query_answers.read_asked_question(state.zone, subject)
    return QuestionShown(question=content.question, salt=content.salt)


@router.post("/approvals")
def give_approval(
    decision: Signed, officer: Officer, state: State, keys: OwnKeys
) -> ApprovalListed:
    """Take in an officer's signed decision; the same again changes nothing."""
    now = state.clock()
    if keys is not None:
        asked = ReleaseApproval.parse(decision.body).subject
        approvals.read_subject(state.zone, asked, now=now, keys=keys)
    approvals.record_approval(state.zone_now(), decision, bearer=officer.subject, now=now)
    subject = ReleaseApproval.parse(decision.body).subject
    return _listed(approvals.read_subject(state.zone, subject, now=now))


@router.post("/release-agreements")
def name_agreement(proof: AgreementProof, member: Namer, state: State) -> AgreementNamed:
    """Take in under which agreement a release is asked for; the same again changes nothing.

    Where policy wants an agreement for a purpose, no release of it is made before. What counts are
    the signatures in it, of both sides and of the registration office.
    """
    now = state.clock()
    row = agreements.record_agreement(state.zone_now(), proof, bearer=member.subject, now=now)
    return AgreementNamed(release=row.release_id, agreement=row.agreement, state=row.state)


@router.get(
    "/approvers",
    dependencies=[Reader],
    response_model=list[ApproverListed],
    responses=KEPT_ANSWERS,
)
async def read_approvers(request: Request, state: State, keys: OwnKeys) -> Response:
    """The officers whose approval counts; officers of other tenants are shown themselves."""

    def read() -> list[ApproverListed]:
        seen = [one for one in _approvers(state) if keys is None or one.thumbprint in keys]
        return seen

    return await answer_whole(request, read, scope=keys)


def _approvers(state: State) -> list[ApproverListed]:
    return [
        ApproverListed(
            person=one.person,
            role=one.role,
            thumbprint=one.key.thumbprint,
            is_revoked=is_revoked,
        )
        for one, is_revoked in approvals.list_approvers(state.zone)
    ]


@router.post("/approvers/{person}/revoke")
def revoke_approver(person: str, revoker: Revoker, state: State) -> list[ApproverListed]:
    """Let an officer's key approve nothing more, for good and at once; the officers after it."""
    approvals.revoke_approver(state.zone, person, actor=revoker.subject, at=state.clock())
    return _approvers(state)


@router.get(
    "/authorisations",
    dependencies=[Reader],
    response_model=list[AuthorisationListed],
    responses=PAGED,
)
async def list_authorisations(request: Request, state: State, asked: Paging) -> Response:
    """Standing authorisations, oldest first, page by page."""
    now = state.clock()
    return await answer_page(
        request,
        state.zone.engine,
        revision=lambda session: (authorisations.read_revision(session), f"{now:%Y%m%d%H%M}"),
        read=lambda session: authorisations.read_authorisations(session, asked, now=now),
        write=lambda found: _STANDING.dump_json([_standing(one) for one in found]),
    )


@router.post("/authorisations")
def give_authorisation(standing: Signed, officer: Officer, state: State) -> AuthorisationListed:
    """Take in an officer's signed authorisation; the same again changes nothing."""
    now = state.clock()
    authorisations.record_authorisation(state.zone_now(), standing, bearer=officer.subject, now=now)
    return _standing(authorisations.read_authorisation(state.zone, standing.digest, now=now))


@router.post("/authorisations/{digest}/revoke")
def revoke_authorisation(digest: str, revoker: Revoker, state: State) -> AuthorisationListed:
    """Let a standing authorisation count no more, at once: also for what is being released."""
    now = state.clock()
    authorisations.revoke_authorisation(state.zone, digest, actor=revoker.subject, at=now)
    return _standing(authorisations.read_authorisation(state.zone, digest, now=now))


def _standing(one: authorisations.KeptAuthorisation) -> AuthorisationListed:
    return AuthorisationListed(
        digest=one.envelope.digest, state=one.state, authorisation=one.envelope
    )


def _listed(one: approvals.AskedApproval) -> ApprovalListed:
    return ApprovalListed(
        subject=one.digest,
        text=one.text,
        state=one.state,
        missing=one.missing,
        decisions=one.decisions,
    )
