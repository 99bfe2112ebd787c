"""The key-encryption key in shares: split among custodians, put together again, kept by nobody.

Shamir's scheme over GF(2^128) (How to share a secret, CACM 22, 1979) by pycryptodome. It has no
check of its own: any two points make some key. So the splitting's file names the key and every
share by digests, and a share that is wrong is known before anything is put together.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from Cryptodome.Protocol.SecretSharing import Shamir

from gridsecure.crypto.envelope import kek_id, seal_to
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import (
    AccessDeniedError,
    EnvelopeError,
    GridSecureError,
    InputError,
    StorageError,
)
from gridsecure.messages import Digest, MessageT, Signed, open_message, sign_message
from gridsecure.vault_messages import OWN_SHARE, Custodian, SealedShare, SecretShare, Splitting
from gridsecure.whole_files import replace_file
from gridsecure.zone_keys import load_signing_key

KEK_BYTES: Final = 16
MOST_CUSTODIANS: Final = 15
_FILE: Final = "splitting.json"


@dataclass(frozen=True, slots=True)
class NewSplitting:
    """A key-encryption key and its splitting, before anything of it is kept."""

    kek: bytearray = field(repr=False)
    splitting: Splitting


def check_custodians(custodians: Sequence[Custodian], *, needed: int) -> None:
    """Refuse custodians among whom a key cannot be split.

    Raises:
        InputError: Too few or too many, or one of them twice (`vault.custodians`).
        InvalidMessageError: A key is no point of the curve.
    """
    keys = {custodian.key.point for custodian in custodians}
    names = {custodian.name for custodian in custodians}
    enough = 2 <= needed < len(custodians) <= MOST_CUSTODIANS
    if not enough or not len(keys) == len(names) == len(custodians):
        raise InputError(
            "The key cannot be split among these custodians.",
            reason="vault.custodians",
            remedy=f"Name three to {MOST_CUSTODIANS}, each with a name and a key of its own, and "
            "let at least two of them be needed, and not all.",
        )


def split_key(
    custodians: Sequence[Custodian],
    *,
    needed: int,
    vault_key: Sm2PrivateKey,
    created_at: datetime,
    kek: bytes | None = None,
) -> NewSplitting:
    """Draw a key-encryption key and split it.

    Args:
        needed: How many shares put it together.
        vault_key: The vault's own key, which custodians pin.
        kek: The 16-byte key instead of a new one.

    Raises:
        InputError, InvalidMessageError: As `check_custodians`.
    """
    check_custodians(custodians, needed=needed)
    drawn = bytearray(secrets.token_bytes(KEK_BYTES) if kek is None else kek)
    name = secrets.token_hex(16)
    parts = [share for _, share in Shamir.split(needed, len(custodians), bytes(drawn), ssss=False)]
    point = vault_key.public_key.point.hex()
    sealed = []
    for number, (custodian, part) in enumerate(zip(custodians, parts, strict=True), start=1):
        secret = SecretShare(splitting=name, number=number, share=part.hex(), vault_key=point)
        blob = seal_to(
            secret.model_dump_json().encode(),
            recipient=custodian.key,
            purpose=OWN_SHARE,
            owner=custodian.name,
            created_at=created_at,
        )
        own = SealedShare(
            splitting=name, custodian=custodian.name, needed=needed, sealed=blob.hex()
        )
        sealed.append(sign_message(own, key=vault_key))
    splitting = Splitting(
        splitting=name,
        needed=needed,
        custodians=list(custodians),
        kek_id=kek_id(drawn).hex(),
        shares=[share_digest(name, number, part) for number, part in enumerate(parts, start=1)],
        vault_key=point,
        created_at=created_at.isoformat(),
        sealed=sealed,
    )
    return NewSplitting(drawn, splitting)


def share_digest(splitting: str, number: int, share: bytes | bytearray) -> Digest:
    """What the splitting's file says of a share."""
    return sm3_hex(f"gridsecure share/{splitting}/{number}/".encode() + share)


def open_custodians(envelope: Signed, splitting: Splitting, *, expect: type[MessageT]) -> MessageT:
    """What a custodian signed.

    Raises:
        AccessDeniedError: No custodian did (`vault.custodian`).
        SignatureError, InvalidMessageError: As `open_message`.
    """
    keys = {one.key.thumbprint: one.key for one in splitting.custodians}
    if envelope.signer not in keys:
        raise AccessDeniedError(
            "Whoever signed this keeps no share of the vault's key.",
            reason="vault.custodian",
            remedy="Use the key that your share was sealed to.",
        )
    return open_message(envelope, expect=expect, trusted=keys)


def combine_shares(splitting: Splitting, shares: Mapping[int, bytearray]) -> bytearray:
    """Put the key-encryption key together.

    Args:
        shares: By number, each checked by `share_digest`; exactly as many as are needed.

    Raises:
        EnvelopeError: They make another key: the splitting's file was altered.
    """
    points = [(number, bytes(share)) for number, share in shares.items()]
    kek = bytearray(Shamir.combine(points, ssss=False))
    if kek_id(kek).hex() != splitting.kek_id:
        raise EnvelopeError("The shares make another key than the vault's.")
    return kek


def sealed_shares(splitting: Splitting) -> dict[str, Signed]:
    """The sealed shares that are still handed out, by custodian's name."""
    return {SealedShare.parse(one.body).custodian: one for one in splitting.sealed}


def keys_folder(folder: Path, splitting: Splitting) -> Path:
    """Where the key sets are that are sealed under a splitting's key."""
    return folder / f"keys-{splitting.splitting}"


def has_splitting(folder: Path) -> bool:
    """Whether a vault's folder was initialised."""
    return (folder / _FILE).exists()


def keep_splitting(folder: Path, splitting: Splitting, *, key: Sm2PrivateKey) -> None:
    """Keep a splitting, in place of an earlier one: from now on it is the vault's.

    Raises:
        StorageError: The disk refuses; the earlier one stays.
    """
    text = sign_message(splitting, key=key).model_dump_json(indent=1)
    try:
        replace_file(folder / _FILE, [text.encode()])
    except OSError as error:
        raise StorageError(
            "The splitting could not be written; the earlier one stays in force.",
            remedy="Free space on the vault's disk, then try again.",
        ) from error


def read_splitting(folder: Path) -> Splitting:
    """The vault's splitting.

    Raises:
        StorageError: There is none (`vault.uninitialised`), or it cannot be read or is not what
            the vault wrote (`vault.splitting`).
    """
    path = folder / _FILE
    if not path.exists():
        raise StorageError(
            "The vault has no key-encryption key yet.",
            reason="vault.uninitialised",
            remedy="Run `gridsecure vault init` on its folder, with its custodians' public keys.",
        )
    key = load_signing_key(folder)
    try:
        envelope = Signed.parse(path.read_bytes())
        own = {key.public_key.thumbprint: key.public_key}
        return open_message(envelope, expect=Splitting, trusted=own)
    except (OSError, GridSecureError) as error:
        raise StorageError(
            f"{path.name} cannot be read, or is not as the vault wrote it.",
            reason="vault.splitting",
            remedy="Restore the vault's folder from its backup.",
        ) from error
