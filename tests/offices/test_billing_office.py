"""Bills that the office assigns: each to the meter point that proved it, with its days."""

from __future__ import annotations

import json

import pytest

from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import SignatureError
from gridsecure.offices.billing_office import BillingOffice, ProvenAccounts, assign_bills

DAYS = ("2026-07-16T00:00:00+08:00", "2026-08-01T00:00:00+08:00")
PROVEN = ProvenAccounts({"one": "MP-1", "two": "MP-2~B"}, {"MP-2~B": DAYS})


def document(**bills: dict) -> bytes:
    meters = {name: {"periods": [period]} for name, period in bills.items()}
    return json.dumps({"roster_id": "r", "meters": meters}).encode()


def test_bills_and_corrections_are_under_their_meter_points_in_the_order_of_versions():
    statements = [document(two={"total": "2.00", "version": 2}), document(one={"total": "1.00"})]
    statements += [document(two={"total": "3.00"})]
    served = {"served": {"start": DAYS[0], "end": DAYS[1]}}
    assert assign_bills(statements, PROVEN) == {
        "meters": {
            "MP-1": {"periods": [{"total": "1.00"}]},
            "MP-2~B": {
                "periods": [
                    {"total": "3.00", **served},
                    {"total": "2.00", "version": 2, **served},
                ]
            },
        }
    }


def test_a_bill_that_nobody_proved_is_refused():
    with pytest.raises(SignatureError) as refused:
        assign_bills([document(three={"total": "1.00"})], PROVEN)
    assert refused.value.reason == "authenticity.settlement"


def test_a_gateway_says_nothing_of_an_account_that_it_proved_nothing_for():
    """Or one gateway would change the days that another's customer reads on a bill."""
    answer = {"pseudonyms": {}, "proof": "", "parts": {"MP-1": list(DAYS)}}
    key = generate_private_key()
    office = BillingOffice(lambda *_sent, **_more: answer, key, key.public_key, key.public_key)
    found = office.prove_accounts(month="2026-07", start="2026-07-01T00:00:00+08:00")
    assert found == ProvenAccounts({}, {})
