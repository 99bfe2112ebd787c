"""The billing office's part of a run: the books, and whose bill each settlement pseudonym is."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gridsecure.billing.contracts import load_contracts
from gridsecure.cli.services_client import ServicesClient
from gridsecure.credentials.seats import settlement_domain
from gridsecure.credentials.settlement import verify_settlement
from gridsecure.credentials.suites import sm2_suite
from gridsecure.errors import SignatureError
from gridsecure.simulator.accounts import invented_accounts

MAX_ACCOUNTS: Final = 4096
"""Accounts of one request."""


def enter_accounts(client: ServicesClient, contracts: Any) -> int:
    """Enter every contract's meter point in the identity authority's books; how many.

    Zone and class are the contract's: in a run the utility and the gateway have one contract file.

    Raises:
        GridSecureError: As `ServicesClient.call`.
    """
    gateway = client.home.keys["gateway"].public_key.thumbprint
    accounts = invented_accounts(load_contracts(contracts), gateway=gateway)
    for start in range(0, len(accounts), MAX_ACCOUNTS):
        part = accounts[start : start + MAX_ACCOUNTS]
        client.call("operator", "identity", "PUT", "/books", json=part)
    return len(accounts)


def prove_accounts(client: ServicesClient, *, month: str, start: str) -> dict[str, str]:
    """Have every account prove its settlement pseudonym: settlement name -> meter point.

    The office learns account and bill, not the pseudonym that readings were uploaded under.

    Args:
        client: Signed in.
        month: The month, YYYY-MM.
        start: Its start, ISO 8601.

    Raises:
        SignatureError: A proof is not that account's (`authenticity.settlement`).
        GridSecureError: As `ServicesClient.call`.
    """
    suite, domain, challenge = sm2_suite(), settlement_domain(start), secrets.token_bytes(32)
    suite.group.prepare(domain.base(suite))
    path = f"/months/{month}/settlement-proofs"
    wanted = {"challenge": challenge.hex()}
    proofs = client.call("billing", "gateway", "POST", path, json=wanted)["proofs"]
    found = {}
    for name, key in _enrolled_keys(client, sorted(proofs)).items():
        subject = verify_settlement(
            bytes.fromhex(proofs[name]),
            enrolled=suite.group.decode(bytes.fromhex(key)),
            domain=domain,
            challenge=challenge,
            suite=suite,
        )
        found[subject] = name
    return found


def check_owners(statements: Sequence[bytes], accounts: Mapping[str, str]) -> None:
    """Refuse statements of a settlement pseudonym that no account proved.

    Raises:
        SignatureError: There is one (`authenticity.settlement`).
    """
    named = {name for data in statements for name in json.loads(data)["meters"]}
    if not named <= accounts.keys():
        raise SignatureError(
            "No account proved the settlement pseudonym of a statement.",
            reason="authenticity.settlement",
            remedy="Ask the meter point's agent for its settlement proof.",
        )


def _enrolled_keys(client: ServicesClient, names: Sequence[str]) -> dict[str, str]:
    keys: dict[str, str] = {}
    for start in range(0, len(names), MAX_ACCOUNTS):
        wanted = {"identities": names[start : start + MAX_ACCOUNTS]}
        keys |= client.call("billing", "identity", "POST", "/accounts/keys", json=wanted)["keys"]
    return keys
