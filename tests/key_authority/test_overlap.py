"""By which lists the ledger knows who was told of: one that is lost, and two under one name."""

from __future__ import annotations

from itertools import count

import pytest
from sqlmodel import select, update

from gridsecure.errors import AuditBrokenError, ReleaseRefusedError
from gridsecure.key_authority.checker.answering import REFUSED, RELEASED
from gridsecure.key_authority.checker.ledger import Period, check_overlap, read_told
from gridsecure.key_authority.checker.tables import (
    CohortRow,
    ListedSeatRow,
    MemberListRow,
    SeatListRow,
    ToldSetRow,
)
from gridsecure.plans.execution import RosterData
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import insert_all, keep
from tests.authority_simulator import Authority
from tests.grid_simulator import NOW, GridUpload

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


def test_two_rosters_of_one_id_are_not_told_of_together(
    authority: Authority, uploads: Uploads
) -> None:
    """The ledger keeps one list of an id, and would know nobody of the other's."""
    own = uploads[0].roster.manifest
    names = [name[::-1] for name in own.pseudonyms]
    rosters = (own, own.model_copy(update={"pseudonyms": names}))
    datas = {
        str(number) * 64: RosterData(roster, uploads[0].manifest, {})
        for number, roster in enumerate(rosters)
    }
    with read_session(authority.zone.engine) as session:
        check_overlap(session, dict([*datas.items()][:1]))
        with pytest.raises(ReleaseRefusedError) as refused:
            check_overlap(session, datas)
    assert refused.value.reason == "release.roster"


def test_who_was_told_of_is_looked_up_once_beside_however_many_other_rosters(
    authority: Authority, uploads: Uploads
) -> None:
    """A city's release looks at each of its rosters beside all others: 256 in a million homes."""
    upload = uploads[0]
    data = RosterData(upload.roster.manifest, upload.manifest, {})
    period, steps = Period.of(data), []
    for others in (range(8), range(8, 128)):
        with write_session(authority.zone.engine) as session:
            for number in others:
                seats = f"roster-{number}"
                keep(session, SeatListRow(name=seats, digest=""))
                names = [f"{number}-{home}" for home in range(len(data.roster.pseudonyms))]
                insert_all(
                    session, ListedSeatRow, [{"pseudonym": n, "seats": seats} for n in names]
                )
                keep(session, CohortRow(
                    upload=seats, seats=seats, domain=period.domain, start_at=period.start_at,
                    end_at=period.end_at, at=NOW,
                ))  # fmt: skip
        with read_session(authority.zone.engine) as session:
            raw, counted = session.connection().connection.dbapi_connection, count()
            assert raw is not None
            raw.set_progress_handler(lambda counted=counted: next(counted) and 0, 1)
            check_overlap(session, {"0" * 64: data})
            raw.set_progress_handler(None, 1)
            steps.append(next(counted))
    # The other cohorts are looked at, and not who sits in each of them: it was 258 steps for one.
    assert steps[1] - steps[0] < 120 * 20
