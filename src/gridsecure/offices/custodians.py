"""A custodian's part: opens the own share on the own machine, and seals it to the vault.

The share file opens with the custodian's key alone. In it is the vault's public key; a challenge
that another key signed is not answered, whoever brings it. Anybody can seal a share to a custodian:
one that was fetched counts only where it names the vault that the custodian knew before, or the
one that this vault became: enough of the custodians who are known agreed to each new signing key.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

from gridsecure.crypto.envelope import open_from, seal_to
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.errors import (
    AuthenticityError,
    GridSecureError,
    InputError,
    StaleMessageError,
    UnknownMeterError,
)
from gridsecure.messages import MessageT, Signed, open_message, sign_message
from gridsecure.offices.officers import Call
from gridsecure.policy.signed_policies import VaultPolicy
from gridsecure.vault_messages import (
    OWN_SHARE,
    Challenge,
    Custodian,
    GivenShare,
    Purpose,
    SealedShare,
    SecretShare,
    SplitAgreement,
    VaultCounts,
    VaultStatus,
    answer_purpose,
)

VAULT: Final = "/vault"
AnswerT = TypeVar("AnswerT", VaultStatus, VaultPolicy)


@dataclass(frozen=True, slots=True)
class KnownVault:
    """A vault as a custodian knows it: by an own share, or by its key alone.

    Args:
        vault_key: What it signs by.
        custodians: Who may agree to another key; nobody where the key alone is known.
        needed: How many of them.
        earlier: Thumbprints of keys that it signed by before.
        splitting: The one that the own share is of; empty where the key alone is known.
    """

    vault_key: str
    custodians: Sequence[Custodian] = ()
    needed: int = 0
    earlier: Sequence[str] = ()
    splitting: str = ""


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
    split: tuple[Sequence[Custodian], int] | None = None,
) -> Signed:
    """Give the own share to the vault, for one challenge.

    Args:
        stated: The challenge as the vault signed it.
        key: The custodian's.
        split: Where the key is to be split anew: among whom, and how many of them open it.

    Raises:
        AuthenticityError: Another than the pinned vault stated it (`vault.signer`), or somebody
            with a key that the vault had before (`vault.superseded`).
        StaleMessageError: It is over (`vault.expired`).
        InputError: It is for something else than was asked (`vault.challenge`), or the share is of
            another splitting than the vault's (`vault.splitting-old`).
    """
    challenge = _signed_by(stated, share, Challenge)
    _check_challenge(challenge, share, purpose="split" if split else "unlock", now=now)
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
        agreement=None if split is None else _agree(challenge, share, split, key=key),
    )
    return sign_message(given, key=key)


def _agree(
    challenge: Challenge,
    share: SecretShare,
    split: tuple[Sequence[Custodian], int],
    *,
    key: Sm2PrivateKey,
) -> Signed:
    custodians, needed = split
    agreement = SplitAgreement(
        vault_key=share.vault_key,
        next_key=challenge.next_key,
        custodians=list(custodians),
        needed=needed,
    )
    return sign_message(agreement, key=key)


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


def read_status(call: Call, *, known: KnownVault | None) -> VaultStatus:
    """How the vault stands.

    Args:
        known: The vault, pinned; without it this is the key authority's word alone.

    Raises:
        AuthenticityError: Another than the pinned vault said it.
        StaleMessageError: It was said before it was asked (`vault.stale`).
        GridSecureError: The key authority or the vault is down.
    """
    nonce = secrets.token_hex(16)
    answer = call("authority", "GET", VAULT, params={"nonce": nonce})
    return open_answer(nonce, Signed.model_validate(answer), VaultStatus, known=known)


def check_counts(call: Call, told: VaultStatus) -> None:
    """Hold what a vault says of itself against the evidence log.

    Raises:
        GridSecureError: It has less than the log once had (`vault.rolled-back`): an older copy of
            its folder was put back.
    """
    logged = call("authority", "GET", f"{VAULT}/counts")
    told.counts.check_after(VaultCounts.model_validate(logged))


def lock_vault(call: Call, *, known: KnownVault | None) -> VaultStatus:
    """Have the vault forget its key at once; how it stands then.

    Args:
        known: As for `read_status`.

    Raises:
        GridSecureError: It is not locked (`vault.unlocked`), or as `read_status`.
    """
    nonce = secrets.token_hex(16)
    answer = call("authority", "POST", f"{VAULT}/lock", params={"nonce": nonce})
    told = open_answer(nonce, Signed.model_validate(answer), VaultStatus, known=known)
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
    envelope = Signed.model_validate(stated)
    given = answer_challenge(envelope, share, key=key, now=now, split=split)
    answer = Signed.model_validate(
        call("authority", "POST", f"{VAULT}/shares", json=given.model_dump())
    )
    challenge = Challenge.parse(envelope.body)
    # With the last agreement the vault signs by the key that its challenge named.
    said = VaultStatus.parse(answer.body).vault_key
    signs = said if split and said == challenge.next_key else share.vault_key
    known = KnownVault(signs, earlier=share.earlier)
    return open_answer(challenge.challenge, answer, VaultStatus, known=known)


def known_by(envelope: Signed, share: SecretShare) -> KnownVault:
    """The vault of an own share.

    Args:
        envelope: The share as the vault made it, which `open_share` opened.
    """
    told = SealedShare.parse(envelope.body)
    return KnownVault(share.vault_key, told.custodians, told.needed, share.earlier, share.splitting)


def fetch_share(call: Call, name: str, *, key: Sm2PrivateKey, known: KnownVault) -> Signed:
    """A custodian's sealed share, while the vault still hands it out.

    Args:
        key: The custodian's.
        known: The vault that the custodian knew before.

    Raises:
        InputError: It does not open with the key (`vault.share-file`), is of another vault
            (`vault.pin`), or the very one that the custodian has (`vault.splitting-old`).
        GridSecureError: It is handed out no more (`not-found.share`), or the vault is down.
    """
    sealed = Signed.model_validate(call("authority", "GET", f"{VAULT}/shares/{name}"))
    share = open_share(sealed, key=key)
    if share.splitting == known.splitting:
        raise InputError(
            "This is the share that you have already.",
            reason="vault.splitting-old",
            remedy="Go on with it if the key was not split anew; if it was, somebody keeps your "
            "new share from you: do not give this one.",
        )
    if share.vault_key != known.vault_key and not _became(known, sealed, share.vault_key):
        raise InputError(
            "This share is of another vault than the one you know.",
            reason="vault.pin",
            remedy="If the key was split anew, name your newest share, or the key that another "
            "custodian tells you. If not, somebody between you and the vault made it: do not use "
            "it, and tell the other custodians.",
        )
    return sealed


def _became(known: KnownVault, sealed: Signed, vault_key: str) -> bool:
    """Whether the known vault's custodians, and those they named, agreed to what it is now."""
    told, now = SealedShare.parse(sealed.body), known
    for signed in told.successions:
        try:
            agreed = [SplitAgreement.parse(one.body) for one in signed]
            if not agreed or agreed[0].vault_key != now.vault_key:
                continue  # of before this custodian knew it
            # The vault's own old signature would not do: it lies in each old copy of the folder.
            trusted = {one.key.thumbprint: one.key for one in now.custodians}
            for one in signed:
                open_message(one, expect=SplitAgreement, trusted=trusted)
        except GridSecureError:
            return False
        enough = len({one.signer for one in signed}) >= now.needed > 0
        if not enough or any(one != agreed[0] for one in agreed):
            return False
        now = KnownVault(agreed[0].next_key, agreed[0].custodians, agreed[0].needed)
    kept = (list(now.custodians), now.needed)
    return now.vault_key == vault_key and kept == (told.custodians, told.needed)


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


def open_answer(
    nonce: str, envelope: Signed, expect: type[AnswerT], *, known: KnownVault | None
) -> AnswerT:
    """What a vault answered to a nonce.

    Args:
        known: The vault that is believed; without it this is the key authority's word alone.

    Raises:
        AuthenticityError: Another than the known vault said it (`vault.signer`), or an old copy of
            it (`vault.superseded`).
        StaleMessageError: It was said in answer to something else (`vault.stale`).
        InvalidMessageError: It is none.
    """
    if known is None:
        return expect.parse(envelope.body)
    told = _signed_with(envelope, known, expect)
    if told.nonce != nonce:
        raise StaleMessageError(
            "The vault said this in answer to something else.",
            reason="vault.stale",
            remedy="Ask again; if it stays so, somebody keeps the vault's answers from you.",
        )
    return told


def _signed_by(envelope: Signed, share: SecretShare, expect: type[MessageT]) -> MessageT:
    return _signed_with(envelope, KnownVault(share.vault_key, earlier=share.earlier), expect)


def _signed_with(envelope: Signed, known: KnownVault, expect: type[MessageT]) -> MessageT:
    vault = Sm2PublicKey(bytes.fromhex(known.vault_key))
    if envelope.signer in known.earlier:
        raise AuthenticityError(
            "This is signed by a key that your vault had before the key was split anew.",
            reason="vault.superseded",
            remedy="Somebody has an old copy of the vault's folder and carries your messages. Give "
            "no share, and tell the other custodians: whoever has only an older share must not "
            "give it either.",
        )
    if envelope.signer != vault.thumbprint:
        raise UnknownMeterError(
            "Another than the vault that you know signed this.",
            reason="vault.signer",
            remedy="If the key was split anew, fetch your new share with `gridsecure vault share`. "
            "If not, somebody between you and the vault made it: tell the other custodians.",
        )
    return open_message(envelope, expect=expect, trusted={vault.thumbprint: vault})
