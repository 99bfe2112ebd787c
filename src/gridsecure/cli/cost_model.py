"""What ways of keeping readings safe cost a month: one formula for all ways, on stated figures.

    cost = one_off_yuan ÷ (12 · years)                             setting it up
         + fixed_yuan_a_month                                      what does not grow
         + points · core_ms_a_point ÷ 3 600 000 · core_hour_yuan   computing
         + points · kb_a_point ÷ 1 000 000 · gb_yuan               storing
         + releases · person_hours_a_release · person_hour_yuan    people who look at what goes out
         + incidents_a_year ÷ 12 · incident_yuan                   what goes wrong all the same

Money is Decimal and is rounded once, for the eye. No figure is assumed but this system's own two
measured ones, which a file may replace.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any, Final

from gridsecure.errors import InputError
from gridsecure.toml_documents import read_document
from gridsecure.written_words import printable

OWN: Final = "this-system"
MEASURED: Final[Mapping[str, Decimal]] = {
    # docs/scale.md, 2026-11-29: the dearest run of a month without enrolment is 11.2 ms a meter
    # point, and enrolment, which comes once a year, 10.8 ms.
    "core_ms_a_point": Decimal("12.1"),
    # docs/sealed-queries.md: 0.5 GB a day for a million meter points with half-hours, 31 days.
    "kb_a_point": Decimal("15.5"),
}
"""This system's, a meter point and month: processor time of all parties [ms], ciphertexts [kB]."""
FORM: Final = """\
# Put your own figures in place of every "?". All money is in yuan; any currency will do.
[scope]
points = "?"                  # meter points
releases = "?"                # results that leave in a month
years = "?"                   # over which the one-off cost is spread

[this-system]                 # core_ms_a_point and kb_a_point are measured if you leave them out
one_off_yuan = "?"            # setting it up, and connecting your systems
fixed_yuan_a_month = "?"      # what does not grow: operation, custodians, certificates
core_hour_yuan = "?"
gb_yuan = "?"                 # storing a GB for a month
person_hours_a_release = "?"  # of all who approve one
person_hour_yuan = "?"
incidents_a_year = "?"        # leaks that you expect, also below one
incident_yuan = "?"           # what one costs you

[review]                      # readings in the clear, and people who check each use; rename it
one_off_yuan = "?"
fixed_yuan_a_month = "?"
core_ms_a_point = "?"
core_hour_yuan = "?"
kb_a_point = "?"
gb_yuan = "?"
person_hours_a_release = "?"
person_hour_yuan = "?"
incidents_a_year = "?"
incident_yuan = "?"
# An enclave, or any other way, is one more table like this.
"""
_LARGEST: Final = Decimal(10) ** 12
_MOST_DECIMALS: Final = 9
_DIGITS: Final = 120
"""Of products and quotients of such numbers: enough for all of them."""
_CENT: Final = Decimal("0.01")
_MS_AN_HOUR: Final = 3_600_000
_KB_A_GB: Final = 1_000_000
_MOST_WAYS: Final = 20
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True, slots=True)
class Scope:
    """What is compared.

    Args:
        points: Meter points.
        releases: Results that leave in a month.
        years: Over which the one-off cost is spread [a].
    """

    points: Decimal
    releases: Decimal
    years: Decimal


@dataclass(frozen=True, slots=True)
class Way:
    """A way of keeping readings safe, with its owner's figures; units are in the names."""

    one_off_yuan: Decimal
    fixed_yuan_a_month: Decimal
    core_ms_a_point: Decimal
    core_hour_yuan: Decimal
    kb_a_point: Decimal
    gb_yuan: Decimal
    person_hours_a_release: Decimal
    person_hour_yuan: Decimal
    incidents_a_year: Decimal
    incident_yuan: Decimal

    def lines(self, scope: Scope) -> dict[str, Decimal]:
        """What it costs a month, by what for [yuan]."""
        hours = scope.points * self.core_ms_a_point / _MS_AN_HOUR
        return {
            "one-off": self.one_off_yuan / (12 * scope.years),
            "fixed": self.fixed_yuan_a_month,
            "computing": hours * self.core_hour_yuan,
            "storing": scope.points * self.kb_a_point / _KB_A_GB * self.gb_yuan,
            "people": scope.releases * self.person_hours_a_release * self.person_hour_yuan,
            "incidents": self.incidents_a_year / 12 * self.incident_yuan,
        }

    def cost(self, scope: Scope) -> Decimal:
        """What it costs a month [yuan]."""
        return sum(self.lines(scope).values(), Decimal(0))

    @property
    def release_yuan(self) -> Decimal:
        """What one more release costs [yuan]."""
        return self.person_hours_a_release * self.person_hour_yuan


@dataclass(frozen=True, slots=True)
class CostInputs:
    """A file of figures.

    Args:
        ways: By name; this system's is `this-system`.
        measured: This system's figures that are the measured ones.
    """

    scope: Scope
    ways: Mapping[str, Way]
    measured: tuple[str, ...]


def read_inputs(text: str) -> CostInputs:
    """Read a file of figures.

    Raises:
        InputError: It is no such file (`cost.file`); a field is missing, unknown or no number of
            0 to 10^12 with 9 decimals, or `years` is 0 (`cost.field`); or there is no other way to
            compare, or one with another name than lower-case letters and digits (`cost.ways`).
    """
    document = read_document(text, name="file of costs", refuse=_no_file, parse_float=Decimal)
    scope = Scope(**_numbers(document.pop("scope", {}), "scope", names_of(Scope)))
    if scope.years == 0:
        raise _wrong("scope.years", "is 0")
    is_named = all(map(_NAME.fullmatch, document))
    if OWN not in document or not 2 <= len(document) <= _MOST_WAYS or not is_named:
        raise InputError(
            f"A comparison is of [{OWN}] and one to {_MOST_WAYS - 1} other ways, each named by "
            "lower-case letters, digits and hyphens.",
            reason="cost.ways",
            remedy="Begin with the file that `gridsecure cost form` prints.",
        )
    own = document[OWN] if isinstance(document[OWN], dict) else {}
    measured = tuple(name for name in MEASURED if name not in own)
    document[OWN] = {name: MEASURED[name] for name in measured} | own
    names = names_of(Way)
    ways = {name: Way(**_numbers(said, name, names)) for name, said in document.items()}
    return CostInputs(scope, ways, measured)


def compare(inputs: CostInputs) -> dict[str, Any]:
    """What each way costs, and this system against each other, as a document.

    A difference is this system's cost less the other's [yuan], and in percent of the other's; both
    may have either sign. `equal_at_releases` is at how many releases a month both cost the same;
    None where they never do.
    """
    with localcontext(prec=_DIGITS):
        return _compare(inputs)


def _compare(inputs: CostInputs) -> dict[str, Any]:
    scope, own = inputs.scope, inputs.ways[OWN]
    against = {}
    for name, way in inputs.ways.items():
        if name == OWN:
            continue
        difference, cost = own.cost(scope) - way.cost(scope), way.cost(scope)
        slope = own.release_yuan - way.release_yuan
        even = scope.releases - difference / slope if slope else None
        against[name] = {
            "difference_yuan": _rounded(difference),
            "difference_percent": _rounded(100 * difference / cost) if cost else None,
            "equal_at_releases": None if even is None or even < 0 else _rounded(even),
        }
    return {
        "points": str(scope.points),
        "releases": str(scope.releases),
        "years": str(scope.years),
        "measured": {name: str(MEASURED[name]) for name in inputs.measured},
        "ways": {
            name: {what: _rounded(yuan) for what, yuan in way.lines(scope).items()}
            | {"total": _rounded(way.cost(scope))}
            for name, way in inputs.ways.items()
        },
        "against": against,
    }


def names_of(kind: type[Scope] | type[Way]) -> tuple[str, ...]:
    """The fields of a table, in order."""
    return tuple(one.name for one in fields(kind))


def _numbers(said: object, table: str, names: tuple[str, ...]) -> dict[str, Decimal]:
    if not isinstance(said, dict):
        raise _wrong(table, "is no table")
    for name in [*names, *said]:
        if name not in said:
            raise _wrong(f"{table}.{name}", "is missing")
        if name not in names:
            raise _wrong(f"{table}.{name}", "is unknown")
    return {name: _number(said[name], f"{table}.{name}") for name in names}


def _number(said: object, field: str) -> Decimal:
    if isinstance(said, bool) or not isinstance(said, int | Decimal):
        raise _wrong(field, "is no number")
    number = Decimal(said)
    if not (number.is_finite() and 0 <= number <= _LARGEST):
        raise _wrong(field, "is not between 0 and 10^12")
    if number != round(number, _MOST_DECIMALS):
        raise _wrong(field, f"has more than {_MOST_DECIMALS} decimals")
    return number


def _rounded(number: Decimal) -> str:
    return format(number.quantize(_CENT, rounding=ROUND_HALF_UP), "f")


def _wrong(field: str, what: str) -> InputError:
    return InputError(
        f"{printable(field[:80])} {what}.",
        reason="cost.field",
        remedy="Give a number of your own. Nothing is assumed for it.",
    )


def _no_file(what: str) -> InputError:
    return InputError(
        f"{what}.",
        reason="cost.file",
        remedy="Begin with the file that `gridsecure cost form` prints.",
    )
