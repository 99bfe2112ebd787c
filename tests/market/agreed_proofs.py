"""Agreements as the key authority is shown them, under a policy that wants them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from gridsecure.circulation.agreed_releases import (
    AgreedRelease,
    AgreementProof,
    ProvedBy,
    StandingAgreement,
)
from gridsecure.circulation.documents import REGISTRAR
from gridsecure.circulation.trade import Agreement
from gridsecure.messages import Signed
from gridsecure.policy.language import parse_policy
from tests.grid_simulator import NOW
from tests.held_policy import POLICY
from tests.market import market_world as world

TERM = 'agreement = ["operations"]'
WANTING = parse_policy(POLICY.text.replace("\n[grades]", f"{TERM}\n\n[grades]", 1))
CLERK, MARKET = "bank-1", "the-market"


def proved_by(*, registrar: str = REGISTRAR, market: str = MARKET) -> ProvedBy:
    """The keys of the registration office and of the market, or of whoever is named."""
    keys = [world.key_of(one).public_key for one in (registrar, market)]
    return ProvedBy(*({key.thumbprint: key} for key in keys))


def agreement(**changes: object) -> Agreement:
    values: dict[str, Any] = {
        "provider": "exchange", "consumer": "bank", "offer": "1" * 64, "request": "2" * 64,
        "product": "recovery", "version": 1, "design": "3" * 64, "purpose": "operations",
        "plan": "load-curve", "price_fen": 1, "uses": 1, "begins_at": NOW.isoformat(),
        "ends_at": (NOW + timedelta(days=9)).isoformat(), "policy": WANTING.digest,
        "policy_text": WANTING.text,
    }  # fmt: skip
    return Agreement(**(values | changes))


def standing(agreed: str, *, signer: str = MARKET, at: datetime = NOW) -> Signed:
    """The market's word, or somebody else's, that an agreement stands."""
    return world.sign(signer, StandingAgreement(agreement=agreed, at=at.isoformat()))


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
        "standing": standing(signatures[0].digest),
        "named": world.sign(namer, named),
        "signatures": signatures,
        "organisations": [world.record(name) for name in ("exchange", "bank")],
    }
    return AgreementProof(**(values | changes))
