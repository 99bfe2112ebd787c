"""Cohorts: whom a question is about, as a boolean expression over what rosters say.

What one expression names must all hold; of the names in a list, any. So `{"zone": ["futian"],
"large": false}` are the meter points of Futian outside large rosters. `any_of`, `all_of` and
`none_of` combine further expressions.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, model_validator

from gridsecure.errors import InputError
from gridsecure.messages import Message
from gridsecure.queries.exact import Names, Unsigned

MAX_DEPTH: Final = 6
"""Expressions inside each other."""
MAX_EXPRESSIONS: Final = 100
"""Expressions in one cohort."""
NAMED: Final = ("zone", "customer_class", "tariff", "pseudonym")
"""What is compared with names."""
SIZED: Final = ("contracted_kva", "household_quota_kwh")
"""What is compared with limits."""


class Range(Message):
    """From a limit on, and below another; either may be left out."""

    kind: ClassVar[str] = "range"
    at_least: Unsigned | None = None
    below: Unsigned | None = None

    @model_validator(mode="after")
    def _holds_something(self) -> Self:
        if self.at_least is None and self.below is None:
            raise InputError(
                "A range has no limit.",
                reason="query.range",
                remedy="Give at_least, below, or both.",
            )
        low, high = self.limits
        if high is not None and low >= high:
            raise _contradiction("A range ends before it begins.")
        return self

    @property
    def limits(self) -> tuple[Decimal, Decimal | None]:
        """Its lower limit, and the upper one that lies outside."""
        return Decimal(self.at_least or 0), None if self.below is None else Decimal(self.below)


class Cohort(Message):
    """Some meter points, by what rosters say of them.

    Args:
        tariff: By name or digest.
        contracted_kva: Contracted capacity [kVA].
        household_quota_kwh: Extra quota of a household [kWh].
        large: Whether it sits in a roster of meter points above a household's size.
        pseudonym: As rosters name them.
    """

    kind: ClassVar[str] = "cohort"
    zone: Names | None = None
    customer_class: Names | None = None
    tariff: Names | None = None
    pseudonym: Names | None = None
    contracted_kva: Range | None = None
    household_quota_kwh: Range | None = None
    large: bool | None = None
    all_of: Annotated[list[Cohort], Field(min_length=1)] | None = None
    any_of: Annotated[list[Cohort], Field(min_length=1)] | None = None
    none_of: Annotated[list[Cohort], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise InputError(
                "A cohort names nothing.",
                reason="query.cohort",
                remedy=f"Name at least one of {', '.join(type(self).model_fields)}; leave the "
                "cohort out to ask about everybody.",
            )
        return self

    @property
    def inner(self) -> Iterator[Cohort]:
        """The expressions inside it."""
        for inside in (self.all_of, self.any_of, self.none_of):
            yield from inside or ()

    @property
    def is_named(self) -> bool:
        """Whether it, or an expression inside, names pseudonyms."""
        return self.pseudonym is not None or any(one.is_named for one in self.inner)

    @property
    def is_sized(self) -> bool:
        """Whether it, or an expression inside, compares sizes: a narrow range names one, too."""
        own = any(getattr(self, name) is not None for name in SIZED)
        return own or any(one.is_sized for one in self.inner)

    def spell(self) -> Cohort:
        """The same with the expressions of every list in one order, each once."""
        update = {
            name: sorted(
                {spelled.model_dump_json(): spelled for spelled in (c.spell() for c in inside)}
                .values(),
                key=lambda spelled: spelled.model_dump_json(),
            )
            for name in ("all_of", "any_of", "none_of")
            for inside in [getattr(self, name)]
            if inside is not None
        }  # fmt: skip
        return self.model_copy(update=update)


def check_cohort(cohort: Cohort) -> None:
    """Refuse an expression that is too deep or too long, or that nobody can fulfil.

    Raises:
        InputError: `query.depth`, `query.size`, `query.contradiction`.
    """
    if sum(1 for _ in _walk(cohort, depth=1)) > MAX_EXPRESSIONS:
        raise InputError(
            "A cohort has too many expressions.",
            reason="query.size",
            remedy=f"Use up to {MAX_EXPRESSIONS}; name several zones or classes in one list.",
        )
    for one in _walk(cohort, depth=1):
        _check_together(one)


def _walk(cohort: Cohort, *, depth: int) -> Iterator[Cohort]:
    if depth > MAX_DEPTH:
        raise InputError(
            "The expressions of a cohort lie too deep inside each other.",
            reason="query.depth",
            remedy=f"Nest them up to {MAX_DEPTH} deep.",
        )
    yield cohort
    for inside in cohort.inner:
        yield from _walk(inside, depth=depth + 1)


def _check_together(cohort: Cohort) -> None:
    """Refuse an expression of which some parts must hold together and cannot."""
    found = list(_all_of(cohort))
    for name in NAMED:
        lists = [set(names) for one in found if (names := getattr(one, name)) is not None]
        ruled_out = {
            each
            for one in found
            for other in one.none_of or ()
            if _names_only(other, name)
            for each in getattr(other, name)
        }
        if lists and not set.intersection(*lists) - ruled_out:
            raise _contradiction(f"No {name} fulfils all that is said of it.")
    for name in SIZED:
        limits = [size.limits for one in found if (size := getattr(one, name)) is not None]
        highs = [high for _, high in limits if high is not None]
        if highs and max(low for low, _ in limits) >= min(highs):
            raise _contradiction(f"No {name} fulfils all that is said of it.")
    if len({one.large for one in found} - {None}) > 1:
        raise _contradiction("Nothing is both large and not large.")


def _all_of(cohort: Cohort) -> Iterator[Cohort]:
    yield cohort
    for inside in cohort.all_of or ():
        yield from _all_of(inside)


def _names_only(cohort: Cohort, name: str) -> bool:
    others = set(type(cohort).model_fields) - {name}
    return getattr(cohort, name) is not None and all(getattr(cohort, o) is None for o in others)


def _contradiction(message: str) -> InputError:
    return InputError(
        message,
        reason="query.contradiction",
        remedy="Nobody can be in such a cohort. Loosen one of its conditions.",
    )
