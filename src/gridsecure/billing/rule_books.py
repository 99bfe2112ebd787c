"""Rules of validation and estimation as data: what each rule does, and its limits by class.

A rule book is a TOML file with one table for each rule of `KINDS`. All of them have to be there: a
rule that a file does not mention would otherwise hold by limits that nobody sees. What is otherwise
for a class of contracts stands in `classes` of the rule. The packaged book gives what was done
before books could be handed in. What a book says beside its rules: which meter points together are
another one (`sum-check.children`), how gaps are estimated, and what a person may edit alone.

Actions, from the mildest on:

- `off`: the rule is not applied;
- `flag`: what it finds counts all the same, and is told;
- `quarantine`: the readings it finds do not count, and are estimated like others that are missing;
- `hold`: the readings count, and the meter point is not billed before somebody has looked at it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from gridsecure.errors import InputError
from gridsecure.toml_documents import read_document

OFF, FLAG, QUARANTINE, HOLD = "off", "flag", "quarantine", "hold"
_CLASS: Final = re.compile(r"[\w][\w .-]{0,63}")
_VERSION: Final = re.compile(r"[\w][\w.-]{0,31}")
_ANY: Final = (OFF, FLAG, QUARANTINE, HOLD)
_TOLD: Final = (OFF, FLAG, HOLD)
_TOLERANCE: Final = {"tolerance_wh": (0, 1_000_000_000), "tolerance_percent": (0, 100)}

REGISTER, DAILY_TOTAL, SUM_CHECK = "register", "daily-total", "sum-check"
"""Rules that compare readings with what else is known of their sum."""


@dataclass(frozen=True, slots=True)
class RuleKind:
    """What a rule of a book may say.

    Args:
        actions: What it may do.
        limits: Each of its limits -> least and greatest value.
    """

    actions: tuple[str, ...]
    limits: Mapping[str, tuple[int, int]]


KINDS: Final[Mapping[str, RuleKind]] = {
    "gap": RuleKind((FLAG,), {"max_percent": (0, 100), "longest_hours": (1, 744)}),
    "duplicate": RuleKind((QUARANTINE, HOLD), {}),
    "negative": RuleKind((QUARANTINE, HOLD), {}),
    "spike": RuleKind(_ANY, {"factor": (2, 1_000_000), "floor_w": (0, 1_000_000_000)}),
    "height": RuleKind(_ANY, {"percent": (1, 10_000)}),
    "zero-run": RuleKind(_ANY, {"hours": (1, 744)}),
    "time-drift": RuleKind(_TOLD, {"tolerance_s": (1, 149)}),
    REGISTER: RuleKind(_TOLD, _TOLERANCE),
    DAILY_TOTAL: RuleKind(_TOLD, _TOLERANCE),
    SUM_CHECK: RuleKind(_TOLD, _TOLERANCE),
}
"""Rule -> what a book may say of it."""

_ADDED: Final = (REGISTER, DAILY_TOTAL, SUM_CHECK)
"""Rules that books of before do not have."""

PAST_METHODS: Final = ("previous-month", "last-year")
"""Methods of estimation that look into another month."""
LAST_METHOD: Final = "mean"
METHODS: Final = ("interpolation", "like-day", "profile", *PAST_METHODS, LAST_METHOD)
"""Methods of estimation, as `estimation_methods` describes them."""
REGISTERS: Final = ("reactive", "export")
_ESTIMATION: Final = "estimation"
_LONGEST_LINE_H: Final = 24
_EDITS: Final = "edits"
_EDIT_LIMITS: Final = ("alone_intervals", "alone_kwh")
_MOST_ALONE: Final = 1_000_000_000
_CHILDREN: Final = "children"
_LONGEST_ID: Final = 128


@dataclass(frozen=True, slots=True)
class Setting:
    """A rule as it holds for one class.

    Args:
        action: What it does.
        limits: Its limits, in the units of their names.
    """

    action: str
    limits: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Estimation:
    """How missing intervals are estimated.

    Args:
        order: Methods, of which the first that can tell an interval's energy does.
        interpolation_hours: The longest gap that is interpolated.
        registers: What is estimated beside energy, of `REGISTERS`.
    """

    order: tuple[str, ...]
    interpolation_hours: int
    registers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EditLimits:
    """What a person may edit without a second one.

    Args:
        alone_intervals: At most so many intervals at one time.
        alone_kwh: And so much energy [kWh].
    """

    alone_intervals: int
    alone_kwh: int


@dataclass(frozen=True, slots=True)
class RuleBook:
    """All rules.

    Args:
        version: As its keeper names it.
        rules: Rule -> class, or "" for all others -> setting.
        children: Meter point -> those that are measured again behind it, for `SUM_CHECK`.
    """

    version: str
    rules: Mapping[str, Mapping[str, Setting]]
    estimation: Estimation
    edits: EditLimits
    children: Mapping[str, tuple[str, ...]]

    def setting(self, rule: str, customer_class: str = "") -> Setting:
        """A rule as it holds for a class."""
        by_class = self.rules[rule]
        return by_class.get(customer_class, by_class[""])

    def is_applied(self, rule: str) -> bool:
        """Whether a rule is applied to any class."""
        return any(setting.action != OFF for setting in self.rules[rule].values())


def parse_book(text: str) -> RuleBook:
    """Read a rule book.

    Args:
        text: TOML; `default_text` is an example with every rule.

    Raises:
        InputError: It is no TOML (`rules.syntax`), lacks a rule or has one that nobody knows
            (`rules.rule`), or says of one what it cannot mean (`rules.action`, `rules.limit`,
            `rules.estimation`, `rules.edits`, `rules.children`).
    """
    return _read_book(_read_document(text))


def parse_kept_book(text: str) -> RuleBook:
    """Read a book that was handed in earlier; rules that there were not yet are off.

    Raises:
        InputError: As `parse_book`.
    """
    document = _read_document(text)
    for rule in _ADDED:
        least = {limit: bounds[0] for limit, bounds in KINDS[rule].limits.items()}
        document.setdefault(rule, {"action": OFF, **least})
    return _read_book(document)


def _read_document(text: str) -> dict[str, Any]:
    return read_document(text, name="rule book", refuse=lambda why: _refusal(why, "syntax"))


def _read_book(document: dict[str, Any]) -> RuleBook:
    version = document.pop("version", None)
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise _refusal('The rule book has no version, as version = "1"', "syntax")
    wanted = KINDS.keys() | {_ESTIMATION, _EDITS}
    unknown, missing = sorted(document.keys() - wanted), sorted(wanted - document.keys())
    if unknown or missing:
        what = f"an unknown rule {unknown[0]!r}" if unknown else f"no rule {missing[0]!r}"
        raise _refusal(f"The rule book has {what}", "rule")
    estimation = _read_estimation(document.pop(_ESTIMATION))
    edits = _read_edits(document.pop(_EDITS))
    children = _read_children(document[SUM_CHECK])
    rules = {name: _read_rule(name, table) for name, table in document.items()}
    return RuleBook(version, rules, estimation, edits, children)


def _read_children(table: object) -> dict[str, tuple[str, ...]]:
    """Take the relations of meter points out of their rule's table."""
    given = table.pop(_CHILDREN, {}) if isinstance(table, dict) else {}
    if not isinstance(given, dict):
        raise _refusal(f"{SUM_CHECK}.{_CHILDREN} is not a table", _CHILDREN)
    children = {parent: _read_names(names) for parent, names in given.items()}
    for parent, names in children.items():
        if not names or not all(0 < len(one) <= _LONGEST_ID for one in (parent, *names)):
            raise _refusal(
                f"{SUM_CHECK}.{_CHILDREN} names a list of different meter points for each",
                _CHILDREN,
            )
        if parent in names:
            raise _refusal(f"{SUM_CHECK}.{_CHILDREN} has a meter point behind itself", _CHILDREN)
    return children


def _read_edits(table: object) -> EditLimits:
    if not isinstance(table, dict) or table.keys() != set(_EDIT_LIMITS):
        raise _refusal("[edits] says alone_intervals and alone_kwh", _EDITS)
    for limit in _EDIT_LIMITS:
        if type(table[limit]) is not int or not 0 <= table[limit] <= _MOST_ALONE:
            raise _refusal(f"edits.{limit} is a whole number from 0 to {_MOST_ALONE:,}", _EDITS)
    return EditLimits(**table)


def _read_estimation(table: object) -> Estimation:
    if not isinstance(table, dict) or table.keys() != {"order", "interpolation_hours", "registers"}:
        raise _refusal("[estimation] says order, interpolation_hours and registers", _ESTIMATION)
    order, registers = (_read_names(table[name]) for name in ("order", "registers"))
    hours = table["interpolation_hours"]
    if not set(order) <= set(METHODS) or order[-1:] != (LAST_METHOD,):
        raise _refusal(
            f"estimation.order names each of {', '.join(METHODS)} at most once, and"
            f" {LAST_METHOD} last",
            _ESTIMATION,
        )
    if not set(registers) <= set(REGISTERS):
        raise _refusal(
            f"estimation.registers names each of {', '.join(REGISTERS)} at most once", _ESTIMATION
        )
    if type(hours) is not int or not 1 <= hours <= _LONGEST_LINE_H:
        raise _refusal(
            f"estimation.interpolation_hours is a whole number from 1 to {_LONGEST_LINE_H}",
            _ESTIMATION,
        )
    return Estimation(order, hours, registers)


def _read_names(given: object) -> tuple[str, ...]:
    """A list of different names; what is none becomes one that nobody knows."""
    names = tuple(map(str, given)) if isinstance(given, list) else ("",)
    return names if len(set(names)) == len(names) else ("",)


def _read_rule(name: str, table: object) -> dict[str, Setting]:
    if not isinstance(table, dict):
        raise _refusal(f"{name} is not a table", "rule")
    own = dict(table)
    classes = own.pop("classes", {})
    if not isinstance(classes, dict) or not all(isinstance(one, dict) for one in classes.values()):
        raise _refusal(f"{name}.classes is not a table of tables", "rule")
    read = {"": _read_setting(name, own, where=name)}
    for customer_class, changed in classes.items():
        if not _CLASS.fullmatch(customer_class):
            raise _refusal(f"{name}.classes has a name that is no class", "rule")
        where = f"{name}.classes.{customer_class}"
        read[customer_class] = _read_setting(name, own | changed, where=where)
    return read


def _read_setting(name: str, given: Mapping[str, Any], *, where: str) -> Setting:
    kind = KINDS[name]
    action = given.get("action")
    if action not in kind.actions:
        raise _refusal(f"{where}: action is one of {', '.join(kind.actions)}", "action")
    unknown = sorted(given.keys() - kind.limits - {"action"})
    if unknown:
        raise _refusal(f"{where} has an unknown limit {unknown[0]!r}", "limit")
    for limit, (least, greatest) in kind.limits.items():
        value = given.get(limit)
        # A bool is an int to Python, and 1.0 is none to us.
        if type(value) is not int or not least <= value <= greatest:
            raise _refusal(
                f"{where}: {limit} is a whole number from {least:,} to {greatest:,}", "limit"
            )
    return Setting(action, {limit: given[limit] for limit in kind.limits})


def _refusal(why: str, code: str) -> InputError:
    return InputError(
        f"{why}.",
        reason=f"rules.{code}",
        remedy="Correct the rule book; `gridsecure rules default` prints one with every rule.",
    )


@cache
def default_text() -> str:
    """The packaged rule book's text."""
    return Path(__file__).with_name("validation_rules.toml").read_text(encoding="utf-8")


@cache
def default_book() -> RuleBook:
    """The packaged rule book."""
    return parse_book(default_text())
