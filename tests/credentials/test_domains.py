"""Where credentials are shown: both sides work out the same domains from role and periods."""

from __future__ import annotations

import pytest

from gridsecure.credentials.presentations import Domain
from gridsecure.credentials.seats import registration_domains
from gridsecure.errors import InvalidMessageError


@pytest.mark.parametrize(
    ("role", "carry", "texts"),
    [
        ("gateway", None, ["platform/billing/2026"]),
        ("meter-point", None, ["platform/billing/2026", "authority/settlement/2026"]),
        (
            "meter-point",
            "2025",
            [
                "platform/billing/2026",
                "authority/settlement/2026",
                "platform/billing/2025",
                "authority/settlement/2025",
            ],
        ),
    ],
    ids=["gateway", "meter point", "carried on"],
)
def test_domains_follow_from_role_and_periods(role, carry, texts):
    domains = registration_domains(role, period="2026", carry=carry)
    assert [domain.text for domain in domains] == texts
    assert tuple(Domain.parse(text) for text in texts) == domains


@pytest.mark.parametrize(
    ("role", "carry"), [("gateway", "2025"), ("meter-point", "2026"), ("meter-point", "2027")]
)
def test_only_a_meter_point_carries_on_and_only_what_was(role, carry):
    with pytest.raises(InvalidMessageError, match=r"identity\.domain"):
        registration_domains(role, period="2026", carry=carry)


@pytest.mark.parametrize("text", ["", "a", "a/b", "a/b/c/d", "a//c", "/b/c", "a/b/ "])
def test_a_domain_is_three_parts(text):
    with pytest.raises(InvalidMessageError, match=r"identity\.domain"):
        Domain.parse(text)
