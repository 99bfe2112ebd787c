"""The books: what statements make of dated facts, imports compared and applied, and what stays."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func
from sqlmodel import select

from gridsecure.errors import ConflictError, InputError, NotFoundError, StorageError
from gridsecure.gateway.books import imports, register
from gridsecure.gateway.books.facts import OPEN, Fact, MeterPoint, covering, state
from gridsecure.gateway.books.lines import RefusedLine, read_lines
from gridsecure.gateway.books.statements import Statement, apply_statement
from gridsecure.gateway.tables import CURRENT, SCHEMA, BooksRevisionRow, ContractRow, HoldingRow
from gridsecure.store.database import open_database, read_session
from gridsecure.store.log_tree import verify_log
from gridsecure.store.schema import migrate

AT = datetime(2026, 8, 1, tzinfo=UTC)
FIRST = date(2026, 1, 1)


def day(text: str) -> date:
    return date.fromisoformat(text)


def lines(body: str, **options):
    return list(read_lines(body.encode(), **options))


def books_of(*texts: str) -> MeterPoint:
    """The books of one meter point after lines of CSV, each with a header of its own."""
    known = MeterPoint()
    for text in texts:
        for said in lines(text):
            assert isinstance(said, Statement), said
            known = apply_statement(said, known)
    return known


def spans(facts, *columns):
    return [
        (str(f.valid_from), "" if f.valid_to == OPEN else str(f.valid_to), *values)
        for f in facts
        for values in [[f.values[name] for name in columns]]
    ]


MOVED_IN = "meter_point_id,valid_from,account,zone,tariff_id\nm,2026-01-01,A,futian,flat\n"


def test_who_moves_in_has_a_name_and_a_contract_of_its_own():
    known = books_of(MOVED_IN, "meter_point_id,valid_from,account,tariff_id\nm,2026-07-15,B,tou\n")
    assert spans(known.account, "account", "holder") == [
        ("2026-01-01", "2026-07-15", "A", "m"),
        ("2026-07-15", "", "B", "m~B"),
    ]
    # Nothing of the one before is so of the next: its zone is not stated.
    assert spans(known.contract, "zone", "tariff_id") == [
        ("2026-01-01", "2026-07-15", "futian", "flat"),
        ("2026-07-15", "", "", "tou"),
    ]


def test_who_moves_in_after_somebody_unnamed_moved_out_has_a_name_of_its_own():
    moved_out = "meter_point_id,valid_to\nm,2026-07-10\n"
    unnamed = "meter_point_id,valid_from,tariff_id\nm,2026-01-01,flat\n"
    moved_in = "meter_point_id,valid_from,account\nm,2026-07-10,B\n"
    known = books_of(unnamed, moved_out, moved_in)
    assert spans(known.account, "account", "holder") == [
        ("2026-01-01", "2026-07-10", "", "m"),
        ("2026-07-10", "", "B", "m~B"),
    ]


def test_who_comes_from_another_gateway_has_the_name_that_the_line_states():
    header = "meter_point_id,valid_from,account,holder\n"
    known = books_of(f"{header}m,2026-07-16,A,m~2026-07\n", f"{header}m,2026-09-01,B,\n")
    assert [name for *_, name in spans(known.account, "holder")] == ["m~2026-07", "m~B"]
    # The name stays; nobody gets another one while it holds the meter point.
    assert books_of(f"{header}m,2026-07-16,A,m~2026-07\n", f"{header}m,2026-08-01,A,\n").says(
        books_of(f"{header}m,2026-07-16,A,m~2026-07\n")
    )
    (said,) = lines(f"{header}m,2026-08-01,A,m\n")
    with pytest.raises(InputError) as refused:
        apply_statement(said, known)
    assert refused.value.reason == "books.holder"


@pytest.mark.parametrize("stated", [("A,", "B,m"), ("B,m~A", "C,", "A,")])
def test_nobody_is_billed_under_the_name_of_another_account(stated):
    header = "meter_point_id,valid_from,account,holder\n"
    *before, last = [f"{header}m,2026-0{n}-01,{said}\n" for n, said in enumerate(stated, start=6)]
    known = books_of(*before)
    (said,) = lines(last)
    with pytest.raises(InputError) as refused:
        apply_statement(said, known)
    assert refused.value.reason == "books.holder"


def test_an_account_that_comes_back_has_its_name_again():
    header = "meter_point_id,valid_from,account\n"
    known = books_of(MOVED_IN, f"{header}m,2026-03-01,B\n", f"{header}m,2026-05-01,A\n")
    assert [name for *_, name in spans(known.account, "holder")] == ["m", "m~B", "m"]


def test_who_moves_out_leaves_the_meter_point_to_nobody():
    known = books_of(MOVED_IN, "meter_point_id,valid_to\nm,2026-07-15\n")
    assert spans(known.account, "account") == [("2026-01-01", "2026-07-15", "A")]
    assert spans(known.contract, "tariff_id") == [("2026-01-01", "2026-07-15", "flat")]
    assert books_of(MOVED_IN, *["meter_point_id,valid_to\nm,2026-07-15\n"] * 2).says(known)


def test_a_changed_contract_keeps_what_the_line_leaves_out():
    known = books_of(
        MOVED_IN,
        "meter_point_id,valid_from,contracted_kva\nm,2026-04-01,12.5\n",
        # Of days before that change: what was changed later stays.
        "meter_point_id,valid_from,zone\nm,2026-02-01,nanshan\n",
    )
    assert spans(known.contract, "zone", "tariff_id", "contracted_va") == [
        ("2026-01-01", "2026-02-01", "futian", "flat", 0),
        ("2026-02-01", "2026-04-01", "nanshan", "flat", 0),
        ("2026-04-01", "", "futian", "flat", 12_500),
    ]
    assert len(known.account) == 1


def test_an_account_that_is_stated_later_is_the_one_that_was_there():
    known = books_of(
        "meter_point_id,valid_from,tariff_id\nm,2026-01-01,flat\n",
        "meter_point_id,valid_from,account\nm,2026-07-01,A\n",
    )
    assert spans(known.account, "account", "holder") == [
        ("2026-01-01", "2026-07-01", "", "m"),
        ("2026-07-01", "", "A", "m"),
    ]
    assert spans(known.contract, "tariff_id") == [("2026-01-01", "", "flat")]


def test_a_meter_is_exchanged_with_its_faces_and_its_multiplier_changes():
    known = books_of(
        "meter_point_id,valid_from,meter,multiplier,first_face_kwh\nm,2026-01-01,old,40,10.5\n",
        "meter_point_id,valid_from,meter,first_face_kwh,final_face_kwh\nm,2026-07-10,new,0,99.25\n",
        "meter_point_id,valid_from,multiplier\nm,2026-08-01,60\n",
    )
    assert spans(known.meter, "meter", "multiplier", "first_face_wh", "final_face_wh") == [
        ("2026-01-01", "2026-07-10", "old", 40, 10_500, 99_250),
        ("2026-07-10", "2026-08-01", "new", 1, 0, -1),
        ("2026-08-01", "", "new", 60, -1, -1),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("m,,,,", "books.dates"),
        ("m,2026-07-02,2026-07-02,,", "books.dates"),
        ("m,,2025-07-02,,", "books.not-held"),
        ("m,2026-07-01,,,1.5", "books.no-meter"),
    ],
)
def test_a_line_that_contradicts_the_books_is_refused(line, reason):
    (said,) = lines(f"meter_point_id,valid_from,valid_to,account,final_face_kwh\n{line}\n")
    with pytest.raises(InputError) as refused:
        apply_statement(said, books_of(MOVED_IN))
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"meter_point_id": ""}, "books.meter-point"),
        ({"meter_point_id": "m" * 257}, "books.meter-point"),
        ({"meter_point_id": "m~A"}, "books.meter-point"),
        ({"holder": "n"}, "books.holder"),
        ({"holder": "m~"}, "books.holder"),
        ({"holder": "m~Zhang Wei"}, "books.holder"),
        ({"valid_from": "2026-7-1"}, "books.date"),
        ({"valid_from": "1066-10-14"}, "books.date"),
        ({"account": "Zhang Wei"}, "books.name"),
        ({"account": "张伟"}, "books.name"),
        ({"meter": "a" * 65}, "books.name"),
        ({"multiplier": "0"}, "books.multiplier"),
        ({"multiplier": "1.5"}, "books.multiplier"),
        ({"multiplier": "99999999999"}, "books.multiplier"),
        ({"first_face_kwh": "-1"}, "books.number"),
        ({"contracted_kva": "1.2345"}, "books.number"),
        ({"contracted_kva": 1.5e30}, "books.number"),
        ({"service_from": "2026-13"}, "books.text"),
        ({"large": "maybe"}, "books.text"),
        ({"zone": "z" * 65}, "books.text"),
        ({"zone": ["futian"]}, "books.text"),
        ({"name": "Zhang"}, "books.columns"),
    ],
)
def test_a_cell_that_cannot_be_is_refused_with_its_line(cells, reason):
    given_cells = {"meter_point_id": "m", "valid_from": "2026-01-01"} | cells
    good = json.dumps({"meter_point_id": "n", "valid_from": "2026-01-01"})
    first, second = lines(f"{good}\n{json.dumps(given_cells)}\n")
    assert isinstance(first, Statement)
    assert isinstance(second, RefusedLine)
    assert (second.line, second.reason) == (2, reason)


def test_both_forms_of_a_file_say_the_same():
    csv = lines(
        "\ufeffMeter_Point_ID,Valid_From,account,contracted_kva,large\nm,2026-01-01,A,12.5,yes\n\n"
    )
    fields = {"meter_point_id": "m", "valid_from": "2026-01-01", "account": "A"}
    told = lines(json.dumps(fields | {"contracted_kva": 12.5, "large": True, "zone": None}))
    assert [one.contract for one in csv] == [one.contract for one in told]
    assert csv[0].contract == {"contracted_va": 12_500, "large": "yes"}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\xff\xfe", "books.unreadable"),
        (b'{"meter_point_id": ', "books.unreadable"),
        (b'{"a": 1}\n[1]\n', "books.unreadable"),
        (b'meter_point_id,valid_from\n"m', "books.unreadable"),
        (b"", "books.columns"),
        (b"valid_from\n2026-01-01\n", "books.columns"),
        (b"meter_point_id,address\nm,somewhere\n", "books.columns"),
        (b"meter_point_id,zone,zone\nm,a,b\n", "books.columns"),
    ],
)
def test_a_file_that_is_no_table_is_refused_whole(body, reason):
    with pytest.raises(InputError) as refused:
        list(read_lines(body))
    assert refused.value.reason == reason


def test_the_documented_file_is_one():
    page = Path(__file__).parents[2] / "docs" / "books.md"
    body = page.read_text(encoding="utf-8").split("```text\n")[1].split("```")[0]
    known = {}
    for said in lines(body):
        assert isinstance(said, Statement), said
        name = said.meter_point_id
        known[name] = apply_statement(said, known.get(name, MeterPoint()))
    assert spans(known["MP-0001"].account, "holder")[1][2] == "MP-0001~4403009999"
    assert [f.values["final_face_wh"] for f in known["MP-0002"].meter] == [12_345_670, -1]
    assert known["MP-0002"].account[-1].valid_to == day("2026-09-01")


DAYS = st.integers(0, 60).map(lambda number: FIRST + timedelta(days=number))


@given(st.lists(st.tuples(DAYS, st.integers(1, 30), st.sampled_from("abc")), max_size=12))
def test_of_two_statements_of_a_day_the_later_holds(said):
    """Against a calendar of days, and no two facts of one day."""
    facts, calendar = (), {}
    for start, length, value in said:
        end = start + timedelta(days=length)
        facts = state(facts, Fact(start, end, {"value": value}))
        calendar |= {start + timedelta(days=n): value for n in range(length)}
    for number in range(-1, 95):
        there = covering(facts, FIRST + timedelta(days=number))
        known = calendar.get(FIRST + timedelta(days=number))
        assert (there.values["value"] if there else None) == known
    for one, other in itertools.pairwise(facts):
        assert one.valid_to <= other.valid_from
        assert one.valid_from < one.valid_to


# --- in the database


@pytest.fixture
def zone(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path / 'zone.db'}")
    migrate(engine, SCHEMA)
    yield SimpleNamespace(engine=engine, folder=tmp_path, service_id="gateway")
    engine.dispose()


def hand_in(zone, text: str, **options):
    return imports.hand_in(zone, text.encode(), **{"valid_from": None} | options)


def apply(zone, text: str, **options):
    digest = hand_in(zone, text, **options).change.digest
    return imports.apply_import(zone, digest, person="op", at=AT)


MANY = "meter_point_id,valid_from,account,tariff_id\n" + "".join(
    f"m{number:04d},2026-01-01,A{number},flat\n" for number in range(1200)
)


def test_an_import_is_compared_applied_and_compared_again(zone):
    found = hand_in(zone, MANY)
    assert (found.change.added, found.lines, found.refused) == (1200, 1200, 0)
    assert len(found.examples) == imports.MOST_EXAMPLES
    assert register.newest_revision(zone) == 0
    made = imports.apply_import(zone, found.change.digest, person="op", at=AT)
    assert (made.number, made.added, made.person) == (1, 1200, "op")
    again = hand_in(zone, MANY)
    assert (again.unchanged, again.change.added, again.change.changed) == (1200, 0, 0)
    changed = hand_in(zone, MANY.replace(",flat", ",tou").replace("2026-01-01", "2026-07-01"))
    assert changed.change.changed == 1200
    assert {len(one.after.contract) for one in changed.examples} == {2}


def test_nothing_is_overwritten(zone):
    apply(zone, MOVED_IN)
    apply(zone, "meter_point_id,valid_from,account\nm,2026-07-15,B\n")
    rows, made = register.read_history(zone, "m")
    said = [
        (row.account, str(row.valid_to), row.revision, row.until_revision)
        for row in rows["account"]
    ]
    assert said == [
        ("A", str(OPEN), 1, 2),
        ("A", "2026-07-15", 2, CURRENT),
        ("B", str(OPEN), 2, CURRENT),
    ]
    assert {number: one.person for number, one in made.items()} == {1: "op", 2: "op"}
    with read_session(zone.engine) as session:
        assert verify_log(session) == 2


def test_what_was_compared_with_earlier_books_is_refused(zone):
    first, second = hand_in(zone, MOVED_IN), hand_in(zone, MANY)
    made = imports.apply_import(zone, first.change.digest, person="op", at=AT)
    with pytest.raises(NotFoundError):  # it was compared with books that are no more
        imports.apply_import(zone, second.change.digest, person="op", at=AT)
    with pytest.raises(ConflictError) as refused:
        register.keep_change(zone, second.change, person="op", at=AT)
    assert refused.value.reason == "conflict.books"
    repeated = imports.apply_import(zone, first.change.digest, person="other", at=AT)
    assert (repeated.number, repeated.person) == (made.number, "op")


def test_an_import_with_a_refused_line_is_not_applied(zone):
    found = hand_in(zone, MOVED_IN + "m,2026-01-01,A,futian,flat\nn,never,A,futian,flat\n")
    assert [(one.line, one.reason) for one in found.refusals] == [
        (3, "books.repeated"),
        (4, "books.date"),
    ]
    with pytest.raises(InputError) as refused:
        imports.apply_import(zone, found.change.digest, person="op", at=AT)
    assert refused.value.reason == "books.refused-lines"
    assert register.newest_revision(zone) == 0


def test_a_thousand_refusals_are_a_count_with_examples(zone):
    found = hand_in(zone, MANY.replace("2026-01-01", "soon"))
    assert (found.refused, len(found.refusals)) == (1200, imports.MOST_REFUSALS)


def test_of_two_that_apply_at_once_one_wins(zone):
    compared = [hand_in(zone, MOVED_IN), hand_in(zone, MOVED_IN.replace("A", "B"))]

    def keep(found):
        try:
            return register.keep_change(zone, found.change, person="op", at=AT).number
        except ConflictError as error:
            return error.reason

    with ThreadPoolExecutor(2) as pool:
        assert sorted(map(str, pool.map(keep, compared))) == ["1", "conflict.books"]


def test_killed_while_it_is_applied_it_leaves_the_books_as_they_were(zone, monkeypatch):
    found = hand_in(zone, MANY)

    def killed(*_args, **_kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(register.evidence, "append", killed)
        with pytest.raises(KeyboardInterrupt):
            imports.apply_import(zone, found.change.digest, person="op", at=AT)
    with read_session(zone.engine) as session:
        for table in (HoldingRow, ContractRow, BooksRevisionRow):
            assert session.exec(select(func.count()).select_from(table)).one() == 0
    assert imports.apply_import(zone, found.change.digest, person="op", at=AT).number == 1


def test_a_full_disk_holds_nothing(zone, monkeypatch):
    def full(*_args, **_kwargs):
        raise StorageError("full", reason="storage.failed")

    monkeypatch.setattr(imports, "write_private", full)
    with pytest.raises(StorageError):
        hand_in(zone, MOVED_IN)
    assert list((zone.folder / "books").iterdir()) == []


def test_an_import_that_was_applied_drops_none_that_came_later(zone):
    text = "meter_point_id,valid_from,account\nm,2026-01-01,A\n"
    found = hand_in(zone, text)
    for _ in range(2):
        imports.apply_import(zone, found.change.digest, person="op", at=AT)
        if not list((zone.folder / "books").iterdir()):
            later = hand_in(zone, text.replace("\nm,", "\nn,"))
    assert imports.apply_import(zone, later.change.digest, person="op", at=AT).number == 2


def test_an_import_of_too_many_lines_is_refused_before_any_is_read():
    with pytest.raises(InputError) as refused:
        lines("meter_point_id\n" + "m\n" * 200_000)
    assert refused.value.reason == "books.lines"


def test_few_imports_are_held_and_an_altered_one_is_not_applied(zone):
    digests = [hand_in(zone, MOVED_IN.replace("A", f"A{n}")).change.digest for n in range(20)]
    held = {path.name for path in (zone.folder / "books").iterdir()}
    assert held == set(digests[-imports.MOST_HELD :])
    path = zone.folder / "books" / digests[-1]
    path.write_bytes(path.read_bytes().replace(b"flat", b"free"))
    for digest in (digests[-1], digests[0], "../zone.db"):
        with pytest.raises(NotFoundError):
            imports.apply_import(zone, digest, person="op", at=AT)
