"""Agreements as the key authority is shown them, under a policy that wants them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from gridsecure.circulation.agreed_releases import AgreedRelease, AgreementProof
from gridsecure.circulation.trade import Agreement
from gridsecure.policy.language import parse_policy
from tests.grid_simulator import NOW
from tests.held_policy import POLICY
from tests.market import market_world as world

TERM = 'agreement = ["operations"]'
WANTING = parse_policy(POLICY.text.replace("\n[grades]", f"{TERM}\n\n[grades]", 1))
CLERK = "bank-1"


def agreement(**changes: object) -> Agreement:
    values: dict[str, Any] = {
        "provider": "exchange", "consumer": "bank", "offer": "1" * 64, "request": "2" * 64,
        "product": "recovery", "version": 1, "design": "3" * 64, "purpose": "operations",
        "plan": "load-curve", "price_fen": 1, "uses": 1, "begins_at": NOW.isoformat(),
        "ends_at": (NOW + timedelta(days=9)).isoformat(), "policy": WANTING.digest,
        "policy_text": WANTING.text,
    }  # fmt: skip
    return Agreement(**(values | changes))


def proof(
    release: str,
    agreed: Agreement | None = None,
    *,
    signers: tuple[str, str] = ("exchange-1", "bank-1"),
    namer: str = CLERK,
    **changes: object,
) -> AgreementProof:
    text = agreed or agreement()
    signatures = [world.sign(one, text) for one in signers]
    named = AgreedRelease(**world.by(namer), agreement=signatures[0].digest, release=release)
    values: dict[str, Any] = {
        "named": world.sign(namer, named),
        "signatures": signatures,
        "organisations": [world.record(name) for name in ("exchange", "bank")],
    }
    return AgreementProof(**(values | changes))
