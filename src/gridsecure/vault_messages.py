"""What custodians and the vault tell each other, through a checker that can read none of it.

1. The vault's key-encryption key is split among custodians. Each one's share is sealed to the
   custodian's SM2 key, and beside the share, under the same seal, lies the vault's public key:
   whoever can open a share has pinned its vault.
2. The vault states a *challenge*: a new SM2 key for one answer, until a moment, signed by the
   vault's own key. The custodian checks that signature under the pinned key.
3. The custodian seals the share to the challenge's key, for that challenge alone, and signs.
4. When the key is split anew, the vault signs by a new key too. Custodians agree to that very key,
   each with the own signature, so that whoever knew the vault before knows it afterwards.

So who carries the messages learns no share and can use none a second time.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.errors import GridSecureError
from gridsecure.messages import Digest, Message, Signed

Purpose = Literal["unlock", "split"]
"""What custodians give their shares for: to open the vault, or to split its key anew."""

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^:/=\s]+$")]
SplittingId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Nonce = Annotated[str, Field(pattern=r"^[0-9a-f]{0,64}$")]
"""What somebody drew who asks, so that the answer is no older than the question."""
PublicPoint = Annotated[str, Field(pattern=r"^04[0-9a-f]{128}$")]
NextPoint = Annotated[str, Field(pattern=r"^(04[0-9a-f]{128})?$")]
ShareNumber = Annotated[int, Field(ge=1, le=15)]

OWN_SHARE: Final = "vault-share"


class Custodian(Message):
    """Somebody who keeps a share.

    Args:
        public_key: Shares are sealed to it, and what the custodian says is signed by it.
    """

    kind: ClassVar[str] = "vault-custodian"
    name: Name
    public_key: PublicPoint

    @property
    def key(self) -> Sm2PublicKey:
        """The public key.

        Raises:
            InvalidMessageError: Not a point of the curve.
        """
        return Sm2PublicKey(bytes.fromhex(self.public_key))


class SecretShare(Message):
    """A custodian's share as it is sealed; it is nowhere in the open but in its owner's process.

    Args:
        number: Where the polynomial was evaluated.
        share: 16 bytes.
        vault_key: The vault that the share belongs to, whose challenges it may answer.
        earlier: Thumbprints of the keys that the vault signed by before. They lie in old copies of
            its folder.
    """

    kind: ClassVar[str] = "vault-secret-share"
    splitting: SplittingId
    number: ShareNumber
    share: str = Field(pattern=r"^[0-9a-f]{32}$", repr=False)
    vault_key: PublicPoint
    earlier: list[Digest]


class SealedShare(Message):
    """What a custodian keeps in a file, signed by the vault: a `SecretShare` under a seal.

    Args:
        custodians: Who keeps shares.
        needed: How many of them open the vault.
        sealed: Hexadecimal.
        successions: How the vault came from its first key to this one: for each splitting anew,
            oldest first, the signed `SplitAgreement`s of enough custodians.
    """

    kind: ClassVar[str] = "vault-sealed-share"
    splitting: SplittingId
    custodian: Name
    custodians: list[Custodian]
    needed: int
    sealed: str
    successions: list[list[Signed]]


class Splitting(Message):
    """How the key-encryption key was split, as the vault keeps it. Nothing in it is secret.

    Args:
        version: Of this file.
        algorithm: How shares are made, and under what the key sets are sealed.
        custodians: In the order of their shares' numbers, from 1.
        kek_id: Names the key-encryption key without giving anything of it away.
        shares: SM3 of each share with its place, so that a wrong one is known as such; a share has
            128 random bits, so nobody finds it by trying.
        vault_key: What the vault signs by; its secret half lies beside the key sets.
        sealed: The sealed shares whose owners have not unlocked the vault by them yet.
        successions: As in each share.
        replaced: Names the key of an earlier release that was taken over from its file; else empty.
    """

    kind: ClassVar[str] = "vault-splitting"
    version: Literal[1] = 1
    algorithm: Literal["shamir-gf2-128/sm4-gcm"] = "shamir-gf2-128/sm4-gcm"
    splitting: SplittingId
    needed: int = Field(ge=2)
    custodians: list[Custodian]
    kek_id: str
    shares: list[Digest]
    vault_key: PublicPoint
    created_at: str
    sealed: list[Signed]
    successions: list[list[Signed]]
    replaced: str = ""


class Challenge(Message):
    """What a custodian answers, once.

    Args:
        challenge: Its name, drawn at random.
        ephemeral: The SM2 key that the answer is sealed to.
        expires_at: The vault takes no answer from then on.
        next_key: What the vault will sign by, where the key is split anew; else empty.
    """

    kind: ClassVar[str] = "vault-challenge"
    challenge: SplittingId
    purpose: Purpose
    splitting: SplittingId
    ephemeral: PublicPoint
    issued_at: str
    expires_at: str
    next_key: NextPoint = ""


class SplitAgreement(Message):
    """That the vault's key is split anew, signed by a custodian.

    Args:
        vault_key: What the vault signs by.
        next_key: What it signs by from then on.
        custodians: Who keeps the new shares.
        needed: How many of them open the vault.
    """

    kind: ClassVar[str] = "vault-split-agreement"
    vault_key: PublicPoint
    next_key: PublicPoint
    custodians: list[Custodian] = Field(max_length=15)
    needed: int


class GivenShare(Message):
    """A custodian's answer to a challenge, signed by the custodian.

    Args:
        sealed: The share, sealed to the challenge's key; hexadecimal.
        agreement: The custodian's signed `SplitAgreement`, where the key is split anew.
    """

    kind: ClassVar[str] = "vault-given-share"
    challenge: SplittingId
    purpose: Purpose
    splitting: SplittingId
    number: ShareNumber
    sealed: str = Field(max_length=4096)
    agreement: Signed | None = None


class VaultCounts(Message):
    """How much was done to a vault that an older copy of its folder would not have.

    Args:
        moves: Of key sets, by custodians.
        policies: That it took in.
        revocations: Of officers' keys and signed words.
    """

    kind: ClassVar[str] = "vault-counts"
    moves: int = Field(default=0, ge=0)
    policies: int = Field(default=0, ge=0)
    revocations: int = Field(default=0, ge=0)

    @property
    def is_first(self) -> bool:
        """Whether no older copy of the folder has fewer: a vault has a policy from its start."""
        return self.moves == self.revocations == 0 and self.policies <= 1

    def joined(self, other: VaultCounts) -> VaultCounts:
        """The larger one of each."""
        return VaultCounts(
            moves=max(self.moves, other.moves),
            policies=max(self.policies, other.policies),
            revocations=max(self.revocations, other.revocations),
        )

    def check_after(self, logged: VaultCounts) -> None:
        """Refuse a vault that has fewer than the evidence log once had of it.

        Raises:
            GridSecureError: `vault.rolled-back`: what was asked can wait.
        """
        if self != self.joined(logged):
            raise GridSecureError(
                "The vault's folder is older than what the evidence log has of it.",
                reason="vault.rolled-back",
                remedy="Put its newest copy back, or repeat in the locked vault what is missing: "
                "moves of key sets, policies, revocations (docs/keys.md).",
            )


class VaultStatus(Message):
    """How the vault stands, in the vault's own word.

    Args:
        given: Custodians whose shares wait for another one's, for what the last one was given for.
        until: When it locks by itself, ISO 8601; empty while it is locked.
        uncollected: Custodians whose sealed shares it still hands out.
        nonce: What was sent along with the question; after a share, its challenge's name.
        counts: What it has that an older copy of its folder would not.
    """

    kind: ClassVar[str] = "vault-status"
    state: Literal["locked", "unlocked"]
    splitting: SplittingId
    needed: int
    custodians: list[Name]
    given: list[Name]
    until: str
    uncollected: list[Name]
    vault_key: PublicPoint
    at: str
    nonce: Nonce = ""
    counts: VaultCounts = Field(default_factory=VaultCounts)


KeyState = Literal["active", "suspended", "deactivated", "compromised", "destroyed"]
"""States of a key set (NIST SP 800-57 part 1, revision 5, section 7)."""

KeyId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class KeyMove(Message):
    """A custodian's wish that a key set change its state, signed by the custodian.

    Args:
        after: How many moves it had made before, so that no signature moves it twice.
        until: When platforms begin no more uploads under a key set that is deactivated, ISO 8601,
            aware; empty, they do as long as it is not revoked.
    """

    kind: ClassVar[str] = "vault-key-move"
    key_id: KeyId
    gateway: Digest
    target: KeyState
    after: int = Field(ge=0)
    signed_at: str
    until: str = ""


class KeyLife(Message):
    """How a key set stands and how it came to that, in the vault's own word.

    Args:
        place: The name of its file, without the suffix.
        since: When it came into this state, ISO 8601; empty while it never moved.
        moves: The signed `KeyMove`s of each move so far.
        waiting: Signed `KeyMove`s that wait for another custodian's.
    """

    kind: ClassVar[str] = "vault-key-life"
    key_id: KeyId
    place: str
    state: KeyState
    since: str
    moves: list[list[Signed]]
    waiting: list[Signed]

    @property
    def until(self) -> str:
        """When platforms begin no more uploads under it, as who rotated it signed; or empty."""
        moved = [KeyMove.parse(signed[0].body) for signed in self.moves]
        return next((move.until for move in moved if move.target == "deactivated"), "")


class KeyLives(Message):
    """How all key sets stand that were ever moved."""

    kind: ClassVar[str] = "vault-key-lives"
    lives: list[KeyLife]


def answer_purpose(challenge: str) -> str:
    """What an answer is sealed for: this challenge and no other."""
    return f"{OWN_SHARE}/{challenge}"
