"""What the market holds: signed documents and public keys, and its own key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine

from gridsecure.circulation.documents import Member
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.policy.language import Policy


@dataclass(frozen=True, slots=True)
class MarketZone:
    """The market's database and the keys it trusts.

    Args:
        signing_key: Signs settlement statements.
        registrar: The registration office.
        authority: The key authority's key by thumbprint; its certificates are what is metered.
        verify: Refuses a certificate whose cells break its own policy, or that is not proved to be
            in the authority's log; takes it as JSON text.
        policy: Tells the release policy in force at a moment, None before the first one's day.
    """

    engine: Engine
    signing_key: Sm2PrivateKey = field(repr=False)
    registrar: Member
    authority: Mapping[str, Sm2PublicKey]
    verify: Callable[[bytes], object]
    policy: Callable[[datetime], Policy | None]
