"""The folder of one run: a subfolder a zone and a person, with the keys only that one may have.

Keys and passwords are drawn when the run starts and live in files only their owner can read. The
two offices that open pseudonyms together, utility (the custodian) and regulator, have a half of
the opening key each; both sign what holders pin.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from gridsecure.approvals import APPROVER_ROLES
from gridsecure.builds import measure_build
from gridsecure.cli.online import utc_now
from gridsecure.cli.service_users import ServiceUsers, draw_users, give
from gridsecure.cli.zone_cards import Neighbours, Zone, ZoneCard
from gridsecure.cli.zone_making import load_issuer_key, load_opener_key, make_keys
from gridsecure.credentials.opening import OFFICE_OF, Opener
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.errors import StorageError
from gridsecure.identity_messages import IdentityKeys
from gridsecure.key_authority.vault.ceremony import init_vault
from gridsecure.messages import sign_message
from gridsecure.vault_messages import Custodian
from gridsecure.whole_files import create_file
from gridsecure.zone_keys import load_signing_key

BUILD: Final = "build.json"
HOME_FILE: Final = "home.json"
"""What of a run's folder is in no key: the offices' statements, the users, the maker's key."""
ZONES: Final[tuple[Zone, ...]] = (
    *("identity", "gateway", "platform", "authority", "market", "encryption"),
)
SIGNING_ZONES: Final[tuple[Zone, ...]] = (*ZONES, "billing-office", "registration-office")
# Counted from the folders of checker and vault alike: short enough for a socket's name wherever the
# run's folder is, and nothing above that folder needs to be passed through.
SOCKET: Final = "../vault-door/vault.sock"
USERS: Final = {
    "billing": ("billing",),
    "analyst": ("analyst",),
    "custodian": ("custodian",),
    "regulator": ("regulator",),
    "operator": ("operator",),
    "data-owner": ("data-owner",),
    "privacy-officer": ("privacy-officer",),
    "second-custodian": ("custodian",),
    "third-custodian": ("custodian",),
    "utility": ("member",),
    "reviewer": ("member",),
    "exchange": ("member",),
    "firm-analyst": ("member",),
}
APPROVERS: Final = APPROVER_ROLES
"""Users who approve releases; each is called as the role is."""
CUSTODIANS: Final = ("custodian", "second-custodian", "third-custodian")
"""Users who keep a share of the key that the vault's key sets are sealed under."""
NEEDED_CUSTODIANS: Final = 2
SHARE: Final = "vault-share.json"
"""A custodian's sealed share, in the custodian's own folder."""
OFFICES: Final[dict[Opener, str]] = {opener: user for user, opener in OFFICE_OF.items()}
"""Who holds each half of the opening key."""


@dataclass(frozen=True, slots=True)
class Home:
    """One run's folder and secrets.

    Args:
        keys: SM2 keys by zone.
        people: SM2 keys by user.
        statements: The identity keys as both offices signed them, JSON.
        passwords: Generated sign-in passwords by user; none where no dashboard is served.
        ports: Port by service.
        users: As whom checker and vault run.
        maker: The key that signed the build statement of this run, 130 hexadecimal digits.
    """

    folder: Path
    keys: dict[str, Sm2PrivateKey] = field(repr=False)
    people: dict[str, Sm2PrivateKey] = field(repr=False)
    statements: tuple[str, str]
    passwords: dict[str, str] = field(repr=False)
    ports: Mapping[str, int]
    users: ServiceUsers = field(default_factory=ServiceUsers)
    maker: str | None = None

    def zone(self, name: str) -> Path:
        """A zone's own folder."""
        return self.folder / name

    def url(self, service: str) -> str:
        """A service's address on this machine."""
        return f"http://127.0.0.1:{self.ports[service]}"

    def person(self, user: str) -> Path:
        """A person's own folder."""
        return _person(self.folder, user)

    @property
    def source(self) -> Path:
        """The folder of the meter-data system that a served run registers."""
        return self.folder / "meter-data"

    @property
    def bills(self) -> Path:
        """The bill file that the billing office writes, for statements."""
        return self.zone("billing-office") / "bills.json"

    def neighbours(self, *, policy: str) -> Neighbours:
        """The cards that zones of other operators would hand out.

        Args:
            policy: The release policy that the key authority begins with.
        """
        cards = [self._card(zone, policy=policy) for zone in (*SIGNING_ZONES, "vault")]
        people = [self._person_card(user, roles) for user, roles in USERS.items()]
        return Neighbours.of([*cards, *people])

    def _card(self, zone: Zone, *, policy: str) -> ZoneCard:
        has_key = zone in SIGNING_ZONES
        users = {"authority": self.users.checker, "vault": self.users.vault}
        return ZoneCard(
            zone=zone,
            name=zone,
            made_at="",
            public_key=self.point(zone if has_key else "authority"),
            address=self.url(zone) if zone in self.ports else "",
            socket=SOCKET if zone == "vault" else "",
            user=users.get(zone),
            policy=policy if zone == "authority" else "",
        )

    def _person_card(self, user: str, roles: tuple[str, ...]) -> ZoneCard:
        opener = OFFICE_OF.get(user)
        place = list(OFFICES).index(opener) if opener else None
        return ZoneCard(
            zone=opener or "person",
            name=user,
            made_at="",
            public_key=self.people[user].public_key.point.hex(),
            roles=roles,
            statement="" if place is None else self.statements[place],
        )

    def point(self, zone: str) -> str:
        """A zone's public key, 130 hexadecimal digits."""
        return self.keys[zone].public_key.point.hex()


def create_home(folder: Path, *, ports: Mapping[str, int], has_dashboard: bool = True) -> Home:
    """Make the keys of every zone and person in a run's folder.

    Args:
        ports: Port by service.
        has_dashboard: Whether people sign in there; without it nobody has a password.

    Raises:
        StorageError: The disk refuses.
    """
    keys: dict[str, Sm2PrivateKey] = {zone: _made(zone, folder / zone) for zone in SIGNING_ZONES}
    folder.chmod(0o711)  # checker and vault pass through; every folder in it stays its owner's
    users = draw_users(folder)
    make_vault_folders(folder, users)
    people = {user: load_signing_key(_person(folder, user)) for user in USERS}
    _init_vault(folder, people, users)
    statements, maker = _identity_keys(folder, people), _state_build(folder)
    passwords = _draw_passwords() if has_dashboard else {}
    kept = {"statements": statements, "maker": maker, "users": asdict(users)}
    create_file(folder / HOME_FILE, json.dumps(kept).encode())
    return Home(folder, keys, people, statements, passwords, ports, users, maker)


def open_home(folder: Path, *, ports: Mapping[str, int]) -> Home:
    """The home of a run that was made before, to be served again with passwords of its own.

    Args:
        ports: Port by service; they may be others than they were.

    Raises:
        StorageError: A key or a file is not as it was made (`run.damaged`), or the disk refuses.
    """
    keys: dict[str, Sm2PrivateKey] = {
        zone: load_signing_key(folder / zone) for zone in SIGNING_ZONES
    }
    people = {user: load_signing_key(_person(folder, user)) for user in USERS}
    try:
        kept = json.loads((folder / HOME_FILE).read_bytes())
        users = ServiceUsers(**kept["users"])
        first, second = kept["statements"]
        # A socket that a killed vault left would look as if the vault were there.
        (folder / "vault-door" / "vault.sock").unlink(missing_ok=True)
        return Home(
            *(folder, keys, people, (first, second)),
            *(_draw_passwords(), ports, users, kept["maker"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"The run in {folder} is damaged.",
            reason="run.damaged",
            remedy="Begin anew with --new.",
        ) from error


def _draw_passwords() -> dict[str, str]:
    """Of those who sign in at the dashboard; officers and further custodians sign elsewhere."""
    keyed = {*APPROVERS, *CUSTODIANS[1:], "reviewer"}
    return {user: secrets.token_urlsafe(9) for user in USERS if user not in keyed}


def _state_build(folder: Path) -> str:
    """Sign what is installed here, as a maker would, with a key that is not kept; its point."""
    maker = generate_private_key()
    statement = sign_message(measure_build(), key=maker)
    create_file(folder / BUILD, statement.model_dump_json().encode())
    (folder / BUILD).chmod(0o644)  # every service reads it, as whichever user
    return maker.public_key.point.hex()


def _made(zone: Zone, folder: Path) -> Sm2PrivateKey:
    key = make_keys(zone, folder)
    if key is None:
        raise ValueError(f"{zone} signs nothing")
    return key


def make_vault_folders(folder: Path, users: ServiceUsers) -> None:
    """Make the vault's folder and its socket's, and give the checker's folder to its user.

    Args:
        folder: The run's folder, with the checker's folder in it.
    """
    for name, mode in (("vault", 0o700), ("vault-door", 0o711)):
        (folder / name).mkdir(mode=mode)
        (folder / name).chmod(mode)
        give(folder / name, users.vault)
    give(folder / "authority", users.checker)
    if users.vault is None:
        folder.chmod(0o700)


def _init_vault(folder: Path, people: dict[str, Sm2PrivateKey], users: ServiceUsers) -> None:
    """Split the vault's key among the run's custodians, and give each the own share."""
    custodians = [
        Custodian(name=user, public_key=people[user].public_key.point.hex()) for user in CUSTODIANS
    ]
    made = init_vault(folder / "vault", custodians, needed=NEEDED_CUSTODIANS, created_at=utc_now())
    for user, share in made.shares.items():
        create_file(_person(folder, user) / SHARE, share.model_dump_json(indent=1).encode())
    give(folder / "vault", users.vault)


def _identity_keys(folder: Path, people: dict[str, Sm2PrivateKey]) -> tuple[str, str]:
    """Draw the issuer's and the openers' keys; what both offices sign of them."""
    keys = IdentityKeys(
        issuer=load_issuer_key(folder / "identity"),
        utility=load_opener_key(_person(folder, OFFICES["utility"]), "utility"),
        regulator=load_opener_key(_person(folder, OFFICES["regulator"]), "regulator"),
    )
    first, second = (
        sign_message(keys, key=people[user]).model_dump_json() for user in OFFICES.values()
    )
    return first, second


def _person(folder: Path, user: str) -> Path:
    return folder / "people" / user
