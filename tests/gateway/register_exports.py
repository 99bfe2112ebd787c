"""Exports of frozen registers made of half-hours, as collection systems write them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from gridsecure.billing.register_hours import parse_register_hours

ZONE = "Asia/Shanghai"
JULY = "2026-07"
HOURS = (
    "sharp=11:00-12:00,15:00-17:00 peak=10:00-11:00,14:00-15:00,17:00-19:00"
    " flat=08:00-10:00,12:00-14:00,19:00-24:00 valley=00:00-08:00"
)
"""Those of Shenzhen's tariff for industry and commerce, July to September."""
WORDS = {"sharp": "尖", "peak": "峰", "flat": "平", "valley": "谷"}
NUMBERS = {"sharp": 1, "peak": 2, "flat": 3, "valley": 4}
OTHER_HOURS = HOURS.replace("17:00-19:00", "17:00-20:00").replace("19:00-24:00", "20:00-24:00")
"""A meter whose peak lasts an hour longer."""


def half_hours(*names: str, month: str = JULY, seed: int = 5, scale: int = 60) -> pd.DataFrame:
    """A readings frame of a month's half-hours, in whole hundredths of a kWh."""
    first = pd.Timestamp(f"{month}-01", tz=ZONE)
    starts = pd.date_range(first, first + pd.offsets.MonthBegin(1), freq="30min", inclusive="left")
    chance = np.random.default_rng(seed)
    parts = [
        pd.DataFrame(
            {
                "meter_point_id": name,
                "start": starts.as_unit("us"),
                "energy_wh": chance.integers(0, scale, len(starts)) * 10,
                "quality": "actual",
                "minutes": np.int64(30),
            }
        )
        for name in names
    ]
    return pd.concat(parts, ignore_index=True)


def daily_faces(
    readings: pd.DataFrame, hours: str = HOURS, *, begin_wh: int = 1_234_000
) -> pd.DataFrame:
    """Faces [Wh] of `total` and each register by meter point and midnight, both ends included."""
    known = parse_register_hours(hours)
    local = pd.DatetimeIndex(readings["start"]).tz_convert(ZONE)
    register = np.array(known.names)[known.of_minute[local.hour * 60 + local.minute]]
    rows = readings.assign(day=local.normalize() + pd.DateOffset(days=1), register=register)
    by = rows.pivot_table(
        index=["meter_point_id", "day"], columns="register", values="energy_wh", aggfunc="sum"
    )
    by = by.fillna(0).astype("int64").reindex(columns=list(known.names), fill_value=0)
    by.insert(0, "total", by.sum(axis=1))
    parts = []
    for name, own in by.groupby(level=0):
        begin = pd.MultiIndex.from_tuples([(name, own.index[0][1] - pd.DateOffset(days=1))])
        zero = pd.DataFrame(0, index=begin, columns=own.columns)
        offsets = begin_wh * np.arange(1, own.shape[1] + 1)
        parts.append(pd.concat([zero, own]).cumsum() + offsets)
    return pd.concat(parts)


def kwh(wh: int) -> str:
    """A face of two decimals, as a register shows it."""
    return f"{wh // 1000}.{wh % 1000 // 10:02d}"


def columns_csv(
    faces: pd.DataFrame, *, headers: Mapping[str, str], stamp: str = "%Y-%m-%d 00:00:00"
) -> str:
    """A line a meter point and day, a column a register.

    Args:
        headers: Column of `faces` -> its header.
    """
    lines = [
        ",".join(
            ["序号", "计量点编号", "通信地址", "冻结时间", *headers.values(), "反向无功总电能"]
        )
    ]
    for number, ((name, day), own) in enumerate(faces.iterrows(), start=1):
        shown = [kwh(int(own[column])) for column in headers]
        lines.append(",".join([str(number), name, "0000123", day.strftime(stamp), *shown, "7.70"]))
    return "\n".join([*lines, ""])


def lines_csv(faces: pd.DataFrame) -> str:
    """A line for each register."""
    lines = ["计量点编号,冻结时间,数据类型,示值"]
    for (name, day), own in faces.iterrows():
        for column, face in own.items():
            kind = "正向有功总" if column == "total" else f"正向有功{WORDS[str(column)]}"
            lines.append(f"{name},{day:%Y-%m-%d %H:%M},{kind},{kwh(int(face))}")
    return "\n".join([*lines, ""])


CHINESE = {"total": "正向有功总电能", **{name: f"正向有功{word}" for name, word in WORDS.items()}}
