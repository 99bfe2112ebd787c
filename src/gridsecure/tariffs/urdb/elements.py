"""Which elements a URDB rate may have, and how one value is read from it.

Names are those of the OpenEI utility rate API, versions 7 and 8, compared without regard to case.
An element is priced, or says something that changes no bill, or is refused by its name: a rate
whose charge was left out silently would be a wrong bill. Numbers are Decimal, as the file writes
them; what passed through a binary float is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NoReturn

from gridsecure.errors import InvalidTariffError

MONTHS = 12
HOURS = 24
RATE_DECIMALS = 8
LIMIT_DECIMALS = 3
SHOWN_CHARACTERS = 60
# SAM writes an open tier as 1e38, and so do rates exported from it.
OPEN_LIMIT = Decimal("1e37")
LARGEST_EXPONENT = 39
MOST_DECIMALS = 20

# Who offers the rate, to whom and since when; free text; the supply it is meant for.
DESCRIPTIVE = frozenset({
    "label", "utility", "name", "uri", "approved", "is_default", "isdefault", "supercedes",
    "supersedes", "sector", "servicetype", "description", "source", "sourceparent", "eiaid",
    "country", "latest_update", "revisions", "basicinformationcomments", "demandcomments",
    "energycomments", "peakkwcapacitymin", "peakkwcapacitymax", "peakkwcapacityhistory",
    "peakkwhusagemin", "peakkwhusagemax", "peakkwhusagehistory", "voltageminimum",
    "voltagemaximum", "voltagecategory", "phasewiring", "coincidentrateunit", "energytoulabels",
    "demandtoulabels",
})  # fmt: skip

PRICED = frozenset({
    "startdate", "enddate", "timezone", "tier_reset", "metering_option", "ts_buy_rate",
    "energyratestructure", "energyweekdayschedule", "energyweekendschedule",
    "fueladjustmentsmonthly",
    "flatdemandstructure", "flatdemandmonths", "flatdemandunit", "demandunits",
    "demandratestructure", "demandweekdayschedule", "demandweekendschedule", "demandrateunit",
    "lookbackpercent", "lookbackmonths", "lookbackrange",
    "fixedmonthlycharge", "fixedchargefirstmeter", "fixedchargeunits",
    "minmonthlycharge", "mincharge", "minchargeunits",
})  # fmt: skip

# Refused unless empty or zero. The first line may be set aside by name: it cannot matter to a
# meter point without export, with one meter, or read at the interval the rate measures demand in,
# and whether that is so the file does not tell.
MAY_BE_SET_ASIDE = frozenset({
    "dgrules", "usenetmetering", "sell", "sunrate", "fixedchargeeaaddl", "demandwindow",
    "energyattrs", "demandattrs", "fixedattrs",
})  # fmt: skip
NEVER_PRICED = {
    "coincidentratestructure": "demand at the hour of the system's peak is not measured",
    "coincidentrateschedule": "demand at the hour of the system's peak is not measured",
    "demandreactivepowercharge": "a charge per kvar has no counterpart",
    "demandratchetpercentage": "write the ratchet as lookbackpercent, -months and -range",
    "annualmincharge": "a minimum for a year cannot be settled in a bill for a month",
}
WHY_SET_ASIDE = {
    "dgrules": "exported energy is not compensated",
    "usenetmetering": "exported energy is not compensated",
    "sell": "exported energy is not compensated",
    "sunrate": "exported energy is not compensated",
    "fixedchargeeaaddl": "a meter point has one meter, so no further one is charged",
    "demandwindow": "demand is the mean of one interval of the readings, whatever its length",
    "energyattrs": "text in it may hold charges that the structures do not",
    "demandattrs": "text in it may hold charges that the structures do not",
    "fixedattrs": "text in it may hold charges that the structures do not",
}


def refuse(element: str, why: str, *, code: str, remedy: str = "") -> NoReturn:
    """Raise the error that names the element (`urdb.<code>`) and what to do about it."""
    raise InvalidTariffError(
        f"{element}: {why}.",
        reason=f"urdb.{code}",
        remedy=remedy or "Correct the element in the URDB file.",
    )


def import_with(option: str, value: str) -> str:
    """Tell the option of the import that answers a question, whichever command asks it."""
    return (
        f"Import the rate with `gridsecure tariff import --{option} {value}`, and bill with the"
        " file that it writes."
    )


def parse_urdb(text: str) -> Mapping[str, Any]:
    """Read URDB JSON: one rate, or the API's envelope {"items": [...]} around exactly one.

    Args:
        text: The file's content; its numbers are kept as they are written.

    Raises:
        InvalidTariffError: `urdb.syntax`, `urdb.number` or `urdb.items`.
    """
    try:
        document = json.loads(
            text,
            parse_float=Decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=_read_object,
        )
    except (ValueError, RecursionError) as error:
        # Endless digits are a ValueError too, and deep nesting a RecursionError.
        raise InvalidTariffError(
            f"The URDB file is not valid JSON ({make_visible(str(error))}).",
            reason="urdb.syntax",
            remedy="Save the API's answer again, with format=json.",
        ) from error
    return only_item(document)


def only_item(document: Any) -> Mapping[str, Any]:
    """Return the rate inside the API's envelope, or the rate itself."""
    if isinstance(document, Mapping) and "items" in document:
        items = document["items"]
        if not isinstance(items, list) or len(items) != 1:
            count = len(items) if isinstance(items, list) else 0
            refuse(
                "items",
                f"one rate is imported at a time, and the file holds {count}",
                code="items",
                remedy="Ask the API for one rate by its label (getpage=<label>, detail=full).",
            )
        document = items[0]
    if not isinstance(document, Mapping):
        refuse("file", "a rate is a JSON object", code="shape")
    return document


def known_elements(document: Mapping[str, Any], *, set_aside: frozenset[str]) -> dict[str, Any]:
    """Return the elements by lower-case name, without empty ones; refuse what has no price here.

    Raises:
        InvalidTariffError: `urdb.unknown-element`, `urdb.duplicate-element`, or the element's
            own name as in `urdb.coincidentratestructure`.
    """
    elements: dict[str, Any] = {}
    for key, value in document.items():
        name = str(key).lower()
        if name in elements:
            refuse(make_visible(name), "the element is given twice", code="duplicate-element")
        elements[name] = value
    elements = {name: value for name, value in elements.items() if value is not None}
    for name, value in elements.items():
        if name in NEVER_PRICED and not is_nothing(value):
            refuse(name, NEVER_PRICED[name], code=name, remedy=_leave_out(name))
        if name in MAY_BE_SET_ASIDE:
            check_set_aside(name, value, where=name, set_aside=set_aside)
        known = DESCRIPTIVE | PRICED | MAY_BE_SET_ASIDE | NEVER_PRICED.keys()
        # An empty text can be no charge; a zero may have been one in another edition.
        if name not in known and value not in ("", [], {}):
            refuse(
                make_visible(name),
                "no element of the URDB API, versions 7 and 8, has this name",
                code="unknown-element",
                remedy="If it changes no bill, remove it from the file; a charge under that name"
                " cannot be billed.",
            )
    return elements


def check_set_aside(name: str, value: Any, *, where: str, set_aside: frozenset[str]) -> None:
    """Refuse an element that may matter, unless whoever imports says that it does not."""
    if not is_nothing(value) and name not in set_aside:
        refuse(
            where,
            WHY_SET_ASIDE[name],
            code=name,
            remedy="If that is right for the meter points billed: "
            + import_with("set-aside", name),
        )


def is_nothing(value: Any) -> bool:
    """Zero, false, an empty text, or a list or object of nothing but such."""
    if isinstance(value, Mapping):
        return not value
    if isinstance(value, list):
        return all(not item or (isinstance(item, list) and not any(item)) for item in value)
    return not value


def read_number(value: Any, *, where: str) -> Decimal:
    """Read a number as written; no boolean, no text, no binary float, no NaN."""
    if type(value) is int:
        value = Decimal(value)
    if not isinstance(value, Decimal):
        refuse(where, f"a number is wanted, not {_kind(value)}", code="number")
    exponent = value.as_tuple().exponent
    if (
        not isinstance(exponent, int)
        or value.adjusted() > LARGEST_EXPONENT
        or exponent < -MOST_DECIMALS
    ):
        refuse(where, "the number is out of every range", code="number")
    return value


def read_price(value: Any, *, where: str) -> Decimal:
    """Read a price or a sum of prices: at most eight decimals."""
    exact = read_number(value, where=where)
    if exact and exact.normalize().as_tuple().exponent < -RATE_DECIMALS:  # type: ignore[operator]
        refuse(
            where,
            f"the price has more than {RATE_DECIMALS} decimals",
            code="decimals",
            remedy="Write the published price; binary arithmetic may have left a tail of digits.",
        )
    return exact


def check_limit(exact: Decimal, *, where: str) -> Decimal:
    """Check that a tier's limit has at most three decimals, as the energy that it divides."""
    if exact.normalize().as_tuple().exponent < -LIMIT_DECIMALS:  # type: ignore[operator]
        refuse(
            where,
            f"the limit has more than {LIMIT_DECIMALS} decimals",
            code="decimals",
            remedy="Write the published limit; binary arithmetic may have left a tail of digits,"
            " as 573.5799999999999 for 573.58.",
        )
    return exact


def read_whole(value: Any, *, where: str) -> int:
    """Read a whole number; no boolean."""
    exact = read_number(value, where=where)
    if exact != exact.to_integral_value():
        refuse(where, "a whole number is wanted", code="number")
    return int(exact)


def read_text(value: Any, *, where: str) -> str:
    """Read a text that a tariff file can hold."""
    if not isinstance(value, str) or not value.strip():
        refuse(where, "a text is wanted", code="text")
    if any("\ud800" <= character <= "\udfff" for character in value):
        refuse(where, "the text holds half a character", code="text")
    return " ".join(value.split())


def read_items(value: Any, *, where: str, count: int | None = None) -> list[Any]:
    """Read a list, of an exact length if `count` is given."""
    if not isinstance(value, list):
        refuse(where, f"a list is wanted, not {_kind(value)}", code="shape")
    if count is not None and len(value) != count:
        refuse(where, f"{count} entries are wanted, not {len(value)}", code="shape")
    if not value:
        refuse(where, "the list is empty", code="shape")
    return value


def read_unit(value: Any, *, where: str, known: Mapping[str, str]) -> str:
    """Read a unit; `known` maps lower-case spellings to ours."""
    written = read_text(value, where=where).lower()
    if written not in known:
        refuse(
            where,
            f"the unit {make_visible(written)!r} cannot be billed; known: {', '.join(known)}",
            code="unit",
            remedy="A demand in kVA, in hp or per day has no counterpart here.",
        )
    return known[written]


def group_months(values: Sequence[Any]) -> dict[Any, tuple[int, ...]]:
    """Group the months 1 to 12 by the value each has, in order of first appearance."""
    groups: dict[Any, tuple[int, ...]] = {}
    for month, value in enumerate(values, start=1):
        groups[value] = (*groups.get(value, ()), month)
    return groups


def join_names(names: Iterable[object]) -> str:
    """Join names for a sentence."""
    return ", ".join(str(name) for name in names)


def make_visible(written: str) -> str:
    """Cut a text from the file to what a message can show; control characters become marks."""
    flat = "".join(c if c.isprintable() else "?" for c in " ".join(written.split()))
    return flat if len(flat) <= SHOWN_CHARACTERS else f"{flat[:SHOWN_CHARACTERS]}..."


def _leave_out(name: str) -> str:
    return f"A rate with {name} cannot be imported; bill it with another tool."


def _refuse_constant(constant: str) -> NoReturn:
    refuse("file", f"{constant} is no number", code="number")


def _read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        refuse("file", "an object names one of its elements twice", code="duplicate-element")
    return read


def _kind(value: Any) -> str:
    kinds = {bool: "true or false", str: "a text", list: "a list", dict: "an object"}
    return kinds.get(type(value), "a binary fraction" if isinstance(value, float) else "this")
