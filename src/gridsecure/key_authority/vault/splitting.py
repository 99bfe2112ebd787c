"""The key-encryption key in shares: split among custodians, put together again, kept by nobody.

Shamir's scheme over GF(2^128) (How to share a secret, CACM 22, 1979) by pycryptodome. It has no
check of its own: any two points make some key. So the splitting's file names the key and every
share by digests, and a share that is wrong is known before anything is put together.

The key that the vault signs by is a new one at each splitting, and lies beside the key sets that
are sealed under the splitting's key: one file names both, and both go out of force with it.
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
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import (
    AccessDeniedError,
    EnvelopeError,
    GridSecureError,
    InputError,
    StorageError,
)
from gridsecure.messages import Digest, MessageT, Signed, open_message, sign_message
from gridsecure.vault_messages import (
    OWN_SHARE,
    Custodian,
    SealedShare,
    SecretShare,
    SplitAgreement,
    Splitting,
)
from gridsecure.whole_files import create_file, replace_file
from gridsecure.zone_keys import SIGNING_KEY, read_private_key

KEK_BYTES: Final = 16
MOST_CUSTODIANS: Final = 15
_FILE: Final = "splitting.json"


@dataclass(frozen=True, slots=True)
class SplitOrder:
    """Who keeps the shares from now on, and what the vault signs by.

    Args:
        successions: As in `Splitting`: none for a vault's first key.
    """

    custodians: Sequence[Custodian]
    needed: int
    key: Sm2PrivateKey = field(repr=False)
    successions: Sequence[Sequence[Signed]] = ()


@dataclass(frozen=True, slots=True)
class NewSplitting:
    """A key-encryption key and its splitting, before anything of it is kept.

    Args:
        key: What the vault signs by then.
    """

    kek: bytearray = field(repr=False)
    key: Sm2PrivateKey = field(repr=False)
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


def split_key(order: SplitOrder, *, created_at: datetime, kek: bytes | None = None) -> NewSplitting:
    """Draw a key-encryption key and split it.

    Args:
        order: Among whom.
        kek: The 16-byte key instead of a new one.

    Raises:
        InputError, InvalidMessageError: As `check_custodians`.
    """
    custodians, needed = order.custodians, order.needed
    check_custodians(custodians, needed=needed)
    drawn = bytearray(secrets.token_bytes(KEK_BYTES) if kek is None else kek)
    name = secrets.token_hex(16)
    parts = [share for _, share in Shamir.split(needed, len(custodians), bytes(drawn), ssss=False)]
    splitting = Splitting(
        splitting=name,
        needed=needed,
        custodians=list(custodians),
        kek_id=kek_id(drawn).hex(),
        shares=[share_digest(name, number, part) for number, part in enumerate(parts, start=1)],
        vault_key=order.key.public_key.point.hex(),
        created_at=created_at.isoformat(),
        sealed=[],
        successions=[list(one) for one in order.successions],
    )
    sealed = [
        _seal_share(part, number, splitting, key=order.key)
        for number, part in enumerate(parts, start=1)
    ]
    return NewSplitting(drawn, order.key, splitting.model_copy(update={"sealed": sealed}))


def _seal_share(part: bytes, number: int, splitting: Splitting, *, key: Sm2PrivateKey) -> Signed:
    custodian = splitting.custodians[number - 1]
    secret = SecretShare(
        splitting=splitting.splitting,
        number=number,
        share=part.hex(),
        vault_key=splitting.vault_key,
        earlier=[_signer_before(one) for one in splitting.successions],
    )
    blob = seal_to(
        secret.model_dump_json().encode(),
        recipient=custodian.key,
        purpose=OWN_SHARE,
        owner=custodian.name,
        created_at=datetime.fromisoformat(splitting.created_at),
    )
    own = SealedShare(
        splitting=splitting.splitting,
        custodian=custodian.name,
        custodians=splitting.custodians,
        needed=splitting.needed,
        sealed=blob.hex(),
        successions=splitting.successions,
    )
    return sign_message(own, key=key)


def _signer_before(agreed: Sequence[Signed]) -> Digest:
    point = SplitAgreement.parse(agreed[0].body).vault_key
    return Sm2PublicKey(bytes.fromhex(point)).thumbprint


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


def keep_vault_key(keys: Path, key: Sm2PrivateKey) -> None:
    """Keep what the vault signs by, beside the key sets of a splitting that is not in force yet.

    Raises:
        StorageError: The disk refuses.
    """
    try:
        create_file(keys / SIGNING_KEY, key.to_bytes())
    except OSError as error:
        raise StorageError(
            "The vault's new signing key could not be written.",
            remedy="Free space on the vault's disk, then try again.",
        ) from error


def read_vault_key(folder: Path, splitting: Splitting) -> Sm2PrivateKey:
    """What the vault signs by.

    Raises:
        StorageError: It is not there, or others may read it.
    """
    return read_private_key(keys_folder(folder, splitting) / SIGNING_KEY)


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
    try:
        envelope = Signed.parse(path.read_bytes())
        # The file says where the key lies that it must be signed by. Whoever can write it can put a
        # key there as well: the signature keeps a half-restored folder from counting as a whole.
        key = read_vault_key(folder, Splitting.parse(envelope.body)).public_key
        return open_message(envelope, expect=Splitting, trusted={key.thumbprint: key})
    except (OSError, GridSecureError) as error:
        if isinstance(error, GridSecureError) and error.reason == "keys.permissions":
            raise
        raise StorageError(
            f"{path.name} cannot be read, is not as the vault wrote it, or names key sets that are "
            "not there.",
            reason="vault.splitting",
            remedy="Restore the vault's folder as a whole from its newest backup.",
        ) from error
