"""What `gridsecure doctor` looks at in a zone, each check for itself; nothing is changed.

A check answers with findings, never with an exception: the next one is made whatever the last one
found. What fails says what to do.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final, Literal

import httpx

from gridsecure.builds import measure_build
from gridsecure.cli.zone_cards import PROCESSES, SERVICES, Neighbours, ZoneCard
from gridsecure.cli.zone_making import SCHEMAS, database_urls, key_files, log_of
from gridsecure.cli.zone_settings import NEEDED, missing_cards
from gridsecure.cli.zone_setup import SETUP, ZoneFacts, own_card, read_neighbours
from gridsecure.cli.zone_units import read_settings_text
from gridsecure.errors import GridSecureError
from gridsecure.sandbox import find_walls, name_open
from gridsecure.store.database import open_database, read_session
from gridsecure.store.kept_heads import KeptHead, head_file
from gridsecure.store.schema import check_schema
from gridsecure.transparency.checkpoints import open_checkpoint, read_checkpoint
from gridsecure.transparency.notes import NoteKey
from gridsecure.version import VERSION
from gridsecure.wire.certificates import read_certificates
from gridsecure.wire.connections import new_client
from gridsecure.wire.services import About

State = Literal["ok", "warning", "failure"]

CLOCK_WARNING_S: Final = 5
CLOCK_FAILURE_S: Final = 60
"""A login is good for a minute, a lease for half of one."""
LEAST_BYTES: Final = 1 << 28
LOW_BYTES: Final = 4 << 30
_OTHERS: Final = 0o077
_PEER_SECONDS: Final = 10.0
_CONFINED: Final = ("platform", "worker", "authority", "vault")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Args:
        check: Its name.
        said: What is so.
        remedy: What to do, where it is not as it should be.
    """

    check: str
    state: State
    said: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """The zone that is looked at."""

    folder: Path
    facts: ZoneFacts
    known: Neighbours
    now: Callable[[], datetime]

    @property
    def zone(self) -> str:
        """Which it is."""
        return self.facts.zone


Check = Callable[[Patient], Iterator[Finding]]


def examine(folder: Path, facts: ZoneFacts, *, now: Callable[[], datetime]) -> list[Finding]:
    """Every finding of a zone.

    Raises:
        InputError: A card in its folder was changed (`setup.card`).
    """
    own = own_card(folder)
    known = Neighbours.of([*read_neighbours(folder), *([] if own is None else [own])])
    patient = Patient(folder.absolute(), facts, known, now)
    found: list[Finding] = []
    for check in CHECKS:
        try:
            found += check(patient)
        except (GridSecureError, OSError) as error:
            name = check.__name__.removeprefix("check_")
            remedy = getattr(error, "remedy", "") or "Check permissions, and run it as the user."
            found.append(Finding(name, "failure", str(error), remedy))
    return found


def check_folder(patient: Patient) -> Iterator[Finding]:
    """The folder and what is secret in it are its user's alone."""
    open_to_others = [
        str(path.relative_to(patient.folder)) or "."
        for path in (patient.folder, *patient.folder.glob("*.key"), *patient.folder.glob("*.db"))
        if stat.S_IMODE(path.stat().st_mode) & _OTHERS
    ]
    if open_to_others:
        yield Finding(
            "folder",
            "failure",
            f"Others may read {', '.join(open_to_others)}.",
            "chmod 0700 the folder and 0600 the files; treat keys that were open as exposed.",
        )
        return
    uid, owner = patient.facts.uid, patient.folder.stat().st_uid
    if patient.zone in PROCESSES and uid is None:
        yield Finding(
            "folder",
            "warning",
            f"This machine has no user {patient.facts.user}, whom the unit names.",
            f"useradd --system {patient.facts.user}, then run the same `gridsecure init` again.",
        )
    elif uid is not None and owner != uid:
        yield Finding(
            "folder",
            "failure",
            f"The folder is not {patient.facts.user}'s.",
            f"chown -R {patient.facts.user}: {patient.folder}",
        )
    else:
        yield Finding("folder", "ok", "Its user's alone.")


def check_keys(patient: Patient) -> Iterator[Finding]:
    """Every key that was made is there."""
    missing = [name for name in key_files(patient.zone) if not (patient.folder / name).is_file()]
    if missing:
        yield Finding(
            "keys",
            "failure",
            f"There is no {', '.join(missing)}.",
            "Restore the folder from its backup (gridsecure restore). A new key is a new zone.",
        )
    else:
        yield Finding("keys", "ok", f"{len(key_files(patient.zone))} keys are there.")


def check_neighbours(patient: Patient) -> Iterator[Finding]:
    """The cards that the zone cannot do without are there."""
    missing = missing_cards(patient.zone, patient.known)
    if missing:
        remedy = f"gridsecure join {patient.folder} CARD…"
        yield Finding("neighbours", "failure", f"Cards are missing: {', '.join(missing)}.", remedy)
    else:
        yield Finding("neighbours", "ok", "All cards are there.")


def check_settings(patient: Patient) -> Iterator[Finding]:
    """The process would start with the settings in the zone's file."""
    if patient.zone not in PROCESSES or patient.zone == "dashboard":
        return
    path = patient.folder / SETUP / patient.facts.settings
    if not path.is_file():
        remedy = f"gridsecure join {patient.folder} CARD…"
        yield Finding("settings", "failure", "There is no file of settings yet.", remedy)
        return
    settings = read_settings_text(path.read_text(encoding="utf-8"))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "gridsecure_api.settings_table", patient.zone],
        env={**_without_settings(), **settings},
        cwd=patient.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        yield Finding("settings", "ok", f"{len(settings)} settings are as they should be.")
        return
    try:
        told = json.loads(done.stdout)
    except ValueError:
        told = {"message": "The program of the services does not start.", "remedy": "Reinstall it."}
    yield Finding("settings", "failure", told["message"], told["remedy"])


def check_databases(patient: Patient) -> Iterator[Finding]:
    """Every database has the tables of this release, and all of its log that was ever shown."""
    own = patient.facts.own
    for name, url in database_urls(patient.zone, patient.folder, own).items():
        if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).is_file():
            remedy = "Restore the folder from its backup (gridsecure restore)."
            yield Finding("databases", "failure", f"There is no database {name}.", remedy)
            continue
        engine = open_database(url, connections=1)
        try:
            check_schema(engine, SCHEMAS[patient.zone][name])
            with read_session(engine) as session:
                KeptHead(head_file(patient.folder, log_of(patient.zone, name))).check(session)
            yield Finding("databases", "ok", f"{name} has the tables of this release.")
        except GridSecureError as error:
            yield Finding("databases", "failure", f"{name}: {error.message}", error.remedy)
        finally:
            engine.dispose()


def check_disk(patient: Patient) -> Iterator[Finding]:
    """There is room for what is to come."""
    free = shutil.disk_usage(patient.folder).free
    said = f"{free / (1 << 30):.1f} GiB are free."
    if free < LOW_BYTES:
        state: State = "failure" if free < LEAST_BYTES else "warning"
        yield Finding("disk", state, said, "Make room; `gridsecure objects sweep` may help.")
    else:
        yield Finding("disk", "ok", said)


def check_kernel(patient: Patient) -> Iterator[Finding]:
    """The kernel can confine what decodes others' bytes."""
    if patient.zone not in _CONFINED:
        return
    walls = find_walls()
    missing = name_open(walls, network=False)
    if missing:
        is_required = patient.facts.own.get("sandbox") == "required"
        yield Finding(
            "kernel",
            "failure" if is_required else "warning",
            f"Workers are not kept from {', '.join(missing)}.",
            "Linux 5.13 with Landlock in `lsm=`, and libseccomp2 (docs/deployment.md).",
        )
    else:
        by = f"Landlock {walls.landlock} and seccomp"
        yield Finding("kernel", "ok", f"{by} confine workers; no user namespaces are needed.")


def check_vault(patient: Patient) -> Iterator[Finding]:
    """The vault's door is there, as the key authority sees it."""
    vault = patient.known.zones.get("vault")
    if patient.zone != "authority" or vault is None:
        return
    door = patient.folder / vault.socket
    if door.is_socket():
        yield Finding("vault", "ok", "The vault listens.")
    else:
        remedy = "Start the vault on this machine, and have two custodians unlock it."
        yield Finding("vault", "warning", f"There is no socket {vault.socket}.", remedy)


def check_authorities(patient: Patient) -> Iterator[Finding]:
    """The authorities that the zone believes sign for hosts of their own alone, and hold on."""
    path = patient.facts.own.get("tls_ca", "")
    if not path:
        return
    found = read_certificates(Path(path))
    over = [one.service for one in found if one.ends <= patient.now()]
    for_all = [one.service for one in found if not one.hosts]
    remedy = "Ask the neighbour for one that `gridsecure tls authority --host` made (docs/tls.md)."
    if over:
        yield Finding("authorities", "failure", f"{', '.join(over)} ended.", remedy)
    if for_all:
        said = f"{', '.join(for_all)} may sign for any host, as if it were another's."
        yield Finding("authorities", "warning", said, remedy)
    if not (over or for_all):
        yield Finding("authorities", "ok", f"{len(found)} authorities sign for their own hosts.")


def check_peers(patient: Patient) -> Iterator[Finding]:
    """Neighbours answer, are who their cards say, run the same, and have the same time."""
    wanted = ({*NEEDED.get(patient.zone, ()), patient.zone} & {*SERVICES}) - {"dashboard"}
    cards = [patient.known.zones[zone] for zone in sorted(wanted & patient.known.zones.keys())]
    if patient.zone == "vault":
        return  # it has no network
    with new_client(timeout=_PEER_SECONDS) as http:
        for card in cards:
            yield from _peer(http, card, patient)


def _peer(http: httpx.Client, card: ZoneCard, patient: Patient) -> Iterator[Finding]:
    name = f"peer {card.zone}"
    try:
        answer = http.get(f"{card.address}/about")
        about = About.model_validate_json(answer.content)
    except (httpx.HTTPError, GridSecureError, ValueError) as error:
        is_own = card.zone == patient.zone
        yield Finding(
            name,
            "warning" if is_own else "failure",
            f"{card.address} does not answer as a service ({type(error).__name__}).",
            "Start it." if is_own else "Check the address, the network and its certificate.",
        )
        return
    if about.zone != card.zone or not _signed_its_logs(http, card, about):
        yield Finding(
            name,
            "failure",
            f"{card.address} is another service than its card says.",
            "Correct the address, or ask the neighbour whether its key was replaced.",
        )
        return
    yield _clock(name, answer, patient.now())
    yield _version(name, about)


def _signed_its_logs(http: httpx.Client, card: ZoneCard, about: About) -> bool:
    """Whether a service shows logs, each signed with the key that its card names.

    What is shown may be a copy; that nobody else answers at the address is TLS's to say.
    """
    for path in about.logs:
        try:
            shown = http.get(f"{card.address}{path}/checkpoint").content
            origin = read_checkpoint(shown).origin
            open_checkpoint(shown, [NoteKey(origin, "sm2", card.key.point)])
        except (httpx.HTTPError, GridSecureError):
            return False
        if not origin.endswith(f"/{card.key.thumbprint}"):
            return False
    return bool(about.logs)


def _clock(name: str, answer: httpx.Response, now: datetime) -> Finding:
    try:
        theirs = parsedate_to_datetime(answer.headers["date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return Finding(name, "warning", "It does not say what time it is.")
    apart = abs((now - theirs).total_seconds())
    said = f"Its clock is {apart:.0f} s from ours."
    remedy = "Have both machines keep time by NTP; tokens and leases are refused or lost."
    if apart > CLOCK_FAILURE_S:
        return Finding(name, "failure", said, remedy)
    if apart > CLOCK_WARNING_S:
        return Finding(name, "warning", said, remedy)
    return Finding(name, "ok", said)


def _version(name: str, about: About) -> Finding:
    own = measure_build()
    if about.version != VERSION or about.build is None:
        said = f"It runs {about.version}, and this is {VERSION}."
        return Finding(name, "warning", said, "Upgrade one machine after the other, soon.")
    if about.build != own:
        said = f"It runs {about.version} as we do, of another build."
        return Finding(name, "warning", said, "Compare: gridsecure build show, build check.")
    return Finding(name, "ok", f"It runs {about.version}, the same build.")


def _without_settings() -> dict[str, str]:
    """This process's environment without any zone's settings."""
    return {name: text for name, text in os.environ.items() if not name.startswith("GRIDSECURE_")}


CHECKS: Final[tuple[Check, ...]] = (
    check_folder,
    check_keys,
    check_neighbours,
    check_settings,
    check_databases,
    check_disk,
    check_kernel,
    check_vault,
    check_authorities,
    check_peers,
)
