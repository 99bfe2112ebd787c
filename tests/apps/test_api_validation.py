"""Whoever looks after readings at the gateway: rules."""

from __future__ import annotations

import pytest

from gridsecure.billing.rule_books import default_text
from gridsecure.crypto.sm3 import sm3_hex
from tests.apps.gateway_services import Services
from tests.billing.rule_inputs import book_text

RULES = "/v1/validation-rules"


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    made = Services(tmp_path_factory.mktemp("validation"))
    yield made
    made.close()


def ask(services, method, path, *, role="operator", subject="op", **content):
    headers = services.token(role, subject=subject) | content.pop("headers", {})
    return services.client.request(method, path, headers=headers, **content)


def test_an_operator_hands_in_rules_and_reads_them_back(services):
    held = ask(services, "GET", RULES, params={"month": "2026-03"}).json()
    assert held == {
        "digest": sm3_hex(default_text().encode()),
        "version": "1",
        "text": default_text(),
    }
    text = book_text(version="2026.1", height={"percent": 120})
    put = ask(services, "PUT", RULES, params={"month": "2026-03"}, content=text.encode())
    assert (put.status_code, put.json()["version"]) == (200, "2026.1")
    assert ask(services, "GET", RULES, params={"month": "2026-03"}).json() == put.json()
    assert ask(services, "GET", RULES).json()["version"] == "1"


@pytest.mark.parametrize(
    ("content", "month", "reason"),
    [
        (b"\xff\xfe", "", "rules.syntax"),
        (b"version = 1", "", "rules.syntax"),
        (default_text().replace("factor = 30", "factor = 0").encode(), "", "rules.limit"),
        (default_text().encode(), "2026-00", "message.invalid"),
    ],
)
def test_rules_that_cannot_be_used_are_refused(services, content, month, reason):
    refused = ask(services, "PUT", RULES, params={"month": month}, content=content)
    assert (refused.status_code // 100, refused.json()["reason"]) == (4, reason)


def test_nobody_but_an_operator_sees_or_changes_rules(services):
    for role in ("billing", "meter-data"):
        assert ask(services, "GET", RULES, role=role).status_code == 403
        assert ask(services, "PUT", RULES, role=role, content=b"").status_code == 403
