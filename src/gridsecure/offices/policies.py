"""An officer's part in release policies: signed with the own key, put in force, read from services.

A policy is brought to the key authority first, which brings it to its vault, and then to the
platform. Each takes it in for itself; the same again changes nothing.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final, Literal

from gridsecure.errors import SignatureError
from gridsecure.messages import Signed
from gridsecure.offices.custodians import KnownVault, open_answer
from gridsecure.offices.officers import Call
from gridsecure.policy.language import Policy, parse_policy
from gridsecure.policy.signed_policies import SignedPolicy, VaultPolicy
from gridsecure.wire.policies import PoliciesTold, PolicyTakenIn, PolicyTold

POLICY: Final = "/policy"
VAULT_POLICY: Final = "/vault/policy"

PolicyKeeper = Literal["authority", "platform"]
"""A service with a release policy."""


@dataclass(frozen=True, slots=True)
class ServedPolicy:
    """A policy as a service has it.

    Args:
        policy: Read here; its digest was computed here.
    """

    told: PolicyTold
    policy: Policy


def read_in_force(call: Call, service: PolicyKeeper) -> tuple[ServedPolicy | None, list[str]]:
    """The policy that is in force at a service, and the names of those that wait, with their days.

    Raises:
        SignatureError: A text is not what its digest says (`policy.text`).
        GridSecureError: The service refused, or its text is no policy.
    """
    told = PoliciesTold.model_validate(call(service, "GET", POLICY))
    waiting = [f"{one.name}, version {one.version}, from {one.begins_at}" for one in told.waiting]
    if told.in_force is None:
        return None, waiting
    policy = parse_policy(told.in_force.text)
    if policy.digest != told.in_force.digest:
        raise SignatureError(
            "A service shows another policy than its digest says.",
            reason="policy.text",
            remedy="Do not go by it. Tell the security officer.",
        )
    return ServedPolicy(told.in_force, policy), waiting


def read_vault_policy(call: Call, *, known: KnownVault | None) -> VaultPolicy:
    """Which policy the vault holds to.

    Args:
        known: The vault that is believed; without it this is the key authority's word alone.

    Raises:
        AuthenticityError, StaleMessageError: As `open_answer`.
        GridSecureError: The key authority or the vault is down.
    """
    nonce = secrets.token_hex(16)
    envelope = Signed.model_validate(
        call("authority", "GET", VAULT_POLICY, params={"nonce": nonce})
    )
    return open_answer(nonce, envelope, VaultPolicy, known=known)


def put_policy(call: Call, document: SignedPolicy, *, service: PolicyKeeper) -> PolicyTakenIn:
    """Have a service take a policy in.

    Raises:
        GridSecureError: It refused.
    """
    answer = call(service, "PUT", POLICY, json=document.model_dump())
    return PolicyTakenIn.model_validate(answer)
