"""Synthetic meter points: household, shop and factory shapes with believable spread.

Deterministic: the same arguments give the same bytes. Randomness is counter-based (Philox, one key
per seed and meter point) and taken as raw 64-bit words, whose stream is fixed by the algorithm;
numpy's distributions, which may change between versions, are not used. All arithmetic is on
integers. A meter point's readings do not depend on how many others are simulated.

Interval energy [Wh] = monthly energy x profile(interval) / profile(month) x noise, where the
profile is the BDEW one of the class (`profiles`) and noise has mean near 1. Sizes, seasons and
noise are chosen to spread bills over all tiers and periods; they are not statistics of Shenzhen.
"""

from __future__ import annotations

import calendar
import datetime as dt
import io
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridsecure.billing.readings import make_readings
from gridsecure.simulator.profiles import day_shapes

TIMEZONE: Final = "Asia/Shanghai"
ZONES: Final = ("futian", "luohu", "nanshan", "baoan", "longgang")
METERS_PER_ZONE: Final = 64
"""A small run has fewer zones, so that its households still make a cell that may be shown."""

# A zone with fewer factories than a release needs, so that suppression shows in every large run.
SMALL_ZONE: Final = "yantian"
SMALL_CELL_MEMBERS: Final = 7
SMALL_CELL_FROM: Final = 128

FIRST_METER_POINT_ID: Final = 440_300_000_000

# Households on peak-valley prices, by place among 16. Money of a cell is shown where each part that
# is billed alike is large enough, so the parts are drawn by place and not at random.
_PEAK_VALLEY_FROM = 11
# Large households have 100 kWh more in both limits (facts of the Shenzhen tariff): one among 16
# meter points, as soon as that makes enough of them in each zone.
_LARGE_HOME = 3
_LARGE_HOMES_FROM = 2048
# And a few on peak-valley prices in the last zone, so that a cell shows energy and withholds money.
_FEW_LARGE_HOMES = 5

# Smallest and largest monthly energy by class [Wh]; sizes lean towards the small end.
_MONTHLY_WH = {
    "household": (60_000, 1_500_000),
    "shop": (2_000_000, 40_000_000),
    "factory": (20_000_000, 600_000_000),
}
# Energy of each month from January on, in 1/1000 of July's: invented, as where the summer is cooled
# and factories stand still at Spring Festival.
_SEASONS = {
    "household": (720, 660, 620, 680, 800, 930, 1000, 1010, 950, 830, 700, 700),
    "shop": (800, 720, 800, 850, 930, 980, 1000, 1000, 970, 920, 860, 830),
    "factory": (880, 620, 930, 950, 970, 990, 1000, 1000, 980, 960, 970, 980),
}
# Noise in 1/65536: smallest value, and weight of the linear and the squared 16-bit word.
_NOISE = {"household": (16_384, 0, 2), "shop": (49_152, 1, 0), "factory": (57_344, 1, 0)}
_NOISE_SHIFT = {"household": 16, "shop": 1, "factory": 2}
# Transformer sizes on sale [kVA]; the contract is the next one above the peak at power factor 0.9.
_TRANSFORMERS_KVA = np.array(
    [125, 160, 200, 250, 315, 400, 500, 630, 800, 1000, 1250, 1600, 2000, 2500, 3000]
)


@dataclass(frozen=True, slots=True)
class SimulatedMonth:
    """Readings and contracts of synthetic meter points for one month.

    Attributes:
        meter_point_ids: One id per meter point.
        days: The days of the month.
        energy_wh: Energy [Wh], meter point x day x interval of the day.
        contracts: One row per meter point, in the columns of a contract file (kWh, kVA).
    """

    meter_point_ids: tuple[str, ...]
    days: tuple[dt.date, ...]
    energy_wh: NDArray[np.int64]
    contracts: pd.DataFrame

    def readings(self) -> pd.DataFrame:
        """The readings as a readings frame in local time."""
        meters, days, points = self.energy_wh.shape
        start = pd.date_range(
            self.days[0], periods=days * points, freq=pd.Timedelta(days=1) / points, tz=TIMEZONE
        ).as_unit("us")
        lines = np.repeat(np.arange(meters), days * points)
        ids = pd.array(list(self.meter_point_ids), dtype="str")
        everyone = start.take(np.tile(np.arange(len(start)), meters))
        actual = pd.array(["actual"], dtype="str").take(np.zeros(len(lines), dtype=np.int64))
        minutes = np.full(len(lines), 1440 // points, dtype=np.int64)
        return make_readings(
            ids.take(lines),
            start=everyone,
            energy_wh=self.energy_wh.ravel(),
            quality=actual,
            minutes=minutes,
        )

    def wide_csv(self) -> bytes:
        """The readings as a wide CSV file, one line per meter point and day."""
        _, days, points = self.energy_wh.shape
        header = ["meter_point_id", "date", *(f"p{number + 1}" for number in range(points))]
        stream = io.StringIO()
        stream.write(",".join(header) + "\n")
        dates = [day.isoformat() for day in self.days]
        for meter_point_id, month in zip(self.meter_point_ids, self.energy_wh, strict=True):
            texts = kwh_texts(month).reshape(days, points).tolist()
            stream.writelines(
                f"{meter_point_id},{date},{','.join(line)}\n"
                for date, line in zip(dates, texts, strict=True)
            )
        return stream.getvalue().encode()

    def contracts_csv(self) -> bytes:
        """The contracts as a contract file."""
        return self.contracts.to_csv(index=False, lineterminator="\n").encode()


def kwh_texts(energy_wh: NDArray[np.int64]) -> NDArray[np.str_]:
    """Non-negative Wh as kWh text with three decimals."""
    flat = energy_wh.ravel()
    return np.array([f"{wh // 1000}.{wh % 1000:03d}" for wh in flat.tolist()], dtype=np.str_)


def month_days(month: str) -> tuple[dt.date, ...]:
    """The days of a month given as YYYY-MM."""
    first = dt.date.fromisoformat(f"{month}-01")
    count = calendar.monthrange(first.year, first.month)[1]
    return tuple(first + dt.timedelta(days=day) for day in range(count))


def simulate(
    meters: int, *, month: str, interval_minutes: int = 30, seed: int = 20260701
) -> SimulatedMonth:
    """Simulate a month of readings.

    Args:
        meters: Number of meter points; of 16, one is a factory, two are shops, 13 households.
        month: YYYY-MM.
        interval_minutes: 15, 30 or 60.
        seed: Any integer from 0 to 2**64 - 1.

    Raises:
        ValueError: An interval that the profiles cannot serve, or no meter points.
    """
    if interval_minutes not in (15, 30, 60) or meters < 1:
        raise ValueError("simulate needs an interval of 15, 30 or 60 min and one meter or more")
    days = month_days(month)
    points = 1440 // interval_minutes
    intervals = len(days) * points
    words = _random_words(meters, count=intervals + 8, seed=seed)
    classes = np.array([_class_of(meter) for meter in range(meters)])
    energy_wh = np.zeros((meters, intervals), dtype=np.int64)
    for customer_class in _MONTHLY_WH:
        members = np.flatnonzero(classes == customer_class)
        shape = day_shapes(customer_class, days, points=points).ravel()
        season = _SEASONS[customer_class][days[0].month - 1]
        energy_wh[members] = _energies(words[members], customer_class, shape=shape, season=season)
    ids = tuple(str(FIRST_METER_POINT_ID + meter) for meter in range(meters))
    peak_w = energy_wh.max(axis=1) * (60 // interval_minutes)
    contracts = _contracts(ids, classes, peak_w=peak_w)
    return SimulatedMonth(ids, days, energy_wh.reshape(meters, len(days), points), contracts)


def _class_of(meter: int) -> str:
    place = meter % 16
    return "factory" if place == 0 else "shop" if place <= 2 else "household"


def _random_words(meters: int, *, count: int, seed: int) -> NDArray[np.int64]:
    """16-bit words, one row per meter point: the low halves first of each raw 64-bit word."""
    raw = np.empty((meters, -(-count // 4)), dtype=np.uint64)
    for meter in range(meters):
        raw[meter] = np.random.Philox(key=seed + (meter << 64)).random_raw(raw.shape[1])
    # Little-endian by name, so that the order of the words does not depend on the machine.
    words = raw.astype("<u8").view("<u2").reshape(meters, -1)
    return words[:, :count].astype(np.int64)


def _energies(
    words: NDArray[np.int64], customer_class: str, *, shape: NDArray[np.int64], season: int
) -> NDArray[np.int64]:
    low_wh, high_wh = _MONTHLY_WH[customer_class]
    # The product of two uniform words leans to small sizes, as customers do.
    monthly_wh = low_wh + ((high_wh - low_wh) * (words[:, 0] * words[:, 1] >> 16) >> 16)
    monthly_wh = monthly_wh * season // 1000
    noise_words = words[:, 8:]
    offset, linear, squared = _NOISE[customer_class]
    noise = linear * noise_words + squared * noise_words * noise_words
    noise = offset + (noise >> _NOISE_SHIFT[customer_class])
    # In 1/1000 Wh before the noise: at most 6e11 x 1e5 = 6e16, and then 1e9 x 2e5, inside int64.
    base = monthly_wh[:, None] * 1000 * shape // shape.sum()
    energy_wh: NDArray[np.int64] = base * noise // (65_536 * 1000)
    return energy_wh


def _contracts(
    ids: tuple[str, ...],
    classes: NDArray[np.str_],
    *,
    peak_w: NDArray[np.int64],
) -> pd.DataFrame:
    meters = np.arange(len(ids))
    home = classes == "household"
    places = meters % 16
    shown_zones = ZONES[: max(1, len(ids) // METERS_PER_ZONE)]
    zones = np.array(shown_zones, dtype=object)[meters // 16 % len(shown_zones)]
    if len(ids) >= SMALL_CELL_FROM:
        zones[np.flatnonzero(classes == "factory")[-SMALL_CELL_MEMBERS:]] = SMALL_ZONE
    peak_valley = home & (places >= _PEAK_VALLEY_FROM)
    large = np.zeros(len(ids), dtype=np.bool_)
    if len(ids) >= _LARGE_HOMES_FROM:
        large = places == _LARGE_HOME
        large[np.flatnonzero(peak_valley & (zones == ZONES[-1]))[:_FEW_LARGE_HOMES]] = True
    tariffs = np.where(
        peak_valley, "shenzhen-residential-peak-valley", "shenzhen-residential-tiers"
    )
    needed_kva = -(-peak_w // 900)
    sizes = np.searchsorted(_TRANSFORMERS_KVA, needed_kva).clip(max=len(_TRANSFORMERS_KVA) - 1)
    return pd.DataFrame(
        {
            "meter_point_id": pd.Series(ids, dtype="str"),
            "zone": zones,
            "customer_class": classes,
            "tariff_id": np.where(home, tariffs, "shenzhen-commercial-four-period"),
            "household_quota_kwh": np.where(large, 100, 0),
            "contracted_kva": np.where(home, 0, _TRANSFORMERS_KVA[sizes]),
        }
    )
