"""Lines that nothing is encrypted for: facts of the contract, and minimums of decrypted lines."""

from __future__ import annotations

from typing import Final

from gridsecure.billing.rules import CONTRACT, MINIMUM, LineRule
from gridsecure.plans.lines.hours import CAPACITY
from gridsecure.plans.lines.kind import DECRYPTED, NO_FACTS, PUBLIC, LineKind, Method, Rules
from gridsecure.tariffs.rows import PER_KVA

_METHODS: Final = {
    CONTRACT: Method(PUBLIC, "contracted kVA, months or days × rate; nothing is encrypted"),
    MINIMUM: Method(DECRYPTED, "what the other lines lack to the amount, from decrypted lines"),
}
_AFTERWARDS: Final = {
    CONTRACT: "multiply public kVA, months and days by their rates",
    MINIMUM: "top the bill up to the minimum, from the decrypted lines",
}


def charges_capacity(rule: LineRule) -> bool:
    """Whether a line is a public amount per contracted kVA."""
    return rule.basis == CONTRACT and PER_KVA in rule.unit


def _facts(rule: LineRule, rules: Rules) -> frozenset[str]:
    """A capacity charge tells nothing of energy, unless a minimum is compared with it."""
    if rule.basis == MINIMUM and (PER_KVA in rule.unit or any(map(charges_capacity, rules))):
        return frozenset({CAPACITY})
    return NO_FACTS


KIND: Final = LineKind(
    takes=lambda rule: rule.basis in _METHODS,
    describe=lambda rule, _rules: _METHODS[rule.basis],
    bound_wh=lambda _rule: None,
    afterwards=lambda rule: _AFTERWARDS[rule.basis],
    facts=_facts,
)
