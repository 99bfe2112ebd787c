"""What the columns of tables are called elsewhere, and which of them nothing is read from.

A name that can only mean one of our columns is read as it. A name that leaves open what is in the
column (`usage` may be Wh, `time` may be the end of an interval) is refused, and the refusal says
what it is probably meant to be.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from gridsecure.billing.meter_serials import SERIAL
from gridsecure.billing.register_hours import register_name
from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway import passed_over
from gridsecure.gateway.channels import FACES, FACES_OF_HOURS, FACES_REACTIVE
from gridsecure.gateway.wide_days import POINT_MINUTES

LAYOUTS: Final = (
    "meter_point_id,start,kwh[,kvarh][,export_kwh][,quality][,unit] or"
    " meter_point_id,date,p1..pN[,quality][,ratio][,unit][,channel] with N 24, 48 or 96, or"
    " meter_point_id,date,kwh for whole days"
)
QUOTABLE_NAME: Final = re.compile(r"[A-Za-z_\u4e00-\u9fff][\w\u4e00-\u9fff ]{0,39}")
"""A first line of data instead of a header must not be quoted back: it holds readings."""


def _registers(flow: str) -> str:
    """Names of a register's total: those of DL/T 645-2007, of DL/T 698.45 and of exports.

    Args:
        flow: Its direction and kind, such as 正向有功.
    """
    total = f"{flow}总电能"
    short = f"{flow}总示值 {total}示值 {flow}电能示值_总 {flow}电能_总"
    return f"{short} {total} 日冻结{total} 上1次_日冻结{total} 当前_{total}"


# Names of public exports that mean nothing else, blanks and marks as underscores.
_READ_NAMES: Final = {
    "meter_point_id": "户号 用户编号 用户号 计量点编号 测量点编号 nmi mpan cups cons_no",
    "date": "日期 数据日期 data_date",
    "start": "开始时间 interval_start start_time 冻结时间 日冻结时间 数据冻结时间 上1次_日冻结时间",
    "kwh": "电量_kwh 用电量_kwh usage_kwh consumption_kwh energy_kwh",
    "register_kwh": f"示值 表码 pap_r 00010000 00100201 {_registers('正向有功')}",
    "register_export_kwh": f"rap_r 00020000 00200201 {_registers('反向有功')}",
    FACES_REACTIVE: f"prp_r {_registers('正向无功')}",
    "kvarh": "无功电量_kvarh 正向无功电量_kvarh reactive_kvarh reactive_energy_kvarh",
    "export_kwh": "反向电量_kwh 上网电量_kwh export_kwh",
    "quality": "质量 质量标志 quality_flag",
    "ratio": "综合倍率 倍率",
    "channel": "数据类型",
    SERIAL: "meter_serial_number",
}
_OPEN_NAMES: Final = {
    "meter_point_id": "表号 电表资产号 资产编号 meter meter_id meterid meter_number usage_point",
    "date": "day",
    "start": "时间 数据时间 time timestamp datetime begin",
    "kwh": "电量 用电量 有功电量 usage consumption consumed energy",
    "register_kwh": "register reading meter_reading",
    "export_kwh": "反向电量 上网电量 export generation feed_in",
    "kvarh": "无功 无功电量 正向无功电量 reactive reactive_energy",
    "quality": "flag status",
}
# What exports hold beside, and no bill is computed from: whose it is and where, and when it was
# read; then, by the name that they are counted under, values.
_NO_VALUES: Final = re.compile(
    r"序号|用户名称|户名|用户地址|用电地址|终端(地址|资产号|资产编号)|供电(单位|所)|台区(名称|编号)|线路(名称|编号)"
    r"|[计测]量点名称|(抄表|采集|召测|采集成功)时间"
)
_UNBILLED: Final = {
    passed_over.BY_HOURS: re.compile(
        r"(日冻结)?(正向|反向)有功.*([尖峰平谷]|费率_?\d{1,2}).*|rap_r\d{1,2}"
    ),
    passed_over.DEMAND: re.compile(r".*最大需量.*"),
    passed_over.COMBINED: re.compile(r".*组合有功.*"),
    passed_over.REACTIVE_FED_IN: re.compile(
        r"rrp_r|反向无功(电量)?(_kvarh)?|" + _registers("反向无功").replace(" ", "|")
    ),
    passed_over.REACTIVE_PART: re.compile(r".*无功.*|(prp|rrp|rp\d)_r\d{0,2}"),
}
# The registers of the meter's own hours: 正向有功尖, PAP_R1, and the identifiers of DL/T 645-2007
# (00010100 is rate 1, in hexadecimal) and DL/T 698.45 (00100202 is; the total stands before it).
_OF_HOURS: Final = re.compile(
    r"(?:上\d+次_|当前_)?(?:[日月]冻结)?正向有功(?:总?电能)?(?:示值)?_?"
    r"(?:(?P<word>深谷|[尖峰平谷])段?|费率_?(?P<rate>\d{1,2}))_?(?:电能)?(?:示值)?"
    r"|pap_r(?P<pap>\d{1,2})|0001(?P<dlt645>[0-3][0-9a-f])00|001002(?P<dlt698>[0-4][0-9a-f])"
)
# A meter is one of several that a meter point may have had: its number is none of a meter point. Of
# faces it says which meter showed them; an address is of the line that it is read over.
_SERIALS: Final = re.compile(r"电?表号|(电能?表)?资产(编)?号")
_METERS: Final = re.compile(rf"通信地址|表地址|{_SERIALS.pattern}")
_METER_POINTS: Final = ("计量点编号", "测量点编号")
_READ: Final = {name: ours for ours, names in _READ_NAMES.items() for name in names.split()}
_MEANT: Final = {name: ours for ours, names in _OPEN_NAMES.items() for name in names.split()}
_OURS: Final = re.compile(
    r"meter_point_id|start|kwh|kvarh|export_kwh|register_kwh|register_export_kwh|register_kvarh"
    r"|quality|unit|values|stamps|date|ratio|channel|meter_serial"
    r"|p[1-9][0-9]{0,2}"
)
_UNITS: Final = {
    "wh": "Wh", "kwh": "kWh", "mwh": "MWh", "瓦时": "Wh", "千瓦时": "kWh", "兆瓦时": "MWh",
    "varh": "Wh", "kvarh": "kWh", "mvarh": "MWh",
}  # fmt: skip
"""Units in names; of reactive energy the unit of energy with the same power of ten."""
_UNIT: Final = re.compile(rf"(?:(?<=_)|^)({'|'.join(_UNITS)})(?=_|$)")
_POWER: Final = re.compile(r"(.*_)?(w|kw|mw)|.*功率.*|(active_)?power")
_UNREAD: Final = "~"
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
        units: Our names of columns -> the unit that the written ones say, where they say one.
        passed_over: Columns of values that are not billed -> the name they are counted under.
    """

    names: tuple[str, ...]
    at_ends: bool = False
    units: Mapping[str, str] = field(default_factory=dict)
    passed_over: Mapping[str, str] = field(default_factory=dict)


def name_columns(written: list[str], *, declared: str = "") -> ColumnNames:
    """Our names of columns, where the written ones can mean nothing else.

    Columns named by the clock become p1 … pN where together they are the day's intervals, by their
    starts or by their ends.

    Args:
        declared: Unit of the values, where whoever sends them declared one. With it, or with a
            column `unit`, names that leave the unit open mean energies.
    """
    found = _name_columns(written, declared)
    said = zip(found.names, map(unit_of, written), strict=True)
    unbilled = zip(found.names, map(_unbilled, written), strict=True)
    return replace(
        found,
        units={name: unit for name, unit in said if unit},
        passed_over={name: what for name, what in unbilled if what and is_passed_over(name)},
    )


def _name_columns(written: list[str], declared: str) -> ColumnNames:
    known = tuple(_known_name(name) for name in written)
    if declared or "unit" in known:
        known = _with_open_names(known)
    names = _without_lone_registers(_without_passed_over(written, known))
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


def unit_of(written: str) -> str:
    """The unit that the name of a column says; empty where it says none."""
    found = _UNIT.search(_key(written))
    return _UNITS[found[1]] if found else ""


def _with_open_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """The same, names of energies that say no unit among ours."""
    meant = [_MEANT.get(_key(name), name) for name in names]
    return tuple(
        ours
        if ours in ("kwh", "export_kwh", "kvarh") and ours not in names and meant.count(ours) == 1
        else name
        for name, ours in zip(names, meant, strict=True)
    )


def is_passed_over(name: str) -> bool:
    """Whether a column is one that nothing is read from."""
    return name.startswith(_UNREAD)


def is_day(name: str) -> bool:
    """Whether a column is named by a day."""
    return _DAY.fullmatch(name) is not None


def _without_passed_over(written: list[str], known_names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of columns, those that are passed over by their places."""
    names = list(known_names)
    ids = [place for place, name in enumerate(names) if name == "meter_point_id"]
    exact = [place for place in ids if _key(written[place]) in _METER_POINTS]
    for place, name in enumerate(written):
        key = _key(name)
        # An account (户号) may have several meter points; the meter point's own number counts.
        is_less = len(exact) == 1 and place in ids and place not in exact
        is_meter = bool(ids) and _METERS.fullmatch(key) is not None
        known = names[place] in _READ.values() or _OURS.fullmatch(names[place]) is not None
        known = known or is_of_hours(names[place])
        if is_less or is_meter or (not known and (_NO_VALUES.fullmatch(key) or _unbilled(name))):
            names[place] = f"{_UNREAD}{place + 1}"
    return _with_serial(written, names)


def _with_serial(written: list[str], names: list[str]) -> tuple[str, ...]:
    """The same, the first number of a meter read that is passed over beside faces and ids."""
    if FACES in names and "meter_point_id" in names and SERIAL not in names:
        for place, name in enumerate(written):
            if is_passed_over(names[place]) and _SERIALS.fullmatch(_key(name)):
                names[place] = SERIAL
                break
    return tuple(names)


def _unbilled(written: str) -> str:
    """The name that values of a column are counted under which nothing is billed from."""
    key = _key(written)
    return next((name for name, form in _UNBILLED.items() if form.fullmatch(key)), "")


def _without_lone_registers(names: tuple[str, ...]) -> tuple[str, ...]:
    """The same, registers of hours and reactive ones passed over without a total beside them."""
    if FACES in names:
        return names
    return tuple(
        f"{_UNREAD}{place}" if is_of_hours(name) or name == FACES_REACTIVE else name
        for place, name in enumerate(names, start=1)
    )


def _known_name(written: str) -> str:
    """The name of a column, whatever its capitals and the blanks around it."""
    name = written.strip()
    if _OURS.fullmatch(name.lower()) or is_of_hours(name.lower()):
        return name.lower()
    register = register_of_hours(name)
    if register:
        return f"{FACES_OF_HOURS}{register}"
    # In another unit, but for that the same name.
    key = _UNIT.sub(_in_kilo, _key(name))
    ours = _OURS.fullmatch(key) is not None or is_of_hours(key)
    other = _UNIT.search(_key(name)) is not None and ours
    return key if other else _READ.get(key, name)


def _in_kilo(found: re.Match[str]) -> str:
    return found[0].replace(found[1], "kvarh" if found[1].endswith("varh") else "kwh")


def is_of_hours(name: str) -> bool:
    """Whether one of our names is that of the faces of a register of hours."""
    register = name.removeprefix(FACES_OF_HOURS)
    return register != name and register_name(register) == register


def register_of_hours(written: str) -> str:
    """The register of hours that counts energy taken and has this name; empty if it is none."""
    found = _OF_HOURS.fullmatch(_key(written))
    if found is None:
        return ""
    words = found.groupdict()
    if words["dlt645"]:
        return register_name(str(int(words["dlt645"], 16)))
    if words["dlt698"]:
        return register_name(str(int(words["dlt698"], 16) - 1))
    return register_name(words["word"] or words["rate"] or words["pap"])


def _key(name: str) -> str:
    return re.sub(r"\W+", "_", name.lower()).strip("_")


def powers_without_length() -> InvalidReadingsError:
    """The refusal of powers whose intervals nothing fixes."""
    return InvalidReadingsError(
        "The file has powers, such as kW, outside a table of whole days, whose columns say how long"
        " each of them lasts.",
        reason="readings.power",
        remedy="Write the average powers of a meter point's day on one line, p1 to p96 or 00:00 to"
        " 23:45, with a column values that holds power; or send energies.",
    )


def unknown_header(names: list[str]) -> InvalidReadingsError | None:
    """The refusal of a header whose columns are recognised as something else, or None."""
    if any(_POWER.fullmatch(_key(name)) for name in names):
        return powers_without_length()
    days = [name for name in names if is_day(name)]
    if len(days) >= _FEWEST_DAYS:
        return InvalidReadingsError(
            f"The file has a column for each day ({len(days)} of them) and none that names the"
            " meter point.",
            reason="readings.columns",
            remedy="Name it meter_point_id; beside it stand days, year first, and nothing else.",
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
