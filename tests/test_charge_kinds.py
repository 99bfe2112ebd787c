"""Every kind of bill line is known on all sides: CONTRIBUTING.md, "How to add a charge kind"."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from gridsecure.billing import rules
from gridsecure.billing.charges import KINDS
from gridsecure.billing.rules import PERCENT, LineRule
from gridsecure.cli.tariff_show import TariffWords
from gridsecure.periods import billing_month
from gridsecure.plans.lines import registry
from gridsecure.statements.wording import Language, Wording
from gridsecure.tariffs import pricing
from gridsecure.tariffs.tariff import catalogue_tariffs, load_tariff, parse_tariff
from tests.plans.element_tariffs import BUSINESSES, DYNAMIC, HOUSEHOLDS, STEPS

ROOT = Path(__file__).resolve().parents[1]


def names_of_lines() -> Iterator[str]:
    """Names that the code reserves, makes for lines without a rate, or writes in its catalogue."""
    yield from (value for name, value in vars(pricing).items() if name.endswith("_CHARGE"))
    for text in (*HOUSEHOLDS.values(), *BUSINESSES.values(), *STEPS.values(), DYNAMIC):
        tariff = parse_tariff(text)
        lines = rules.line_rules(tariff, billing_month(2026, 7, timezone=tariff.timezone))
        yield from {line.charge for line in lines} - {rate.charge for rate in tariff.rates}
    for path in catalogue_tariffs().values():
        yield from (rate.charge for rate in load_tariff(path).rates)


NAMES = sorted(set(names_of_lines()))


def line_of(basis: str) -> LineRule:
    return LineRule("energy", "peak", 1, basis, Decimal(1), "CNY/kWh", "made-up")


def test_the_open_side_knows_every_name_of_the_rules() -> None:
    module = ast.parse(Path(rules.__file__).read_text(encoding="utf-8"))
    values = [node.value for node in module.body if isinstance(node, ast.Assign)]
    named = {value.value for value in values if isinstance(value, ast.Constant)}
    assert named - {PERCENT} == set(KINDS)


@pytest.mark.parametrize("basis", KINDS)
def test_the_plans_know_every_kind_once(basis: str) -> None:
    rule = line_of(basis)
    assert registry.describe_line(0, [rule]).how
    assert sum(kind.takes(rule) for kind in registry.KINDS) == 1


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("basis", KINDS)
def test_there_are_words_for_every_kind(basis: str, language: Language) -> None:
    assert TariffWords(Wording(language)).computed_from(line_of(basis))


def test_names_that_no_rate_has_are_among_them() -> None:
    assert {"demand-ratchet", "power-factor", "energy"} <= set(NAMES)


@pytest.mark.parametrize("charge", NAMES)
def test_there_are_words_for_every_name_of_a_line(charge: str) -> None:
    words = {Wording(language).charge(charge) for language in Language}
    assert len(words) == len(Language)
    assert charge not in words


def test_the_list_names_files_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    part = text.split("## How to add a charge kind")[1].split("\n## ")[0]
    named = {word for word in part.split("`") if word.endswith((".py", "/"))}
    assert "billing/charges.py" in named
    for name in named:
        bases = (ROOT, ROOT / "src/gridsecure", ROOT / "src/gridsecure/plans/lines")
        assert any((base / name).exists() for base in bases), name
