"""A small grid in one folder: real keys, real meters, a real platform zone; nothing is mocked.

Tests change what they want and then deliver it:

    grid = GridSimulator(tmp_path)
    grid.install()                              key sets, tariffs and rosters at the platform
    for roster in grid.rosters:
        grid.deliver(grid.upload(roster))       manifest, objects, commit
    grid.close()

or `with delivered_grid(tmp_path) as grid:` for all of it. Key sets and packed columns are made once
a session and shared by all grids (`grid_keys`), because a test changes messages, never keys.

By default 48 meter points (39 households on the flat tariff, nine shops and factories on the
four-period one: two rosters) in two zones, hourly readings of one month; an upload holds all
settlement columns and the intervals of the first `days` days. The household cell of `futian` has 26
members and is released; every other cell is smaller than 15 and is suppressed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, cached_property
from itertools import islice
from pathlib import Path

import pandas as pd

from gridsecure.billing.bills import Bills, compute_bills
from gridsecure.billing.contracts import load_contracts
from gridsecure.billing.settlements import settle
from gridsecure.compute import closings, intake
from gridsecure.compute.containers import PlatformObjects
from gridsecure.compute.key_sets import install_key_set
from gridsecure.compute.runs import RunOrder
from gridsecure.compute.tables import SCHEMA
from gridsecure.compute.zone import PlatformZone
from gridsecure.credentials.seats import billing_domain, delegation_text
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey, generate_private_key
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.gateway.agent_records import Member
from gridsecure.gateway.energies import lay_out_energies
from gridsecure.gateway.packing import PackedColumn, pack_energies, packed_columns
from gridsecure.gateway.rosters import Roster, Speaker, assign_id, build_rosters
from gridsecure.homomorphic.parameters import INTERVAL, PARAMETER_SETS, REGISTER
from gridsecure.homomorphic.secret_key import SecretKeySet, generate_key_set
from gridsecure.identity_messages import NO_FACTS, Facts, Registered, Registrations, RosterSeats
from gridsecure.messages import (
    ClosingList,
    KeyNotice,
    Message,
    RosterManifest,
    Signed,
    SupplyTerms,
    UploadManifest,
    sign_message,
)
from gridsecure.periods import BillingPeriod, billing_month
from gridsecure.simulator.synthetic_meters import SimulatedMonth, simulate
from gridsecure.store.database import open_database, write_session
from gridsecure.store.evidence import find_head
from gridsecure.store.objects import folder_url, open_objects
from gridsecure.store.schema import migrate
from gridsecure.tariffs.tariff import Tariff, catalogue_tariffs, parse_tariff
from gridsecure.wire.platform import KeySetStatus
from tests.held_policy import POLICY
from tests.zone_copies import ZoneCopy

NOW = datetime(2026, 8, 3, 9, 0, tzinfo=UTC)
"""The clock of a simulated grid: the month is over."""

TIMEZONE = "Asia/Shanghai"
HOUR = pd.Timedelta(hours=1)
DAY_INTERVALS = 24
OFFICE = generate_private_key()
"""The billing office's key: statements are sealed to it, and it closes months."""
FLAT = "flat"
TIERS = "shenzhen-residential-tiers"


@dataclass
class GridKeys:
    """The keys of every zone, and what was encrypted under them so far."""

    gateway: Sm2PrivateKey = field(default_factory=generate_private_key)
    platform: Sm2PrivateKey = field(default_factory=generate_private_key)
    authority: Sm2PrivateKey = field(default_factory=generate_private_key)
    identity: Sm2PrivateKey = field(default_factory=generate_private_key)
    query: Sm2PrivateKey = field(default_factory=generate_private_key)
    """Opens the questions that are sealed to the key authority."""
    stranger: Sm2PrivateKey = field(default_factory=generate_private_key)
    holder: Sm2PrivateKey = field(default_factory=generate_private_key)
    """Acts under the pseudonym of every meter point, to make keys once instead of thousands."""
    secret: Mapping[str, SecretKeySet] = field(
        default_factory=lambda: {n: generate_key_set(p) for n, p in PARAMETER_SETS.items()}
    )
    packed: dict[tuple[str, str, int], list[PackedColumn]] = field(default_factory=dict)
    seats: dict[str, bytes] = field(default_factory=dict)
    seated: dict[str, str] = field(default_factory=dict)
    copies: dict[str, ZoneCopy] = field(default_factory=dict)
    """Zones to begin others with: what a zone begins with, by its name."""

    def copy_of(self, name: str, make: Callable[[Path], None]) -> ZoneCopy:
        """What a zone begins with, made once."""
        if name not in self.copies:
            self.copies[name] = ZoneCopy.of(make)
        return self.copies[name]


@cache
def grid_keys() -> GridKeys:
    """The session's keys."""
    return GridKeys()


@cache
def neighbours_keys() -> Mapping[str, SecretKeySet]:
    """The key sets of a second gateway, as far as uploads without tiers need them."""
    return {p.name: generate_key_set(p) for p in (REGISTER, INTERVAL)}


@dataclass(frozen=True)
class GridUpload:
    """One roster's upload, signed, with its objects by digest."""

    roster: Roster
    manifest: UploadManifest
    message: Signed
    objects: dict[str, bytes]

    @property
    def upload_id(self) -> str:
        return self.message.digest


def stated(roster: RosterManifest) -> dict[str, Facts]:
    """What a roster says of its meter points, by pseudonym."""
    counted = roster.counted or [True] * roster.slots
    rows = zip(roster.pseudonyms, roster.zones, roster.customer_classes, counted, strict=True)
    return {
        name: Facts(zone=zone, customer_class=kind, counted=counts)
        for name, zone, kind, counts in rows
    }


class GridSimulator:
    """One utility's meters, its gateway, and a platform that trusts it.

    Args:
        folder: Where the platform's database and objects go.
        meters: Meter points; of 16, one is a factory, two are shops, 13 households.
        month: YYYY-MM.
        household_tariff: FLAT, or TIERS for uploads with tier digits (61 large columns more).
        keys: Keys of the zones; the session's by default.
        objects_url: Where the platform's objects go; a folder by default.
        supplies: On which terms each roster's owner supplies columns; none where left out.
    """

    def __init__(
        self,
        folder: Path,
        *,
        meters: int = 48,
        month: str = "2026-07",
        household_tariff: str = FLAT,
        keys: GridKeys | None = None,
        objects_url: str = "",
        supplies: Sequence[SupplyTerms | None] = (),
    ) -> None:
        self.folder = folder
        self.supplies = supplies
        self.objects_url = objects_url or folder_url(folder / "objects")
        self.keys = keys or grid_keys()
        self.month = month
        self.household_tariff = household_tariff
        self.simulated: SimulatedMonth = simulate(meters, month=month, interval_minutes=60)
        self.domain = billing_domain(month).text
        self.sequence = 0
        self.uploads: list[GridUpload] = []
        """What `delivered_grid` delivered, by roster."""
        self.platform_zone = self.open_platform_zone()

    # --- keys and zones ------------------------------------------------------------------------

    @property
    def gateway_key(self) -> Sm2PrivateKey:
        return self.keys.gateway

    @property
    def platform_key(self) -> Sm2PrivateKey:
        return self.keys.platform

    @property
    def authority_key(self) -> Sm2PrivateKey:
        return self.keys.authority

    @property
    def identity_key(self) -> Sm2PrivateKey:
        return self.keys.identity

    def open_platform_zone(self) -> PlatformZone:
        """Open the platform's stores, as a process that (re)starts does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        engine = open_database(f"sqlite:///{self.folder / 'zone.db'}")
        migrate(engine, SCHEMA)
        return PlatformZone(
            engine=engine,
            objects=PlatformObjects(open_objects(self.objects_url), engine),
            signing_key=self.platform_key,
            identity=registry(self.identity_key),
            authority=registry(self.authority_key),
            office=registry(OFFICE),
            policy=POLICY,
        )

    def restart_platform(self) -> PlatformZone:
        """Close the platform's database and open everything anew from the disk."""
        self.platform_zone.engine.dispose()
        self.platform_zone = self.open_platform_zone()
        return self.platform_zone

    def close(self) -> None:
        self.platform_zone.engine.dispose()

    # --- what the utility knows ----------------------------------------------------------------

    @cached_property
    def period(self) -> BillingPeriod:
        year, month = map(int, self.month.split("-"))
        return billing_month(year, month, timezone=TIMEZONE)

    @cached_property
    def readings(self) -> pd.DataFrame:
        return self.simulated.readings()

    @cached_property
    def contracts(self) -> pd.DataFrame:
        """The contract frame; two thirds of the meter points are in futian, the rest in luohu."""
        path = self.folder / "contracts.csv"
        path.write_bytes(self.simulated.contracts_csv())
        contracts = load_contracts(path)
        path.unlink()
        first = contracts.index < len(contracts) * 2 // 3
        contracts["zone"] = contracts["zone"].where(~first, "futian").where(first, "luohu")
        home = contracts["customer_class"] == "household"
        contracts["tariff_id"] = contracts["tariff_id"].where(~home, self.household_tariff)
        return contracts

    @cached_property
    def tariff_texts(self) -> dict[str, str]:
        """Tariff id -> text, of the tariffs in use."""
        return {
            name: path.read_text(encoding="utf-8")
            for name, path in catalogue_tariffs().items()
            if name in set(self.contracts["tariff_id"])
        }

    @cached_property
    def pseudonyms(self) -> dict[str, str]:
        """Meter point -> a name as a registered pseudonym has."""
        return {
            name: sm3_hex(f"{self.domain}/{name}".encode())
            for name in self.simulated.meter_point_ids
        }

    @cached_property
    def members(self) -> dict[str, Member]:
        """Meter point -> its pseudonym and what is certified of it: what its contract says."""
        columns = ("meter_point_id", "zone", "customer_class")
        rows = zip(*(self.contracts[column] for column in columns), strict=True)
        return {
            name: Member(
                (self.pseudonyms[name],), Facts(zone=zone, customer_class=kind, counted=True)
            )
            for name, zone, kind in rows
        }

    @cached_property
    def rosters(self) -> list[Roster]:
        drafts = build_rosters(
            self.contracts,
            members=self.members,
            tariffs={name: sm3_hex(text.encode()) for name, text in self.tariff_texts.items()},
            speaker=Speaker(self.gateway_key.public_key.thumbprint, owner=""),
            domain=self.domain,
        )
        supplied = [*self.supplies, *[None] * len(drafts)]
        return [
            replace(
                draft, manifest=self.seated(draft.manifest.model_copy(update={"supply": terms}))
            )
            for draft, terms in zip(drafts, supplied, strict=False)
        ]

    # --- seats ---------------------------------------------------------------------------------

    def seated(self, manifest: RosterManifest, **changes: object) -> RosterManifest:
        """A roster under its own id, with every holder's agreement; made once a session.

        Args:
            manifest: The roster, with whatever a test changed.
            changes: Fields of the seats to set to something else.
        """
        draft = assign_id(manifest.model_copy(update={"seats": ""}))
        digest = self.keys.seated.get(draft.roster_id)
        if digest is None or changes:
            data = self.seats_of(draft, **changes).model_dump_json().encode()
            digest = sm3_hex(data)
            self.keys.seats[digest] = data
            if not changes:
                self.keys.seated[draft.roster_id] = digest
        return draft.model_copy(update={"seats": digest})

    def seats_of(self, draft: RosterManifest, **changes: object) -> RosterSeats:
        """The seats of a roster, with the identity authority's word for all that it states."""
        holder = self.keys.holder
        gateway = {self.gateway_subject: self.gateway_key}
        seats = RosterSeats(
            gateway=self.vouched(
                gateway,
                role="gateway",
                domain=draft.domain,
                facts={self.gateway_subject: Facts(owner=draft.owner)},
            ),
            holders=self.vouched(
                dict.fromkeys(draft.pseudonyms, holder), domain=draft.domain, facts=stated(draft)
            ),
            delegations=[
                holder.sign(delegation_text(draft, slot)).hex() for slot in range(draft.slots)
            ],
        )
        return seats.model_copy(update=changes)

    @property
    def gateway_subject(self) -> str:
        return sm3_hex(self.gateway_key.public_key.point)

    def vouched(
        self,
        holders: Mapping[str, Sm2PrivateKey],
        *,
        role: str = "meter-point",
        domain: str | None = None,
        key: Sm2PrivateKey | None = None,
        facts: Mapping[str, Facts] | None = None,
    ) -> Signed:
        """The identity authority's word on some pseudonyms: the given facts, or the contracts'."""
        known = {member.billing: member.facts for member in self.members.values()}
        said = known if facts is None else facts
        registrations = Registrations(
            domain=domain or self.domain,
            role=role,
            issued_at=NOW.isoformat(),
            entries=[
                Registered(
                    subject=name,
                    holder=holder.public_key.point.hex(),
                    facts=said.get(name, NO_FACTS),
                )
                for name, holder in holders.items()
            ],
        )
        return sign_message(registrations, key=key or self.identity_key)

    def register(self, roster: Roster) -> RosterManifest:
        """Have the platform take a roster in with its seats."""
        seats = self.keys.seats[roster.manifest.seats]
        return intake.register_roster(
            self.platform_zone, self.signed_roster(roster), seats=seats, at=NOW
        )

    def tariff(self, roster: Roster) -> Tariff:
        """The tariff a roster is billed with."""
        (text,) = [
            text
            for text in self.tariff_texts.values()
            if sm3_hex(text.encode()) == roster.manifest.tariff
        ]
        return parse_tariff(text)

    def bills(self, roster: Roster) -> Bills:
        """The plaintext oracle's bills of a roster, by meter point."""
        tariff = self.tariff(roster)
        own = self.readings[self.readings["meter_point_id"].isin(roster.meter_point_ids)]
        settled = settle(own, tariff=tariff, interval=HOUR)
        return compute_bills(settled, tariff=tariff, contracts=self.contracts, period=self.period)

    # --- messages ------------------------------------------------------------------------------

    @cached_property
    def key_notices(self) -> list[Signed]:
        """The authority's signed notices, one for each parameter set."""
        return [self.key_notice(key_set) for key_set in self.keys.secret.values()]

    def key_notice(
        self,
        key_set: SecretKeySet,
        *,
        key: Sm2PrivateKey | None = None,
        gateway: Sm2PrivateKey | None = None,
    ) -> Signed:
        """A notice of a gateway's key set, signed by the authority unless told otherwise."""
        public = key_set.public
        relinearisation = public.relinearisation_keys
        notice = KeyNotice(
            key_id=public.key_id,
            gateway=(gateway or self.gateway_key).public_key.thumbprint,
            generation=1,
            parameters=public.parameters.name,
            parameters_digest=public.parameters.digest,
            public_key=sm3_hex(public.public_key),
            relinearisation_keys=sm3_hex(relinearisation) if relinearisation else None,
            created_at=NOW.isoformat(),
        )
        return sign_message(notice, key=key or self.authority_key)

    def key_objects(self, notice: Signed) -> tuple[bytes, ...]:
        """The objects a notice of the session's key sets names."""
        public = self.keys.secret[KeyNotice.parse(notice.body).parameters].public
        return tuple(key for key in (public.public_key, public.relinearisation_keys) if key)

    def signed_roster(self, roster: Roster, *, key: Sm2PrivateKey | None = None) -> Signed:
        return self.sign(roster.manifest, key=key)

    def sign(self, message: Message, *, key: Sm2PrivateKey | None = None) -> Signed:
        """Sign as the gateway, unless told otherwise."""
        return sign_message(message, key=key or self.gateway_key)

    def packed(self, roster: Roster, *, days: int = 1) -> list[PackedColumn]:
        """All settlement columns of a roster and the intervals of its first days."""
        name = (roster.manifest.roster_id, self.month, days)
        if name not in self.keys.packed:
            columns = pack_energies(
                lay_out_energies(self.readings, period=self.period),
                roster=roster,
                tariff=self.tariff(roster),
                period=self.period,
                keys={name: key_set.public for name, key_set in self.keys.secret.items()},
            )
            settlement = settlement_columns(roster, tariff=self.tariff(roster), period=self.period)
            self.keys.packed[name] = list(islice(columns, settlement + days))
        return self.keys.packed[name]

    def upload(
        self,
        roster: Roster,
        *,
        days: int = 1,
        sequence: int | None = None,
        key: Sm2PrivateKey | None = None,
        **changes: object,
    ) -> GridUpload:
        """An upload of a roster's month.

        Args:
            roster: One of `rosters`.
            days: Days whose intervals to include, from the start of the month.
            sequence: Sequence number; the next unused one by default.
            key: The signing key; the gateway's by default.
            changes: Fields of the manifest to set to something else.
        """
        columns = self.packed(roster, days=days)
        self.sequence += 1
        manifest = UploadManifest(
            roster_id=roster.manifest.roster_id,
            gateway_id=self.gateway_key.public_key.thumbprint,
            start=self.period.start.isoformat(),
            end=self.period.end.isoformat(),
            sequence=self.sequence if sequence is None else sequence,
            estimated_readings=0,
            columns=[column.entry for column in columns],
        ).model_copy(update=changes)
        objects = {column.entry.digest: column.data for column in columns}
        return GridUpload(roster, manifest, self.sign(manifest, key=key), objects)

    def order(self, plan: str = "bill", *, requested_by: str = "clerk") -> RunOrder:
        """An order to run a plan over the month."""
        return RunOrder(
            plan=plan,
            start=self.period.start.isoformat(),
            end=self.period.end.isoformat(),
            purpose="operations" if plan == "load-curve" else "billing",
            requested_by=requested_by,
        )

    def closing_list(
        self, uploads: Sequence[str], *, key: Sm2PrivateKey = OFFICE, **changes: object
    ) -> Signed:
        """The month closed for some uploads, signed by the billing office unless told otherwise."""
        content = ClosingList(
            start=self.period.start.isoformat(),
            end=self.period.end.isoformat(),
            number=1,
            closed_at=NOW.isoformat(),
            uploads=sorted(uploads),
        )
        return sign_message(content.model_copy(update=changes), key=key)

    def close_month(self) -> Signed:
        """Have the platform close the month for all that is open."""
        span = {"start": self.period.start.isoformat(), "end": self.period.end.isoformat()}
        uploads = [item.upload for item in closings.open_uploads(self.platform_zone, **span)]
        number = len(closings.list_closings(self.platform_zone, **span)) + 1
        envelope = self.closing_list(uploads, number=number)
        closings.close_period(self.platform_zone, envelope, at=NOW)
        return envelope

    # --- delivery ------------------------------------------------------------------------------

    def install_key_sets(self) -> list[KeySetStatus]:
        return [
            install_key_set(self.platform_zone, notice, keys=self.key_objects(notice), at=NOW)
            for notice in self.key_notices
        ]

    def install_tariffs(self) -> list[str]:
        return [
            intake.install_tariff(self.platform_zone, text) for text in self.tariff_texts.values()
        ]

    def _begin_with_key_sets(self) -> None:
        """Key sets as `install_key_sets` leaves them, in a platform that was told nothing yet."""
        with write_session(self.platform_zone.engine) as session:
            is_told = find_head(session) is not None
        if is_told:
            self.install_key_sets()
            return

        def make(folder: Path) -> None:
            first = GridSimulator(folder, keys=self.keys)
            first.install_key_sets()
            first.close()

        self.platform_zone.engine.dispose()
        own = (self.gateway_key, self.authority_key)
        name = ["platform", *(key.public_key.thumbprint for key in own)]
        name += [key_set.public.key_id for key_set in self.keys.secret.values()]
        self.keys.copy_of(" ".join(name), make).write(self.folder)
        self.platform_zone = self.open_platform_zone()

    def install_rosters(self) -> list[RosterManifest]:
        return [self.register(roster) for roster in self.rosters]

    def install(self) -> None:
        """Key sets, tariffs and rosters: all that an upload builds on."""
        self._begin_with_key_sets()
        self.install_tariffs()
        self.install_rosters()

    def deliver(self, upload: GridUpload) -> intake.UploadStatus:
        """Manifest, objects, commit."""
        zone = self.platform_zone
        status = intake.begin_upload(zone, upload.message, at=NOW)
        wanted = {digest: upload.objects[digest] for digest in status.missing}
        intake.receive_objects(zone, status.upload_id, objects=wanted)
        return intake.commit_upload(zone, status.upload_id, at=NOW)


@contextmanager
def delivered_grid(folder: Path, *, days: int = 1, **choices: object) -> Iterator[GridSimulator]:
    """A grid whose rosters are all uploaded, with the intervals of some days, and committed."""
    grid = GridSimulator(folder, **choices)
    try:
        grid.install()
        grid.uploads = [grid.upload(roster, days=days) for roster in grid.rosters]
        for upload in grid.uploads:
            grid.deliver(upload)
        grid.close_month()
        yield grid
    finally:
        grid.close()


def registry(*keys: Sm2PrivateKey) -> dict[str, Sm2PublicKey]:
    """Public keys by thumbprint, as a zone trusts them."""
    return {key.public_key.thumbprint: key.public_key for key in keys}


def settlement_columns(roster: Roster, *, tariff: Tariff, period: BillingPeriod) -> int:
    """How many columns a roster's settlement has; they are packed before the intervals."""
    return packed_columns(roster, tariff=tariff, period=period, days=0)
