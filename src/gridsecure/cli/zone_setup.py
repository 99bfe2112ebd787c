"""A zone's folder: made once, completed as the cards of its neighbours come in.

    FOLDER/                      what the zone itself keeps: keys, databases, objects
    FOLDER/setup/zone.json       what its operator chose
    FOLDER/setup/card.json       what its neighbours need; no secret
    FOLDER/setup/neighbours/     their cards
    FOLDER/setup/gridsecure-ZONE.env       the settings of its process
    FOLDER/setup/gridsecure-ZONE.service

A folder is made beside its place and gets its name when it is whole. Whatever is in `setup` follows
from `zone.json`, the keys and the neighbours' cards, so that a call that was killed is made good by
the same call again. Keys and databases that are there are never replaced.
"""

from __future__ import annotations

import glob
import os
import pwd
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import Field

from gridsecure.cli.service_users import give
from gridsecure.cli.zone_cards import (
    PEOPLE,
    PROCESSES,
    SERVICES,
    Neighbours,
    Taken,
    Zone,
    ZoneCard,
    check_roles,
    file_of,
    next_made_at,
    read_card,
    sign_card,
    take_card,
)
from gridsecure.cli.zone_making import (
    database_urls,
    load_issuer_key,
    load_opener_key,
    make_databases,
    make_keys,
    make_vault,
)
from gridsecure.cli.zone_settings import missing_cards, neighbour_settings, variables
from gridsecure.cli.zone_units import check_places, settings_text, split_listen, unit_text
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.errors import ConflictError, InputError, NotFoundError, StorageError
from gridsecure.identity_messages import IdentityKeys
from gridsecure.messages import Message, Signed, sign_message
from gridsecure.whole_files import replace_file

SETUP: Final = "setup"
FACTS: Final = "zone.json"
CARD: Final = "card.json"
NEIGHBOURS: Final = "neighbours"
SHARES: Final = "shares"
_DRAFT: Final = ".init-draft-"
"""Not as drafts of backups are named, which may be under way in the same place."""
_SQLITE: Final = "sqlite:///"
_FOLDER_URL: Final = "file://"
_DIGITS: Final = 8
_SECRETS: Final = ("password", "passwd", "secret", "token", "access_key")
"""What parts of a URL's query are called that are nobody else's to read."""
_RUN: Final = "/run/"


class ZoneFacts(Message):
    """What an operator chose of a zone.

    Args:
        name: Of a person or office; else the zone's.
        roles: Of a person or office.
        address: Where neighbours reach it.
        listen: Where its process listens, as `HOST:PORT`.
        user: The system's user that its process runs as.
        socket: Where a vault listens.
        policy: The key authority's release policy of the first start.
        own: Further settings of the operator's, by name.
    """

    kind: ClassVar[str] = "zone-facts"
    zone: Zone
    name: str = Field(min_length=1, max_length=64, pattern=r"^[^:/]+$")
    roles: tuple[str, ...] = ()
    address: str = ""
    listen: str = ""
    user: str = ""
    socket: str = ""
    policy: str = ""
    own: dict[str, str] = Field(default_factory=dict)

    @property
    def unit(self) -> str:
        """The name of its unit's file."""
        return f"gridsecure-{self.zone}.service"

    @property
    def settings(self) -> str:
        """The name of the file of its settings."""
        return f"gridsecure-{self.zone}.env"

    @property
    def uid(self) -> int | None:
        """The number of its user, where this machine has one of that name."""
        try:
            return pwd.getpwnam(self.user).pw_uid
        except KeyError:
            return None


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a call came to.

    Args:
        is_new: Whether the folder was made by this call.
        missing: Whose cards are wanted before its process can start.
        card: What to give to the neighbours; None for a zone that none needs.
        taken: The cards that were handed in.
    """

    folder: Path
    facts: ZoneFacts
    is_new: bool
    missing: list[str]
    card: ZoneCard | None
    taken: Sequence[Taken]

    @property
    def setup(self) -> Path:
        """Where settings, card and unit are."""
        return self.folder / SETUP


def init_zone(
    folder: Path,
    facts: ZoneFacts,
    cards: Sequence[Path],
    *,
    needed: int,
    now: datetime,
    accepted: Collection[str] = (),
) -> Prepared:
    """Make a zone's folder, or complete the one that is there.

    Args:
        cards: Of neighbours; of a vault those of its custodians among them.
        needed: How many custodians unlock a vault.
        accepted: As `take_card` has it.

    Raises:
        ConflictError: The folder is another zone's, or was made with other choices (`setup.made`);
            or there is something in it that is no zone's (`setup.folder`); or a card contradicts
            one that is kept, or another one that was handed in.
        InputError: A choice or a card is wrong.
        StorageError: The disk refuses; there is no folder then.
    """
    _check(facts)
    read = [one.card for one in _look_at(cards, kept=[], accepted=accepted, now=now)]
    with _told_of_disk():
        if (folder / SETUP / FACTS).is_file():
            _check_same(read_facts(folder), facts)
            return _complete(folder, facts, cards, now=now, accepted=accepted)
        if folder.exists() and any(folder.iterdir()):
            raise ConflictError(
                f"There is something in {folder}, and no zone.",
                reason="setup.folder",
                remedy="Name a folder that is empty or not there.",
            )
        prefix = f"{_DRAFT}{folder.name}-"
        for left in folder.parent.glob(f"{glob.escape(prefix)}{'[0-9a-f]' * _DIGITS}"):
            shutil.rmtree(left)  # of a call that was killed; "b-2-…" is another zone's
        draft = folder.parent / f"{prefix}{secrets.token_hex(_DIGITS // 2)}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft.mkdir(mode=0o700)
        try:
            _fill(draft, facts, read, needed=needed, now=now)
            draft.rename(folder)
        except BaseException:
            shutil.rmtree(draft)
            raise
        return replace(_complete(folder, facts, cards, now=now, accepted=accepted), is_new=True)


def join_cards(
    folder: Path,
    cards: Sequence[Path],
    changes: Mapping[str, Any],
    *,
    now: datetime,
    accepted: Collection[str] = (),
) -> Prepared:
    """Take in neighbours' cards, and what the operator chooses otherwise.

    Args:
        changes: Fields of `ZoneFacts`; `own` is added to, and an empty value takes one away.
        accepted: As `take_card` has it.

    Raises:
        NotFoundError: There is no zone (`setup.none`).
        ConflictError: A card contradicts one that is kept; then none is taken in.
        InputError: A choice or a card is wrong.
        StorageError: The disk refuses.
    """
    with _told_of_disk():
        facts = read_facts(folder)
        own = {**facts.own, **changes.get("own", {})}
        chosen = {name: text for name, text in changes.items() if text and name != "own"}
        wanted = facts.model_copy(
            update={**chosen, "own": {name: text for name, text in own.items() if text}}
        )
        _check(wanted)
        return _complete(folder, wanted, cards, now=now, accepted=accepted)


def read_facts(folder: Path) -> ZoneFacts:
    """What was chosen of the zone in a folder.

    Raises:
        NotFoundError: There is no zone (`setup.none`).
        InvalidMessageError: The file was changed to something else.
    """
    path = folder / SETUP / FACTS
    if not path.is_file():
        raise NotFoundError(
            f"There is no zone in {folder}.",
            reason="setup.none",
            remedy="Make one with `gridsecure init ZONE FOLDER`.",
        )
    return ZoneFacts.parse(path.read_bytes())


def read_neighbours(folder: Path) -> list[ZoneCard]:
    """The cards of neighbours that a zone keeps, and its own.

    Raises:
        InputError: One was changed (`setup.card`).
    """
    paths = sorted((folder / SETUP / NEIGHBOURS).glob("*.json"))
    return [read_card(path) for path in paths]


def own_card(folder: Path) -> ZoneCard | None:
    """The card that a zone hands out, if it has one."""
    path = folder / SETUP / CARD
    return read_card(path) if path.is_file() else None


def _fill(
    draft: Path, facts: ZoneFacts, cards: Sequence[ZoneCard], *, needed: int, now: datetime
) -> None:
    """Everything that cannot be made anew: keys, a vault's splitting, databases, choices."""
    for part in (draft / SETUP, draft / SETUP / NEIGHBOURS):
        part.mkdir(mode=0o700)
    make_keys(facts.zone, draft)
    if facts.zone == "vault":
        custodians = Neighbours.of(cards).with_role("custodian")
        shares = make_vault(draft, custodians, needed=needed, now=now)
        (draft / SETUP / SHARES).mkdir(mode=0o700)
        for name, share in shares.items():
            text = share.model_dump_json(indent=1).encode()
            replace_file(draft / SETUP / SHARES / f"{name}.json", [text])
    make_databases(facts.zone, database_urls(facts.zone, draft, facts.own))
    for path in draft.glob("*.db"):
        path.chmod(0o600)
    _write(draft / SETUP / FACTS, facts.model_dump_json(indent=1))


def _look_at(
    cards: Sequence[Path],
    *,
    kept: Sequence[ZoneCard],
    accepted: Collection[str],
    now: datetime,
) -> list[Taken]:
    """Hold each card to those that are kept, and to those handed in before it."""
    known, taken = {card.public_key: card for card in kept}, []
    for path in cards:
        card = read_card(path)
        taken.append(take_card(card, kept=list(known.values()), accepted=accepted, now=now))
        known[card.public_key] = card
    return taken


def _complete(
    folder: Path,
    facts: ZoneFacts,
    cards: Sequence[Path],
    *,
    now: datetime,
    accepted: Collection[str],
) -> Prepared:
    """Take in cards and write what follows: card, settings, unit."""
    taken = _look_at(cards, kept=read_neighbours(folder), accepted=accepted, now=now)
    setup = folder / SETUP
    for path, one in zip(cards, taken, strict=True):
        if one.is_news:
            _write(setup / NEIGHBOURS / file_of(one.card), path.read_text())
    if facts != read_facts(folder):
        _write(setup / FACTS, facts.model_dump_json(indent=1))
    neighbours = read_neighbours(folder)
    own = _renew_card(folder, facts, neighbours, now=now)
    known = Neighbours.of([*neighbours, *([] if own is None else [own])])
    missing = missing_cards(facts.zone, known)
    if facts.zone in PROCESSES:
        if not missing:
            settings = zone_settings(facts, known, now=now)
            _write(setup / facts.settings, settings_text(variables(facts.zone, settings)))
        _write(setup / facts.unit, _unit(folder, facts), mode=0o644)
    if os.geteuid() == 0 and facts.uid is not None:
        give(folder, facts.uid)
    return Prepared(folder, facts, is_new=False, missing=missing, card=own, taken=taken)


def zone_settings(facts: ZoneFacts, known: Neighbours, *, now: datetime) -> dict[str, Any]:
    """All settings of a zone: from its neighbours, and what its operator chose."""
    has_folder = facts.zone not in ("worker", "dashboard")
    settings: dict[str, Any] = {"folder": "."} if has_folder else {}
    settings |= neighbour_settings(facts.zone, known)
    if facts.zone in SERVICES and facts.zone != "dashboard":
        host, port = split_listen(facts.listen)
        settings |= {"host": host, "port": str(port)}
    if facts.zone == "identity":
        settings["periods"] = [f"{now:%Y}"]
    if facts.zone == "vault":
        settings["socket"] = facts.socket
    if facts.zone == "authority" and facts.policy:
        settings["policy"] = facts.policy
    return settings | facts.own


def _renew_card(
    folder: Path, facts: ZoneFacts, neighbours: Sequence[ZoneCard], *, now: datetime
) -> ZoneCard | None:
    """The zone's card, written anew if it says something else than before."""
    key = make_keys(facts.zone, folder)
    if key is None:
        return None
    before = own_card(folder)
    # Each publication has a proof of its own: what was told once is told again.
    issuer = before.issuer if before else _issuer(folder, facts)
    opener = before.opener if before else _published(folder, facts)
    card = ZoneCard(
        zone=facts.zone,
        name=facts.name,
        made_at=next_made_at(before, now).isoformat(),
        public_key=key.public_key.point.hex(),
        address=facts.address,
        roles=facts.roles,
        issuer=issuer,
        opener=opener,
        statement=_statement(facts, opener, Neighbours.of(neighbours), key=key, before=before),
        socket=facts.socket,
        user=facts.uid if facts.zone in ("vault", "authority") else None,
        policy=facts.policy,
    )
    if before is not None and before.model_copy(update={"made_at": card.made_at}) == card:
        return before
    text = sign_card(card, key=key).model_dump_json(indent=1)
    _write(folder / SETUP / CARD, text, mode=0o644)
    return card


def _issuer(folder: Path, facts: ZoneFacts) -> str:
    return load_issuer_key(folder) if facts.zone == "identity" else ""


def _published(folder: Path, facts: ZoneFacts) -> str:
    if facts.zone == "utility":
        return load_opener_key(folder, "utility")
    return load_opener_key(folder, "regulator") if facts.zone == "regulator" else ""


def _statement(
    facts: ZoneFacts,
    opener: str,
    known: Neighbours,
    *,
    key: Sm2PrivateKey,
    before: ZoneCard | None,
) -> str:
    """What an office signs of the identity keys, once it knows both others; else nothing."""
    if facts.zone not in ("utility", "regulator"):
        return ""
    other = "regulator" if facts.zone == "utility" else "utility"
    if not {other, "identity"} <= known.zones.keys():
        return ""
    halves = {facts.zone: opener, other: known.zones[other].opener}
    said = IdentityKeys(issuer=known.zones["identity"].issuer, **halves)
    if before is not None and before.statement:
        signed = Signed.parse(before.statement)
        if IdentityKeys.parse(signed.body) == said:
            return before.statement
    return sign_message(said, key=key).model_dump_json()


def _unit(folder: Path, facts: ZoneFacts) -> str:
    door = Path(facts.socket).parent if facts.socket else None
    is_below_run = door is not None and str(door).startswith(_RUN)
    return unit_text(
        facts.zone,
        folder=folder.absolute(),
        user=facts.user,
        listen=facts.listen,
        settings=folder.absolute() / SETUP / facts.settings,
        door=str(door).removeprefix(_RUN) if is_below_run else "",
        outside=sorted(one for one in _places(facts) if not one.is_relative_to(folder.absolute())),
    )


def _places(facts: ZoneFacts) -> set[Path]:
    """The folders of this machine that settings put objects and databases into."""
    places = set()
    for text in facts.own.values():
        if text.startswith(_SQLITE):
            places.add(Path(text.removeprefix(_SQLITE)).parent)
        elif text.startswith(_FOLDER_URL):
            places.add(Path(unquote(text.removeprefix(_FOLDER_URL))))
    return {one for one in places if one.is_absolute()}


def _check(facts: ZoneFacts) -> None:
    """Refuse choices that no process would start with."""
    if facts.zone in SERVICES:
        check_places(facts.zone, facts.listen, facts.address)
    if facts.zone in PEOPLE and not facts.roles:
        raise InputError(
            "A person has a role.",
            reason="setup.roles",
            remedy="Give --role, once or more.",
        )
    check_roles(facts.roles)
    if Path("/") in _places(facts):  # the unit would let its process write anywhere
        raise InputError(
            "A setting puts a database or objects into the root of the file system.",
            reason="setup.root",
            remedy="Name a folder for it, as sqlite:////srv/gridsecure/zone.db.",
        )
    for name, text in facts.own.items():
        if _has_secret(text):
            raise InputError(
                f"The setting {name} holds a password, and would be read in the file of settings.",
                reason="setup.secret",
                remedy=f"Write it into a file of mode 0600, and set {name}_file to its path.",
            )


def _has_secret(text: str) -> bool:
    """Whether a setting is a URL with a password in it, or in its query."""
    try:
        parts = urlsplit(text)
    except ValueError:  # no URL
        return False
    asked = [name.lower() for name, _ in parse_qsl(parts.query)]
    return bool(parts.password) or any(word in name for name in asked for word in _SECRETS)


def _check_same(kept: ZoneFacts, wanted: ZoneFacts) -> None:
    different = [
        name
        for name in ZoneFacts.model_fields
        if getattr(wanted, name) and getattr(wanted, name) != getattr(kept, name)
    ]
    if different:
        raise ConflictError(
            f"This folder is of the {kept.zone} already, with another {', '.join(different)}.",
            reason="setup.made",
            remedy="Change choices by `gridsecure join`, or name another folder.",
        )


@contextmanager
def _told_of_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            "The zone's folder cannot be made or changed.",
            reason="setup.disk",
            remedy=f"Check its space and permissions ({error.strerror}).",
        ) from error


def _write(path: Path, text: str, *, mode: int = 0o600) -> None:
    replace_file(path, [text.encode()], mode=mode)


def describe(prepared: Prepared) -> dict[str, Any]:
    """What a call came to, for people and programs; nothing of it is secret."""
    facts, card = prepared.facts, prepared.card
    told: dict[str, Any] = {
        "zone": facts.zone,
        "name": facts.name,
        "folder": str(prepared.folder),
        "is_new": prepared.is_new,
        "missing": prepared.missing,
        "cards": [one.describe() for one in prepared.taken],
    }
    if card is not None:
        told |= {
            "card": str(prepared.setup / CARD),
            "public_key": card.public_key,
            "thumbprint": card.key.thumbprint,
        }
    if facts.zone in PROCESSES:
        told |= {"unit": str(prepared.setup / facts.unit), "user": facts.user}
        if not prepared.missing:
            told["settings"] = str(prepared.setup / facts.settings)
    return told
