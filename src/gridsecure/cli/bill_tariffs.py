"""Which tariff each meter point of a file is billed by.

A contract names its tariff, and that tariff is billed: out of the catalogue, or out of the files
given. Given tariffs that are none of the contract's are refused, unless they are asked for as a
what-if, which every bill then says. Meter points without a tariff of their own take the one given.

A URDB rate names no time zone. Its hours are those of the zone that is passed, of the offset that
the readings state, or of the clock that the readings are written by; never those of a default.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import pandas as pd

from gridsecure.cli.tariff_names import find_tariff
from gridsecure.errors import InputError, InvalidTariffError
from gridsecure.gateway.formats import ReadingsFile
from gridsecure.tariffs.header import read_timezone
from gridsecure.tariffs.sources import PART_MONTH, UNCONFIRMED
from gridsecure.tariffs.tariff import Tariff, catalogue_paths, parse_tariff
from gridsecure.tariffs.urdb.conversion import UrdbOptions, import_rate, rate_timezone
from gridsecure.tariffs.urdb.elements import only_item, parse_urdb
from gridsecure.tariffs.versions import find_edition, read_editions

Report = Callable[[str], None]

WRITTEN_CLOCK: Final = "UTC"
"""Zone of local times that nothing places on earth: hours and days are as they are written."""
LARGEST_BYTES: Final = 32 << 20
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class TariffOptions:
    """What the command line says about tariffs.

    Args:
        names: Tariff files or catalogue ids given; empty to bill by the contracts alone.
        timezone: IANA name of the local time of a URDB rate.
        what_if: Bill by the given tariff, whatever the contracts say.
    """

    names: tuple[str, ...] = ()
    timezone: str | None = None
    what_if: bool = False


@dataclass(frozen=True, slots=True)
class BilledTariff:
    """A tariff as it is billed: the text that is published, and what it says."""

    text: str
    tariff: Tariff


@dataclass(frozen=True, slots=True)
class GivenTariff:
    """A tariff before the readings are known: a text, or a URDB rate still to be imported."""

    text: str
    path: Path
    has_editions: bool

    @property
    def is_urdb(self) -> bool:
        """Whether the text is a URDB rate (JSON)."""
        return self.text.lstrip().startswith(("{", "[{"))

    @property
    def timezone(self) -> str | None:
        """The zone it names; None for a rate that names none."""
        if self.is_urdb:
            return rate_timezone(parse_urdb(self.text))
        return parse_tariff(self.text).timezone


def read_given_tariffs(options: TariffOptions, contracts: pd.DataFrame | None) -> list[GivenTariff]:
    """Read the tariffs that the command names, or that the contracts do.

    Contracts may name tariffs that are not in the catalogue, for meter points that are not billed;
    `assign_tariffs` refuses those that are.

    Raises:
        GridSecureError: A file cannot be read, or nothing names a tariff (`bill.no-tariff`).
    """
    if options.what_if and (len(options.names) != 1 or contracts is None):
        raise InputError(
            "A what-if bills contracts under one other tariff.",
            reason="bill.what-if",
            remedy="Give --what-if with --contract and exactly one --tariff.",
        )
    names = options.names
    if not names and contracts is not None:
        known = catalogue_paths()
        names = tuple(sorted(set(contracts["tariff_id"]) & set(known)))
    if not names:
        raise InputError(
            "No tariff is named.",
            reason="bill.no-tariff",
            remedy="Give --tariff, or --contract with a file whose tariff_id names tariffs of the"
            " catalogue; `gridsecure tariff list` shows them.",
        )
    return [_read(name) for name in names]


def _read(name: str) -> GivenTariff:
    path = find_tariff(name)
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise InvalidTariffError(
                f"The tariff file {path.name!r} is too large to be one tariff.",
                reason="tariff.too-large",
                remedy="Give a file with one tariff, or one rate of the URDB.",
            )
        return GivenTariff(path.read_text(encoding="utf-8-sig"), path, name in catalogue_paths())
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidTariffError(
            f"The tariff file {path.name!r} cannot be read as UTF-8 text.",
            reason="tariff.unreadable",
            remedy="Check the path given to --tariff, and the file's encoding.",
        ) from error


def common_timezone(given: Sequence[GivenTariff], options: TariffOptions) -> str | None:
    """The zone that local times of the readings are in; None where only the readings can tell.

    Raises:
        InputError: The tariffs are of several zones (`tariff.timezone`), or the option contradicts
            a tariff.
        InvalidTariffError: An unknown zone, or a tariff that cannot be read.
    """
    zones = {one.timezone for one in given}
    if options.timezone is not None:
        read_timezone({"timezone": options.timezone})
        others = sorted(zone for zone in zones if zone not in (None, options.timezone))
        if others:
            raise InputError(
                f"--timezone is {options.timezone}, and the tariff names {others[0]}.",
                reason="tariff.timezone",
                remedy="Leave --timezone out. It is only for URDB rates, which name no time zone.",
            )
        return options.timezone
    if len(zones) > 1:
        raise InputError(
            f"The tariffs are in different time zones ({', '.join(sorted(map(str, zones)))}).",
            reason="tariff.timezone",
            remedy="Bill each zone by itself: give one --tariff and its meter points with --meter.",
        )
    return next(iter(zones))


def offset_timezone(offsets: Collection[int | None]) -> str:
    """The zone of a rate that names none, told by how the readings state their times.

    Args:
        offsets: Offsets from UTC [minutes]; None for local times.

    Raises:
        InputError: Offsets that do not tell it (`urdb.timezone`).
    """
    if set(offsets) == {None}:
        return WRITTEN_CLOCK
    minutes = next(iter(offsets))
    if len(offsets) > 1 or minutes is None or minutes == 0 or minutes % 60:
        what = "several offsets" if len(offsets) > 1 else "an offset that may not be its own"
        raise InputError(
            f"The rate names no time zone, and the readings state {what}.",
            reason="urdb.timezone",
            remedy="Pass the zone whose clock the rate's hours follow, such as"
            " --timezone America/New_York.",
        )
    # POSIX counts these names westwards: four hours behind UTC is Etc/GMT+4.
    return f"Etc/GMT{-minutes // 60:+d}"


def import_given(
    given: Sequence[GivenTariff], file: ReadingsFile, *, timezone: str, report: Report
) -> dict[str, BilledTariff]:
    """The tariffs by id, rates imported and editions chosen by the months of the readings.

    Raises:
        InvalidTariffError: As `import_rate` and `parse_tariff`.
        InputError: A tariff twice (`bill.tariff-twice`), or as `find_edition`.
    """
    starts = pd.DatetimeIndex(file.readings["start"]).tz_convert(timezone)
    found: dict[str, BilledTariff] = {}
    for one in given:
        text = one.text
        if one.is_urdb:
            label = only_item(parse_urdb(text)).get("label")
            name = None if label else one.path.stem
            year = int(starts.min().year)
            options = UrdbOptions(year=year, timezone=timezone, tariff_id=name)
            made = import_rate(parse_urdb(text), options=options)
            for note in made.notes:
                report(f"URDB: {note}")
            text = made.text
        elif one.has_editions:
            text = _edition(one, starts).read_text(encoding="utf-8")
        tariff = parse_tariff(text)
        if tariff.tariff_id in found:
            raise InputError(
                f"The tariff {tariff.tariff_id!r} is given twice.",
                reason="bill.tariff-twice",
                remedy="Give each tariff once.",
            )
        found[tariff.tariff_id] = BilledTariff(text, tariff)
    return found


def tariff_id_of(one: GivenTariff) -> str:
    """The id in a tariff file's header."""
    return parse_tariff(one.text).tariff_id


def _edition(one: GivenTariff, starts: pd.DatetimeIndex) -> Path:
    """The edition that holds in the months of the readings."""
    files = read_editions(catalogue_paths()[tariff_id_of(one)])
    if len(files) == 1:
        return one.path
    months = sorted({date(moment.year, moment.month, 1) for moment in (starts.min(), starts.max())})
    paths = {find_edition(files, month=month).path for month in months}
    if len(paths) > 1:
        raise InputError(
            f"The tariff {tariff_id_of(one)!r} changes between the months of the readings.",
            reason="tariff.several-editions",
            remedy="Put each month into its own readings file.",
        )
    return paths.pop()


def assign_tariffs(
    contracts: pd.DataFrame, tariffs: Mapping[str, BilledTariff], *, options: TariffOptions
) -> pd.Series[str]:
    """The tariff id that each contract is billed by.

    Args:
        contracts: Contracts of the meter points that are billed.
        tariffs: The tariffs given, or those of the catalogue that contracts name.

    Raises:
        InputError: A contract names another tariff (`bill.other-tariff`), or none
            (`bill.no-tariff`).
    """
    named = contracts["tariff_id"]
    only = next(iter(tariffs)) if len(tariffs) == 1 and options.names else None
    if only is not None and options.what_if:
        return named.mask(named != only, only)
    billed = named if only is None else named.mask(named == "", only)
    without = contracts["meter_point_id"][billed == ""]
    if len(without):
        raise InputError(
            f"The contract names no tariff: {_some(without)}.",
            reason="bill.no-tariff",
            remedy="Fill in tariff_id, or give one --tariff for those without.",
        )
    other = ~billed.isin(tariffs.keys())
    if other.any():
        raise _other_tariff(contracts[other], given=bool(options.names))
    return billed


def _other_tariff(contracts: pd.DataFrame, *, given: bool) -> InputError:
    names = ", ".join(repr(name) for name in sorted(set(contracts["tariff_id"])))
    who = _some(contracts["meter_point_id"])
    if not given:
        return InputError(
            f"The contract names a tariff that is not in the catalogue ({names}): {who}.",
            reason="bill.other-tariff",
            remedy="Give its file with --tariff, and with it the file of every other tariff in "
            "the contracts.",
        )
    return InputError(
        f"The contract names {names}, which --tariff does not: {who}.",
        reason="bill.other-tariff",
        remedy="Leave --tariff out to bill under the contracts, name the contract's tariff with "
        "--tariff as well, or use --what-if to see what this tariff would cost.",
    )


def _some(names: pd.Series[str]) -> str:
    shown = ", ".join(names.iloc[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def report_doubts(billed: Iterable[BilledTariff], report: Report) -> None:
    """Tell whoever bills, and not the customer, that a tariff has figures nobody confirmed."""
    for tariff in (one.tariff for one in billed):
        doubted = {one.source_id for one in tariff.sources if one.confidence == UNCONFIRMED}
        # Bills of this command are of whole months.
        used = {source for row, source in tariff.named_sources if row != PART_MONTH}
        if doubted & used:
            report(
                f"{tariff.tariff_id}: some figures are UNCONFIRMED; "
                f"`gridsecure tariff show {tariff.tariff_id}` says which"
            )
