"""Checking a bill's receipt offline: readings ↔ commitment ↔ bill ↔ the gateway's log.

1. the receipt is of this bill, and the opening is of this receipt;
2. its tree's root is in the gateway's log, under a checkpoint that the log signed;
3. the opening's salt and facts, and the tariff, are those that were committed to;
4. so are the readings of the customer's own file;
5. the bill computed openly from them is the bill, in every figure that it has;
6. what a correction cancels is the earlier receipt's bill, and its refund lies between the two.

Nobody signs the bill that lies beside a receipt: it is held to what was committed to, and where it
differs, this copy of it does. What hangs on nothing is named as unchecked. Facts of the contract
are shown, for only the customer knows whether they are right. No service is asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pandas as pd

from gridsecure.bill_receipts import (
    COMMITTED_BILLS,
    BillCommitment,
    BillFacts,
    DeliveredReceipt,
    ReadingsOpening,
)
from gridsecure.billing.bill_documents import bills_to_json, fen_text
from gridsecure.billing.bills import compute_bills
from gridsecure.billing.part_months import UNHELD_COLUMN
from gridsecure.billing.readings import join_readings
from gridsecure.billing.settlements import settle
from gridsecure.cli.bill import choose_meters
from gridsecure.cli.bill_readings import select_billable
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuditBrokenError, InputError, InvalidReadingsError
from gridsecure.gateway.bill_commitments import count_readings
from gridsecure.gateway.energies import lay_out_energies
from gridsecure.gateway.formats import read_readings
from gridsecure.gateway.meanings import Meaning
from gridsecure.messages import FIRST_REVISION
from gridsecure.periods import BillingPeriod
from gridsecure.plans.execution import billing_period
from gridsecure.store.proved_entries import ProvedEntry, open_entry
from gridsecure.tariffs.tariff import Tariff, parse_tariff
from gridsecure.transparency.notes import NoteKey

_SAID: Final = ("charge", "tou_period", "tier", "quantity", "rate", "amount_exact", "amount")
_TOTALS: Final = ("total_exact", "total")
_NAMES: Final = ("start", "end", "version")
_AMOUNT: Final = re.compile(r"-?\d{1,18}\.\d\d")
_OF_EARLIER: Final = ("cancels", "adjustment")


@dataclass(frozen=True, slots=True, eq=False)
class CustomersFile:
    """What the customer has beside the receipt.

    Args:
        readings: A file of readings.
        meaning: What its values are, where the file does not say.
        tariff: The tariff's text.
    """

    readings: Path
    meaning: Meaning
    tariff: str


@dataclass(frozen=True, slots=True)
class CountedAgain:
    """What was counted again.

    Args:
        readings: How many the bill counts, `estimated` among them.
        estimated: Those that nobody read.
        facts: What else the bill was computed by, as it was committed to.
        unchecked: Parts of the bill that were compared with nothing.
    """

    readings: int
    estimated: int
    facts: BillFacts
    unchecked: tuple[str, ...]


def prove_receipt(
    delivered: DeliveredReceipt, *, keys: Sequence[NoteKey], proof: str = ""
) -> ProvedEntry:
    """Steps 1 and 2, as far as they take no opening.

    Args:
        keys: Public keys of the gateway's log.
        proof: A proof of the entry in a later checkpoint; by default the receipt's own.

    Raises:
        AuditBrokenError: Of another bill (`receipt.other-bill`), not in the log (`receipt.tree`,
            `log.inclusion`), or the entry is about something else (`log.other-entry`).
        SignatureError: The checkpoint is not the log's (`log.signature`).
    """
    check_names(delivered)
    receipt = delivered.receipt
    _, entry = open_entry(proof or receipt.log_proof, keys=keys)
    if entry.action != COMMITTED_BILLS:
        raise AuditBrokenError(
            "The log's entry is about something else than bills.",
            reason="log.other-entry",
            remedy="Believe nothing of the receipt, keep it, and tell the log's witnesses.",
        )
    receipt.check_tree(entry.detail)
    return entry


def check_names(delivered: DeliveredReceipt) -> None:
    """Return if a receipt is of the bill that it lies beside.

    Raises:
        AuditBrokenError: It is of another (`receipt.other-bill`).
    """
    period, own = delivered.period, delivered.receipt.commitment
    said = (delivered.meter_point_id, period.get("start"), period.get("end"))
    version = period.get("version", FIRST_REVISION)
    if (*said, version) != (own.meter_point_id, own.start, own.end, own.version):
        raise AuditBrokenError(
            "The receipt is of another bill.",
            reason="receipt.other-bill",
            remedy="Take the receipt that came with this statement.",
        )


def check_bill(
    delivered: DeliveredReceipt,
    openings: Sequence[ReadingsOpening],
    *,
    own: CustomersFile,
    earlier: DeliveredReceipt | None = None,
) -> CountedAgain:
    """Steps 3 to 6.

    Args:
        delivered: From `prove_receipt`.
        openings: Of the meter point's versions of the bill.
        earlier: Receipt of the bill that this one cancels; a correction takes it.

    Raises:
        AuditBrokenError: The opening, tariff, readings or bill are others (`receipt.opening`,
            `receipt.salt`, `receipt.facts`, `receipt.tariff`, `receipt.readings`, `receipt.bill`),
            or the earlier receipt is missing or of another bill (`receipt.earlier`).
        InvalidReadingsError: The file lacks readings (`receipt.incomplete`), or cannot be read.
    """
    commitment = delivered.receipt.commitment
    opening = _find_opening(openings, commitment)
    salt = bytes.fromhex(opening.salt)
    _check_opening(opening, commitment, salt=salt)
    if sm3_hex(own.tariff.encode()) != commitment.tariff:
        raise AuditBrokenError(
            "The bill was made by another tariff, or another version of it.",
            reason="receipt.tariff",
            remedy="Take the tariff of the version that the statement names.",
        )
    tariff = parse_tariff(own.tariff)
    period = billing_period(commitment.start, commitment.end, tariff=tariff)
    readings, interval, differing = _read(own, opening, tariff=tariff, period=period)
    data = _counted(readings, opening.facts, period=period)
    if sm3_hex(salt + data) != commitment.readings:
        more = f" {differing} of them were estimated for the bill." if differing else ""
        raise AuditBrokenError(
            f"The bill was not made of the readings in this file.{more}",
            reason="receipt.readings",
            remedy="Compare the file with the meter. If it is right, object to the bill, and keep "
            "receipt and opening: the gateway committed to other readings than these.",
        )
    made = _bill(readings, opening.facts, tariff=tariff, period=period, interval=interval)
    said = delivered.period
    _compare(made, said)
    _compare_days(opening.facts, said)
    unchecked = _compare_earlier(delivered, earlier)
    unchecked += [name for name in said if name not in {*made, *_NAMES, *_OF_EARLIER, "served"}]
    estimated = int((readings["quality"] == "estimated").sum())
    return CountedAgain(len(readings), estimated, opening.facts, tuple(unchecked))


def _find_opening(
    openings: Sequence[ReadingsOpening], commitment: BillCommitment
) -> ReadingsOpening:
    wanted = (commitment.meter_point_id, commitment.start, commitment.end, commitment.version)
    for one in openings:
        if (one.meter_point_id, one.start, one.end, one.version) == wanted:
            return one
    raise AuditBrokenError(
        "The opening is of another meter point, month or version.",
        reason="receipt.opening",
        remedy="Ask the gateway's operator for the opening of this meter point's month.",
    )


def _check_opening(opening: ReadingsOpening, commitment: BillCommitment, *, salt: bytes) -> None:
    if sm3_hex(salt) != commitment.salt:
        raise AuditBrokenError(
            "The opening's salt is not the one that was committed to.",
            reason="receipt.salt",
            remedy="It was changed, or belongs to another bill. Ask the gateway's operator again.",
        )
    if sm3_hex(salt + opening.facts.model_dump_json().encode()) != commitment.facts:
        raise AuditBrokenError(
            "The opening's facts are not those that were committed to.",
            reason="receipt.facts",
            remedy="They were changed, or belong to another bill. Ask the gateway's operator "
            "again.",
        )


def _read(
    own: CustomersFile, opening: ReadingsOpening, *, tariff: Tariff, period: BillingPeriod
) -> tuple[pd.DataFrame, pd.Timedelta, int]:
    """The file's readings of the holder's days with the estimates for those that it lacks.

    Returns:
        The readings, the interval of those that do not state it, and how many readings of the file
        stand where the bill counts another, estimated one.
    """
    file = read_readings(own.readings, timezone=tariff.timezone, meaning=own.meaning)
    chosen = choose_meters(file.readings, (opening.meter_point_id,))
    taken = select_billable(file, chosen=chosen, report=lambda _text: None).readings
    first, end = _window(opening.facts) or (period.start, period.end)
    inside = taken[(taken["start"] >= first) & (taken["start"] < end)]
    starts = [datetime.fromisoformat(one.start) for one in opening.estimates]
    estimated = {
        pd.Timestamp(start): one.energy_wh
        for start, one in zip(starts, opening.estimates, strict=True)
        if first <= start < end
    }
    known = dict(zip(inside["start"], inside["energy_wh"], strict=True))
    differing = sum(known.get(start, wh) != wh for start, wh in estimated.items())
    absent = [start for start in estimated if start not in known]
    if not absent:
        return inside.reset_index(drop=True), file.interval, differing
    filled = pd.DataFrame(
        {
            "meter_point_id": opening.meter_point_id,
            "start": pd.DatetimeIndex(absent).tz_convert(tariff.timezone).as_unit("us"),
            "energy_wh": [estimated[start] for start in absent],
            "quality": "estimated",
            "minutes": int(file.interval // pd.Timedelta(minutes=1)),
        }
    ).reindex(columns=inside.columns, fill_value=0)
    both = join_readings([inside, filled]).sort_values("start")
    return both.reset_index(drop=True), file.interval, differing


def _window(facts: BillFacts) -> tuple[datetime, datetime] | None:
    if not facts.held_from:
        return None
    return datetime.fromisoformat(facts.held_from), datetime.fromisoformat(facts.held_until)


def _counted(readings: pd.DataFrame, facts: BillFacts, *, period: BillingPeriod) -> bytes:
    window = _window(facts)
    try:
        parts = {} if window is None else {str(readings["meter_point_id"].iloc[0]): window}
        energies = lay_out_energies(readings, period=period, parts=parts)
    except (InvalidReadingsError, IndexError) as error:
        raise InvalidReadingsError(
            "The file does not have every reading of the days that were billed once.",
            reason="receipt.incomplete",
            remedy="Export the whole month from the meter or the portal, and check the file's "
            "time zone. Days of the month that somebody else held are left out.",
        ) from error
    (counted,) = count_readings(energies, [0], windows=[window])
    return counted


def _bill(
    readings: pd.DataFrame,
    facts: BillFacts,
    *,
    tariff: Tariff,
    period: BillingPeriod,
    interval: pd.Timedelta,
) -> dict[str, Any]:
    contracts = pd.DataFrame(
        {
            "meter_point_id": [str(readings["meter_point_id"].iloc[0])],
            "zone": [facts.zone],
            "customer_class": [facts.customer_class],
            "household_quota_wh": [facts.household_quota_wh],
            "free_quota_wh": [facts.free_quota_wh],
            "contracted_va": [facts.contracted_va],
            "service_from": [facts.service_from],
            UNHELD_COLUMN: [facts.unheld_days],
            "year_to_date_wh": [facts.year_before_wh],
        }
    )
    settled = settle(
        readings,
        tariff=tariff,
        interval=interval,
        contracts=contracts,
        cycle_day=facts.cycle_day,
    )
    own = settled[settled["period_start"] == period.start]
    bills = compute_bills(
        own, tariff=tariff, contracts=contracts.assign(tariff_id=""), period=period
    )
    meters = bills_to_json([bills], tariff=tariff)["meters"]
    ((document,),) = [one["periods"] for one in meters.values()]
    made: dict[str, Any] = document
    return made


def _compare(made: Mapping[str, Any], said: Mapping[str, Any]) -> None:
    """Return if a bill has the lines, totals, tax and tariff that were computed.

    Lines, totals and tax must be there; what is known beside them may be left out.
    """
    lines = _lines(said)
    if len(lines) != len(made["lines"]):
        raise _other_bill("its lines")
    for own, line in zip(made["lines"], lines, strict=True):
        wanted = {*_SAID, *(own.keys() & line.keys())}
        if any(own.get(name) != line.get(name) for name in wanted):
            raise _other_bill(f"its line {own['charge']}")
    wanted = {*_TOTALS, *({"vat"} & made.keys()), *(made.keys() & said.keys())} - {*_NAMES, "lines"}
    for name in sorted(wanted):
        if made[name] != said.get(name):
            raise _other_bill(f"its {name}")
    if "vat" in said and "vat" not in made:
        raise _other_bill("its vat")


def _compare_days(facts: BillFacts, said: Mapping[str, Any]) -> None:
    """Return if the days that a bill names as the holder's are those that were committed to."""
    served = said.get("served")
    if served is None:
        return
    try:
        days = tuple(datetime.fromisoformat(served[name]) for name in ("start", "end"))
    except (KeyError, TypeError, ValueError):
        days = ()
    if days != _window(facts):
        raise _other_bill("its served days")


def _compare_earlier(delivered: DeliveredReceipt, earlier: DeliveredReceipt | None) -> list[str]:
    """Hold what a correction cancels, and its refund, to the bill of the earlier receipt.

    Returns:
        What could not be held to anything, where the earlier bill has no receipt.
    """
    own, said = delivered.receipt.commitment, delivered.period
    if own.corrects != (earlier.receipt.commitment.digest if earlier else ""):
        raise AuditBrokenError(
            "The earlier receipt is not of the bill that this one cancels."
            if earlier
            else "The bill cancels an earlier one, whose receipt was not given.",
            reason="receipt.earlier",
            remedy="Give the receipt of the version that this bill cancels, with --earlier.",
        )
    told = {name: said[name] for name in _OF_EARLIER if said.get(name) is not None}
    if own.version == FIRST_REVISION:
        if told:
            raise _other_bill(f"its {next(iter(told))}")
        return []
    if earlier is None:
        return list(told)
    check_names(earlier)
    cancels = {name: earlier.period.get(name) for name in ("total", "lines")}
    cancels["version"] = earlier.receipt.commitment.version
    made = {"cancels": cancels, "adjustment": _adjustment(_lines(earlier.period), _lines(said))}
    for name in _OF_EARLIER:
        if told.get(name) != made[name]:
            raise _other_bill(f"its {name}")
    return []


def _adjustment(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> Any:
    """The refund between the lines of two versions, as `billing.corrections` writes it."""
    named = ("charge", "tou_period", "tier")
    fen: dict[tuple[Any, ...], int] = {}
    for lines, sign in ((after, 1), (before, -1)):
        for line in lines:
            key = tuple(line.get(name) for name in named)
            fen[key] = fen.get(key, 0) + sign * _fen(line)
    return {
        "lines": [
            {**dict(zip(named, key, strict=True)), "amount": fen_text(amount)}
            for key, amount in fen.items()
        ],
        "total": fen_text(sum(fen.values())),
    }


def _fen(line: Mapping[str, Any]) -> int:
    amount = line.get("amount")
    if not isinstance(amount, str) or not _AMOUNT.fullmatch(amount):
        raise _no_bill()
    return int(amount.replace(".", ""))


def _lines(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    lines = said.get("lines")
    if isinstance(lines, list) and all(isinstance(line, dict) for line in lines):
        return lines
    raise _no_bill()


def _no_bill() -> InputError:
    return InputError(
        "The receipt's file holds no bill.",
        reason="receipt.file",
        remedy="Take the file that came with the statement.",
    )


def _other_bill(where: str) -> AuditBrokenError:
    return AuditBrokenError(
        f"The bill is not what these readings, facts and this tariff give; look at {where}.",
        reason="receipt.bill",
        remedy="Nobody signs this copy of the bill, so compare it with the statement. If they "
        "agree, object to the bill, and keep receipt and opening: they fix what it follows from.",
    )
