"""Values and times of another meaning than their columns' names say."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import pandas as pd
import pytest

from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.formats import read_readings
from gridsecure.gateway.ingestion.risen_values import RisenValues
from gridsecure.gateway.meanings import Meaning, Stamps, Values
from gridsecure.gateway.value_kinds import refuse_cumulative

HOURS = pd.date_range("2025-03-01", periods=24 * 31, freq="h")


def long_file(energies: list[float], *, starts: pd.DatetimeIndex = HOURS, extra: str = "") -> bytes:
    names, cells = (
        (f",{extra.split('=', maxsplit=1)[0]}", f",{extra.split('=')[1]}") if extra else ("", "")
    )
    rows = [
        f"M,{start:%Y-%m-%d %H:%M},{kwh:.3f}{cells}"
        for start, kwh in zip(starts, energies, strict=True)
    ]
    return "\n".join([f"meter_point_id,start,kwh{names}", *rows, ""]).encode()


def faces(*, begin: float, step: float = 0.3) -> list[float]:
    return [begin + step * number for number in range(len(HOURS))]


def refused(data: bytes, *, meaning: Meaning | None = None) -> InvalidReadingsError:
    with pytest.raises(InvalidReadingsError) as caught:
        read_readings(data, **({} if meaning is None else {"meaning": meaning}))
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize(
    "energies",
    [
        faces(begin=512.0),
        faces(begin=0.1),
        [0.0 if number == 300 else face for number, face in enumerate(faces(begin=512.0))],
        [*faces(begin=99_900.0)[:400], *faces(begin=0.2)[400:]],
        [face if number % 3 else faces(begin=9.0)[number - 1] for number, face in
         enumerate(faces(begin=9.0))],
    ],
    ids=["running", "new", "a zero among them", "exchanged", "flat by night"],
)  # fmt: skip
def test_faces_under_the_name_of_an_energy_are_refused(energies: list[float]) -> None:
    error = refused(long_file(energies))
    assert error.reason == "readings.cumulative"
    assert "'M'" in error.message


def test_faces_of_another_column_are_refused() -> None:
    rows = [f"M,{start:%Y-%m-%d %H:%M},0.5,{512 + n}" for n, start in enumerate(HOURS)]
    data = "\n".join(["meter_point_id,start,kwh,export_kwh", *rows]).encode()
    assert refused(data).reason == "readings.cumulative"


@pytest.mark.parametrize("seed", range(20))
def test_energies_of_intervals_are_never_taken_for_faces(seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 - a load curve, no secret
    shape = [0.2 + 0.04 * ((number + seed) % 24) for number in range(len(HOURS))]
    for energies in (
        [draw.uniform(0, 3) for _ in HOURS],  # anything
        [round(kwh * draw.uniform(0.9, 1.1), 3) for kwh in shape],  # a rise a day
        [0.5 if number % 24 in (7, 8, 19) else 0.0 for number in range(len(HOURS))],  # hardly any
        [12.5] * len(HOURS),  # a band
        [float(number) for number in range(24)] + [1.0, 0.5] * 360,  # a day of rising load
    ):
        assert len(read_readings(long_file(energies)).readings) == len(HOURS)


def test_the_file_or_the_command_says_what_values_are() -> None:
    data = long_file(faces(begin=512.0))
    as_faces = read_readings(data, meaning=Meaning(Values.REGISTER))
    assert as_faces.readings["energy_wh"].sum() == 300 * (len(HOURS) - 1)
    said = read_readings(long_file(faces(begin=512.0), extra="values=register"))
    pd.testing.assert_frame_equal(said.readings, as_faces.readings)
    assert said.meaning == Meaning(Values.REGISTER)
    as_energies = read_readings(long_file(faces(begin=512.0), extra="values=interval"))
    assert as_energies.readings["energy_wh"].max() > 512_000
    against = refused(
        long_file(faces(begin=512.0), extra="values=interval"), meaning=Meaning(Values.REGISTER)
    )
    assert against.reason == "readings.values"
    assert refused(long_file(faces(begin=1.0), extra="values=both")).reason == "readings.values"


@pytest.mark.parametrize("minutes", [15, 30, 60])
def test_times_at_the_end_are_refused_until_they_are_said_to_be(minutes: int) -> None:
    ends = pd.date_range("2025-03-01", "2025-04-01", freq=f"{minutes}min")[1:]
    energies = [0.2 + 0.01 * (number % 7) for number in range(len(ends))]
    data = long_file(energies, starts=ends)
    error = refused(data)
    assert error.reason == "readings.stamps"
    assert f"from {ends[0]:%H:%M}" in error.message
    for moved in (
        read_readings(data, meaning=Meaning(stamps=Stamps.END)),
        read_readings(long_file(energies, starts=ends, extra="stamps=end")),
    ):
        starts = moved.readings["start"]
        assert starts.iloc[0] == pd.Timestamp("2025-03-01", tz="Asia/Shanghai")
        assert starts.iloc[-1] == pd.Timestamp("2025-04-01", tz="Asia/Shanghai") - pd.Timedelta(
            minutes=minutes
        )
    kept = read_readings(data, meaning=Meaning(stamps=Stamps.START)).readings["start"]
    assert kept.iloc[0] == pd.Timestamp(ends[0], tz="Asia/Shanghai")


def test_the_hour_24_ends_an_interval_whatever_is_said() -> None:
    rows = [
        f"M,2025-03-{day:02d} {hour:02d}:00,{0.1 * (hour % 5):.1f}"
        for day in (1, 2)
        for hour in range(1, 25)
    ]
    data = "\n".join(["meter_point_id,start,kwh", *rows]).encode()
    assert refused(data, meaning=Meaning(stamps=Stamps.START)).reason == "readings.stamps"
    assert refused(data + b"\nM,2025-03-02 00:00,0.1").reason == "readings.stamps"
    for meaning in (Meaning(), Meaning(stamps=Stamps.END)):
        read = read_readings(data, meaning=meaning)
        assert read.meaning.stamps is Stamps.END
        days = read.readings["start"].dt.strftime("%d")
        assert days.value_counts().to_dict() == {"01": 24, "02": 24}


def test_a_few_corrected_readings_show_no_pattern() -> None:
    rows = ["M,2025-03-04 01:00,1", "M,2025-03-04 02:00,2", "M,2025-03-20 00:00,1"]
    data = "\n".join(["meter_point_id,start,kwh", *rows]).encode()
    assert len(read_readings(data).readings) == len(rows)


def test_starts_are_taken_as_starts() -> None:
    energies = [0.2 + 0.01 * (number % 7) for number in range(len(HOURS))]
    for starts in (HOURS, HOURS + pd.Timedelta(hours=7)):
        assert len(read_readings(long_file(energies, starts=starts)).readings) == len(HOURS)


def a_table(draw: random.Random) -> pd.DataFrame:
    """Loads, faces and exchanged registers, some sparse, in an order that exports have."""
    parts = []
    for meter in range(draw.randint(1, 4)):
        starts = HOURS[: draw.randint(1, 200)].tz_localize("UTC")
        values = pd.Series([draw.randint(0, 9) for _ in starts])
        if draw.random() < 0.7:
            values = (values + draw.randint(0, 1)).cumsum()
            values[len(values) // 2 :] -= draw.choice([0, values[len(values) // 2]])
        parts.append(
            pd.DataFrame(
                {
                    "meter_point_id": f"M{meter}",
                    "start": starts,
                    "energy_wh": values,
                    "quality": [draw.choice(["actual"] * 9 + ["missing"]) for _ in starts],
                }
            )
        )
    table = pd.concat(parts, ignore_index=True)
    order = draw.choice(["by meter", "by time", "latest first"])
    if order != "by meter":
        table = table.sort_values(
            "start", ascending=order == "by time", kind="stable", ignore_index=True
        )
    return table


def told(check: Callable[[], None]) -> str:
    try:
        check()
    except InvalidReadingsError as error:
        return error.message
    return ""


def test_pieces_tell_of_faces_what_one_table_tells() -> None:
    draw = random.Random(12)  # noqa: S311 - tables, no secret
    answers = set()
    for _ in range(40):
        table, risen, size = a_table(draw), RisenValues(), draw.randint(3, 80)
        whole = told(partial(refuse_cumulative, table))
        for first in range(0, len(table), size):
            risen.add(table.iloc[first : first + size].reset_index(drop=True))
        assert told(risen.check) == whole
        answers.add(whole)
    assert len(answers) > 5
