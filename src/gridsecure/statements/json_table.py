"""Checked access to one object of a JSON document; errors name the place, never the value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypeVar

from gridsecure.errors import InputError
from gridsecure.month_texts import is_in_years
from gridsecure.statements.figures import is_decimal_text

_Value = TypeVar("_Value")

_REMEDY: Final = "Give the JSON that `gridsecure bill --format json` prints, unchanged."


def refusal(place: str, problem: str) -> InputError:
    """Return the error for a place in the document that cannot be used."""
    return InputError(
        f"The bill document cannot be used: {place} {problem}.",
        reason="statement.shape",
        remedy=_REMEDY,
    )


def mapping(value: object, place: str) -> Mapping[str, Any]:
    """Return a value that must be an object."""
    if not isinstance(value, Mapping):
        raise refusal(place, "is not an object")
    return value


@dataclass(frozen=True, slots=True)
class JsonTable:
    """An object of a document together with its place, for errors."""

    values: Mapping[str, Any]
    place: str

    @classmethod
    def of(cls, value: object, place: str) -> JsonTable:
        """Return the object at a place."""
        return cls(mapping(value, place), place)

    def has(self, key: str) -> bool:
        """Return whether a key is there and not null."""
        return self.values.get(key) is not None

    def require(self, key: str) -> Any:
        """Return what stands under a key that must be there, null included."""
        if key not in self.values:
            raise refusal(f"{self.place}.{key}", "is missing")
        return self.values[key]

    def optional(self, key: str, read: Callable[[object, str], _Value]) -> _Value | None:
        """Read what stands under a key, if it does."""
        return read(self.values[key], f"{self.place}.{key}") if self.has(key) else None

    def text(self, key: str) -> str:
        """Return a text that is not blank."""
        value = self.require(key)
        if not isinstance(value, str) or not value.strip():
            raise refusal(f"{self.place}.{key}", "is not a text")
        return value

    def label(self, key: str) -> str | None:
        """Return a text, or None where it is missing or null."""
        return self.text(key) if self.has(key) else None

    def whole(self, key: str) -> int:
        """Return a whole number from 0 up."""
        value = self.require(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise refusal(f"{self.place}.{key}", "is not a whole number")
        return value

    def number(self, key: str) -> Decimal:
        """Return an exact number, written as a decimal text."""
        value = self.require(key)
        if not isinstance(value, str) or not is_decimal_text(value):
            raise refusal(f"{self.place}.{key}", "is not a decimal text")
        return Decimal(value)

    def money(self, key: str) -> Decimal:
        """Return a rounded amount, written with exactly two decimals."""
        value = self.number(key)
        if "." not in self.values[key] or len(self.values[key].partition(".")[2]) != 2:
            raise refusal(f"{self.place}.{key}", "is not an amount with two decimals")
        return value

    def moment(self, key: str) -> datetime:
        """Return a moment with its offset from UTC."""
        try:
            value = datetime.fromisoformat(self.text(key))
        except ValueError as error:
            raise refusal(f"{self.place}.{key}", "is not a date and time") from error
        if value.utcoffset() is None:
            raise refusal(f"{self.place}.{key}", "has no offset from UTC")
        if not is_in_years(value):
            raise refusal(f"{self.place}.{key}", "is not of the years of electricity bills")
        return value

    def each(self, key: str, read: Callable[[JsonTable], _Value]) -> tuple[_Value, ...]:
        """Read every object of a list."""
        values = self.require(key)
        if not isinstance(values, Sequence) or isinstance(values, str):
            raise refusal(f"{self.place}.{key}", "is not a list")
        places = [f"{self.place}.{key}[{number}]" for number in range(len(values))]
        return tuple(
            read(JsonTable.of(value, at)) for value, at in zip(values, places, strict=True)
        )
