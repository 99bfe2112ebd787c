"""By which lists the ledger knows who was told of: one that is lost, and two under one name."""

from __future__ import annotations

import pytest
from sqlmodel import select, update

from gridsecure.errors import AuditBrokenError
from gridsecure.key_authority.checker.answering import REFUSED, RELEASED
from gridsecure.key_authority.checker.ledger import Period, read_told
from gridsecure.key_authority.checker.tables import MemberListRow, SeatListRow, ToldSetRow
from gridsecure.store.database import write_session
from gridsecure.store.rows import keep
from tests.authority_simulator import Authority
from tests.grid_simulator import GridUpload

Uploads = list[GridUpload]


def test_a_list_that_was_never_kept_is_no_list_of_nobody(
    authority: Authority, uploads: Uploads
) -> None:
    assert authority.answer(authority.bill_request(uploads)).state == RELEASED
    nobody = "0" * 64
    with write_session(authority.zone.engine) as session:
        one = session.exec(select(ToldSetRow)).first()
        assert one is not None
        period = Period(one.domain, one.start_at, one.end_at)
        keep(session, MemberListRow(name=nobody))
        session.exec(update(ToldSetRow).values(members=nobody))
        assert {one.told.members for one in read_told(session, period)} == {frozenset()}
        session.exec(update(ToldSetRow).values(members=""))
        with pytest.raises(AuditBrokenError) as lost:
            read_told(session, period)
    assert lost.value.reason == "ledger.list"


def test_a_roster_under_the_id_of_another_is_not_told_of(
    authority: Authority, uploads: Uploads
) -> None:
    """As if somebody had found two rosters whose ids, half a digest each, are the same."""
    assert authority.answer(authority.bill_request(uploads[:1])).state == RELEASED
    with write_session(authority.zone.engine) as session:
        session.exec(update(SeatListRow).values(digest="0" * 64))
    outcome = authority.answer(authority.load_curve_request(uploads[:1]))
    assert (outcome.state, outcome.reason) == (REFUSED, "release.roster")
