"""The two officers who approve releases in tests, and what they sign."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gridsecure.approvals import (
    APPROVER_ROLES,
    Approver,
    ApproverRole,
    Approvers,
    AskedCell,
    ReleaseApproval,
    ReleaseAuthorisation,
    ReleaseSubject,
    outputs_digest,
    pin_approvers,
    roster_digest,
    subject_digest,
)
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.key_authority.packages import Approved
from gridsecure.key_authority.vault.held_policies import VaultPolicies
from gridsecure.messages import ColumnEntry, RosterManifest, Signed, sign_message
from gridsecure.plans.cells import MEASURES, roster_places
from gridsecure.policy.language import Policy
from gridsecure.policy.signed_policies import SignedPolicy, sign_policy
from gridsecure_api.settings import ApproverEntry
from tests.grid_simulator import NOW
from tests.held_policy import POLICY


@cache
def officer_key(role: ApproverRole) -> Sm2PrivateKey:
    return generate_private_key()


APPROVERS: Approvers = pin_approvers(
    Approver(role, role, officer_key(role).public_key) for role in APPROVER_ROLES
)
ENTRIES = tuple(
    ApproverEntry(person=one.person, role=one.role, public_key=one.key.point.hex())
    for one in APPROVERS.values()
)
"""The officers as settings name them."""


def approval_of(
    text: str,
    *,
    role: ApproverRole = "data-owner",
    key: Sm2PrivateKey | None = None,
    now: datetime = NOW,
    **changes: object,
) -> Signed:
    """What an officer signs of a subject's text."""
    said = ReleaseApproval(
        subject=subject_digest(text),
        decision="approve",
        person=role,
        role=role,
        decided_at=now.isoformat(),
        expires_at=(now + timedelta(days=7)).isoformat(),
    )
    return sign_message(said.model_copy(update=changes), key=key or officer_key(role))


def authorisation_of(
    *,
    role: ApproverRole = "data-owner",
    key: Sm2PrivateKey | None = None,
    now: datetime = NOW,
    **changes: object,
) -> Signed:
    """What an officer signs to approve everything for a month."""
    said = ReleaseAuthorisation(
        person=role,
        role=role,
        scope="everything",
        policy=POLICY.digest,
        issued_at=now.isoformat(),
        expires_at=(now + timedelta(days=31)).isoformat(),
    )
    return sign_message(said.model_copy(update=changes), key=key or officer_key(role))


def signed_policy(
    text: str, *, roles: Iterable[ApproverRole] = APPROVER_ROLES, now: datetime = NOW
) -> SignedPolicy:
    """A policy as officers sign it."""
    document = SignedPolicy(text=text)
    for role in roles:
        document = sign_policy(document, person=role, role=role, key=officer_key(role), now=now)
    return document


def signing_in(folder: Path) -> Any:
    """What policies need of a vault's lock: where they lie, and what signs them."""
    return SimpleNamespace(keys_folder=folder, key=officer_key("data-owner"))


def vault_policies(
    folder: Path, policy: Policy = POLICY, *, clock: Callable[[], datetime] = lambda: NOW
) -> VaultPolicies:
    """The policies of a vault that has taken this one in, and none before."""
    folder.mkdir(parents=True, exist_ok=True)
    made = VaultPolicies(signing_in(folder), clock=clock)
    made.hold(signed_policy(policy.text, now=clock()), approvers=APPROVERS)
    return made


def subject_of(
    roster: RosterManifest, columns: Mapping[str, ColumnEntry], **changes: object
) -> str:
    """The text of a request for a roster's bills."""
    cells = Counter(roster_places(roster))
    first = next(iter(columns.values()))
    said = ReleaseSubject(
        request_id="1" * 32,
        plan="bill",
        start=first.start,
        end=first.end,
        purpose="billing",
        requested_by="clerk",
        resolutions=["monthly"],
        measures=list(MEASURES),
        cells=[
            AskedCell(zone=place[0], customer_class=place[1], meter_points=count)
            for place, count in sorted(cells.items())
        ],
        transcripts="2" * 64,
        outputs=[outputs_digest(columns.values())],
        rosters=[roster_digest(roster)],
        tariffs=[roster.tariff],
        policy=POLICY.digest,
        policy_name=POLICY.name,
        policy_version=POLICY.version,
        needed=list(APPROVER_ROLES),
        standing=list(APPROVER_ROLES),
    )
    return said.model_copy(update=changes).model_dump_json()


def approved_bills(
    roster: RosterManifest, outputs: Mapping[str, ColumnEntry], **changes: object
) -> Approved:
    """A roster's bills, approved by both officers."""
    text = subject_of(roster, outputs, **changes)
    grounds = [approval_of(text, role=role) for role in APPROVER_ROLES]
    return Approved(subject=text, grounds=grounds)
