"""What a zone tells its neighbours: addresses and public keys, on one card that it signs itself.

A card holds no secret and may be sent by any way. Its signature shows that whoever made it has the
key that it names, and no more: that the key is the neighbour's own is compared once, by its
thumbprint, by another way. A zone keeps the cards of its neighbours in its own folder; a newer card
of the same key takes the place of an older one, and one of another key is refused. Whoever has the
key alone writes the card: what it may do, and under which name, is the operator's to accept anew.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, get_args

from pydantic import Field

from gridsecure.approvals import APPROVER_ROLES, PersonRole
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.errors import ConflictError, GridSecureError, InputError
from gridsecure.messages import Message, Signed, open_message, sign_message
from gridsecure.month_texts import read_moment

Zone = Literal[
    "identity",
    "gateway",
    "platform",
    "worker",
    "authority",
    "vault",
    "market",
    "encryption",
    "dashboard",
    "billing-office",
    "registration-office",
    "utility",
    "regulator",
    "person",
]
"""What `init` makes: zones with a process, offices with keys alone, and a person's key."""

SERVICES: Final = (
    *("identity", "gateway", "platform", "authority", "market", "encryption"),
    "dashboard",
)
"""Zones that listen at a port."""
PROCESSES: Final = (*SERVICES, "worker", "vault")
"""Zones with a process of their own, and so with settings and a unit."""
PEOPLE: Final = ("person", "utility", "regulator")
"""Those who log in with their keys."""
_LEAD: Final = timedelta(days=1)
"""By how much the clock of whoever made a card may be ahead of ours."""
_POINT: Final = r"^04[0-9a-f]{128}$"


class ZoneCard(Message):
    """What neighbours need of a zone.

    Args:
        name: Of a person or an office, as tokens and the evidence log have it; else the zone's.
        made_at: When, ISO 8601 with its offset; of two cards the later one counts.
        roles: Of a person or an office.
        address: Where neighbours reach it.
        public_key: Its signing key.
        issuer: The identity service's issuer key, as `IdentityKeys` has it.
        opener: An office's half of the opening key, published.
        statement: What an office signed of the identity keys, as JSON.
        socket: Where a vault listens.
        user: The number of the system's user that checker or vault run as, where there is one.
        policy: The release policy of the key authority's first start.
    """

    kind: ClassVar[str] = "zone-card"
    zone: Zone
    name: str = Field(min_length=1, max_length=64, pattern=r"^[^:/]+$")
    made_at: str
    public_key: str = Field(pattern=_POINT)
    address: str = ""
    roles: tuple[str, ...] = ()
    issuer: str = ""
    opener: str = ""
    statement: str = ""
    socket: str = ""
    user: int | None = None
    policy: str = ""

    @property
    def key(self) -> Sm2PublicKey:
        """Its signing key."""
        return Sm2PublicKey(bytes.fromhex(self.public_key))


@dataclass(frozen=True, slots=True)
class Taken:
    """A card that was handed in, beside what was kept of the same key.

    Args:
        before: The card that it takes the place of; None of a neighbour that was not known.
    """

    card: ZoneCard
    before: ZoneCard | None

    @property
    def is_news(self) -> bool:
        """Whether it says what no card said before."""
        return self.card != self.before

    def describe(self) -> dict[str, Any]:
        """The card, and what it was of all that is another now."""
        if self.before is None:
            return describe_card(self.card) | {"is_new": True, "was": {}}
        now, was = self.card.model_dump(mode="json"), self.before.model_dump(mode="json")
        changed = {name: was[name] for name in was if was[name] != now[name] and name != "made_at"}
        return describe_card(self.card) | {"is_new": False, "was": changed}


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The cards that a zone has of others.

    Args:
        zones: Of each kind the one there is; of gateways, which are several, the first.
        gateways: All of them.
        people: Whoever logs in with a key, the two offices among them.
    """

    zones: Mapping[str, ZoneCard] = field(default_factory=dict)
    gateways: Sequence[ZoneCard] = ()
    people: Sequence[ZoneCard] = ()

    @classmethod
    def of(cls, cards: Sequence[ZoneCard]) -> Neighbours:
        """Sort cards."""
        gateways = [card for card in cards if card.zone == "gateway"]
        people = sorted((card for card in cards if card.zone in PEOPLE), key=lambda one: one.name)
        return cls({card.zone: card for card in reversed(cards)}, gateways, people)

    def with_role(self, *roles: str) -> list[ZoneCard]:
        """People of one of these roles."""
        return [card for card in self.people if set(card.roles) & set(roles)]


def sign_card(card: ZoneCard, *, key: Sm2PrivateKey) -> Signed:
    """A card as it is handed out."""
    return sign_message(card, key=key)


def read_card(path: Path) -> ZoneCard:
    """Read a card that somebody sent.

    Raises:
        InputError: It cannot be read, is none, or was not signed with the key that it names
            (`setup.card`).
    """
    try:
        envelope = Signed.parse(path.read_bytes())
        key = ZoneCard.parse(envelope.body).key
        return open_message(envelope, expect=ZoneCard, trusted={key.thumbprint: key})
    except (OSError, ValueError, GridSecureError) as error:
        raise InputError(
            f"{path.name} is no card of a zone.",
            reason="setup.card",
            remedy="Have the neighbour send the card that its `gridsecure init` wrote.",
        ) from error


def file_of(card: ZoneCard) -> str:
    """The name of a neighbour's card in a zone's folder: one of a kind, but for those of many."""
    several = card.zone in ("gateway", "person")
    return f"{card.zone}-{card.key.thumbprint[:16]}.json" if several else f"{card.zone}.json"


def describe_card(card: ZoneCard) -> dict[str, Any]:
    """What is compared with the neighbour, and what follows from the card."""
    return {
        "zone": card.zone,
        "name": card.name,
        "roles": list(card.roles),
        "address": card.address,
        "thumbprint": card.key.thumbprint,
        "made_at": card.made_at,
    }


def take_card(
    card: ZoneCard, *, kept: Sequence[ZoneCard], accepted: Collection[str], now: datetime
) -> Taken:
    """Hold a card to those that are kept.

    Args:
        accepted: Thumbprints of keys that may have another name and other roles than before.

    Raises:
        ConflictError: The same neighbour had another key (`setup.other-key`), a later card of it
            is kept (`setup.older-card`), or its key is another zone's (`setup.other-zone`) or had
            another name or other roles (`setup.other-roles`).
        InputError: It has roles that no key has (`setup.roles`), or was made at no moment until
            tomorrow (`setup.made-at`).
    """
    check_roles(card.roles)
    _check_made_at(card, now)
    for one in kept:
        if one.public_key != card.public_key and _is_same(one, card):
            raise ConflictError(
                f"{one.name} is known by another key, {one.key.thumbprint}.",
                reason="setup.other-key",
                remedy="Ask the neighbour, by another way. If the key was replaced, remove the old "
                "card from setup/neighbours/ and join again.",
            )
    before = next((one for one in kept if one.public_key == card.public_key), None)
    if before is not None:
        _check_newer(card, before, accepted)
    return Taken(card, before)


def next_made_at(before: ZoneCard | None, now: datetime) -> datetime:
    """When a zone's next card is made: after its last, also where the clock was set back since.

    What neighbours took in from a clock that was ahead would be the later card for as long.
    """
    was = None if before is None else read_moment(before.made_at)
    if was is None or not now <= was <= now + _LEAD:
        return now
    return was + timedelta(microseconds=1)


def check_roles(roles: Collection[str]) -> None:
    """Refuse roles that one key does not have together.

    Raises:
        InputError: One is no person's, or an officer's stands beside another (`setup.roles`).
    """
    if unknown := sorted(set(roles) - set(get_args(PersonRole))):
        raise InputError(
            f"No person has the role {unknown[0]}.",
            reason="setup.roles",
            remedy=f"Roles are {', '.join(sorted(get_args(PersonRole)))}.",
        )
    if len(roles) > 1 and set(roles) & set(APPROVER_ROLES):
        raise InputError(
            "Who approves releases has no other role.",
            reason="setup.roles",
            remedy="Make a card of its own for each officer.",
        )


def _is_same(one: ZoneCard, other: ZoneCard) -> bool:
    """Whether two cards are of the same neighbour, by what they call themselves."""
    are_people = one.zone in PEOPLE and other.zone in PEOPLE
    return file_of(one) == file_of(other) or (are_people and one.name == other.name)


def _check_newer(card: ZoneCard, before: ZoneCard, accepted: Collection[str]) -> None:
    if card.zone != before.zone:
        raise ConflictError(
            f"The key of {card.name} is kept as the {before.zone}'s, and this card is of a zone "
            f"{card.zone}.",
            reason="setup.other-zone",
            remedy="Each zone has a key of its own. Ask the neighbour, by another way, before you "
            "remove the old card from setup/neighbours/ and join again.",
        )
    if card.made_at != before.made_at and not _is_later(card, before):
        raise ConflictError(
            f"A later card of {before.name} is kept already.",
            reason="setup.older-card",
            remedy="Have the neighbour send its newest card.",
        )
    is_another = card.name != before.name or set(card.roles) != set(before.roles)
    if is_another and card.key.thumbprint not in accepted:
        raise ConflictError(
            f"{_named(before)} would be {_named(card)} by this card, which its own key signed.",
            reason="setup.other-roles",
            remedy="Ask whoever gives out roles, not the neighbour alone. If it is right, join "
            f"again with --accept-roles {card.key.thumbprint}.",
        )


def _check_made_at(card: ZoneCard, now: datetime) -> None:
    made = read_moment(card.made_at)
    # A card of the year 9999 would be the newest of its key for good.
    if made is None or made > now + _LEAD:
        raise InputError(
            f"The card of {card.name} was made at no moment until now, {card.made_at}.",
            reason="setup.made-at",
            remedy="Set the clocks of both machines, and have the neighbour make its card again.",
        )


def _is_later(card: ZoneCard, before: ZoneCard) -> bool:
    made, was = read_moment(card.made_at), read_moment(before.made_at)
    return was is None or (made is not None and made >= was)


def _named(card: ZoneCard) -> str:
    return f"{card.name} ({', '.join(card.roles) or 'no role'})"
