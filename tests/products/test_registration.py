"""Bundles for registration and balance sheet: complete, of one design, and kept for 30 years."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Any

import pytest

from gridsecure.cli.registration_pdf import render_bundle
from gridsecure.errors import (
    AuthenticityError,
    GridSecureError,
    InputError,
    InvalidMessageError,
)
from gridsecure.products.checks import check_design
from gridsecure.products.components import ComponentCard, make_library
from gridsecure.products.designs import standard_text
from gridsecure.products.previews import sample_of
from gridsecure.products.registration import (
    NO_APPROVAL,
    RULES,
    ComplianceStatement,
    CostLine,
    Holder,
    Ownership,
    RegistrationBundle,
    check_bundle,
    check_issue,
    check_proofs,
    make_bundle,
    read_costs,
)
from tests.products.small_city import JULY, previewed
from tests.queries.published_months import bill_release
from tests.statements.pdf_text import page_texts

NAME = "vacancy-index"
USAGE = json.dumps(
    [
        {"month": "2026-07", "zone": "platform", "party": party, "measure": name, "amount": amount}
        for party, name, amount in (
            ("billing", "jobs", 12), ("billing", "bytes_stored", 10), ("analysts", "jobs", 3),
        )
    ]
)  # fmt: skip
RIGHTS = [
    Ownership(right=right, holder="示范供电局", basis="合同 1")
    for right in ("hold", "process", "operate")
]
RIGHT_COST = CostLine(
    month="2026-07", zone="platform", party="billing", measure="jobs", amount=1, yuan_per_unit="1"
)
SAID = [
    ComplianceStatement(
        clause="个人信息保护法 第六条", statement="只发布合计", evidence="uniform-15"
    )
]


@cache
def cards() -> list[ComponentCard]:
    return make_library().cards


def bundle(*, on: date = date(2026, 11, 30), years: int = 30, **changed: Any) -> RegistrationBundle:
    design, city, frames = previewed(NAME)
    parts: dict[str, Any] = {
        "check": check_design(design, city=city, issue=JULY),
        "sample": sample_of(design, frames, city=city, issue=JULY),
        "cards": cards(),
        "ownership": RIGHTS,
        "statements": SAID,
        "costs": read_costs([USAGE], parties=["billing"], rates={"jobs": "0.105"}),
    }
    holder = Holder("示范供电局", "data-index", on, years)
    return make_bundle(standard_text(NAME), holder=holder, **parts | changed)


def test_a_bundle_names_what_it_is_made_of() -> None:
    made = bundle()
    assert (made.retained_until, made.notice) == ("2056-11-30", NO_APPROVAL)
    assert set(made.components) == {
        "plan query", "measure energy", "statistic histogram", "step month",
    }  # fmt: skip
    assert made.processing_yuan == Decimal("1.26")
    assert [line.yuan_per_unit for line in made.costs] == ["0.105", None]
    assert check_bundle(RegistrationBundle.parse(made.model_dump_json())).name == NAME
    assert set(made.digests) == {"design", "policy", "check", "sample"}


def test_a_bundle_of_a_leap_day_is_kept_as_long() -> None:
    assert bundle(on=date(2028, 2, 29)).retained_until == "2058-03-01"


def refusal(change: dict[str, Any]) -> str:
    with pytest.raises(GridSecureError) as refused:
        check_bundle(bundle().model_copy(update=change))
    return refused.value.reason


def test_what_does_not_fit_together_is_refused() -> None:
    made = bundle()
    other = standard_text("recovery-index")
    strict = made.policy.replace("minimum = 15", "minimum = 16")
    check = made.check.model_copy(update={"design": "0" * 64})
    assert refusal({"design": other}) == "registration.digest"
    assert refusal({"check": check}) == "registration.digest"
    assert refusal({"policy": strict}) == "registration.digest"
    assert refusal({"ownership": RIGHTS[:2]}) == "registration.rights"
    assert refusal({"retained_until": "2056-11-29"}) == "registration.retention"
    assert refusal({"registered_on": "soon"}) == "registration.retention"
    with pytest.raises(InputError) as refused:
        bundle(years=29)
    assert refused.value.reason == "registration.retention"
    with pytest.raises(InputError) as refused:
        read_costs(['{"month": 1}'], parties=[], rates={})
    assert refused.value.reason == "registration.usage"
    for usages, rates, reason in (
        ([USAGE, USAGE], {}, "registration.usage"),
        ([USAGE], {"job": "0.105"}, "registration.rate"),
    ):
        with pytest.raises(InputError) as refused:
            read_costs(usages, parties=["billing"], rates=rates)
        assert refused.value.reason == reason


def test_whoever_registers_holds_and_rules_are_not_the_holders_to_write() -> None:
    others = [one.model_copy(update={"holder": "别人"}) for one in RIGHTS]
    assert refusal({"ownership": others}) == "registration.holder"
    assert refusal({"rules": ["任意规则"]}) == "registration.rules"


def test_proof_and_sample_are_made_again() -> None:
    design, city, _ = previewed(NAME)
    made = bundle()
    check_proofs(made, design, city=city, cards=cards())
    for change in (
        {"components": {}},
        {"check": made.check.model_copy(update={"parts": []})},
        {"check": made.check.model_copy(update={"period": "2099-99"})},
        {"sample": made.sample.model_copy(update={"parts": []})},
        {"sample": made.sample.model_copy(update={"synthetic": False})},
    ):
        with pytest.raises(AuthenticityError) as refused:
            check_proofs(made.model_copy(update=change), design, city=city, cards=cards())
        assert refused.value.reason == "registration.proof"


def test_a_certificate_is_of_the_products_policy_and_purpose() -> None:
    design, _, _ = previewed(NAME)
    issue = bill_release("2026-07").model_copy(
        update={"plan": "query", "policy": design.release_policy.digest}
    )
    check_issue(issue, design)
    for change in ({"plan": "bill"}, {"purpose": "billing"}, {"policy": "0" * 64}):
        with pytest.raises(AuthenticityError) as refused:
            check_issue(issue.model_copy(update=change), design)
        assert refused.value.reason == "registration.issue"


def test_the_largest_costs_are_added_up() -> None:
    said = RIGHT_COST.model_copy(update={"amount": (1 << 63) - 1, "yuan_per_unit": "9" * 12})
    total = bundle(costs=[said]).processing_yuan
    assert total == Decimal(((1 << 63) - 1) * int("9" * 12))
    with pytest.raises(InvalidMessageError):
        CostLine.parse(RIGHT_COST.model_dump_json().replace('"amount":1', f'"amount":{10**40}'))


def test_a_bundle_is_printed_in_chinese_and_claims_no_approval() -> None:
    made = bundle()
    design, _, _ = previewed(NAME)
    content = render_bundle(made, design, signer="ab" * 32)
    assert content == render_bundle(made, design, signer="ab" * 32)
    text = "".join(page_texts(content))
    for wanted in (
        "空置率指数",
        "示范供电局",
        "数据产品经营权",
        "财资〔2024〕167号",
        "未经任何登记机构",
    ):
        assert wanted in text
    assert len(RULES) == 2
