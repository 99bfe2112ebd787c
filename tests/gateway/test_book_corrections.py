"""Billed months corrected by books: what was entered wrongly of meters, contracts and moves."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from gridsecure.billing.bill_documents import bills_to_json
from gridsecure.billing.bills import bill_readings
from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.meter_serials import UNDECLARED
from gridsecure.errors import ConflictError, InputError
from gridsecure.gateway import outbox
from gridsecure.gateway.agent_records import recall_members
from gridsecure.gateway.approvals import Author
from gridsecure.gateway.books import imports
from gridsecure.gateway.correction_orders import (
    Corrected,
    begin_order,
    decide_order,
    find_orders,
    order_correction,
)
from gridsecure.gateway.correction_plan import list_corrections, make_correction_folder
from gridsecure.gateway.correction_run import correct_month
from gridsecure.gateway.exceptions import Wanted, list_exceptions
from gridsecure.gateway.month_files import load_files
from gridsecure.gateway.month_plan import find_plan
from gridsecure.gateway.reading_balance import balance_readings
from gridsecure.gateway.settlement_proofs import find_parts
from gridsecure.gateway.year_to_date import load_totals
from gridsecure.key_authority.checker.answering import list_certificates
from gridsecure.statement_checks import check_statements
from gridsecure.store.database import read_session
from gridsecure.store.pages import PageAsked
from gridsecure.tariffs.tariff import catalogue_tariffs, load_tariff
from tests.gateway.gateway_world import MONTH, GatewayWorld, Killed, kill_at
from tests.gateway.test_corrections import authority_of, homes, released, shops, told

RATIO = 20
COMMERCIAL = "shenzhen-commercial-four-period"
MOVES = "meter_point_id,valid_from,account,zone,customer_class,tariff_id\n"


@cache
def billed_month() -> GatewayWorld:
    """A closed world whose month is done; the faces of a home were read as they stand."""
    folder = tempfile.mkdtemp()
    made = GatewayWorld(Path(folder), load_curves=False)
    weakref.finalize(made, shutil.rmtree, folder)
    name = homes(made)[0]
    lines = made.simulated.wide_csv().decode().splitlines(keepends=True)
    others = "".join(line for line in lines if not line.startswith(name))
    made.save(others.encode(), faces_csv(made, name).encode())
    made.process()
    made.close()
    return made


@pytest.fixture
def world(tmp_path):
    made = GatewayWorld.after(billed_month(), tmp_path)
    yield made
    made.close()


def used(world, names: Sequence[str]) -> pd.DataFrame:
    """The simulated hours of meter points; of the one with faces what its register can show."""
    readings = world.simulated.readings()
    own = readings[readings["meter_point_id"].isin(names)]
    ids = own["meter_point_id"].astype(str)
    shown = own["energy_wh"] // (RATIO * 10) * RATIO * 10
    is_counted = ids == homes(world)[0]
    return own.assign(meter_point_id=ids, energy_wh=own["energy_wh"].where(~is_counted, shown))


def faces_csv(world, name: str) -> str:
    own = used(world, [name]).sort_values("start")
    faces = [0, *(own["energy_wh"] // RATIO).cumsum()]
    moments = [*own["start"], own["start"].iloc[-1] + pd.Timedelta(hours=1)]
    rows = zip(moments, faces, strict=True)
    lines = [f"{name},{at:%Y-%m-%d %H:%M},{1000 + wh / 1000:.3f}" for at, wh in rows]
    return "\n".join(["meter_point_id,start,register_kwh", *lines, ""])


def change(world, text: str) -> int:
    """Apply an import to the books."""
    found = imports.hand_in(world.zone, text.encode(), valid_from=None)
    assert found.refused == 0, found.refusals
    at = world.clock()
    return imports.apply_import(world.zone, found.change.digest, person="op", at=at).number


def order(world, *, by: str = "ann", why: str = "read on site"):
    wanted = Corrected(books=True)
    author = Author(by, why)
    return order_correction(world.zone, MONTH, corrected=wanted, author=author, at=world.clock())


def carry_out(world, number: int, progress=lambda *_: None):
    return correct_month(
        world.zone,
        files=load_files(world.zone, MONTH),
        correction=begin_order(world.zone, number, at=world.clock()),
        peers=world.peers,
        clock=world.clock,
        progress=progress,
    )


def corrected(world):
    """Order a correction by the books of now, approve it and carry it out."""
    number = order(world).id
    decide_order(world.zone, number, approve=True, by=Author("bob", ""), at=world.clock())
    return carry_out(world, number)


def moved(world) -> set[str]:
    """Whom the latest correction's uploads say to have other days, by name."""
    known = recall_members(world.zone, world.zone.year_of(MONTH))
    names = {member.billing: name for name, member in known.items()}
    plan = list_corrections(world.zone, MONTH)[-1]
    sent = [outbox.load_outgoing(world.zone, name) for name in plan.names]
    return {names[one.seated.pseudonyms[slot]] for one in sent for slot in one.upload.moved_slots}


def total_wh(world, name: str) -> int:
    return load_totals(world.folder / "months" / MONTH)[name]


def corrected_multiplier(world) -> str:
    return f"meter_point_id,valid_from,multiplier\n{homes(world)[0]},{MONTH}-01,{RATIO}\n"


def totals(statements: Sequence[bytes]) -> dict[str, tuple[str, str | None]]:
    """Settlement pseudonym -> the total of its bill, and the difference to the one before."""
    found = {}
    for text in statements:
        for name, bill in json.loads(text)["meters"].items():
            (period,) = bill["periods"]
            found[name] = (period["total"], period.get("adjustment", {}).get("total"))
    return found


def oracle(world, name: str, tariff_id: str, **facts: object) -> str:
    """The total of the plaintext bill of a meter point's intervals."""
    tariff = load_tariff(catalogue_tariffs()[tariff_id])
    contracts = world.contracts()
    own = contracts[contracts["meter_point_id"] == name].assign(**facts)
    hour = pd.Timedelta(hours=1)
    bills = bill_readings(used(world, [name]), tariff=tariff, contracts=own, interval=hour)
    return bills_to_json(bills)["meters"][name]["periods"][0]["total"]


def test_a_wrong_multiplier_and_a_wrong_capacity_are_corrected_on_ciphertext(world, tmp_path):
    """Statement, open bill and oracle agree to the fen, before and after."""
    home, shop = homes(world)[0], shops(world)[0]
    authority = authority_of(world, tmp_path)
    bills = released(world, authority, "bill")
    first = totals(bills)
    lines = f"meter_point_id,valid_from,contracted_kva\n{shop},{MONTH}-01,160\n"
    change(world, corrected_multiplier(world))
    change(world, lines)
    report = corrected(world)
    assert (report.corrected, report.rosters) == (2, 2)
    assert moved(world) == set(), "a ratio and a capacity move no day"
    statements = released(world, authority, "rebill")
    digests = told(world, list_certificates(authority.zone))
    found = check_statements(digests, statements=[*bills, *statements])
    assert found.mismatches == 0

    filed, after = world.settlement_names(), totals(statements)
    assert after.keys() == {filed[home], filed[shop]}
    right = {
        filed[home]: oracle(world, home, "flat"),
        filed[shop]: oracle(world, shop, COMMERCIAL, contracted_va=160_000),
    }
    for name, total in right.items():
        was, (now, difference) = first[name][0], after[name]
        assert now == total
        assert fen(difference) == fen(total) - fen(was) != 0
    authority.close()


def fen(text: str) -> int:
    return round(float(text) * 100)


def test_who_moved_in_unnoticed_gets_a_first_bill_and_the_one_before_money_back(world):
    name = homes(world)[1]
    row = world.contracts().set_index("meter_point_id").loc[name]
    before = total_wh(world, name)
    facts = f"{row['zone']},household,flat"
    change(world, f"{MOVES}{name},2026-01-01,A,,,\n{name},{MONTH}-16,B,{facts}\n")
    listed = default_contracts([f"{name}~B"]).assign(zone=row["zone"], customer_class="household")
    world.list_contracts(listed)
    report = corrected(world)
    assert (report.corrected, report.first_billed) == (1, 1)
    assert moved(world) == {name, f"{name}~B"}, (
        "nothing is told of either beside what was told of the first"
    )
    assert total_wh(world, name) + total_wh(world, f"{name}~B") == before
    begin, middle, end = (f"2026-{day}T00:00:00+08:00" for day in ("07-01", "07-16", "08-01"))
    assert find_parts(world.zone, MONTH) == {name: (begin, middle), f"{name}~B": (middle, end)}
    # The other one moved in on another day after all: two bills are corrected now.
    change(world, f"{MOVES}{name},{MONTH}-11,B,{facts}\n")
    again = corrected(world)
    assert (again.corrected, again.first_billed) == (2, 0)
    assert moved(world) == {name, f"{name}~B"}
    assert total_wh(world, name) + total_wh(world, f"{name}~B") == before
    assert balance_readings(world.zone, MONTH).adds_up


def test_who_had_moved_out_before_the_month_has_its_bill_taken_back_whole(world, tmp_path):
    name = homes(world)[1]
    authority = authority_of(world, tmp_path)
    first = totals(released(world, authority, "bill"))
    change(world, f"meter_point_id,valid_to\n{name},{MONTH}-01\n")
    assert corrected(world).corrected == 1
    ((pseudonym, (total, difference)),) = totals(released(world, authority, "rebill")).items()
    assert pseudonym == world.settlement_names()[name]
    assert moved(world) == {name}
    assert (total, fen(difference)) == ("0.00", -fen(first[pseudonym][0]))
    assert balance_readings(world.zone, MONTH).adds_up
    # And it held the meter point after all.
    change(world, f"meter_point_id,valid_from,account,tariff_id\n{name},{MONTH}-01,,flat\n")
    corrected(world)
    assert moved(world) == set(), "the days that it was first billed for"
    assert totals(released(world, authority, "rebill"))[pseudonym] == (
        first[pseudonym][0],
        first[pseudonym][0],
    )
    authority.close()


def test_what_a_roster_cannot_take_over_is_named_and_corrects_nobody_else_the_less(world):
    counted, other, third, *_ = homes(world)
    fourth = homes(world)[3]
    change(
        world,
        "meter_point_id,valid_from,multiplier,tariff_id,customer_class,zone,large\n"
        f"{counted},{MONTH}-01,{RATIO},,,,\n"
        f"{other},{MONTH}-01,,{COMMERCIAL},,,\n"
        f"{third},{MONTH}-01,,,,,yes\n"
        f"{fourth},{MONTH}-01,,,commercial,,\n"
        f"{shops(world)[1]},{MONTH}-01,,,,luohu,\n",
    )
    report = corrected(world)
    assert report.corrected == 1
    (plan,) = list_corrections(world.zone, MONTH)
    reasons = {
        other: "books.tariff",
        third: "books.large",
        fourth: "books.class",
        shops(world)[1]: "books.zone",
    }
    assert plan.left_out == reasons
    with read_session(world.zone.engine) as session:
        listed = list_exceptions(session, PageAsked(), wanted=Wanted(month=MONTH))[0]
    assert reasons.items() <= {(one.meter_point_id, one.rule) for one in listed}
    # A later correction by other books tries them again.
    change(world, f"meter_point_id,valid_from,large\n{third},{MONTH}-01,no\n")
    corrected(world)
    assert list_corrections(world.zone, MONTH)[1].left_out == {
        name: why for name, why in reasons.items() if name != third
    }


def test_corrected_books_wait_for_a_second_person_and_hold_from_then_on(world):
    home = homes(world)[0]
    with pytest.raises(InputError) as refused:
        order(world)
    assert refused.value.reason == "correction.same-books"
    with pytest.raises(InputError) as unsaid:
        order(world, why=" ")
    assert unsaid.value.reason == "approval.reason"
    assert find_orders(world.zone, MONTH) == []

    number = change(world, corrected_multiplier(world))
    row = order(world)
    assert (row.state, row.books, row.meter_points, row.intervals) == ("pending", number, 1, 0)
    assert order(world).id == row.id
    with pytest.raises(ConflictError):
        carry_out(world, row.id)
    # What the books are told later is no part of what is approved.
    change(world, f"meter_point_id,valid_from,multiplier\n{home},{MONTH}-01,{RATIO + 1}\n")
    decide_order(world.zone, row.id, approve=True, by=Author("bob", ""), at=world.clock())
    before = total_wh(world, home)
    for stage in ("compare", "upload"):
        with pytest.raises(Killed):
            carry_out(world, row.id, kill_at(stage))
        world.restart()
    assert carry_out(world, row.id).corrected == 1
    assert total_wh(world, home) == before * RATIO
    assert find_plan(world.zone, MONTH).books_revision < row.books, "what was issued stays"
    assert order(world, why="read again").books == number + 1


def test_an_order_does_not_turn_the_month_back_to_older_books(world):
    """It waits while a later one is approved and carried out."""
    home, shop = homes(world)[0], shops(world)[0]
    change(world, corrected_multiplier(world))
    early = order(world).id
    change(world, f"meter_point_id,valid_from,contracted_kva\n{shop},{MONTH}-01,160\n")
    assert corrected(world).corrected == 2
    total = total_wh(world, home)
    for act in (
        lambda: decide_order(
            world.zone, early, approve=True, by=Author("bob", ""), at=world.clock()
        ),
        lambda: begin_order(world.zone, early, at=world.clock()),
    ):
        with pytest.raises(ConflictError, match=r"correction\.older-books"):
            act()
    decide_order(world.zone, early, approve=False, by=Author("bob", "late"), at=world.clock())
    assert total_wh(world, home) == total


def test_readings_that_waited_for_the_exchange_of_their_meter_are_used_once_it_is_declared(
    tmp_path,
):
    """The new meter shows 3 kWh more than the old one did: an hour nobody knows, and no energy."""
    world = GatewayWorld(tmp_path, load_curves=False)
    name, day = homes(world)[0], f"{MONTH}-10"
    head, *rows = faces_csv(world, name).splitlines()
    at = next(row for row, line in enumerate(rows) if f",{day} 00:00," in line)
    old_face = float(rows[at].split(",")[2])
    parted = [line.rsplit(",", 1) for line in rows[at:]]
    new = [f"{whose},{float(face) + 3:.3f},NEW" for whose, face in parted]
    faces = "\n".join([f"{head},meter_serial", *(f"{line},OLD" for line in rows[:at]), *new, ""])
    lines = world.simulated.wide_csv().decode().splitlines(keepends=True)
    world.save("".join(one for one in lines if not one.startswith(name)).encode(), faces.encode())
    try:
        report = world.process()
        assert (report.excluded, report.estimated) == ({}, 1)
        assert states(world, name) == {UNDECLARED: "open"}
        truth = int(used(world, [name])["energy_wh"].sum()) // RATIO
        assert 0 < abs(total_wh(world, name) - truth) < 3_000
        change(
            world,
            "meter_point_id,valid_from,meter,first_face_kwh,final_face_kwh\n"
            f"{name},{MONTH}-01,OLD,,\n{name},{day},NEW,{old_face + 3:.3f},{old_face:.3f}\n",
        )
        assert corrected(world).corrected == 1
        (correction,) = list_corrections(world.zone, MONTH)
        folder = make_correction_folder(world.zone, correction.files)
        assert load_totals(folder)[name] == truth
        assert states(world, name) == {UNDECLARED: "resolved"}
        assert balance_readings(world.zone, MONTH).adds_up
    finally:
        world.close()


def states(world, name: str) -> dict[str, str]:
    """The work list of a meter point."""
    with read_session(world.zone.engine) as session:
        listed = list_exceptions(session, PageAsked(), wanted=Wanted(month=MONTH))[0]
    return {one.rule: one.state for one in listed if one.meter_point_id == name}
