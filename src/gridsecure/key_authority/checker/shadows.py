"""The checker's protocol for shadow runs: all of a release but the release.

1. the request is signed by the platform and the order in it by the billing office, and every
   transcript is about the order's month, plan, tariff and uploads;
2. every transcript holds: signed inputs, and the same outputs when executed again. So do the
   bills it is compared with, by the tariff of the rosters or as released before. A tried tariff
   means the columns that were uploaded, not others of the same names (`plans.previews`);
3. what the preview tells of a cell is told for good. The ledger withholds what cannot be told
   beside all that was told, and every later release is compared with the preview (`ledger`);
4. a cell answers so many questions a month and no more (`plans.previews`). They are spent before
   anything is decrypted: whether the vault can put bills together is an answer as well;
5. the vault decrypts, compares, and gives out aggregates; no statement is written;
6. the preview is signed, kept and entered in the evidence log, and the ledger with it.

There is no certificate, no version of a bill and no claim: a shadow run stops nothing from being
released later, but for what was told of its cells, and another correction of what it corrects
(`ledger`). Tariffs are tried on first uploads only. On
corrected readings beside the first, they would show what one household's correction was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func
from sqlmodel import Session, select

from gridsecure.approvals import ReleaseSubject, subject_digest
from gridsecure.billing.rules import line_rules
from gridsecure.errors import AuthenticityError, InvalidMessageError, ReleaseRefusedError
from gridsecure.key_authority.checker.approvals import gather_approvals, settle_subject
from gridsecure.key_authority.checker.bill_versions import make_version
from gridsecure.key_authority.checker.budgets import check_budget, spend_budget
from gridsecure.key_authority.checker.correction_proofs import ProvenCorrection, prove_correction
from gridsecure.key_authority.checker.counted_places import CountedPlaces
from gridsecure.key_authority.checker.held_policies import check_in_force
from gridsecure.key_authority.checker.key_sets import key_ring
from gridsecure.key_authority.checker.ledger import Period, check_overlap, enter
from gridsecure.key_authority.checker.logged_messages import NOT_ENTERED, enter_message
from gridsecure.key_authority.checker.rebills import CorrectionOrder, order_corrections
from gridsecure.key_authority.checker.releases import rules_of
from gridsecure.key_authority.checker.subjects import make_subject
from gridsecure.key_authority.checker.tables import PreviewCellRow, PreviewRow
from gridsecure.key_authority.checker.told_cells import Prepared, prepare_corrections
from gridsecure.key_authority.checker.usage import BOOK, SPENT
from gridsecure.key_authority.checker.vault_counts import check_counts
from gridsecure.key_authority.checker.verification import (
    begin_bill,
    prove,
)
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.key_authority.packages import Approved, CheckedPreview
from gridsecure.messages import (
    PreviewCell,
    ShadowOrder,
    ShadowPreview,
    ShadowRequest,
    Signed,
    Transcript,
    open_message,
    sign_message,
)
from gridsecure.plans.bills import BILL_PLAN_VERSION
from gridsecure.plans.cells import Place
from gridsecure.plans.execution import billing_period, roster_data
from gridsecure.plans.key_ring import KeyRing
from gridsecure.plans.previews import check_columns, count_questions
from gridsecure.plans.purposes import PREVIEW
from gridsecure.plans.transcript_inputs import PlatformView, fetch_tariff
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.pages import PageAsked, newest, read_page
from gridsecure.store.rows import find, keep, load_row
from gridsecure.tariffs.tariff import parse_tariff

REFUSED: Final = "shadow.order"


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request with the order in it, both verified, and what officers approved of it."""

    request: ShadowRequest
    order: ShadowOrder
    approved: Approved


def preview_shadow(
    zone: AuthorityZone,
    request: ShadowRequest,
    *,
    view: PlatformView,
    clock: Callable[[], datetime],
) -> None:
    """Answer a request for a preview.

    Args:
        request: As the platform signed it.

    Raises:
        ReleaseRefusedError: The order is not the office's, or not about these transcripts
            (`shadow.order`); it was answered before (`shadow.repeated`); a cell has answered enough
            (`shadow.questions`).
        InputError: The tariff means other columns than were uploaded (`shadow.columns`).
        GridSecureError: As `answering.answer_request` meets.
    """
    # 1. policy
    check_in_force(zone, now=clock())
    order = _allowed(zone, request)
    subject = make_subject(zone, request, view=view, at=clock())
    with read_session(zone.engine) as session:
        check_budget(session, zone.policy, subject.message, at=clock())
    asked = _Asked(request, order, gather_approvals(zone, subject, now=clock()))
    check_counts(zone, at=clock())
    keys = key_ring(zone)
    # 2. proof
    proofs = [_prove(one, asked.order, zone=zone, view=view, keys=keys)
              for one in request.transcripts]  # fmt: skip
    digests = {data.roster.tariff for part in proofs for data in (part.before, part.data)}
    tariffs = {digest: fetch_tariff(view, digest) for digest in sorted(digests)}
    # 3. and 4. what may be told
    prepared = _prepare(zone, proofs, tariffs, at=clock())
    questions = max(_questions(part, tariffs) for part in proofs)
    places = {place for part in proofs for place in part.places}
    asked_of = _ask(request.request_id, places, questions, period=prepared.giving.period)
    _spend(zone, request, asked_of, at=clock())
    # 5. comparison
    checked, files = order_corrections(
        CheckedPreview,
        proofs,
        names=[[] for _ in proofs],
        terms=CorrectionOrder(tariffs, prepared, asked.approved),
        at=clock(),
    )
    cells = zone.vault.preview_bills(sign_message(checked, key=zone.signing_key), files).cells
    # 6. record
    _record(zone, asked, prepared, cells, questions=questions, at=clock())


def is_previewed(zone: AuthorityZone, name: str) -> bool:
    """Whether a request was answered by a preview."""
    with read_session(zone.engine) as session:
        return find(session, PreviewRow, preview_id=name) is not None


def list_previews(session: Session, asked: PageAsked) -> tuple[list[str], int | None]:
    """A page of previews as they are kept, oldest first, and the number it ends at if more come."""
    page = read_page(session, select(PreviewRow), key=PreviewRow.id, asked=asked)
    return [row.message for row in page.rows], page.after


def newest_preview(session: Session) -> int:
    """Differs whenever the list does: previews are added, and stay as they are."""
    return newest(session, PreviewRow.id)


def find_preview(zone: AuthorityZone, preview_id: str) -> Signed:
    """A preview by its id.

    Raises:
        NotFoundError: There is none (`not-found.preview`).
    """
    with read_session(zone.engine) as session:
        return load_row(session, PreviewRow, preview_id=preview_id).envelope


def _allowed(zone: AuthorityZone, request: ShadowRequest) -> ShadowOrder:
    try:
        order = open_message(request.order, expect=ShadowOrder, trusted=zone.office)
    except (AuthenticityError, InvalidMessageError) as error:
        raise _refused("The billing office did not sign the order of a shadow run.") from error
    with read_session(zone.engine) as session:
        if find(session, PreviewRow, order=request.order.digest) is not None:
            raise ReleaseRefusedError(
                "The order of a shadow run was answered before.",
                reason="shadow.repeated",
                remedy="Read that preview (gridsecure shadow show), or sign another order.",
            )
    transcripts = [
        open_message(one, expect=Transcript, trusted=zone.platform) for one in request.transcripts
    ]
    wanted = (order.plan, BILL_PLAN_VERSION, order.start, order.end, order.tariff)
    uploads = [upload for one in transcripts for upload in one.uploads]
    for one in transcripts:
        if (one.plan, one.plan_version, one.start, one.end, one.tariff) != wanted:
            raise _refused("A transcript is not about the order of a shadow run.")
    if len(set(uploads)) != len(uploads) or (order.uploads and sorted(uploads) != order.uploads):
        raise _refused("A shadow run is over other uploads than the office ordered.")
    return order


def _prove(
    envelope: Signed, order: ShadowOrder, *, zone: AuthorityZone, view: PlatformView, keys: KeyRing
) -> ProvenCorrection:
    """A transcript that holds, and the bills it is compared with."""
    if not order.tariff:
        return prove_correction(envelope, zone=zone, view=view, keys=keys)
    proven = prove(envelope, zone=zone, view=view, keys=keys)
    (own,) = proven.datas
    issued, tried = (
        parse_tariff(fetch_tariff(view, digest)) for digest in (own.roster.tariff, order.tariff)
    )
    check_columns(issued, tried=tried)
    before = begin_bill(own, zone=zone, view=view, keys=keys).result().outputs
    # Every bill is compared, as if a correction listed it.
    upload = own.upload.model_copy(update={"corrected_slots": list(range(own.roster.slots))})
    roster = own.roster.model_copy(update={"tariff": order.tariff})
    after = replace(proven, datas=(roster_data(roster, upload),), claims=())
    return ProvenCorrection(after, own, before, make_version(proven))


def _prepare(
    zone: AuthorityZone,
    parts: Sequence[ProvenCorrection],
    tariffs: Mapping[str, str],
    *,
    at: datetime,
) -> Prepared:
    """What the preview tells of which sets; nothing is claimed, so all may still be released."""
    minima = zone.find_minima(PREVIEW, resolution="monthly")
    prepared = prepare_corrections(zone, parts, tariffs=tariffs, minima=minima, at=at)
    # A first upload may not share households with another that was told of; the one that a
    # correction corrects was looked at when it was released.
    first = {part.version.upload: part for part in parts if part.version.corrects is None}
    if first:
        with read_session(zone.engine) as session:
            check_overlap(session, {upload: part.before for upload, part in first.items()})
    # A roster of which nothing is told may still be seated anew.
    told = prepared.giving.told.keys()
    datas = {upload: part.before for upload, part in first.items()
             if not told.isdisjoint(prepared.merged.into[p] for p in part.places)}  # fmt: skip
    return replace(prepared, giving=replace(prepared.giving, claims={}, datas=datas))


def _questions(part: ProvenCorrection, tariffs: Mapping[str, str]) -> int:
    rules = []
    for data in (part.before, part.data):
        tariff = parse_tariff(tariffs[data.roster.tariff])
        period = billing_period(data.upload.start, data.upload.end, tariff=tariff)
        rules.append(line_rules(tariff, period))
    return count_questions(*rules)


def _ask(
    name: str, places: Iterable[Place], questions: int, *, period: Period
) -> list[PreviewCellRow]:
    """What a preview asks, by cell."""
    spent = {"preview_id": name, "questions": questions, **asdict(period)}
    return [
        PreviewCellRow(zone=zone_name, customer_class=kind, **spent)
        for zone_name, kind in sorted(places)
    ]


def _spend(
    zone: AuthorityZone, request: ShadowRequest, asked: Sequence[PreviewCellRow], *, at: datetime
) -> None:
    """Keep what a request asks, once however often it is answered; refuse what is too much."""
    with write_session(zone.engine) as session:
        _check_questions(zone, session, asked)
        spent = sum([row.questions for row in asked if keep(session, row)])
        if spent:
            detail: dict[str, evidence.JSON] = {
                "request": request.request_id,
                "party": request.requested_by,
                "cells": len(asked),
                "spent": spent,
            }
            BOOK.enter(session, at=at, actor="checker", action=SPENT, detail=detail)


def _check_questions(
    zone: AuthorityZone, session: Session, asked: Sequence[PreviewCellRow]
) -> None:
    first = asked[0]
    known = (
        select(
            PreviewCellRow.zone, PreviewCellRow.customer_class, func.sum(PreviewCellRow.questions)
        )
        .where(
            PreviewCellRow.preview_id != first.preview_id,
            PreviewCellRow.domain == first.domain,
            PreviewCellRow.start_at == first.start_at,
            PreviewCellRow.end_at == first.end_at,
        )
        .group_by(PreviewCellRow.zone, PreviewCellRow.customer_class)
    )
    spent = {(district, kind): count for district, kind, count in session.exec(known)}
    over = [
        row
        for row in asked
        if spent.get((row.zone, row.customer_class), 0) + row.questions > zone.shadow_questions
    ]
    if over:
        raise ReleaseRefusedError(
            f"The shadow run asks {first.questions} of the {zone.shadow_questions} questions that a"
            f" cell answers a month, and {len(over)} cells have fewer left "
            f"({over[0].zone}/{over[0].customer_class}).",
            reason="shadow.questions",
            remedy="Decide by the previews there are, or try a tariff with fewer new limits.",
        )


def _record(
    zone: AuthorityZone,
    asked: _Asked,
    prepared: Prepared,
    cells: Sequence[PreviewCell],
    *,
    questions: int,
    at: datetime,
) -> None:
    """Keep a preview and what it told, in one transaction or not at all."""
    name = asked.request.request_id
    with write_session(zone.engine) as session:
        if find(session, PreviewRow, preview_id=name) is not None:
            return
        subject_text = asked.approved.subject
        spend_budget(session, zone.policy, ReleaseSubject.parse(subject_text), at=at)
        enter(session, prepared.giving, release_id=name, at=at)
        settle_subject(session, subject := subject_digest(subject_text))
        detail: dict[str, evidence.JSON] = {
            "request": name,
            "subject": subject,
            "approvals": [one.digest for one in asked.approved.grounds],
            "plan": asked.order.plan,
            "tariff": asked.order.tariff,
            "order": asked.request.order.digest,
            "questions": questions,
        }
        rules = rules_of(zone.policy, {"monthly": prepared.minima}, approved=asked.approved)
        counted = CountedPlaces()
        rules |= {"cells": counted.refer(cells, prepared), "places": counted.places}
        unlogged = _preview(asked, at=at, rules=rules)
        preview = enter_message(session, zone, unlogged, about=("shadow.previewed", detail), at=at)
        envelope = sign_message(preview, key=zone.signing_key)
        row = PreviewRow(
            preview_id=name,
            order=asked.request.order.digest,
            digest=envelope.digest,
            message=envelope.model_dump_json(),
            at=at,
        )
        keep(session, row)


def _preview(
    asked: _Asked,
    *,
    at: datetime,
    rules: Mapping[str, Any],
) -> ShadowPreview:
    request, order = asked.request, asked.order
    return ShadowPreview(
        preview_id=request.request_id,
        plan=order.plan,
        start=order.start,
        end=order.end,
        tariff=order.tariff,
        order=request.order.digest,
        requested_by=request.requested_by,
        previewed_at=at.isoformat(),
        transcripts=[one.digest for one in request.transcripts],
        **rules,
        evidence_head=NOT_ENTERED,
    )


def _refused(message: str) -> ReleaseRefusedError:
    return ReleaseRefusedError(
        message,
        reason=REFUSED,
        remedy="The billing office orders the shadow run anew (gridsecure shadow order).",
    )
