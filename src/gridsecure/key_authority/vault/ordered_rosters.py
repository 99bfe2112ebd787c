"""What an order hands the vault, and what is made of it once it is decrypted.

Nothing here holds a key: rosters and files as they come, and exact amounts from decrypted columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridsecure.billing.bills import bills_from_amounts
from gridsecure.billing.rules import line_rules
from gridsecure.errors import InvalidMessageError, OutOfRangeError
from gridsecure.key_authority.control_totals import RosterBills
from gridsecure.key_authority.packages import CheckedBills, CheckedCorrections, minima_of
from gridsecure.key_authority.vault.gate import Passage
from gridsecure.messages import Digest, RosterManifest, SupplyTerms
from gridsecure.plans.bills import plan_bill
from gridsecure.plans.cells import Minima, Place
from gridsecure.plans.execution import billing_period, roster_contracts, roster_rules
from gridsecure.plans.load_curve import CellLayout
from gridsecure.plans.recombination import recombine_outputs
from gridsecure.tariffs.tariff import Tariff, parse_tariff


def check_passage(passage: Passage, order: CheckedBills | CheckedCorrections) -> None:
    """Refuse an order of bills of another month, by other minima or tariffs, than was approved.

    Raises:
        ReleaseRefusedError, GridSecureError: As `Passage`.
    """
    passage.check_span(order.start, order.end)
    passage.admit_tariffs(order.tariffs)
    passage.check_minima(minima_of(order), resolution="monthly")


def tariff_of(order: CheckedBills | CheckedCorrections, roster: RosterManifest) -> Tariff:
    """What a roster is billed by, as the order has it."""
    return parse_tariff(order.tariffs[roster.tariff])


@dataclass(frozen=True, slots=True)
class Seated:
    """What is kept of a roster while its columns are decrypted."""

    roster_id: str
    gateway_id: str
    slots: int

    @classmethod
    def of(cls, roster: RosterManifest) -> Seated:
        """A roster without its members."""
        return cls(roster.roster_id, roster.gateway_id, roster.slots)


@dataclass(frozen=True, slots=True, eq=False)
class Seating:
    """Some rosters, by digest, and the cells they are laid out in by some minima.

    Args:
        supplied: The terms of their owners, each once.
    """

    digests: tuple[Digest, ...]
    minima: Minima
    seated: tuple[Seated, ...]
    places: frozenset[Place]
    layout: CellLayout
    supplied: tuple[SupplyTerms, ...] = ()


class OrderFiles(Iterator[bytes]):
    """What follows an order, one after the other.

    Raises:
        InvalidMessageError: There are too few, or too many.
    """

    def __init__(self, files: Iterable[bytes]) -> None:
        self._files = iter(files)

    def __next__(self) -> bytes:
        for data in self._files:
            return data
        raise _wrong_number()

    def finish(self) -> None:
        """Refuse a file after the last one."""
        for _ in self._files:
            raise _wrong_number()


def _wrong_number() -> InvalidMessageError:
    return InvalidMessageError("The vault got the wrong number of files for the order.")


def recombine_bills(
    roster: RosterManifest,
    *,
    start: str,
    end: str,
    tariff: Tariff,
    values: Mapping[str, NDArray[np.uint64]],
) -> RosterBills:
    """Recombine and round a roster's bills from decrypted outputs.

    Raises:
        OutOfRangeError: The outputs are inconsistent (`bill.inconsistent`).
    """
    period = billing_period(start, end, tariff=tariff)
    rules = line_rules(tariff, period)
    counted = roster_rules(roster, tariff=tariff, period=period)
    plan = plan_bill(counted, contracts=roster_contracts(roster), period=period)
    lines = recombine_outputs(plan, values=values)
    bills = bills_from_amounts(
        rules,
        quantities=lines.quantities,
        amounts=lines.amounts,
        meter_point_ids=roster.pseudonyms,
        period=period,
    )
    return RosterBills(bills, lines.energy_wh, tariff)


def check_totals(
    layout: CellLayout, totals: Sequence[Mapping[int, int]], *, highs: Sequence[int]
) -> None:
    """Refuse a total its members cannot reach; a wrong decryption gives any residue.

    Args:
        highs: The largest value of each roster's column, as its gateway declared it.

    Raises:
        OutOfRangeError: `bill.inconsistent`.
    """
    bounds = layout.bounds(highs)
    if any(total > bounds[group] for own in totals for group, total in own.items()):
        raise _inconsistent()


def _inconsistent() -> OutOfRangeError:
    return OutOfRangeError(
        "A decrypted value is larger than its column may hold.",
        reason="bill.inconsistent",
        remedy="Do not release; find out what the gateway uploaded.",
    )
