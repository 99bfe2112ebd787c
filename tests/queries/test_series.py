"""Series of others: whose they are, who may use them, and which value a step gets."""

from __future__ import annotations

import json
from datetime import date, timedelta
from fractions import Fraction
from statistics import fmean
from typing import Any

import pytest

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import GridSecureError, InputError, NotFoundError, ReleaseRefusedError
from gridsecure.queries.answers import answer_question
from gridsecure.queries.series import (
    PublicSeries,
    SeriesHeader,
    SeriesPolicy,
    choose_series,
    fill_question,
    join_policies,
    read_series,
)
from tests.queries.plain_grid import plain_grid, total_up
from tests.queries.questions import question

GRID = plain_grid(["2026-07-01", "2026-07-02"])
DAYS = "day,value\n2026-07-01,31.5\n2026-07-02,33\n"
TODAY = date(2026, 8, 3)
NAMED = {"name": "regression", "series": {"temperature": "weather"}}


def half_hours() -> str:
    """Half-hours of both days: their number in the day."""
    rows = ["start,end,value"]
    for day in (1, 2):
        for number in range(48):
            times = [
                f"2026-07-{day + at // 48:02d}T{at % 48 // 2:02d}:{at % 2 * 30:02d}"
                for at in (number, number + 1)
            ]
            rows.append(",".join([*times, str(number)]))
    return "\n".join(rows) + "\n"


def series(table: str = DAYS, **said: Any) -> PublicSeries:
    content = table.encode()
    fields = {"name": "weather", "owner": "office", "unit": "°C", "table": sm3_hex(content)}
    return read_series(SeriesHeader.model_validate(fields | said).text, content)


def filled(one: PublicSeries, statistic: Any = NAMED, **fields: Any) -> Any:
    asked = question(**({"every": "day"} | fields), statistic=statistic)
    chosen = choose_series(asked, [one], purpose="research", on=TODAY)
    return fill_question(asked, chosen, total_up(asked.legs[0], GRID)).statistic


def reason_of(refused: pytest.ExceptionInfo[GridSecureError]) -> str:
    return refused.value.reason


def test_a_step_has_the_value_of_its_time() -> None:
    assert filled(series()).series == {"temperature": ["31.5", "33"]}
    with pytest.raises(InputError) as refused:
        filled(series("day,value\n2026-07-01,31.5\n"))
    assert reason_of(refused) == "series.gap"
    assert "2026-07-02T00:00:00+08:00" in str(refused.value)
    with pytest.raises(InputError) as refused:
        filled(series(), every="hour")
    assert reason_of(refused) == "series.gap", "a day's value is no hour's"


def test_shorter_times_are_put_together_as_the_owner_says() -> None:
    hourly = half_hours()
    with pytest.raises(InputError) as refused:
        filled(series(hourly))
    assert reason_of(refused) == "series.shape"
    mean = filled(series(hourly, put_together="mean")).series["temperature"]
    assert list(map(Fraction, mean)) == [Fraction(47, 2)] * 2
    total = filled(series(hourly, put_together="sum")).series["temperature"]
    assert total == [str(sum(range(48)))] * 2
    night = {"clock": [{"start": "00:00", "end": "02:00"}]}
    of_night = filled(series(hourly, put_together="mean"), when=night).series["temperature"]
    assert list(map(float, of_night)) == [fmean(range(4))] * 2, "only what is asked about"


def test_what_a_series_is_of_and_its_unit_have_to_fit() -> None:
    area = {"name": "ratio", "unit": "m²", "given": "area"}
    own = series("zone,value\nfutian,1250.5\n", name="area", unit="m²")
    given = filled(own, area, every="month", group_by=["zone"]).given
    assert [(one.group, one.amount) for one in given] == [(["futian"], "1250.5")]
    for one, reason in (
        (series("zone,value\nfutian,1\n", name="area", unit="mu"), "series.unit"),
        (series("tariff,value\nflat,1\n", name="area", unit="m²"), "series.shape"),
    ):
        with pytest.raises(InputError) as refused:
            filled(one, area, every="month", group_by=["zone"])
        assert reason_of(refused) == reason
    with pytest.raises(InputError) as refused:
        filled(series(unit="MWh"), {"name": "loss", "fed_in_kwh": "weather"})
    assert reason_of(refused) == "series.unit"


@pytest.mark.parametrize(
    "policy",
    [
        {"roles": ["staff"]},
        {"purposes": ["billing"]},
        {"first": "2026-08-04"},
        {"until": "2026-08-03"},
    ],
    ids=lambda one: next(iter(one)),
)
def test_a_policy_refuses_by_name(policy: Any) -> None:
    with pytest.raises(ReleaseRefusedError, match="series weather") as refused:
        filled(series(policy=policy))
    assert reason_of(refused) == "series.policy"


def test_the_strictest_of_all_policies_holds() -> None:
    joined = join_policies([
        SeriesPolicy(purposes=["research", "planning"], first="2026-01-01", until="2028-01-01"),
        SeriesPolicy(purposes=["planning"], first="2026-03-01", least_meter_points=20),
        SeriesPolicy(roles=["analyst"], until="2027-01-01", least_meter_points=5),
    ])  # fmt: skip
    assert joined == SeriesPolicy(
        roles=["analyst"], purposes=["planning"], first="2026-03-01", until="2027-01-01",
        least_meter_points=20,
    )  # fmt: skip


def test_a_series_that_is_another_is_not_taken() -> None:
    one = series()
    with pytest.raises(InputError) as refused:
        read_series(one.header.text, DAYS.replace("33", "34").encode())
    assert reason_of(refused) == "series.digest"
    pinned = {"name": "regression", "series": {"temperature": f"weather@{one.digest}"}}
    assert filled(one, pinned) == filled(one)
    for known in (series(owner="another"), series(name="rain")):
        with pytest.raises(NotFoundError) as missing:
            filled(known, pinned)
        assert reason_of(missing) == "series.missing"
    asked = question(every="day", statistic=NAMED)
    with pytest.raises(InputError) as refused:
        answer_question(asked, [total_up(asked, GRID)])
    assert reason_of(refused) == "series.missing"


@pytest.mark.parametrize(
    "table",
    [
        "", "value\n1\n", "day,value\n2026-07-01,1e3\n", "day,value\n2026-07-01,nan\n",
        "day,value\n2026-07-32,1\n", "day,value\n2026-07-01,1\n2026-07-01,2\n",
        "start,end,value\n2026-07-01T01:00,2026-07-01T00:00,1\n", "day,value\n2026-07-01\n",
        "zone,value\nfutian,1\nfutian,2\n", "zone,value\n", "street,value\nfutian,1\n",
        "day,value\n2026-07-01T00:00+08:00,1\n",
    ],
    ids=repr,
)  # fmt: skip
def test_a_table_that_says_nothing_exact_is_refused(table: str) -> None:
    with pytest.raises(InputError) as refused:
        series(table)
    assert reason_of(refused) == "series.shape"


def test_an_hour_that_is_there_twice_needs_its_offset() -> None:
    table = "start,end,value\n2026-10-25T02:00{},2026-10-25T02:30{},1\n"
    with pytest.raises(InputError, match="the clock was set"):
        series(table.format("", ""), timezone="Europe/Berlin")
    assert len(series(table.format("+01:00", "+01:00"), timezone="Europe/Berlin").rows) == 1
    (day,) = series("day,value\n2026-10-25,1\n", timezone="Europe/Berlin").rows
    assert day.end - day.start == timedelta(hours=25)


def test_questions_name_series_or_give_values() -> None:
    assert json.loads(question(every="day", statistic=NAMED).text)["statistic"] == NAMED
    for value in (5, "Weather", "weather@12", ""):
        with pytest.raises(InputError) as refused:
            question(every="day", statistic=NAMED | {"series": {"temperature": value}})
        assert reason_of(refused) == "query.field"
