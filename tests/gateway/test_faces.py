"""Faces of registers from batches: differenced across batches, whatever order they came in."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.readings import ReadingProblem
from gridsecure.errors import InvalidReadingsError, StorageError
from gridsecure.gateway.batch_readings import (
    Laid,
    LateBatches,
    meter_books,
    overlay_batches,
    read_month_batches,
)
from gridsecure.gateway.books.months import MeterDays, MonthContracts
from gridsecure.gateway.formats import read_readings
from gridsecure.gateway.ingestion.stored_readings import count_rows
from gridsecure.periods import month_period
from tests.gateway.stored_batches import ZONE, batch

CASES = Path(__file__).parents[1] / "data" / "cases"
JULY = month_period("2026-07", timezone=ZONE)
HOURS = pd.date_range("2026-06-29", "2026-08-03", freq="h", tz=ZONE)
IN_JULY = (JULY.start <= HOURS) & (JULY.end > HOURS)
# Energy of each hour [Wh], and the face at its beginning.
USED = np.random.default_rng(3).integers(0, 1500, len(HOURS) - 1)
FACES = 12_345_000 + np.concatenate([[0], np.cumsum(USED)])
WANTED = USED[IN_JULY[:-1]].tolist()


def lines(rows, *, faces=FACES, name="m", tail="") -> list[str]:
    return [
        f"{name},{HOURS[row]:%Y-%m-%dT%H:%M},{faces[row] // 1000}.{faces[row] % 1000:03d}{tail}"
        for row in rows
    ]


def face_batch(folder, rows, **how):
    return batch(folder, "\n".join(["meter_point_id,start,register_kwh", *lines(rows, **how), ""]))


def told(paths, *meters: MeterDays) -> tuple[pd.DataFrame, set[str]]:
    contracts = MonthContracts(default_contracts(["m"]), meters=meters)
    books = meter_books(contracts, timezone=ZONE)
    found = read_month_batches(paths, period=JULY, books=books)
    return found.readings.sort_values("start"), {one.rule for one in found.problems}


ALL = range(len(HOURS))


@settings(max_examples=6, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 9))
def test_however_faces_are_divided_and_ordered_the_month_is_the_same(
    tmp_path_factory, chance, count
):
    folder = tmp_path_factory.mktemp("batches")
    rows = list(ALL)
    chance.shuffle(rows)
    paths = [face_batch(folder, rows[first::count]) for first in range(count)]
    readings, rules = told(paths)
    assert readings["energy_wh"].tolist() == WANTED
    assert (readings["minutes"] == 60).all()
    assert set(readings["quality"]) == {"actual"}
    assert rules == set()


def test_a_batch_of_one_face_each_is_enough(tmp_path):
    july = np.flatnonzero(IN_JULY)
    wanted = [*july[:30], july[29] + 1]
    paths = [face_batch(tmp_path, [row]) for row in reversed(wanted)]
    assert told(paths)[0]["energy_wh"].tolist() == WANTED[:30]


@pytest.mark.parametrize("lost", [range(48, 49), range(30, 70), range(785, 800)])
def test_energy_across_missing_faces_is_known_at_the_months_edges_too(tmp_path, lost):
    """The hours of July are part of a gap; all of it together is exact."""
    kept = [row for row in ALL if row not in lost]
    paths = [face_batch(tmp_path, kept[::2]), face_batch(tmp_path, kept[1::2])]
    readings, _ = told(paths)
    assert len(readings) == len(WANTED)
    inside = [row for row in ALL[:-1] if IN_JULY[row]]
    estimated = readings["quality"].to_numpy() == "estimated"
    spread = {row for row in inside if row in lost or row + 1 in lost}
    assert set(np.array(inside)[estimated]) == spread
    exact = np.array(WANTED)[~estimated]
    assert readings["energy_wh"].to_numpy()[~estimated].tolist() == exact.tolist()
    if set(lost) <= set(inside) and lost[0] - 1 in inside:
        assert readings["energy_wh"].sum() == sum(WANTED)


def test_a_face_weeks_beyond_the_edge_ends_what_the_month_began(tmp_path):
    july = [row for row in ALL if IN_JULY[row]]
    late = HOURS[july[-100]] + pd.Timedelta(days=24)
    beyond = f"m,{late:%Y-%m-%dT%H:%M},{(FACES[-1] + 90_000) / 1000:.3f}"
    head = "meter_point_id,start,register_kwh"
    paths = [
        face_batch(tmp_path, july[:-99]),
        batch(tmp_path, "\n".join([head, beyond, ""])),
    ]
    readings, _ = told(paths)
    assert len(readings) == len(WANTED)
    assert (readings["quality"] == "estimated").sum() == 100
    # Nearer faces are used instead, as soon as they are there.
    near, _ = told([*paths, face_batch(tmp_path, [july[-1] + 1])])
    assert near["energy_wh"].sum() == sum(WANTED)


def test_a_register_rolls_over_between_two_batches(tmp_path):
    faces = (FACES - FACES[400] + 99_999_700) % 100_000_000
    paths = [face_batch(tmp_path, range(401), faces=faces)]
    paths.append(face_batch(tmp_path, range(401, len(HOURS)), faces=faces))
    readings, rules = told(paths)
    assert readings["energy_wh"].tolist() == WANTED
    assert rules == {"rollover"}


EXCHANGE = HOURS[IN_JULY][240]


def meter(first: str, end: str, multiplier: int, *, built_in: int = -1, taken_out: int = -1):
    days = (date.fromisoformat(first), date.fromisoformat(end))
    return MeterDays("m", days, multiplier, built_in, taken_out)


@pytest.mark.parametrize("day", [10, 31])
def test_a_declared_exchange_between_batches_loses_nothing_and_ratios_are_of_their_days(
    tmp_path, day
):
    at = int(np.flatnonzero(pd.Timestamp(2026, 7, day, tz=ZONE) + pd.Timedelta(days=1) == HOURS)[0])
    faces = FACES.copy()
    faces[at:] -= FACES[at] - 2_000
    swap = f"{HOURS[at]:%Y-%m-%d}"
    old = meter("2020-01-01", swap, 40, taken_out=int(FACES[at]))
    new = meter(swap, "9999-12-31", 60, built_in=2_000)
    paths = [face_batch(tmp_path, range(at, len(HOURS)), faces=faces)]
    paths.append(face_batch(tmp_path, range(at)))
    readings, _ = told(paths, old, new)
    ratio = np.where(HOURS[:-1] < HOURS[at], 40, 60)[IN_JULY[:-1]]
    assert readings["energy_wh"].tolist() == (np.array(WANTED) * ratio).tolist()
    # Without both faces in the books, what was used between the two meters is not known.
    unsaid, rules = told(paths)
    assert len(unsaid) == len(WANTED) - 1
    assert rules == ({"register-exchange"} if day == 10 else set())


def test_registers_of_energy_fed_in_are_differenced_apart(tmp_path):
    head = "meter_point_id,start,register_kwh,channel"
    export = FACES // 3
    paths = [
        batch(
            tmp_path,
            "\n".join(
                [
                    head,
                    *lines(rows, tail=",import"),
                    *lines(rows, faces=export, tail=",export"),
                    "",
                ]
            ),
        )
        for rows in (range(500), range(500, len(HOURS)))
    ]
    readings, _ = told(paths)
    assert readings["energy_wh"].tolist() == WANTED
    assert readings["export_wh"].tolist() == np.diff(export)[IN_JULY[:-1]].tolist()


def test_a_later_face_of_a_moment_replaces_the_earlier_one_and_an_estimate_does_not(tmp_path):
    wrong = FACES.copy()
    wrong[200] += 10
    head = "meter_point_id,start,register_kwh,quality"
    guess = "\n".join([head, *lines([200], faces=wrong, tail=",estimated"), ""])
    paths = [
        face_batch(tmp_path, ALL, faces=wrong),
        face_batch(tmp_path, [200]),
        batch(tmp_path, guess),
    ]
    assert told(paths)[0]["energy_wh"].tolist() == WANTED
    # Two in one batch that disagree are none; the energy around them is known.
    both = "\n".join([head, *lines([200], faces=wrong, tail=","), *lines([200], tail=","), ""])
    readings, rules = told([*paths, batch(tmp_path, both)])
    assert rules == {"face-conflict", "register-gap"}
    assert readings["energy_wh"].sum() == sum(WANTED)


def test_an_energy_that_was_sent_counts_before_a_difference(tmp_path):
    start = HOURS[IN_JULY][7]
    sent = f"meter_point_id,start,kwh,quality\nm,{start:%Y-%m-%dT%H:%M},9,"
    actual = batch(tmp_path, sent + "actual\n", has_faces=False)
    guess = batch(tmp_path, sent.replace("9,", "8,") + "estimated\n", has_faces=False)
    faces = face_batch(tmp_path, ALL)
    for paths in ([actual, guess, faces], [faces, guess, actual]):
        readings, _ = told(paths)
        assert readings["energy_wh"].tolist() == [*WANTED[:7], 9000, *WANTED[8:]]
    assert told([faces, guess])[0]["energy_wh"].tolist() == WANTED


def test_a_later_face_corrects_the_energies_beside_it_and_nothing_else(tmp_path):
    kept = [row for row in ALL if row != 200]
    earlier = [face_batch(tmp_path, kept)]
    before, _ = told(earlier)
    # A person corrected another hour; a later face must not undo that.
    edited = before.assign(energy_wh=before["energy_wh"].mask(before["start"] == HOURS[300], 77))
    laid = {
        "later": [face_batch(tmp_path, [200, 300])],
        "earlier": earlier,
        "books": meter_books(MonthContracts(default_contracts(["m"])), timezone=ZONE),
    }
    after = laid_over(edited, **laid).sort_values("start")
    wanted = dict(zip(HOURS[IN_JULY], WANTED, strict=True)) | {HOURS[300]: 77}
    assert dict(zip(after["start"], after["energy_wh"], strict=True)) == wanted
    assert set(after["quality"]) == {"actual"}


def laid_over(readings: pd.DataFrame, later, *, earlier, books) -> pd.DataFrame:
    late = LateBatches(tuple(later), tuple(earlier))
    below = Laid(readings, readings.iloc[:0])
    laid, _ = overlay_batches(below, late=late, period=JULY, books=books)
    assert laid.unfit.empty
    return laid.readings


def test_what_later_faces_make_unknown_is_missing(tmp_path):
    earlier = [face_batch(tmp_path, ALL)]
    fallen = FACES.copy()
    fallen[500:] -= FACES[500] - 3_000_000
    later = [face_batch(tmp_path, range(500, len(HOURS)), faces=fallen)]
    books = meter_books(MonthContracts(default_contracts(["m"])), timezone=ZONE)
    before, _ = told(earlier)
    after = laid_over(before, later, earlier=earlier, books=books)
    missing = after[after["quality"] == "missing"]
    assert missing["start"].tolist() == [HOURS[499]]
    assert missing["energy_wh"].tolist() == [0]


def test_faces_with_a_ratio_are_not_multiplied_again(tmp_path):
    hours = ",".join(f"{hour:02}:00" for hour in range(24))
    days = []
    for first in range(48, 48 + 24 * 3, 24):
        faces = ",".join(f"{one / 1000:.3f}" for one in FACES[first : first + 24])
        days.append(f"m,{HOURS[first]:%Y-%m-%d},{faces},30,register")
    text = "\n".join([f"meter_point_id,date,{hours},ratio,values", *days, ""])
    readings, _ = told([batch(tmp_path, text)], meter("2020-01-01", "9999-12-31", 40))
    assert readings["energy_wh"].tolist() == [30 * one for one in WANTED[:71]]


def test_an_altered_batch_of_faces_is_noticed_and_far_ones_are_not_counted(tmp_path):
    path = face_batch(tmp_path, ALL)
    far = batch(tmp_path, "meter_point_id,start,register_kwh\nm,2026-05-01 00:00,1\n")
    assert count_rows([path, far], period=JULY) == len(HOURS)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(StorageError) as refused:
        told([path])
    assert refused.value.reason == "storage.read"


@pytest.mark.parametrize(
    "name",
    [
        "register-one-face-missing",
        "register-rollover-five-digits",
        "register-meter-exchange",
        "run-register-gap",
        "wide-24-register-faces",
    ],
)
def test_a_case_of_the_field_by_batches_is_the_same_month_as_by_file(tmp_path, name):
    text = (CASES / name / "readings.csv").read_text(encoding="utf-8")
    head, *rows = text.splitlines()
    if "register_kwh" not in head:
        head, rows = f"{head},values", [f"{row},register" for row in rows]
    march = month_period("2025-03", timezone=ZONE)
    by_file = read_readings("\n".join([head, *rows, ""]).encode(), timezone=ZONE).readings
    by_file = by_file[(by_file["start"] >= march.start) & (by_file["start"] < march.end)]
    # Five batches, the last lines first; a wide line is a whole day of faces.
    size = -(-len(rows) // 5)
    parts = [rows[first : first + size] for first in range(0, len(rows), size)]
    paths = [batch(tmp_path, "\n".join([head, *part, ""])) for part in reversed(parts)]
    books = meter_books(MonthContracts(default_contracts([])), timezone=ZONE)
    by_batches = read_month_batches(paths, period=march, books=books).readings
    key = ["meter_point_id", "start"]
    found, wanted = (
        frame.sort_values(key)[[*key, "energy_wh", "quality", "minutes"]].astype(str)
        for frame in (by_batches, by_file)
    )
    assert found.to_numpy().tolist() == wanted.to_numpy().tolist()


def as_json(text: str, *, lines: bool = False) -> str:
    """A table of CSV as a list of objects, or as objects of lines."""
    head, *rows = text.strip().splitlines()
    readings = [dict(zip(head.split(","), row.split(","), strict=True)) for row in rows]
    if lines:
        return "".join(json.dumps(one) + "\n" for one in readings)
    return json.dumps({"readings": readings})


@pytest.mark.parametrize("of_lines", [True, False])
def test_faces_in_json_are_those_of_csv_with_their_channels(tmp_path, of_lines):
    export = FACES // 3
    head = "meter_point_id,start,register_kwh"
    alone = "\n".join([head, *lines(ALL)])
    rows = [*lines(ALL, tail=",import"), *lines(ALL, faces=export, tail=",export")]
    both = "\n".join([f"{head},channel", *rows])
    beside = [
        f"{line},{wh // 1000}.{wh % 1000:03d}" for line, wh in zip(lines(ALL), export, strict=True)
    ]
    wide = "\n".join([f"{head},register_export_kwh", *beside])
    for text in (alone, both, wide):
        in_json, _ = told([batch(tmp_path, as_json(text, lines=of_lines))])
        in_csv, _ = told([batch(tmp_path, f"{text}\n")])
        assert in_json.to_numpy().tolist() == in_csv.to_numpy().tolist()
        assert in_json["energy_wh"].tolist() == WANTED
        assert ("export_wh" in in_json) == (text != alone)


@pytest.mark.parametrize(
    ("given", "reason", "said"),
    [
        ([{"register_kwh": "77.31", "kwh": 1}], "body", "either kwh or register_kwh"),
        ([{"register_kwh": "77.31"}, {"kwh": 1}], "body", "energies and faces"),
        ([{"quality": "actual"}], "body", "either kwh or register_kwh"),
        ([{"register_kwh": "77.31", "channel": "reactive"}], "channel", "kvarh"),
        ([{"register_kwh": "77.31", "channel": "export"}], "channel", "import"),
        ([{"register_kwh": "77.31", "kvarh": 1}], "columns", "kvarh"),
        ([{"register_kwh": 1, "channel": "import", "register_export_kwh": 2}], "columns", "export"),
        ([{"kwh": 1, "register_export_kwh": "77.31"}], "columns", "register_export_kwh"),
        ([{"register_kwh": "77.31x"}], "energy", "line 2"),
    ],
)
def test_json_that_says_no_face_is_refused_with_a_way_out(tmp_path, given, reason, said):
    own = {"meter_point_id": "m", "start": "2026-07-01 00:00"}
    with pytest.raises(InvalidReadingsError) as refused:
        batch(tmp_path, json.dumps([own | one for one in given]))
    assert refused.value.reason == f"readings.{reason}"
    text = f"{refused.value.message} {refused.value.remedy} {refused.value.problems}"
    assert said in text or (said == "line 2" and "eading 1" in text)
    assert "77.31" not in text


# --- registers beside energies


def energies(folder, hours, *, kwh="0.5", fed_in: str | None = None):
    """A batch of one meter's hours, with or without what it fed in."""
    header = "meter_point_id,start,kwh" + ("" if fed_in is None else ",export_kwh")
    tail = "" if fed_in is None else f",{fed_in}"
    rows = [f"m,2026-07-01T{hour:02d}:00,{kwh}{tail}" for hour in hours]
    return batch(folder, "\n".join([header, *rows, ""]), has_faces=False)


def test_a_batch_without_a_register_takes_nothing_of_it_away(tmp_path):
    with_it = energies(tmp_path, range(4), fed_in="0.2")
    without = energies(tmp_path, range(1, 6), kwh="0.7")
    for paths in ([with_it, without], [without, with_it]):
        readings, _ = told(paths)
        assert readings["export_wh"].tolist() == [200] * 4 + [-1] * 2
    readings, _ = told([with_it, without])
    assert readings["energy_wh"].tolist() == [500] + [700] * 5


def test_a_late_batch_without_a_register_corrects_the_energy_beside_it(tmp_path):
    with_it = energies(tmp_path, range(4), fed_in="0.2")
    below, _ = told([with_it])
    laid = laid_over(
        below,
        [energies(tmp_path, range(2, 6), kwh="0.7")],
        earlier=[with_it],
        books=meter_books(MonthContracts(default_contracts(["m"])), timezone=ZONE),
    )
    laid = laid.sort_values("start")
    assert laid["energy_wh"].tolist() == [500] * 2 + [700] * 4
    assert laid["export_wh"].tolist() == [200] * 4 + [-1] * 2


@pytest.mark.parametrize("column", ["meter_serial", "电表资产号", "表号"])
def test_a_table_that_names_the_meter_of_each_face_keeps_two_meters_apart(tmp_path, column):
    """The new meter's first face is a little higher: no difference of faces shows the exchange."""
    at = int(np.flatnonzero(HOURS == EXCHANGE)[0])
    faces = FACES.copy()
    faces[at:] += 700
    head = f"meter_point_id,start,register_kwh,{column}"
    parts = [(range(at), ",OLD"), (range(at, len(HOURS)), ",NEW")]
    paths = [
        batch(tmp_path, "\n".join([head, *lines(rows, faces=faces, tail=tail), ""]))
        for rows, tail in parts
    ]
    readings, rules = told(paths)
    assert rules == {"undeclared-exchange"}
    apart = [*WANTED[:239], *WANTED[240:]]
    assert readings["energy_wh"].tolist() == apart
    # By the books the second face is the first one of the new meter.
    swap = f"{EXCHANGE:%Y-%m-%d}"
    old = meter("2020-01-01", swap, 1, taken_out=int(FACES[at]))
    new = meter(swap, "9999-12-31", 1, built_in=int(faces[at]))
    declared, rules = told(paths, old, new)
    assert (declared["energy_wh"].tolist(), rules) == (WANTED, set())


def test_two_exchanges_of_a_month_each_at_an_hour_of_its_day(tmp_path):
    """The second meter's faces go on from the first one's, also on the day it is taken out."""
    at = int(np.flatnonzero(HOURS == EXCHANGE)[0])
    first, second = at + 14, at + 3 * 24 + 9
    faces = FACES.copy()
    faces[first:] -= FACES[first] - 1000
    faces[second:] -= faces[second] - 2000
    head = "meter_point_id,start,register_kwh,meter_serial"
    parts = (
        (range(first), ",A"),
        (range(first, second), ",B"),
        (range(second, len(HOURS)), ",C"),
    )
    paths = [
        batch(tmp_path, "\n".join([head, *lines(rows, faces=faces, tail=tail), ""]))
        for rows, tail in parts
    ]
    days = ("2020-01-01", *(f"{HOURS[row]:%Y-%m-%d}" for row in (first, second)), "9999-12-31")
    shown = int(FACES[second] - FACES[first] + 1000)
    meters = (
        meter(*days[:2], 1, taken_out=int(FACES[first])),
        meter(*days[1:3], 1, built_in=1000, taken_out=shown),
        meter(*days[2:], 1, built_in=2000),
    )
    readings, rules = told(paths, *meters)
    assert (readings["energy_wh"].tolist(), rules) == (WANTED, set())


def without_serials(tmp_path, hours, firsts, *, step=1, final=None):
    """Readings of a meter that is exchanged at hours, and what is said of them.

    Args:
        firsts: What each new meter shows first [Wh].
        step: Of how many faces one is read.
        final: What the books have of every old meter [Wh]; None for what it showed.
    """
    faces, days, built_in, meters = FACES.copy(), "2020-01-01", -1, []
    for row, first in zip(hours, firsts, strict=True):
        day, shown = f"{HOURS[row]:%Y-%m-%d}", int(faces[row])
        taken_out = shown if final is None else final
        meters.append(meter(days, day, 1, built_in=built_in, taken_out=taken_out))
        days, built_in = day, first
        faces[row:] -= shown - first
    meters.append(meter(days, "9999-12-31", 1, built_in=built_in))
    return told([face_batch(tmp_path, range(0, len(HOURS), step), faces=faces)], *meters)


AT = int(np.flatnonzero(HOURS == EXCHANGE)[0])


@pytest.mark.parametrize(
    ("after", "firsts"),
    [((0,), (0,)), ((14,), (2000,)), ((14, 81), (1000, 2000)), ((14, 33), (1000, 900))],
)
def test_faces_without_serials_are_told_apart_by_what_the_books_say_of_the_exchange(
    tmp_path, after, firsts
):
    """Faces of the second of three meters before its hour were taken for the third one's."""
    hours = [AT + row for row in after]
    readings, rules = without_serials(tmp_path, hours, firsts)
    assert (readings["energy_wh"].tolist(), rules) == (WANTED, set())


def test_a_face_without_a_serial_before_one_of_the_old_meters_is_the_old_meters(tmp_path):
    """On the exchange's day the books leave open whose it is, and the next face says it."""
    at, faces, day = AT + 14, FACES.copy(), f"{EXCHANGE:%Y-%m-%d}"
    faces[at:] -= faces[at] - 2000
    parts = (
        *((range(AT + 9), ",OLD"), (range(AT + 9, AT + 10), ",")),
        *((range(AT + 10, at), ",OLD"), (range(at, len(HOURS)), ",NEW")),
    )
    rows = [line for own, tail in parts for line in lines(own, faces=faces, tail=tail)]
    told_of = batch(
        tmp_path, "\n".join(["meter_point_id,start,register_kwh,meter_serial", *rows, ""])
    )
    meters = (
        meter("2020-01-01", day, 1, taken_out=int(FACES[at])),
        meter(day, "9999-12-31", 1, built_in=2000),
    )
    readings, rules = told([told_of], *meters)
    assert (readings["energy_wh"].tolist(), rules) == (WANTED, set())


def test_faces_that_may_be_either_meters_leave_the_sum_exact_and_its_place_estimated(tmp_path):
    """Read at midnights, the second meter's only face may also be the third one's."""
    readings, rules = without_serials(tmp_path, [AT + 14, AT + 33], [1000, 2000], step=24)
    assert rules == {"register-gap"}
    assert readings["energy_wh"].sum() == sum(WANTED)
    assert readings["energy_wh"].min() > 0
    days = readings["start"][readings["quality"] == "estimated"].dt.day.tolist()
    assert days == [EXCHANGE.day, EXCHANGE.day + 1]


def test_books_that_fit_no_face_of_the_exchanges_day_bill_nothing_of_it(tmp_path):
    readings, rules = without_serials(tmp_path, [AT + 14], [2000], final=int(FACES[AT]) - 9000)
    assert rules == {"undeclared-exchange"}
    lacks = HOURS[IN_JULY].difference(pd.DatetimeIndex(readings["start"]))
    assert lacks.tolist() == HOURS[AT - 1 : AT + 24].tolist()
    by_hour = dict(zip(HOURS[:-1], USED, strict=True))
    assert all(
        by_hour[start] == energy
        for start, energy in zip(readings["start"], readings["energy_wh"], strict=True)
    )


def test_a_reading_of_json_names_its_meter_and_one_of_energies_does_not(tmp_path):
    rows = [
        {"meter_point_id": "m", "start": f"{HOURS[row]:%Y-%m-%dT%H:%M}", "register_kwh": f"{kwh}"}
        for row, kwh in ((100, 10), (101, 11), (102, 12))
    ]
    named = [{**one, "meter_serial": serial} for one, serial in zip(rows, "AAB", strict=True)]
    readings, rules = told([batch(tmp_path, json.dumps(named))])
    assert readings["energy_wh"].tolist() == [1000]
    assert rules == {"undeclared-exchange"}
    assert told([batch(tmp_path, json.dumps(rows))])[0]["energy_wh"].tolist() == [1000, 1000]
    with pytest.raises(InvalidReadingsError) as refused:
        batch(tmp_path, f"meter_point_id,start,kwh,meter_serial\nm,{HOURS[0]:%Y-%m-%dT%H:%M},1,A\n")
    assert refused.value.reason == "readings.columns"


def test_a_meter_that_late_faces_show_to_be_another_is_told_until_its_exchange_is_declared(
    tmp_path,
):
    at = int(np.flatnonzero(HOURS == EXCHANGE)[0])
    faces = FACES.copy()
    faces[at:] += 700
    head = "meter_point_id,start,register_kwh,meter_serial"
    earlier, later = (
        batch(tmp_path, "\n".join([head, *lines(rows, faces=faces, tail=tail), ""]))
        for rows, tail in ((range(at), ",OLD"), (range(at, len(HOURS)), ",NEW"))
    )
    swap = f"{EXCHANGE:%Y-%m-%d}"
    declared = (
        meter("2020-01-01", swap, 1, taken_out=int(FACES[at])),
        meter(swap, "9999-12-31", 1, built_in=int(faces[at])),
    )
    late = LateBatches((later,), (earlier,))
    for meters, rules, lacks in (
        ((), ["undeclared-exchange"], [HOURS[at - 1]]),
        (declared, [], []),
    ):
        before, _ = told([earlier], *meters)
        books = MonthContracts(default_contracts(["m"]), meters=meters)
        below = Laid(before, before.iloc[:0])
        laid, _ = overlay_batches(
            below, late=late, period=JULY, books=meter_books(books, timezone=ZONE)
        )
        (own,) = laid.undeclared.values()
        assert [one.rule for one in own] == rules
        # What was said of it before is said anew, and of others it stands.
        other = ReadingProblem("n", None, "undeclared-exchange", "")
        assert laid.tell([*own, other]) == (other, *own)
        hours = laid.readings[laid.readings["quality"] != "missing"]["start"]
        assert HOURS[IN_JULY].difference(pd.DatetimeIndex(hours)).tolist() == lacks
