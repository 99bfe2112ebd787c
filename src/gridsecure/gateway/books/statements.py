"""Statements: what one line of an import says of a meter point, and the books after it.

A line states what is so from a day on (`valid_from`), until another day if it says so
(`valid_to`). With an end alone, the account moves out. What a line leaves out stays as it is; for
an account that moves in, nothing was so before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date

from gridsecure.errors import InputError
from gridsecure.gateway.books.facts import (
    NO_CONTRACT,
    UNREAD,
    Fact,
    Facts,
    MeterPoint,
    Value,
    clear,
    covering,
    name_holder,
    next_start,
    state,
)


@dataclass(frozen=True, slots=True)
class Statement:
    """What a line says.

    Args:
        line: Its number in the file, from 1.
        valid_from: First day of what is new; None where something only ends.
        valid_to: The day after the last one; None where no end is known.
        account: Who holds the meter point; None if it does not say.
        holder: The name that its bills are under; None for the one that follows.
        meter: What it says of the meter.
        contract: What it says of the contract.
        is_whole: Whether what it does not say of the contract is not so.
    """

    line: int
    meter_point_id: str
    valid_from: date | None
    valid_to: date | None
    account: str | None = None
    meter: Mapping[str, Value] = field(default_factory=dict)
    contract: Mapping[str, Value] = field(default_factory=dict)
    is_whole: bool = False
    holder: str | None = None


def apply_statement(said: Statement, known: MeterPoint) -> MeterPoint:
    """The books of a meter point after a statement.

    Raises:
        InputError: It contradicts itself or the books (`books.dates`, `books.not-held`,
            `books.no-meter`, `books.holder`).
    """
    if said.valid_from is None:
        if said.valid_to is None:
            raise _refusal("dates", "A line needs valid_from, valid_to or both")
        return end_holding(known, said.valid_to)
    if said.valid_to is not None and said.valid_to <= said.valid_from:
        raise _refusal("dates", "valid_to is not after valid_from")
    changed = _state_account(said, known, said.valid_from)
    if said.meter:
        meters = _state_meter(said, known.meter, said.valid_from)
        changed = replace(changed, meter=meters)
    return changed


def end_holding(known: MeterPoint, day: date) -> MeterPoint:
    """The books after the account of a day moved out on it.

    Raises:
        InputError: Nobody holds the meter point then (`books.not-held`).
    """
    holding = covering(known.account, day)
    if holding is None:
        if any(fact.valid_to == day for fact in known.account):
            return known
        raise _refusal("not-held", "Nobody holds the meter point on that day")
    until = holding.valid_to
    account, contract = clear(known.account, day, until), clear(known.contract, day, until)
    return replace(known, account=account, contract=contract)


def _state_account(said: Statement, known: MeterPoint, start: date) -> MeterPoint:
    holding = covering(known.account, start)
    before = "" if holding is None else str(holding.values["account"])
    account = before if said.account is None else said.account
    own = name_holder(said.meter_point_id, account, known=known.account, start=start)
    holder = said.holder or own
    stays = holding is not None and before in (account, "")
    if account and _is_of_another(holder, account, known.account):
        raise _refusal("holder", "Another account is billed under this name")
    accounts, contracts = known.account, known.contract
    begin, until = start, said.valid_to or next_start(known.account, start)
    if holding is not None:
        if stays:
            if said.holder not in (None, holding.values["holder"]):
                raise _refusal("holder", "The account is billed under another name already")
            begin = holding.valid_from if before == account else start
            until = said.valid_to or holding.valid_to
        # Who moves out holds nothing any more, and an end that is stated takes an earlier one's
        # place.
        if not stays or until != holding.valid_to:
            accounts = clear(accounts, start, holding.valid_to)
            contracts = clear(contracts, until if stays else start, holding.valid_to)
    accounts = state(accounts, Fact(begin, until, {"account": account, "holder": holder}))
    contracts = _state_contract(said, contracts, start, until, stays=stays)
    return replace(known, account=accounts, contract=contracts)


def _is_of_another(holder: str, account: str, known: Facts) -> bool:
    """Whether the bills of another account that was stated are under a name."""
    return any(
        fact.values["holder"] == holder and fact.values["account"] not in (account, "")
        for fact in known
    )


def _state_contract(
    said: Statement, known: Facts, start: date, until: date, *, stays: bool
) -> Facts:
    """Contract facts after a statement of days that one account holds."""
    before = covering(known, start)
    if stays and not said.contract and not said.is_whole:
        return known
    base = before.values if stays and before is not None and not said.is_whole else NO_CONTRACT
    # A later change of the same account's contract stays.
    end = min(until, next_start(known, start)) if stays else until
    return state(known, Fact(start, end, {**base, **said.contract}))


def _state_meter(said: Statement, known: Facts, start: date) -> Facts:
    """Meters after a statement; the final face is that of the meter that was there before."""
    own = dict(said.meter)
    final = own.pop("final_face_wh", None)
    earlier = next((fact for fact in known if fact.valid_from < start <= fact.valid_to), None)
    if final is not None:
        if earlier is None:
            raise _refusal("no-meter", "final_face_kwh is of an earlier meter, and there is none")
        read = replace(earlier, values={**earlier.values, "final_face_wh": final}, id=None)
        known = tuple(read if fact is earlier else fact for fact in known)
    if not own:
        return known
    there = covering(known, start)
    base: Mapping[str, Value] = {"meter": "", "multiplier": 1, "register_hours": ""}
    if there is not None and own.get("meter") in (None, there.values["meter"]):
        base = {name: there.values[name] for name in base}
    if there is not None and there.valid_from == start:
        base = {**there.values, **base}
    faces = {"first_face_wh": UNREAD, "final_face_wh": UNREAD}
    return state(known, Fact(start, next_start(known, start), {**faces, **base, **own}))


def _refusal(code: str, why: str) -> InputError:
    return InputError(f"{why}.", reason=f"books.{code}", remedy="Correct the line.")
