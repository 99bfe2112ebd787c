"""A custodian's part: opens the own share on the own machine, and seals it to the vault.

The share file opens with the custodian's key alone. In it is the vault's public key; a challenge
that another key signed is not answered, whoever brings it. Anybody can seal a share to a custodian:
one that was fetched counts only where it names the vault that the custodian knew before, by an
older share or by what `gridsecure vault init` printed.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from gridsecure.crypto.envelope import open_from, seal_to
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.errors import GridSecureError, InputError, StaleMessageError
from gridsecure.messages import MessageT, Signed, open_message, sign_message
from gridsecure.offices.officers import Call
from gridsecure.vault_messages import (
    OWN_SHARE,
    Challenge,
    Custodian,
    GivenShare,
    Purpose,
    SealedShare,
    SecretShare,
    VaultStatus,
    answer_purpose,
)

VAULT: Final = "/vault"


def open_share(envelope: Signed, *, key: Sm2PrivateKey) -> SecretShare:
    """A custodian's own share.

    Args:
        envelope: As the vault made it.
        key: The custodian's.

    Raises:
        InputError: It was sealed to somebody else's key, or altered (`vault.share-file`).
    """
    try:
        sealed = bytes.fromhex(SealedShare.parse(envelope.body).sealed)
        share = SecretShare.parse(open_from(sealed, private_key=key, purpose=OWN_SHARE))
        _signed_by(envelope, share, SealedShare)
    except (GridSecureError, ValueError) as error:
        raise InputError(
            "This share does not open with your key.",
            reason="vault.share-file",
            remedy="Use the file that the vault made for you, and the key that it was made for.",
        ) from error
    return share


def answer_challenge(
    stated: Signed,
    share: SecretShare,
    *,
    key: Sm2PrivateKey,
    now: datetime,
    split: tuple[Sequence[Custodian], int] = ((), 0),
) -> Signed:
    """Give the own share to the vault, for one challenge.

    Args:
        stated: The challenge as the vault signed it.
        key: The custodian's.
        split: Where the key is to be split anew: among whom, and how many of them open it.

    Raises:
        AuthenticityError: Another than the pinned vault stated it.
        StaleMessageError: It is over (`vault.expired`).
        InputError: It is for something else than was asked (`vault.challenge`), or the share is of
            another splitting than the vault's (`vault.splitting-old`).
    """
    challenge = _signed_by(stated, share, Challenge)
    custodians, needed = split
    _check_challenge(challenge, share, purpose="split" if custodians else "unlock", now=now)
    sealed = seal_to(
        bytes.fromhex(share.share),
        recipient=Sm2PublicKey(bytes.fromhex(challenge.ephemeral)),
        purpose=answer_purpose(challenge.challenge),
        owner=share.splitting,
        created_at=now,
    )
    given = GivenShare(
        challenge=challenge.challenge,
        purpose=challenge.purpose,
        splitting=share.splitting,
        number=share.number,
        sealed=sealed.hex(),
        custodians=list(custodians),
        needed=needed,
    )
    return sign_message(given, key=key)


def _check_challenge(
    challenge: Challenge, share: SecretShare, *, purpose: Purpose, now: datetime
) -> None:
    if challenge.purpose != purpose:
        raise InputError(
            "The vault's challenge is for something else than you want.",
            reason="vault.challenge",
            remedy="Ask again; if it stays so, somebody changes your requests on the way.",
        )
    if now >= datetime.fromisoformat(challenge.expires_at):
        raise StaleMessageError(
            "The vault's challenge is over.", reason="vault.expired", remedy="Ask for a new one."
        )
    if challenge.splitting != share.splitting:
        raise InputError(
            "Your share is of another splitting of the key than the vault's.",
            reason="vault.splitting-old",
            remedy="Use the newest share file that you were given.",
        )


def read_status(call: Call, *, vault_key: str | None) -> VaultStatus:
    """How the vault stands.

    Args:
        vault_key: The vault's, pinned; without it this is the key authority's word alone.

    Raises:
        AuthenticityError: Another than the pinned vault said it.
        StaleMessageError: It was said before it was asked (`vault.stale`).
        GridSecureError: The key authority or the vault is down.
    """
    nonce = secrets.token_hex(16)
    answer = call("authority", "GET", VAULT, params={"nonce": nonce})
    return _answer_to(nonce, Signed.model_validate(answer), vault_key=vault_key)


def lock_vault(call: Call, *, vault_key: str | None) -> VaultStatus:
    """Have the vault forget its key at once; how it stands then.

    Args:
        vault_key: As for `read_status`.

    Raises:
        GridSecureError: It is not locked (`vault.unlocked`), or as `read_status`.
    """
    nonce = secrets.token_hex(16)
    answer = call("authority", "POST", f"{VAULT}/lock", params={"nonce": nonce})
    told = _answer_to(nonce, Signed.model_validate(answer), vault_key=vault_key)
    if told.state != "locked":
        raise GridSecureError(
            "The vault was told to lock, and is unlocked.",
            reason="vault.unlocked",
            remedy="Stop the vault's process on its machine: it starts locked.",
        )
    return told


def give_share(
    call: Call,
    share: SecretShare,
    *,
    key: Sm2PrivateKey,
    now: datetime,
    split: tuple[Sequence[Custodian], int] | None = None,
) -> VaultStatus:
    """Ask the vault for a challenge and answer it; how the vault stands then, in its own word.

    Args:
        split: As for `answer_challenge`, where the key is to be split anew; else it is unlocked.

    Raises:
        GridSecureError: As `answer_challenge`, or the vault refused the share.
    """
    purpose: Purpose = "unlock" if split is None else "split"
    stated = call("authority", "POST", f"{VAULT}/challenges", json={"purpose": purpose})
    given = answer_challenge(
        Signed.model_validate(stated), share, key=key, now=now, split=split or ((), 0)
    )
    answer = call("authority", "POST", f"{VAULT}/shares", json=given.model_dump())
    challenge = GivenShare.parse(given.body).challenge
    return _answer_to(challenge, Signed.model_validate(answer), vault_key=share.vault_key)


def fetch_share(call: Call, name: str, *, key: Sm2PrivateKey, vault_key: str) -> Signed:
    """A custodian's sealed share, while the vault still hands it out.

    Args:
        key: The custodian's.
        vault_key: The vault's, which the custodian knew before.

    Raises:
        InputError: It does not open with the key (`vault.share-file`), or is of another vault
            (`vault.pin`).
        GridSecureError: It is handed out no more (`not-found.share`), or the vault is down.
    """
    sealed = Signed.model_validate(call("authority", "GET", f"{VAULT}/shares/{name}"))
    if open_share(sealed, key=key).vault_key != vault_key:
        raise InputError(
            "This share is of another vault than the one you know.",
            reason="vault.pin",
            remedy="Somebody between you and the vault made it: do not use it, and tell the other "
            "custodians.",
        )
    return sealed


def read_vault_key(text: str) -> str:
    """A vault's public key as a command is told of it: its digits, or a file with them in it.

    Raises:
        InputError: It is none (`vault.pin`).
    """
    try:
        return _read_point(text)
    except (ValueError, OSError, GridSecureError) as error:
        raise InputError(
            "A vault's key is a public SM2 key of 130 hexadecimal digits.",
            reason="vault.pin",
            remedy="Take it from what `gridsecure vault init` printed, or name your older share.",
        ) from error


def read_custodian(text: str) -> Custodian:
    """A custodian as a command is told of one: `name=04…`, or `name=FILE` with the digits in it.

    Raises:
        InputError: It is none (`vault.custodian-text`).
    """
    name, _, point = text.partition("=")
    try:
        custodian = Custodian(name=name, public_key=_read_point(point))
    except (ValueError, OSError, GridSecureError) as error:
        raise InputError(
            "A custodian is named as NAME=KEY, with a public SM2 key of 130 hexadecimal digits.",
            reason="vault.custodian-text",
            remedy="Have each custodian send the public half of the own key.",
        ) from error
    return custodian


def _read_point(text: str) -> str:
    if not text.startswith("04") and Path(text).is_file():
        text = Path(text).read_text(encoding="utf-8").strip()
    return Sm2PublicKey(bytes.fromhex(text)).point.hex()  # which is on the curve


def _answer_to(nonce: str, envelope: Signed, *, vault_key: str | None) -> VaultStatus:
    if vault_key is None:
        return VaultStatus.parse(envelope.body)
    told = _signed_with(envelope, vault_key, VaultStatus)
    if told.nonce != nonce:
        raise StaleMessageError(
            "The vault said this in answer to something else.",
            reason="vault.stale",
            remedy="Ask again; if it stays so, somebody keeps the vault's answers from you.",
        )
    return told


def _signed_by(envelope: Signed, share: SecretShare, expect: type[MessageT]) -> MessageT:
    return _signed_with(envelope, share.vault_key, expect)


def _signed_with(envelope: Signed, vault_key: str, expect: type[MessageT]) -> MessageT:
    vault = Sm2PublicKey(bytes.fromhex(vault_key))
    return open_message(envelope, expect=expect, trusted={vault.thumbprint: vault})
