"""A custodian's part: opens the own share on the own machine, and seals it to the vault.

The share file opens with the custodian's key alone. In it is the vault's public key; a challenge
that another key signed is not answered, whoever brings it.
"""

from __future__ import annotations

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


def read_status(call: Call) -> VaultStatus:
    """How the vault stands, as the key authority carries it; its signature is not checked.

    Raises:
        GridSecureError: The key authority or the vault is down.
    """
    return VaultStatus.parse(Signed.model_validate(call("authority", "GET", VAULT)).body)


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
    return _signed_by(Signed.model_validate(answer), share, VaultStatus)


def fetch_share(call: Call, name: str) -> Signed:
    """A custodian's sealed share, while the vault still hands it out.

    Raises:
        GridSecureError: It does not (`not-found.share`), or is down.
    """
    return Signed.model_validate(call("authority", "GET", f"{VAULT}/shares/{name}"))


def read_custodian(text: str) -> Custodian:
    """A custodian as a command is told of one: `name=04…`, or `name=FILE` with the digits in it.

    Raises:
        InputError: It is none (`vault.custodian-text`).
    """
    name, _, point = text.partition("=")
    try:
        if not point.startswith("04") and Path(point).is_file():
            point = Path(point).read_text(encoding="utf-8").strip()
        custodian = Custodian(name=name, public_key=point.lower())
        custodian.key  # noqa: B018 - its point is on the curve
    except (ValueError, OSError, GridSecureError) as error:
        raise InputError(
            "A custodian is named as NAME=KEY, with a public SM2 key of 130 hexadecimal digits.",
            reason="vault.custodian-text",
            remedy="Have each custodian send the public half of the own key.",
        ) from error
    return custodian


def _signed_by(envelope: Signed, share: SecretShare, expect: type[MessageT]) -> MessageT:
    vault = Sm2PublicKey(bytes.fromhex(share.vault_key))
    return open_message(envelope, expect=expect, trusted={vault.thumbprint: vault})
