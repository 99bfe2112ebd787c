"""Bills leave the office: signed, sealed to their customers, and opened by nobody else."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.delivered_bills import (
    CustomerKey,
    bill_text,
    issue_bill,
    open_delivery,
    read_code,
    read_request,
    request_key,
    seal_delivery,
)
from gridsecure.errors import (
    AuditBrokenError,
    ConflictError,
    EnvelopeError,
    InputError,
    NotFoundError,
    SignatureError,
    StorageError,
)
from gridsecure.messages import sign_message
from gridsecure.offices.customers import CUSTOMER_LIST, Customers
from gridsecure.portal.own_bills import CustomerKeys
from tests.attacks import Attacked, attack, cut, rule
from tests.statements.samples import first_period

NOW = datetime(2026, 8, 2, tzinfo=UTC)
OFFICE, CUSTOMER, OTHER = (generate_private_key() for _ in range(3))
PERIOD = first_period("residential-tiers")
CODE = issue_bill("MP-1", PERIOD, issuer="Utility", key=OFFICE)


def sealed(period=PERIOD, code=CODE) -> bytes:
    point = CUSTOMER.public_key
    return seal_delivery(period, code=code, customer=point, now=NOW)


def test_a_customer_opens_the_bill_that_the_office_signed():
    facts, code, period = open_delivery(sealed(), key=CUSTOMER, office=OFFICE.public_key)
    assert (period, code, facts.issuer) == (PERIOD, CODE, "Utility")
    assert (facts.account, facts.total, facts.version) == ("MP-1", PERIOD["total"], 1)
    assert (facts.start, facts.end) == (PERIOD["start"], PERIOD["end"])


def test_a_carrier_reads_no_length():
    """Nor does a receipt, a longer tariff or a correction show."""
    longer = PERIOD | {"notices": ["x" * 5000]}
    code = issue_bill("MP-1", longer, issuer="", key=OFFICE)
    assert len(sealed(longer, code)) == len(sealed())


def test_nobody_else_opens_it():
    with pytest.raises(EnvelopeError):
        open_delivery(sealed(), key=OTHER, office=OFFICE.public_key)
    altered = bytearray(sealed())
    altered[-1] ^= 1
    with pytest.raises(EnvelopeError):
        open_delivery(bytes(altered), key=CUSTOMER, office=OFFICE.public_key)


def test_a_bill_by_somebody_else_than_the_office_is_refused():
    """Whoever knows a customer's key can seal to it."""
    forged = sealed(code=issue_bill("MP-1", PERIOD, issuer="Utility", key=OTHER))
    with pytest.raises(SignatureError) as refused:
        open_delivery(forged, key=CUSTOMER, office=OFFICE.public_key)
    assert refused.value.reason == "authenticity.bill-code"


@pytest.mark.parametrize(
    "change", [{"total": "0.01"}, {"start": "2025-07-01T00:00:00+08:00"}, {"version": 2}]
)
def test_another_bill_under_a_signed_code_is_refused(change):
    with pytest.raises(AuditBrokenError) as refused:
        open_delivery(sealed(PERIOD | change), key=CUSTOMER, office=OFFICE.public_key)
    assert refused.value.reason == "delivery.other-bill"


def test_a_code_is_read_with_blanks_around_it_and_refused_if_a_figure_changed():
    office = OFFICE.public_key
    assert read_code(f"\n {CODE} \n", office=office).total == PERIOD["total"]
    with pytest.raises(SignatureError):
        read_code(CODE.replace(PERIOD["total"], "9.99"), office=office)
    with pytest.raises(SignatureError):
        read_code(CODE, office=OTHER.public_key)
    for text in ("", CODE[:-129], CODE.replace("BILL-1", "BILL-2")):
        with pytest.raises(InputError) as refused:
            read_code(text, office=office)
        assert refused.value.reason in {"delivery.code", "authenticity.bill-code"}


def test_the_text_of_a_bill_is_one_whatever_the_order_of_its_keys():
    assert bill_text(dict(reversed(PERIOD.items()))) == bill_text(PERIOD)


def test_a_request_is_of_whoever_holds_the_key():
    request = request_key("MP-1", key=CUSTOMER, now=NOW)
    assert read_request(request) == ("MP-1", CUSTOMER.public_key)
    body = json.loads(request.body)
    for forged in (
        request.model_copy(update={"body": json.dumps(body | {"account": "MP-2"})}),
        sign_message(CustomerKey.parse(request.body), key=OTHER),
    ):
        with pytest.raises(SignatureError) as refused:
            read_request(forged)
        assert refused.value.reason == "authenticity.customer-key"


def test_the_list_of_customers_keeps_keys_by_account(tmp_path):
    path = tmp_path / "customers.json"
    assert CUSTOMER_LIST.read(path) == Customers()
    first, added = Customers().add(request_key("MP-1", key=CUSTOMER, now=NOW), now=NOW)
    assert added.account == "MP-1"
    both, _ = first.add(request_key("MP-1", key=OTHER, now=NOW), now=NOW)
    CUSTOMER_LIST.write(path, both)
    kept = CUSTOMER_LIST.read(path)
    assert kept.keys_of("MP-1") == [CUSTOMER.public_key, OTHER.public_key]
    assert kept.keys_of("MP-2") == []
    with pytest.raises(ConflictError):
        kept.add(request_key("MP-1", key=OTHER, now=NOW), now=NOW)
    left = kept.without("MP-1", CUSTOMER.public_key.thumbprint[:8])
    assert left.thumbprints() == [("MP-1", OTHER.public_key.thumbprint)]
    with pytest.raises(ConflictError) as refused:
        left.add(request_key("MP-1", key=CUSTOMER, now=NOW), now=NOW)
    assert refused.value.reason == "customers.withdrawn"
    for account, thumbprint in (("MP-2", OTHER.public_key.thumbprint), ("MP-1", "")):
        with pytest.raises(NotFoundError):
            kept.without(account, thumbprint)


def test_a_key_of_two_accounts_stays_where_its_customer_did_not_move_out():
    kept, _ = Customers().add(request_key("MP-1", key=CUSTOMER, now=NOW), now=NOW)
    kept, _ = kept.add(request_key("MP-2", key=CUSTOMER, now=NOW), now=NOW)
    own = CUSTOMER.public_key.thumbprint
    left = kept.without("MP-1", own)
    assert left.thumbprints() == [("MP-2", own)]
    with pytest.raises(ConflictError) as refused:
        left.add(request_key("MP-1", key=CUSTOMER, now=NOW), now=NOW)
    assert refused.value.reason == "customers.withdrawn"
    again, _ = left.without("MP-2", own).add(request_key("MP-3", key=CUSTOMER, now=NOW), now=NOW)
    assert again.thumbprints() == [("MP-3", own)]
    lost, accounts = kept.without_lost("MP-1", own[:8])
    assert (lost.thumbprints(), accounts) == ([], ["MP-1", "MP-2"])
    with pytest.raises(ConflictError):
        lost.add(request_key("MP-3", key=CUSTOMER, now=NOW), now=NOW)


def test_a_key_that_is_found_lost_after_its_customer_moved_out_is_entered_for_nobody():
    own = CUSTOMER.public_key.thumbprint
    kept, _ = Customers().add(request_key("MP-1", key=CUSTOMER, now=NOW), now=NOW)
    left, accounts = kept.without("MP-1", own).without_lost("MP-1", own)
    assert accounts == []
    with pytest.raises(ConflictError) as refused:
        left.add(request_key("MP-2", key=CUSTOMER, now=NOW), now=NOW)
    assert refused.value.reason == "customers.withdrawn"
    with pytest.raises(NotFoundError):
        kept.without("MP-1", own).without_lost("MP-2", own)


def test_an_altered_entry_of_another_account_stops_no_withdrawal():
    kept, _ = Customers().add(request_key("MALLORY", key=OTHER, now=NOW), now=NOW)
    text = kept.model_dump_json().replace('"account":"MALLORY","req', '"account":"MP-2","req')
    kept, _ = Customers.parse(text).add(request_key("MP-1", key=CUSTOMER, now=NOW), now=NOW)
    own = CUSTOMER.public_key.thumbprint
    assert kept.without("MP-1", own).keys_of("MP-1") == []
    left, accounts = kept.without_lost("MP-1", own)
    assert (left.keys_of("MP-1"), accounts) == ([], ["MP-1"])
    assert kept.without("MP-2", OTHER.public_key.thumbprint).keys_of("MP-2") == []


@attack(
    "an own key under a neighbour's account in the office's list",
    rule(
        "A key stands under the account that its customer signed.",
        "authenticity.customer-key",
        cut(
            "gridsecure.offices.customers:Customer.key", "if account != self.account:", "if False:"
        ),
    ),
)
def test_a_request_under_another_account(attacked: Attacked) -> None:
    kept, _ = Customers().add(request_key("MALLORY", key=OTHER, now=NOW), now=NOW)
    text = kept.model_dump_json()
    changed = Customers.parse(text.replace('"account":"MALLORY","req', '"account":"MP-1","req'))
    try:
        keys = changed.keys_of("MP-1")
    except SignatureError as refused:
        attacked.ends(refused.reason)
        return
    assert keys == [OTHER.public_key]
    attacked.ends("")


def test_a_neighbours_bill_that_somebody_sealed_to_this_key_is_not_shown_as_ones_own():
    keys = CustomerKeys(CUSTOMER, OFFICE.public_key, frozenset({"MP-1"}))
    assert keys.open_bill(sealed()).facts.account == "MP-1"
    of_another = issue_bill("MP-2", PERIOD, issuer="Utility", key=OFFICE)
    with pytest.raises(InputError) as refused:
        keys.open_bill(sealed(code=of_another))
    assert refused.value.reason == "delivery.account"


def test_two_who_change_the_list_at_once_lose_nothing(tmp_path):
    path = tmp_path / "customers.json"
    with ThreadPoolExecutor(4) as pool:

        def enter(number: int) -> None:
            with CUSTOMER_LIST.changing(path) as kept:
                added, _ = kept.add(request_key(f"MP-{number}", key=CUSTOMER, now=NOW), now=NOW)
                CUSTOMER_LIST.write(path, added)

        list(pool.map(enter, range(4)))
    assert len(CUSTOMER_LIST.read(path).customers) == 4


def test_a_list_with_a_request_that_was_changed_seals_to_nobody(tmp_path):
    """Or whoever may write the file puts an own key under an account."""
    path = tmp_path / "customers.json"
    kept, _ = Customers().add(request_key("MP-1", key=CUSTOMER, now=NOW), now=NOW)
    text = kept.model_dump_json()
    own = OTHER.public_key.point.hex()
    path.write_text(text.replace(CUSTOMER.public_key.point.hex(), own), encoding="utf-8")
    with pytest.raises(SignatureError):
        CUSTOMER_LIST.read(path).keys_of("MP-1")
    path.write_text("{}x", encoding="utf-8")
    with pytest.raises(StorageError):
        CUSTOMER_LIST.read(path)
