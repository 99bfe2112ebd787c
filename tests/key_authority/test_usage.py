"""What the key authority meters: the ledger's own figures, and whatever was planted is found."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlmodel import Session, delete, select, update

from gridsecure.key_authority.checker.answering import PREVIEWED, RELEASED, list_certificates
from gridsecure.key_authority.checker.tables import PreviewCellRow, ReleaseRow, UsageRow
from gridsecure.key_authority.checker.usage import BOOK, list_done
from gridsecure.messages import Signed
from gridsecure.store.database import read_session
from gridsecure.store.usage import ANALYSTS
from tests.authority_simulator import SEED, Authority
from tests.correction_simulator import CHEAPER
from tests.grid_simulator import NOW, GridSimulator, GridUpload
from tests.key_authority.test_shadows import installed
from tests.query_grants import grant_claims, grant_token, query_of

MONTH = f"{NOW:%Y-%m}"
Uploads = list[GridUpload]


def totals(authority: Authority) -> dict[tuple[str, str], int]:
    with read_session(authority.zone.engine) as session:
        return {(u.party, u.measure): u.amount for u in BOOK.read_month(session, MONTH)}


def differences(session: Session) -> list[str]:
    return [one.kind for one in BOOK.find_differences(session, list_done(session))]


def shadow(authority: Authority, grid: GridSimulator, uploads: Uploads) -> Signed:
    tried = authority.shadow_transcript(uploads[0], installed(grid, uploads[0], CHEAPER))
    return authority.shadow_request([tried])


def test_a_release_is_metered_by_what_it_told(authority: Authority, uploads: Uploads) -> None:
    """The same request again is the same release."""
    request = authority.bill_request(uploads)
    for _ in range(2):
        assert authority.answer(request).state == RELEASED
    (certificate,) = authority.certificates
    (envelope,) = list_certificates(authority.zone)
    told = sum(cell.told for cell in certificate.cells)
    assert totals(authority) == {
        (certificate.requested_by, "releases"): 1,
        (certificate.requested_by, "cells_told"): told,
        (certificate.requested_by, "cells_withheld"): len(certificate.cells) - told,
        (certificate.requested_by, "bytes_released"): len(envelope.values.text),
    }
    assert told
    with read_session(authority.zone.engine) as session:
        assert differences(session) == []


def test_questions_are_metered_when_they_are_spent(
    authority: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    request = shadow(authority, grid, uploads)
    for _ in range(2):
        assert authority.answer(request).state == PREVIEWED
    with read_session(authority.zone.engine) as session:
        rows = session.exec(select(PreviewCellRow)).all()
        assert differences(session) == []
    spent = {measure: amount for (_, measure), amount in totals(authority).items()}
    assert spent == {"previews": 1, "questions_spent": sum(row.questions for row in rows)}
    assert rows


def test_all_research_is_one_partys(
    authority: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    """Its requests name one-time grants, of which nobody knows whose they are."""
    text = query_of(grid).text
    request = authority.request(
        [authority.load_curve_transcript(uploads, seed=SEED)],
        seeds=[SEED],
        purpose="research",
        grant=grant_token(text),
        query=text,
        requested_by=grant_claims(text).subject,
    )
    assert authority.answer(request).state == RELEASED
    assert {party for party, _ in totals(authority)} == {ANALYSTS}


def lose_a_release(session: Session) -> None:
    session.exec(delete(ReleaseRow))


def change_what_was_told(session: Session) -> None:
    session.exec(update(ReleaseRow).values(cells=ReleaseRow.cells + 1))


def lose_a_question(session: Session) -> None:
    session.exec(update(PreviewCellRow).values(questions=PreviewCellRow.questions - 1))


def plant_a_question(session: Session) -> None:
    row = session.exec(select(PreviewCellRow)).first()
    session.add(PreviewCellRow(**row.model_dump(exclude={"preview_id"}), preview_id="planted"))
    session.flush()


def change_a_total(session: Session) -> None:
    session.exec(update(UsageRow).values(amount=UsageRow.amount + 1))


def spend_before_there_was_usage(session: Session) -> None:
    row = session.exec(select(PreviewCellRow)).first()
    of = row.model_dump(exclude={"preview_id", "metered"})
    session.add(PreviewCellRow(**of, preview_id="earlier", metered=False))
    session.flush()


PLANTED: Mapping[Callable[[Session], None], set[str]] = {
    lose_a_release: {"not-in-ledger"},
    change_what_was_told: {"figures"},
    lose_a_question: {"figures"},
    plant_a_question: {"not-in-log"},
    change_a_total: {"total"},
    spend_before_there_was_usage: set(),
}


def test_whatever_was_planted_or_lost_is_named(
    authority: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    assert authority.answer(shadow(authority, grid, uploads)).state == PREVIEWED
    assert authority.answer(authority.bill_request(uploads)).state == RELEASED
    for plant, kinds in PLANTED.items():
        with Session(authority.zone.engine) as session:  # never committed
            session.exec(update(UsageRow).values(amount=UsageRow.amount))  # takes the write lock
            if session.get_bind().dialect.name == "sqlite":
                session.connection().exec_driver_sql("PRAGMA defer_foreign_keys = ON")
            plant(session)
            assert set(differences(session)) == kinds, plant.__name__
    with read_session(authority.zone.engine) as session:
        assert differences(session) == []
