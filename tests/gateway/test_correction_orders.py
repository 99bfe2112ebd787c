"""Orders of corrections: what one person may order alone, and what changes how much."""

from __future__ import annotations

import errno
from io import BytesIO

import pandas as pd
import pytest

from gridsecure.errors import ConflictError, InputError, NotFoundError, StorageError
from gridsecure.gateway import correction_orders
from gridsecure.gateway.approvals import Author
from gridsecure.gateway.correction_orders import (
    Corrected,
    begin_order,
    decide_order,
    find_orders,
    load_order,
    order_correction,
)
from gridsecure.gateway.correction_plan import list_corrections
from gridsecure.gateway.correction_run import correct_month
from gridsecure.gateway.edits import replace_readings
from gridsecure.gateway.month_files import load_files
from gridsecure.gateway.month_plan import find_plan
from gridsecure.gateway.reading_balance import balance_readings
from gridsecure.gateway.rule_sets import keep_rules
from gridsecure.gateway.year_to_date import load_totals
from gridsecure.tariffs.tariff import catalogue_tariffs
from tests.billing.rule_inputs import book_text
from tests.gateway.gateway_world import MONTH, GatewayWorld, finished_month
from tests.gateway.reading_tables import long_table

HEADER = "meter_point_id,start,kwh\n"


@pytest.fixture
def world(tmp_path):
    """A world whose month is done."""
    made = GatewayWorld.after(finished_month(), tmp_path)
    yield made
    made.close()


def meter(world, place: int = 0) -> str:
    """A meter point, of those that use least first."""
    used = energies(world).groupby(level=0).sum().sort_values()
    return used.index[place]


def energies(world):
    readings = world.simulated.readings()
    return readings.set_index(readings["meter_point_id"].astype(str))["energy_wh"]


def hours(name: str, count: int, kwh: str, *, first: int = 0) -> str:
    return "".join(
        f"{name},2026-07-{1 + hour // 24:02d} {hour % 24:02d}:00,{kwh}\n"
        for hour in range(first, first + count)
    )


def order(
    world,
    *lines: str,
    tariffs: tuple[bytes, ...] = (),
    by="ann",
    why="read",
    rules="",
    header=HEADER,
):
    return order_correction(
        world.zone,
        MONTH,
        corrected=Corrected(
            [BytesIO((header + "".join(lines)).encode())] if lines else [],
            [BytesIO(text) for text in tariffs],
            rules,
        ),
        author=Author(by, why),
        at=world.clock(),
    )


def carry_out(world, row) -> int:
    """How many bills an order corrected."""
    report = correct_month(
        world.zone,
        files=load_files(world.zone, MONTH),
        correction=begin_order(world.zone, row.id, at=world.clock()),
        peers=world.peers,
        clock=world.clock,
        progress=lambda *_: None,
    )
    assert load_order(world.zone, row.id).state == "applied"
    return report.corrected


def total_wh(world, name: str) -> int:
    """A meter point's energy of the month as it was last corrected."""
    return load_totals(world.folder / "months" / MONTH)[name]


def test_many_small_orders_are_as_large_as_one(world):
    first = order(world, hours(meter(world), 1, "60"))
    assert first.state == "approved"
    assert carry_out(world, first) == 1
    assert order(world, hours(meter(world, 1), 1, "60")).state == "pending"
    assert order(world, hours(meter(world), 1, "58")).state == "approved", "it is counted once"
    # An approved one that is not carried out yet counts as well.
    small = order(world, hours(meter(world, 2), 1, "20"))
    assert small.state == "approved"
    assert order(world, hours(meter(world, 3), 1, "30")).state == "pending"


def test_what_is_approved_leaves_room_for_what_is_not(world):
    large = order(world, hours(meter(world), 1, "160"))
    decide_order(world.zone, large.id, approve=True, by=Author("bob", ""), at=world.clock())
    assert carry_out(world, large) == 1
    assert order(world, hours(meter(world, 1), 1, "60")).state == "approved"


def test_an_order_is_counted_again_before_it_is_carried_out(world):
    name = meter(world)
    small, other = order(world, hours(name, 1, "9")), order(world, hours(meter(world, 1), 1, "8"))
    large = order(world, hours(name, 1, "160"))
    decide_order(world.zone, large.id, approve=True, by=Author("bob", ""), at=world.clock())
    assert carry_out(world, large) == 1
    billed = total_wh(world, name)
    for _twice in range(2):
        with pytest.raises(ConflictError) as refused:
            carry_out(world, small)
        assert refused.value.reason == "correction.pending"
    waits = load_order(world.zone, small.id)
    assert (waits.state, waits.person, waits.approver) == ("pending", "ann", "")
    assert carry_out(world, other) == 1, "what waits counts no more"
    assert total_wh(world, name) == billed
    with pytest.raises(ConflictError):
        decide_order(world.zone, small.id, approve=True, by=Author("ann", ""), at=world.clock())
    decide_order(world.zone, small.id, approve=True, by=Author("bob", ""), at=world.clock())
    assert carry_out(world, small) == 1
    assert total_wh(world, name) != billed


def test_an_order_that_cannot_be_counted_again_waits_for_a_second_person(world, monkeypatch):
    small = order(world, hours(meter(world), 1, "9"))

    def unread(*_given: object, **_more: object) -> None:
        raise StorageError("gone", reason="storage.read", remedy="")

    monkeypatch.setattr(correction_orders, "read_files", unread)
    with pytest.raises(ConflictError):
        carry_out(world, small)
    waits = load_order(world.zone, small.id)
    assert (waits.state, waits.intervals) == ("pending", 1)


def test_energy_that_is_taken_away_counts_as_energy_that_is_added(world):
    used = {meter(world, place): energies(world)[meter(world, place)][:96] for place in range(20)}
    name, own = next((name, one) for name, one in used.items() if one.sum() > 100_000)
    count = int((own.to_numpy().cumsum() > 100_000).argmax()) + 1
    assert order(world, hours(name, count, "0")).state == "pending"
    assert order(world, hours(name, count - 1, "0")).state == "approved"


def test_intervals_count_where_they_differ_and_not_where_they_are_said_again(world):
    name = meter(world)
    own = energies(world)[name].to_numpy() / 1000
    same = [f"{name},2026-07-{1 + n // 24:02d} {n % 24:02d}:00,{own[n]:.3f}\n" for n in range(744)]
    again = order(world, *same)
    assert (again.state, again.intervals, again.meter_points) == ("approved", 0, 1)
    assert carry_out(world, again) == 0
    few, many = (order(world, hours(name, n, "0.001")) for n in (96, 97))
    assert (few.state, few.intervals) == ("approved", 96)
    assert (many.state, many.intervals) == ("pending", 97)


@pytest.mark.parametrize(
    "written",
    [
        lambda name, start, kwh: [f"{name},{start},{kwh},missing\n"],
        lambda name, start, kwh: [f"{name},{start},{kwh},perhaps\n"],
        lambda name, start, kwh: [f"{name},{start},{one},actual\n" for one in ("1.000", kwh)],
        lambda name, start, kwh: [f"{name},{start},{one},actual\n" for one in (kwh, "1.000")],
        lambda name, start, kwh: [f"{name},{start},{one},actual\n" for one in ("1.000", kwh, kwh)],
    ],
)
def test_readings_said_again_so_that_none_counts_are_a_change_of_all_of_them(world, written):
    name = meter(world, -1)
    own = energies(world)[name].to_numpy() / 1000
    lines = [
        line
        for n in range(12, 50)
        for line in written(name, f"2026-07-{1 + n // 24:02d} {n % 24:02d}:00", f"{own[n]:.3f}")
    ]
    row = order(world, *lines, header="meter_point_id,start,kwh,quality\n")
    assert (row.state, row.intervals) == ("pending", 38)
    assert own[12:50].sum() > 100


def test_readings_of_nothing_count_where_estimates_or_nothing_stood(tmp_path):
    world = GatewayWorld(tmp_path, load_curves=False)
    table = long_table(world)
    names = sorted(table["meter_point_id"].unique())
    is_noon = table["start"].str[11:13].isin(["12", "13"])
    kept = table[~is_noon & (table["meter_point_id"] != names[0])]
    world.save(kept.to_csv(index=False).encode())
    assert world.process().estimated == 19 * 31 * 2
    gaps = [hours(name, 2, "0", first=24 * day + 12) for name in names[1:] for day in range(31)]
    filled = order(world, *gaps)
    assert (filled.state, filled.intervals) == ("pending", len(gaps) * 2)
    first = order(world, hours(names[0], 744, "0"))
    assert (first.state, first.intervals) == ("pending", 744)
    # Ninety-six of nothing in place of ninety-six estimates are as much as these say.
    kwh = estimated(world).sort_values()
    least, most = (
        [hours(name, 1, "0", first=24 * (day - 1) + hour) for name, day, hour in places.index]
        for places in (kwh[:96], kwh[-96:])
    )
    assert kwh[:96].sum() < 100 < kwh[-96:].sum()
    few, many = order(world, *least), order(world, *most)
    assert (few.state, few.intervals) == ("approved", 96)
    assert (many.state, many.intervals >= 96) == ("pending", True)
    world.close()


def estimated(world) -> pd.Series[float]:
    """What validation estimated [kWh], by meter point, day and hour."""
    table = pd.read_csv(
        world.folder / "months" / MONTH / "estimates.csv", dtype={"meter_point_id": str}
    )
    start = table["start"]
    places = [table["meter_point_id"], start.str[8:10].astype(int), start.str[11:13].astype(int)]
    return table["kwh"].groupby(places).sum()


def test_a_tariff_always_takes_a_second_person(world):
    text = catalogue_tariffs()["flat"].read_text(encoding="utf-8")
    cheaper = text.replace('rate = "0.69986875"', 'rate = "0.6"').encode()
    row = order(world, tariffs=(cheaper,))
    assert (row.state, row.intervals) == ("pending", 0)
    with pytest.raises(InputError, match="tariff"):
        order(world, tariffs=(b"no tariff",))


def test_a_corrected_rule_book_corrects_a_billed_month_and_holds_from_then_on(world):
    name = meter(world)
    own = energies(world)[name].to_numpy()
    as_read = int(own.sum() - own[0] + 60_000)
    spiked = order(world, hours(name, 1, "60"))
    carry_out(world, spiked)
    assert total_wh(world, name) < as_read - 50_000, "the spike was set aside and estimated"

    book = book_text(spike={"action": "off"})
    row = order(world, rules=book)
    assert (row.state, row.intervals) == ("pending", 0)
    decide_order(world.zone, row.id, approve=True, by=Author("bob", ""), at=world.clock())
    assert carry_out(world, row) == 1
    assert total_wh(world, name) == as_read
    later = order(world, hours(meter(world, 1), 1, "9"))
    assert carry_out(world, later) == 1
    assert total_wh(world, name) == as_read, "the book holds on"
    assert balance_readings(world.zone, MONTH).adds_up
    assert find_plan(world.zone, MONTH).rules != row.rules, "what was issued stays as it was"
    with pytest.raises(InputError) as refused:
        order(world, rules="no = book")
    assert refused.value.reason.startswith("rules.")


def test_limits_are_those_that_the_month_was_billed_by(world):
    lax = book_text(edits={"alone_kwh": 100_000})
    keep_rules(world.zone, lax, person="ann", at=world.clock())
    assert order(world, hours(meter(world), 1, "160")).state == "pending"


def test_an_edit_that_nobody_approved_counts_with_an_order_of_its_meter_point(tmp_path):
    world = GatewayWorld(tmp_path, load_curves=False)
    world.save()
    text = (HEADER + hours(meter(world), 1, "60")).encode()
    replace_readings(
        world.zone,
        MONTH,
        text,
        files=load_files(world.zone, MONTH),
        author=Author("ann", "read"),
        at=world.clock(),
    )
    world.process()
    assert order(world, hours(meter(world), 1, "60", first=1)).state == "pending"
    assert order(world, hours(meter(world, 1), 1, "60", first=1)).state == "approved"
    world.close()


@pytest.mark.parametrize(
    ("lines", "why", "reason"),
    [
        ("{name},2026-07-01 00:00,9\n", " ", "approval.reason"),
        ("{name},2026-07-01 00:00,9\n", "x" * 2001, "approval.reason"),
        ("{name},2026-07-01 00:10,9\n", "read", "correction.interval"),
        ("{name},yesterday,9\n", "read", "readings.timestamp"),
        ("{name},2026-09-01 00:00,9\n", "read", "correction.month"),
        ("{name},2026-07-01 00:00,9\n{name},2026-08-01 00:00,9\n", "read", "correction.month"),
        ("NOPE,2026-07-01 00:00,9\n", "read", "correction.unknown-meter-point"),
    ],
)
def test_an_order_that_cannot_be_meant_is_refused_and_nothing_kept(world, lines, why, reason):
    with pytest.raises(InputError) as refused:
        order(world, lines.format(name=meter(world)), why=why)
    assert refused.value.reason == reason
    assert find_orders(world.zone, MONTH) == []
    assert list((world.folder / "months" / MONTH).glob("versions/*")) == []


def test_a_full_disk_keeps_no_order(world, monkeypatch):
    def full(*_given: object, **_more: object) -> None:
        raise StorageError("no space", reason="storage.write", remedy="") from OSError(errno.ENOSPC)

    monkeypatch.setattr(correction_orders.evidence, "append", full)
    with pytest.raises(StorageError):
        order(world, hours(meter(world), 1, "60"))
    assert find_orders(world.zone, MONTH) == []
    assert list((world.folder / "months" / MONTH).glob("versions/*")) == []


def test_an_order_is_named_by_what_who_and_why(world):
    first = order(world, hours(meter(world), 1, "160"))
    assert order(world, hours(meter(world), 1, "160")).id == first.id
    others = [order(world, hours(meter(world), 1, "160"), by="bob")]
    others.append(order(world, hours(meter(world), 1, "160"), why="read again"))
    others.append(order(world, hours(meter(world), 1, "161")))
    assert len({first.id, *(row.id for row in others)}) == 4
    with pytest.raises(NotFoundError):
        load_order(world.zone, 99)
    assert list_corrections(world.zone, MONTH) == []
