"""What the encryption service answers. No answer has a plaintext in it, nor a key in the clear."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from gridsecure.messages import Digest
from gridsecure.wire.services import Answer, Count

NEXT_STATES: Final[Mapping[str, tuple[str, ...]]] = {
    "active": ("suspended", "deactivated", "compromised"),
    "suspended": ("active", "deactivated", "compromised"),
    "deactivated": ("compromised", "destroyed"),
    "compromised": ("destroyed",),
    "destroyed": (),
}
"""State of a managed key -> those that an officer may move it to."""


class ManagedKeyTold(Answer):
    """A managed key. `public_key` is its SM2 point; empty for a key without one."""

    key_id: str
    organisation: str
    name: str
    generation: Count
    algorithm: Literal["sm2", "hmac-sm3", "sm4"]
    public_key: str
    state: Literal["active", "suspended", "deactivated", "compromised", "destroyed"]
    created_at: str


class KeyUseTold(Answer):
    """One use of a managed key: by whom, when, of which kind; never of what."""

    use: str
    operation: Literal["signature", "mac", "mac-check", "data-key-seal", "data-key-open"]
    person: str
    at: str


class SignatureMade(Answer):
    """An SM2 signature of a digest's 32 bytes."""

    key_id: str
    digest: Digest
    signature: str


class MacMade(Answer):
    """HMAC-SM3 of a digest's 32 bytes."""

    key_id: str
    digest: Digest
    mac: str


class Checked(Answer):
    """Whether a signature or a MAC is good."""

    is_good: bool


class DataKeyGiven(Answer):
    """An SM4 key, sealed to the SM2 key of the person who asked; hexadecimal digits."""

    key_id: str
    sealed: str


class CertificateChecked(Answer):
    """What a certificate was found to say, as `gridsecure verify --format json` prints it."""

    release_id: str
    plan: str
    start: str
    end: str
    released_at: str
    signer: Digest
    cells: Count
    has_values: bool
    log: str
    entry: Count
    entry_hash: str
    logged_at: str
    checkpoint_size: Count
    checkpoint_root: str
    cosigners: list[str]
    level: str
    level_digest: str
