"""Load curves of sealed days beside the totals of their month: told, or withheld by who changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from sqlmodel import select

from gridsecure.errors import ReleaseRefusedError
from gridsecure.gateway.rosters import Roster
from gridsecure.homomorphic.parameters import INTERVAL
from gridsecure.key_authority.checker.answering import REFUSED, RELEASED
from gridsecure.key_authority.checker.ledger import check_overlap
from gridsecure.key_authority.checker.tables import CohortRow, ToldSetRow
from gridsecure.messages import ReleaseCertificate, Signed
from gridsecure.plans.execution import roster_data
from gridsecure.plans.quantities import Family, find_family
from gridsecure.store.database import read_session
from tests.attacks import WITHHELD, attack, cut, rule
from tests.authority_simulator import SEED, Authority
from tests.correction_simulator import CHEAPER
from tests.grid_simulator import GridSimulator, GridUpload
from tests.key_authority.test_shadows import installed, previewed

FIRST = ("2026-07-01T00:00:00+08:00", "2026-07-02T00:00:00+08:00")
SECOND = ("2026-07-02T00:00:00+08:00", "2026-07-03T00:00:00+08:00")
OTHER_SEED = bytes(reversed(range(32)))


@pytest.fixture
def home(uploads: list[GridUpload]) -> GridUpload:
    """The upload with the one cell that is large enough."""
    return uploads[0]


def sealed_day(
    grid: GridSimulator, upload: GridUpload, span: tuple[str, str] = FIRST, **changes: object
) -> GridUpload:
    """A roster's day, as its gateway seals it."""
    packed = grid.packed(upload.roster, days=2)
    own = [column.entry for column in packed if column.entry.start == span[0]]
    days = [entry for entry in own if find_family(entry.quantity) is Family.INTERVALS]
    given = {"start": span[0], "end": span[1], "columns": days} | changes
    return grid.upload(upload.roster, days=2, **given)


def month(grid: GridSimulator, upload: GridUpload, changed: Iterable[int] = ()) -> GridUpload:
    """A roster's month, without the days that were sealed."""
    packed = grid.packed(upload.roster, days=2)
    bills = [c.entry for c in packed if c.entry.parameters != INTERVAL.name]
    return grid.upload(upload.roster, days=2, columns=bills, changed_slots=sorted(changed))


def day_request(authority: Authority, *days: GridUpload, seed: bytes = SEED) -> Signed:
    for one in days:
        authority.show(one)
    number = int(days[0].manifest.start[8:10]) - 1
    transcript = authority.load_curve_transcript(days, day=number, seed=seed)
    span = {"start": days[0].manifest.start, "end": days[0].manifest.end}
    return authority.request([transcript], seeds=[seed], **span)


def bill_request(authority: Authority, upload: GridUpload) -> Signed:
    authority.show(upload)
    return authority.bill_request([upload])


def told(certificate: ReleaseCertificate) -> set[str]:
    """The measures of which some cell has a value."""
    return {cell.measure for cell in certificate.cells if cell.value is not None}


def cell_slots(upload: GridUpload) -> list[int]:
    """The slots of the cell that is large enough."""
    zones = upload.roster.manifest.zones
    largest = max(set(zones), key=zones.count)
    return [slot for slot, zone in enumerate(zones) if zone == largest]


def answer(authority: Authority, request: Signed) -> ReleaseCertificate:
    outcome = authority.answer(request)
    assert outcome.state == RELEASED, outcome
    return authority.certificates[-1]


def test_a_day_is_told_before_its_month_and_the_month_beside_it(authority, grid, home):
    first = answer(authority, day_request(authority, sealed_day(grid, home)))
    assert len(told(first)) > 0
    assert {cell.start[:10] for cell in first.cells} == {"2026-07-01"}
    later = day_request(authority, sealed_day(grid, home, SECOND), seed=OTHER_SEED)
    assert told(answer(authority, later)) == told(first)
    bills = answer(authority, bill_request(authority, month(grid, home)))
    assert {"energy_wh", "amount_fen"} <= told(bills)
    with read_session(authority.zone.engine) as session:
        kinds = [row.kind for row in session.exec(select(ToldSetRow))]
        assert sorted(set(kinds)) == ["day", "month"]
        assert sorted(row.by_day for row in session.exec(select(CohortRow))) == [False, True]


def test_a_day_equals_the_same_day_of_a_month(authority, grid, home, tmp_path):
    sealed = answer(authority, day_request(authority, sealed_day(grid, home)))
    other = Authority(grid, tmp_path / "other")
    try:
        whole = answer(other, other.load_curve_request([home]))
    finally:
        other.close()
    assert [c.model_dump() for c in sealed.cells] == [c.model_dump() for c in whole.cells]


@pytest.mark.parametrize("order", ["day first", "month first"])
@attack(
    "one household's late change by days that were sealed and their month",
    rule(
        "Who changed between days and their month is a set that both are compared with.",
        WITHHELD,
        cut(
            "gridsecure.key_authority.checker.ledger:Basis.of",
            "if data.upload.changed_slots:",
            "if False:",
        ),
    ),
)
def test_the_second_is_withheld_where_too_few_changed(authority, grid, home, order, attacked):
    slots = cell_slots(home)
    one = month(grid, home, slots[:1])
    days, bills = day_request(authority, sealed_day(grid, home)), bill_request(authority, one)
    requests = [days, bills] if order == "day first" else [bills, days]
    assert told(answer(authority, requests[0]))
    attacked.ends(None if told(answer(authority, requests[1])) else WITHHELD)


def test_without_a_day_told_it_matters_to_nobody_who_changed(authority, grid, home):
    one = month(grid, home, cell_slots(home)[:1])
    assert told(answer(authority, bill_request(authority, one)))


def test_where_all_changed_nothing_is_about_fewer(authority, grid, home):
    assert told(answer(authority, day_request(authority, sealed_day(grid, home))))
    everybody = month(grid, home, range(home.roster.manifest.slots))
    assert told(answer(authority, bill_request(authority, everybody)))


def test_who_changed_elsewhere_keeps_no_cell_back(authority, grid, home):
    inside = set(cell_slots(home))
    elsewhere = [slot for slot in range(home.roster.manifest.slots) if slot not in inside]
    assert told(answer(authority, day_request(authority, sealed_day(grid, home))))
    assert told(answer(authority, bill_request(authority, month(grid, home, elsewhere[:2]))))


def test_a_day_is_told_once_and_bills_no_one(authority, grid, home):
    day = sealed_day(grid, home)
    answer(authority, day_request(authority, day))
    again = authority.answer(day_request(authority, day, seed=OTHER_SEED))
    assert (again.state, again.reason) == (REFUSED, "release.repeated")
    transcript = authority.load_curve_transcript([day], seed=bytes(32)).model_copy(
        update={"plan": "bill", "seed_commitment": None, "plan_version": 2}
    )
    span = {"start": day.manifest.start, "end": day.manifest.end, "plan": "bill"}
    version = authority.bill_transcript(home).plan_version
    billed = authority.answer(
        authority.request([transcript.model_copy(update={"plan_version": version})], **span)
    )
    assert (billed.state, billed.reason) == (REFUSED, "release.day")


def test_a_day_holds_nothing_but_its_intervals(authority, grid, home):
    both = [c.entry for c in grid.packed(home.roster, days=2)][-2:]
    refused = authority.answer(day_request(authority, sealed_day(grid, home, columns=both)))
    assert (refused.state, refused.reason) == (REFUSED, "upload.day")


def test_days_and_months_may_have_rosters_of_their_own_but_one_each(authority, grid, home):
    day = sealed_day(grid, home)
    answer(authority, day_request(authority, day))
    other = home.roster.manifest.model_copy(update={"roster_id": "0" * 32})

    def check(upload: GridUpload) -> None:
        manifest = upload.manifest.model_copy(update={"roster_id": other.roster_id})
        data = replace(roster_data(other, manifest), month=grid.period)
        with read_session(authority.zone.engine) as session:
            check_overlap(session, {"f" * 64: data})

    check(month(grid, home))
    for span in (FIRST, SECOND):
        with pytest.raises(ReleaseRefusedError) as refused:
            check(sealed_day(grid, home, span))
        assert refused.value.reason == "release.overlap"


@pytest.mark.parametrize("order", ["day first", "preview first"])
def test_a_preview_of_a_month_is_no_way_round(authority, grid, home, order):
    one = month(grid, home, cell_slots(home)[:1])
    authority.show(one)
    shadow = authority.shadow_transcript(one, installed(grid, home, CHEAPER))
    days = day_request(authority, sealed_day(grid, home))

    def preview() -> bool:
        cells = previewed(authority, authority.shadow_request([shadow]))
        return any(cell.amount_fen is not None for cell in cells.values())

    def day() -> bool:
        return bool(told(answer(authority, days)))

    first, second = (day, preview) if order == "day first" else (preview, day)
    assert first()
    assert not second()


def test_a_second_version_of_a_day_is_told_of_nobody(authority, grid, home):
    answer(authority, day_request(authority, sealed_day(grid, home)))
    other = sealed_day(grid, home, estimated_readings=7)
    refused = authority.answer(day_request(authority, other, seed=OTHER_SEED))
    assert (refused.state, refused.reason) == (REFUSED, "release.repeated")


@attack(
    "fourteen homes of a day in which the others of their cell were silent",
    rule(
        "Who has no energy of a day hides nobody in it.",
        WITHHELD,
        cut(
            "gridsecure.key_authority.checker.ledger:Basis.is_heard_enough",
            "not self.silent",
            "True",
        ),
    ),
)
def test_who_is_silent_hides_nobody(authority, grid, home, attacked):
    inside = cell_slots(home)
    few = sealed_day(grid, home, silent_slots=inside[: len(inside) - 14])
    attacked.ends(None if told(answer(authority, day_request(authority, few))) else WITHHELD)
    enough = sealed_day(grid, home, SECOND, silent_slots=inside[: len(inside) - 15])
    assert told(answer(authority, day_request(authority, enough, seed=OTHER_SEED)))


# --- cycles ------------------------------------------------------------------------------------


def of_cycle(grid: GridSimulator, upload: GridUpload, cycle_day: int) -> GridUpload:
    """The same meter points on a roster whose billing periods begin on another day."""
    manifest = upload.roster.manifest.model_copy(update={"cycle_day": cycle_day})
    roster = Roster(grid.seated(manifest), upload.roster.meter_point_ids)
    grid.register(roster)
    return replace(upload, roster=roster, manifest=roster.manifest)


def test_days_of_two_cycles_are_not_told_together(authority, grid, uploads):
    """The ledger compares within one period; the second's members would be compared with none."""
    home, shops = uploads
    days = [sealed_day(grid, home), sealed_day(grid, of_cycle(grid, shops, 16))]
    refused = authority.answer(day_request(authority, *days))
    assert (refused.state, refused.reason) == (REFUSED, "release.cycle")
    assert told(answer(authority, day_request(authority, days[0], seed=OTHER_SEED)))


def test_a_day_counts_in_the_period_of_its_rosters_cycle(authority, grid, home):
    answer(authority, day_request(authority, sealed_day(grid, of_cycle(grid, home, 16))))
    with read_session(authority.zone.engine) as session:
        (cohort,) = session.exec(select(CohortRow)).all()
        spans = [at.isoformat()[:16] for at in (cohort.start_at, cohort.end_at)]
    assert spans == ["2026-06-15T16:00", "2026-07-15T16:00"]


@pytest.mark.parametrize("cycle_day", [1, 16])
@attack(
    "the same homes through two months that overlap",
    rule(
        "A pseudonym sits in one roster of its domain and time.",
        "release.overlap",
        cut(
            "gridsecure.key_authority.checker.ledger:check_overlap",
            "session.exec(others.where(is_shared).limit(1)).first() is not None",
            "False",
        ),
    ),
)
def test_a_member_sits_in_one_cycle_at_a_time(authority, grid, home, cycle_day, attacked):
    """The same homes' days, told in both cycles, would be compared apart."""
    first, second = (
        sealed_day(grid, of_cycle(grid, home, day)) for day in (cycle_day, 17 - cycle_day)
    )
    answer(authority, day_request(authority, first))
    attacked.ends(authority.answer(day_request(authority, second, seed=OTHER_SEED)).reason)
    if attacked.goes_through:
        assert told(authority.certificates[-1])


@pytest.mark.parametrize("order", [0, 1], ids=["days-first", "bills-first"])
def test_days_of_one_cycle_and_bills_of_another_are_not_both_told(authority, grid, home, order):
    """Days less bills would be about whoever is in one of the two rosters alone."""
    day, other = sealed_day(grid, of_cycle(grid, home, 16)), month(grid, home)
    requests = [
        lambda: day_request(authority, day, seed=OTHER_SEED),
        lambda: bill_request(authority, other),
    ]
    first, second = (requests[(order + n) % 2] for n in range(2))
    answer(authority, first())
    refused = authority.answer(second())
    assert (refused.state, refused.reason) == (REFUSED, "release.overlap")
