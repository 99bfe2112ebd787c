"""What the columns of the two layouts are called elsewhere.

A name that can only mean one of our columns is read as it. A name that leaves open what is in the
column (`usage` may be Wh, `time` may be the end of an interval) is refused, and the refusal says
what it is probably meant to be. So are columns for each day, which hold no intervals.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.wide_days import POINT_MINUTES

LAYOUTS: Final = (
    "meter_point_id,start,kwh[,kvarh][,export_kwh][,quality][,unit] or"
    " meter_point_id,date,p1..pN[,quality][,ratio][,unit][,channel] with N 24, 48 or 96"
)
QUOTABLE_NAME: Final = re.compile(r"[A-Za-z_\u4e00-\u9fff][\w\u4e00-\u9fff ]{0,39}")
"""A first line of data instead of a header must not be quoted back: it holds readings."""

# Names of public exports that mean nothing else, blanks and marks as underscores.
_READ_NAMES: Final = {
    "meter_point_id": "户号 用户编号 用户号 计量点编号 测量点编号 nmi mpan cups cons_no",
    "date": "日期 数据日期",
    "start": "开始时间 interval_start start_time",
    "kwh": "电量_kwh 用电量_kwh 电量_千瓦时 用电量_千瓦时 usage_kwh consumption_kwh energy_kwh",
    "register_kwh": "示值 表码 正向有功总示值",
    "export_kwh": "反向电量_kwh 上网电量_kwh export_kwh",
    "quality": "质量 质量标志 quality_flag",
    "ratio": "综合倍率 倍率",
    "channel": "数据类型",
}
_OPEN_NAMES: Final = {
    "meter_point_id": "表号 电表资产号 资产编号 meter meter_id meterid meter_number usage_point",
    "date": "day",
    "start": "时间 数据时间 time timestamp datetime begin",
    "kwh": "电量 用电量 有功电量 usage consumption consumed energy",
    "register_kwh": "register reading meter_reading",
    "export_kwh": "反向电量 上网电量 export generation feed_in",
    "quality": "flag status",
}
_READ: Final = {name: ours for ours, names in _READ_NAMES.items() for name in names.split()}
_MEANT: Final = {name: ours for ours, names in _OPEN_NAMES.items() for name in names.split()}
_OURS: Final = re.compile(
    r"meter_point_id|start|kwh|kvarh|export_kwh|register_kwh|quality|unit|values|stamps|date|ratio|channel"
    r"|p[1-9][0-9]{0,2}"
)
_DAY_MINUTES: Final = 1440
_FEWEST_DAYS: Final = 2
_DAY: Final = re.compile(r"\d{4}[-/.]?\d{1,2}[-/.]?\d{1,2}|\d{1,2}[/.]\d{1,2}[/.]\d{4}")
_TIME: Final = re.compile(r"(\d{1,2}):(\d{2})(:00)?")


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """A header in our names.

    Args:
        at_ends: Whether the columns of a wide file were named by the ends of their intervals,
            which is when faces of a register are read.
    """

    names: tuple[str, ...]
    at_ends: bool = False


def name_columns(written: list[str]) -> ColumnNames:
    """Our names of columns, where the written ones can mean nothing else.

    Columns named by the clock become p1 … pN where together they are the day's intervals, by their
    starts or by their ends.
    """
    names = tuple(_known_name(name) for name in written)
    times = [name for name in names if _TIME.fullmatch(name)]
    step = POINT_MINUTES.get(len(times), 0)
    clock = (_TIME.fullmatch(name) for name in times)
    minutes = [int(found[1]) * 60 + int(found[2]) for found in clock if found]
    starts = [number * step for number in range(len(times))]
    ends = [start + step for start in starts]
    # 24:00 is also written as the midnight that it is.
    if not step or minutes not in (starts, ends, [*ends[:-1], 0]) or ends[-1] != _DAY_MINUTES:
        return ColumnNames(names)
    points = {name: f"p{number}" for number, name in enumerate(times, start=1)}
    return ColumnNames(tuple(points.get(name, name) for name in names), minutes != starts)


def _known_name(written: str) -> str:
    """The name of a column, whatever its capitals and the blanks around it."""
    name = written.strip()
    if _OURS.fullmatch(name.lower()):
        return name.lower()
    return _READ.get(_key(name), name)


def _key(name: str) -> str:
    return re.sub(r"\W+", "_", name.lower()).strip("_")


def unknown_header(names: list[str]) -> InvalidReadingsError | None:
    """The refusal of a header whose columns are recognised as something else, or None."""
    days = [name for name in names if _DAY.fullmatch(name)]
    if len(days) >= _FEWEST_DAYS:
        return InvalidReadingsError(
            f"The file has a column for each day ({len(days)} of them): these are daily energies.",
            reason="readings.daily",
            remedy="A bill by interval needs the readings of 5, 10, 15, 30 or 60 minutes; use"
            f" {LAYOUTS}.",
        )
    renamed = [
        f"{name} is meant to be {_MEANT[key]}"
        for name in names
        if QUOTABLE_NAME.fullmatch(re.sub(r"[()\[\]]", "", name)) and (key := _key(name)) in _MEANT
    ]
    times = [name for name in names if _TIME.fullmatch(name)]
    if times:
        renamed.append(f"{times[0]} to {times[-1]} are not the 24, 48 or 96 intervals of a day")
    if not renamed:
        return None
    return InvalidReadingsError(
        f"The header's names differ from the known layouts: {'; '.join(renamed)}.",
        reason="readings.columns",
        remedy=f"Rename the columns accordingly. The layouts are {LAYOUTS}.",
    )
