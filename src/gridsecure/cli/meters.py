"""The meters of a run: simulated, measured, or the user's own file, as files for the gateway."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pandas as pd

from gridsecure.billing.contracts import load_contracts
from gridsecure.cli.run_order import TIMEZONE, RunMeters
from gridsecure.errors import InputError
from gridsecure.gateway.formats import read_readings
from gridsecure.month_texts import read_month
from gridsecure.periods import billing_month
from gridsecure.simulator.real_meters import real_contracts, real_readings
from gridsecure.simulator.synthetic_meters import kwh_texts, simulate
from gridsecure.tariffs.tariff import catalogue_tariffs

DEFAULT_MONTH: Final = "2026-07"
INTERVAL_MINUTES: Final = 30


@dataclass(frozen=True, slots=True)
class MeterFiles:
    """Files for the gateway.

    Args:
        month: The month they are billed for.
    """

    month: str
    readings: tuple[Path, ...]
    contracts: Path
    meters: int

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in (*self.readings, self.contracts))

    @contextmanager
    def open_parts(self) -> Iterator[list[tuple[str, tuple[str, Any]]]]:
        """The files as parts of a multipart request."""
        with ExitStack() as stack:
            parts = [
                ("readings", (path.name, stack.enter_context(path.open("rb"))))
                for path in self.readings
            ]
            contracts = stack.enter_context(self.contracts.open("rb"))
            yield [*parts, ("contracts", (self.contracts.name, contracts))]


def meter_files(meters: RunMeters, *, folder: Path, now: datetime) -> tuple[MeterFiles, ...]:
    """Write the files of a run, once it is sure that they can be billed.

    Args:
        folder: Where the files go.
        now: The present, aware.

    Returns:
        The files of each month, the earliest first.

    Raises:
        InputError: The month is none (`month.format`), not over (`month.not-over`) or without
            readings (`run.no-readings`), or the user's files cannot be read or name an unknown
            tariff.
    """
    if meters.month is not None:
        _check_month(meters.month, now=now)
    if meters.readings:
        given = _own_files(meters, folder=folder, now=now)
    else:
        folder.mkdir(mode=0o700)
        given = _measured_files(_months_to(meters.month or DEFAULT_MONTH, meters.months), folder)
    return _with_simulated(given, meters.meters, folder=folder)


@dataclass(frozen=True, slots=True, eq=False)
class _GivenFiles:
    """Measured or the user's own readings.

    Args:
        readings: Files by month, the earliest first.
        minutes: Length of their intervals [min].
    """

    readings: dict[str, list[Path]]
    contracts: pd.DataFrame
    minutes: int


def _own_files(meters: RunMeters, *, folder: Path, now: datetime) -> _GivenFiles:
    """The user's files, given to the gateway for every month: it takes what is of the month."""
    own = [read_readings(path, timezone=TIMEZONE) for path in meters.readings]
    rows = pd.concat([file.readings for file in own], ignore_index=True)
    last = meters.month or _busiest_month(rows["start"])
    _check_month(last, now=now)
    contracts, months = _own_contracts(meters, rows), _months_to(last, meters.months)
    for month in months:
        _check_readings(rows, contracts, month=month)
    folder.mkdir(mode=0o700)
    files = [_copied(path, folder, number) for number, path in enumerate(meters.readings)]
    minutes = own[0].interval // pd.Timedelta(minutes=1)
    return _GivenFiles({month: list(files) for month in months}, contracts, minutes)


def _measured_files(months: Sequence[str], folder: Path) -> _GivenFiles:
    files = {month: [folder / f"measured-{month}.csv"] for month in months}
    for month, (path,) in files.items():
        _write_long(real_readings(month), path)
    return _GivenFiles(files, real_contracts(), INTERVAL_MINUTES)


def _with_simulated(given: _GivenFiles, count: int, *, folder: Path) -> tuple[MeterFiles, ...]:
    """Simulated meter points beside those; their contracts are those of the last month."""
    contracts = given.contracts
    if count:
        for month, files in given.readings.items():
            simulated = simulate(count, month=month, interval_minutes=given.minutes)
            files.append(folder / f"synthetic-{month}.csv")
            files[-1].write_bytes(simulated.wide_csv())
        contracts = pd.concat([contracts, simulated.contracts], ignore_index=True)
    path = folder / "contracts.csv"
    contracts.to_csv(path, index=False, lineterminator="\n")
    return tuple(
        MeterFiles(month, tuple(files), path, len(contracts))
        for month, files in given.readings.items()
    )


def _months_to(last: str, count: int) -> list[str]:
    """So many months up to one."""
    return [str(month) for month in pd.period_range(end=last, periods=count, freq="M")]


def _check_month(month: str, *, now: datetime) -> None:
    if billing_month(*read_month(month), timezone=TIMEZONE).end > now:
        raise InputError(
            f"The month {month} is not over yet.",
            reason="month.not-over",
            remedy="Bill a month that has ended: --month YYYY-MM.",
        )


def _check_readings(readings: pd.DataFrame, contracts: pd.DataFrame, *, month: str) -> None:
    """Refuse a month in which no meter point that has a contract was read."""
    months = _months(readings["start"])
    contracted = readings["meter_point_id"].isin(contracts["meter_point_id"]).to_numpy()
    if not contracted.any():
        raise InputError(
            "No meter point of the readings file has a contract.",
            reason="run.no-readings",
            remedy="Give contracts of the same meter points, or leave out --contract.",
        )
    if not (months[contracted] == month).any():
        named = sorted(set(months[contracted]))
        raise InputError(
            f"The readings file has no reading in {month}.",
            reason="run.no-readings",
            remedy=f"It has readings from {named[0]} to {named[-1]}: choose one with --month.",
        )


def _busiest_month(starts: pd.Series[pd.Timestamp]) -> str:
    """The local month most readings are in."""
    return str(pd.Series(_months(starts)).mode().iloc[0])


def _months(starts: pd.Series[pd.Timestamp]) -> pd.Index[str]:
    """The local month of each reading, YYYY-MM."""
    return pd.DatetimeIndex(starts).tz_convert(TIMEZONE).strftime("%Y-%m")


def _copied(path: Path, folder: Path, number: int) -> Path:
    """A copy under a name of its own: two files given may share theirs."""
    copy = folder / f"own-{number}-{path.name}"
    shutil.copyfile(path, copy)
    return copy


def _own_contracts(meters: RunMeters, readings: pd.DataFrame) -> pd.DataFrame:
    """The user's contracts, or one on the given tariff for every meter point in the file."""
    if meters.contract is not None:
        load_contracts(meters.contract)  # refuses with a reason what the gateway would refuse
        return pd.read_csv(meters.contract, dtype=str, keep_default_na=False)
    if meters.tariff not in catalogue_tariffs():
        raise InputError(
            f"There is no catalogue tariff {meters.tariff!r}.",
            reason="tariff.unknown",
            remedy=f"Use one of {', '.join(sorted(catalogue_tariffs()))}.",
        )
    names = sorted(readings["meter_point_id"].unique())
    return pd.DataFrame(
        {
            "meter_point_id": names,
            "zone": "own",
            "customer_class": "own",
            "tariff_id": meters.tariff,
            "household_quota_kwh": 0,
            "contracted_kva": 0,
        }
    )


def _write_long(readings: pd.DataFrame, path: Path) -> None:
    """A readings frame as a long CSV file; a missing energy stays empty."""
    known = readings["quality"] != "missing"
    texts = pd.Series(kwh_texts(readings["energy_wh"].where(known, 0).to_numpy()))
    table = pd.DataFrame(
        {
            "meter_point_id": readings["meter_point_id"],
            "start": pd.DatetimeIndex(readings["start"]).strftime("%Y-%m-%d %H:%M"),
            "kwh": texts.where(known.to_numpy(), ""),
            "quality": readings["quality"],
        }
    )
    table.to_csv(path, index=False, lineterminator="\n")
