"""Signed policies: a policy's text, and the officers who say that it may hold.

An officer signs the digest of the text, with the key that approves releases. A policy that ships
needs no signature where it loosens nothing; any other needs those of both roles, and so of two
people: whoever proposes a policy never puts it in force alone.

A signature counts for a month. A policy that officers signed and never put in force cannot be
brought out later by somebody who kept it; one that was taken in holds on without them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import ClassVar, Final, NamedTuple

from pydantic import Field

from gridsecure.approvals import APPROVER_ROLES, SKEW, ApproverRole, Approvers
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import (
    AuthenticityError,
    InputError,
    InvalidMessageError,
    ReleaseRefusedError,
    SignatureError,
)
from gridsecure.messages import Digest, Message, Signed, open_message, sign_message
from gridsecure.month_texts import read_moment
from gridsecure.policy.language import Policy, parse_policy
from gridsecure.policy.packs import list_packs, load_pack, read_policy_text

LONGEST_DAYS: Final = 31
"""Longest between an officer's signature and taking the policy in [days]."""
LONGEST_TEXT: Final = 200_000
"""Longest text of a policy that a service takes in [characters]."""
UNSIGNED: Final = "policy.unsigned"


class PolicySignature(Message):
    """What an officer signs of a policy.

    Args:
        policy: Digest of the policy's text.
        person: As the officer's key is pinned.
        signed_at: ISO 8601, aware.
    """

    kind: ClassVar[str] = "policy-signature"
    policy: Digest = Field(pattern=r"^[0-9a-f]{64}$")
    name: str = Field(max_length=64)
    version: int
    person: str = Field(max_length=64)
    role: ApproverRole
    signed_at: str = Field(max_length=40)


class SignedPolicy(Message):
    """A policy's text with the officers' signatures; of one that ships perhaps none.

    Args:
        text: Byte for byte as it was written.
    """

    kind: ClassVar[str] = "signed-policy"
    text: str = Field(max_length=LONGEST_TEXT)
    signatures: list[Signed] = Field(default=[], max_length=16)

    @property
    def digest(self) -> Digest:
        """Names the policy."""
        return sm3_hex(self.text.encode())


class PolicyNamed(Message):
    """Which policy."""

    kind: ClassVar[str] = "policy-named"
    digest: Digest
    name: str
    version: int


class VaultPolicy(Message):
    """How policies stand at a vault, in the vault's own word.

    Args:
        in_force: None before the first one's day.
        waiting: Those that take over on their day.
        taken_in: How many it ever took in; one that has fewer than before lost some.
        at: ISO 8601.
        nonce: Whoever asked finds it in the answer.
    """

    kind: ClassVar[str] = "vault-policy"
    in_force: PolicyNamed | None
    waiting: list[PolicyNamed]
    taken_in: int
    at: str
    nonce: str = Field(default="", pattern=r"^[0-9a-f]{0,64}$")


class OpenedPolicy(NamedTuple):
    """A policy that may hold.

    Args:
        is_signed: Whether officers of both roles signed it; else it is one that ships.
    """

    policy: Policy
    is_signed: bool


def sign_policy(
    document: SignedPolicy, *, person: str, role: ApproverRole, key: Sm2PrivateKey, now: datetime
) -> SignedPolicy:
    """Add an officer's signature, in place of an earlier one of the same key.

    Raises:
        InputError: As `parse_policy`.
    """
    policy = parse_policy(document.text)
    said = PolicySignature(
        policy=policy.digest,
        name=policy.name,
        version=policy.version,
        person=person,
        role=role,
        signed_at=now.isoformat(),
    )
    signed = sign_message(said, key=key)
    others = [one for one in document.signatures if one.signer != signed.signer]
    return document.model_copy(update={"signatures": [*others, signed]})


def open_policy(document: SignedPolicy, *, approvers: Approvers, now: datetime) -> OpenedPolicy:
    """A policy that ships, or that officers of both roles signed lately.

    Args:
        approvers: Officers whose keys were not revoked.

    Raises:
        InputError: As `parse_policy`.
        SignatureError: A signature is none of the officers', or of another policy
            (`policy.signature`).
        ReleaseRefusedError: A signature is too old, or dated in the future (`policy.stale`); or a
            role's is missing from a policy that does not ship (`policy.unsigned`).
    """
    # Signatures come first: nothing of an unsigned text is parsed.
    said = [_read_signature(one, document.digest, approvers, now) for one in document.signatures]
    lacking = [role for role in APPROVER_ROLES if role not in {one.role for one in said}]
    if lacking and document.digest not in _pack_digests():
        raise unsigned_error(lacking)
    policy = parse_policy(document.text)
    if any((one.name, one.version) != (policy.name, policy.version) for one in said):
        raise _other_policy()
    return OpenedPolicy(policy, not lacking)


@cache
def _pack_digests() -> frozenset[Digest]:
    return frozenset(load_pack(name).digest for name in list_packs())


def _read_signature(
    envelope: Signed, policy: Digest, approvers: Approvers, now: datetime
) -> PolicySignature:
    keys = {name: one.key for name, one in approvers.items()}
    try:
        said = open_message(envelope, expect=PolicySignature, trusted=keys)
    except InvalidMessageError:
        raise
    except AuthenticityError as error:
        raise _no_signature("A signature of the policy is none of the officers'") from error
    officer = approvers[envelope.signer]
    if (said.person, said.role) != (officer.person, officer.role):
        raise _no_signature("A signature names another officer or role than its key is for")
    if said.policy != policy:
        raise _other_policy()
    signed_at = read_moment(said.signed_at)
    if signed_at is None or not signed_at - SKEW <= now < signed_at + timedelta(days=LONGEST_DAYS):
        raise ReleaseRefusedError(
            f"A signature of the policy is older than {LONGEST_DAYS} days, or dated in the future.",
            reason="policy.stale",
            remedy="Have the officer sign it anew (gridsecure policy sign).",
        )
    return said


def unsigned_error(lacking: Iterable[str]) -> ReleaseRefusedError:
    """That officers have to sign a policy before it may hold."""
    return ReleaseRefusedError(
        f"The policy lacks the signature of: {', '.join(lacking)}.",
        reason=UNSIGNED,
        remedy="Have each of them sign it (gridsecure policy sign), then put it in force.",
    )


def _other_policy() -> SignatureError:
    return _no_signature("A signature is of another policy")


def _no_signature(why: str) -> SignatureError:
    return SignatureError(
        f"{why}.",
        reason="policy.signature",
        remedy="Sign the very text again, with the keys that are pinned for the officers.",
    )


def read_document(named: str) -> SignedPolicy:
    """A policy that ships, by its name; a text (.toml), or a signed policy (.json), in a file.

    Raises:
        InputError: There is none of the name (`policy.pack`), or the file cannot be read
            (`policy.file`).
        InvalidMessageError: It is no signed policy.
    """
    if named.endswith(".json"):
        return SignedPolicy.parse(read_policy_text(Path(named)))
    text = read_policy_text(Path(named)) if named.endswith(".toml") else load_pack(named).text
    if len(text) > LONGEST_TEXT:
        raise InputError(
            f"A policy has at most {LONGEST_TEXT:,} characters.",
            reason="policy.file",
            remedy="Name the file of a policy.",
        )
    return SignedPolicy(text=text)


def load_policy(named: str) -> Policy:
    """What a policy of `read_document` says, whoever signed it.

    Raises:
        InputError, InvalidMessageError: As `read_document` and `parse_policy`.
    """
    return parse_policy(read_document(named).text)
