"""`gridsecure network`: one question in three networks of tenants, each through real processes.

    point-to-point  点对点   a supplier with services of its own, and a consumer
    star            星状     a hub, and two suppliers with gateways and officers of their own
    mesh            融合·网状  two cities, each with a hub of its own; the consumer asks both

The code is the same: a network is which services there are, whose each is, and whom each knows. All
meter points are those of one simulated month, in one area or divided between two suppliers. In a
star the suppliers' policy and officers stand in their rosters, so the joint total needs both. In a
mesh each city tells of its own, and the consumer adds the answers on its own machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from gridsecure.analyst.desk import answer_published, build_question
from gridsecure.analyst.published_answers import read_published
from gridsecure.billing.contracts import load_contracts
from gridsecure.cli.home import APPROVERS, Home, create_home
from gridsecure.cli.meters import MeterFiles
from gridsecure.cli.online import utc_now
from gridsecure.cli.ports import claim_ports
from gridsecure.cli.processes import Services, ServiceSpec
from gridsecure.cli.run import unlock_vault
from gridsecure.cli.run_analyst import RunAnalyst
from gridsecure.cli.run_order import TIMEZONE
from gridsecure.cli.service_specs import service_specs
from gridsecure.cli.services_client import ServicesClient
from gridsecure.errors import GridSecureError
from gridsecure.month_texts import read_month, year_text
from gridsecure.offices.approvals import approve_waiting
from gridsecure.offices.billing_office import MAX_ACCOUNTS
from gridsecure.offices.closing_lists import close_month
from gridsecure.periods import billing_month
from gridsecure.policy.packs import UNIFORM
from gridsecure.simulator.accounts import invented_accounts
from gridsecure.simulator.synthetic_meters import SimulatedMonth, simulate
from gridsecure.wire.connections import new_client
from gridsecure.zone_keys import load_signing_key

Topology = Literal["point-to-point", "star", "mesh"]
CITIES: Final = ("south", "north")
HUB: Final = "hub"
CONSUMER: Final = "consumer"
MONTH: Final = "2026-07"
ASKED: Final = "household"
"""Whose energy is asked for."""
_MINUTES: Final = 60
_ZONE: Final = "city"


@dataclass(frozen=True, slots=True)
class Supplier:
    """Who has a gateway at a hub.

    Args:
        client: Calls the hub, and of gateways its own, as the supplier's people.
        operator: Whom its gateway obeys.
        officers: Who approves as its own, besides the hub's officers.
        files: Its meter points.
    """

    name: str
    client: ServicesClient
    operator: str
    officers: tuple[str, ...]
    files: MeterFiles


@dataclass(frozen=True, slots=True)
class Hub:
    """Services that answer together.

    Args:
        tenant: Whose they are.
    """

    tenant: str
    home: Home
    client: ServicesClient
    suppliers: tuple[Supplier, ...]


@dataclass(frozen=True, slots=True)
class NetworkAnswer:
    """What came of a question.

    Args:
        told: What each hub told [kWh].
        plain: The same in the clear [kWh].
        approvals: Who approved at each hub.
        refused: Reason codes with which people of one tenant were refused by another's services.
    """

    topology: Topology
    told: Mapping[str, Decimal]
    plain: Decimal
    approvals: Mapping[str, Sequence[str]]
    refused: Mapping[str, str]

    @property
    def total(self) -> Decimal:
        """What the consumer has together [kWh]."""
        return sum(self.told.values(), Decimal(0))

    @property
    def is_exact(self) -> bool:
        """Whether it is what the meter points used, and nobody read another tenant's."""
        return self.total == self.plain and all(self.refused.values())


def ask_network(topology: Topology, *, meters: int, folder: Path) -> NetworkAnswer:
    """Set a network up, ask it, and take it down.

    Args:
        meters: Simulated meter points of all suppliers together.
        folder: Where the services' folders are made.

    Raises:
        GridSecureError: A service did not start, or refused; nothing goes on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    month = _simulated(meters)
    cities = CITIES[:1] if topology == "point-to-point" else CITIES
    files = dict(zip(cities, _divided(month, len(cities), folder), strict=True))
    with ExitStack() as stack:
        services = stack.enter_context(Services())
        http = stack.enter_context(new_client(timeout=600))
        if topology == "star":
            hubs = [_start_star(folder, files, services, http, stack)]
        else:
            hubs = [
                _start_city(folder / name, name, own, services, http, stack)
                for name, own in files.items()
            ]
        services.wait_ready()
        told, approvals = {}, {}
        for hub in hubs:
            told[hub.tenant], approvals[hub.tenant] = _answer(hub)
        refused = _try_others(hubs)
        services.check()
    return NetworkAnswer(topology, told, _plain_kwh(month), approvals, refused)


def _simulated(meters: int) -> SimulatedMonth:
    """A month of meter points, all in one zone."""
    month = simulate(meters, month=MONTH, interval_minutes=_MINUTES)
    return replace(month, contracts=month.contracts.assign(zone=_ZONE))


def _plain_kwh(month: SimulatedMonth) -> Decimal:
    homes = (month.contracts["customer_class"] == ASKED).to_numpy()
    return Decimal(int(month.energy_wh[homes].sum())) / 1000


def _divided(month: SimulatedMonth, parts: int, folder: Path) -> Iterator[MeterFiles]:
    """The meter points of each supplier, with as many of each class, as files for its gateway."""
    order = month.contracts.groupby("customer_class").cumcount().to_numpy()
    for part in range(parts):
        own = order % parts == part
        names = tuple(
            name for name, is_own in zip(month.meter_point_ids, own, strict=True) if is_own
        )
        some = SimulatedMonth(names, month.days, month.energy_wh[own], month.contracts[own])
        readings, contracts = folder / f"readings-{part}.csv", folder / f"contracts-{part}.csv"
        readings.write_bytes(some.wide_csv())
        contracts.write_bytes(some.contracts_csv())
        yield MeterFiles(MONTH, (readings,), contracts, len(names))


def _start_city(
    folder: Path,
    city: str,
    files: MeterFiles,
    services: Services,
    http: Any,
    stack: ExitStack,
) -> Hub:
    """A supplier with services of its own: nobody else has anything there."""
    ports = stack.enter_context(claim_ports(None))
    home = _home(folder, ports)
    tenants = _Tenants(dict.fromkeys(("identity", "gateway", "platform", "authority"), city), city)
    services.launch(_edited(home, tenants))
    client = ServicesClient(home, http)
    return Hub(city, home, client, (Supplier(city, client, "operator", (), files),))


def _start_star(
    folder: Path,
    files: Mapping[str, MeterFiles],
    services: Services,
    http: Any,
    stack: ExitStack,
) -> Hub:
    """A hub, and a gateway with an operator and an officer of its own for each supplier."""
    home = _home(folder / HUB, dict(stack.enter_context(claim_ports(None))))
    ports = dict(home.ports)
    suppliers, added = [], []
    for name, own in files.items():
        zone, people = f"gateway-{name}", (f"{name}-operator", f"{name}-owner")
        ports[zone] = stack.enter_context(claim_ports(None))["gateway"]
        home.keys[zone] = load_signing_key(home.zone(zone))
        for person in people:
            home.people[person] = load_signing_key(home.person(person))
        keys = {**home.keys, "gateway": home.keys[zone]}
        at_own = replace(home, keys=keys, ports={**home.ports, "gateway": ports[zone]})
        client = ServicesClient(at_own, http)
        suppliers.append(Supplier(name, client, people[0], people[1:], own))
        added.append((name, zone))
    tenants = _Tenants(dict.fromkeys(("identity", "platform", "authority"), HUB), HUB, tuple(added))
    services.launch(_edited(replace(home, ports=ports), tenants))
    return Hub(HUB, home, ServicesClient(home, http), tuple(suppliers))


def _home(folder: Path, ports: Mapping[str, int]) -> Home:
    folder.mkdir(mode=0o711)
    return create_home(folder, ports=ports, has_dashboard=False)


@dataclass(frozen=True, slots=True)
class _Tenants:
    """Whose each service is, and who is beside those that a run has.

    Args:
        services: Tenant by zone.
        people: The tenant of the run's people; its analyst is the consumer's.
        suppliers: Name and zone of each gateway of another tenant, in the place of the run's own.
    """

    services: Mapping[str, str]
    people: str
    suppliers: tuple[tuple[str, str], ...] = field(default=())


def _edited(home: Home, tenants: _Tenants) -> Iterator[ServiceSpec]:
    """The services of a run, each told whose it is and whom it knows."""
    for spec in service_specs(home, years=sorted({year_text(MONTH), f"{utc_now():%Y}"})):
        zone, given = spec.name, dict(spec.environment)
        prefix = f"GRIDSECURE_{zone.upper()}_"
        if zone in tenants.services:
            given[f"{prefix}TENANT"] = tenants.services[zone]
        if f"{prefix}APPROVERS" in given:
            own = [_approver(home, f"{name}-owner") for name, _ in tenants.suppliers]
            given[f"{prefix}APPROVERS"] = _extended(given[f"{prefix}APPROVERS"], own)
        if zone == "identity":
            _tell_identity(home, given, tenants)
        if zone != "gateway" or not tenants.suppliers:
            yield replace(spec, environment=given)
            continue
        for name, own_zone in tenants.suppliers:
            yield _gateway(home, spec, (name, own_zone))


def _gateway(home: Home, spec: ServiceSpec, supplier: tuple[str, str]) -> ServiceSpec:
    """A supplier's gateway, as the run's own but for where it is, whose, and on which terms."""
    name, zone = supplier
    officer = home.people[f"{name}-owner"].public_key.point.hex()
    own = {
        "PORT": str(home.ports[zone]),
        "TENANT": name,
        "SUPPLY_POLICY": UNIFORM,
        "SUPPLY_OFFICERS": json.dumps([officer]),
    }
    return replace(
        spec,
        name=zone,
        environment={**spec.environment, **{f"GRIDSECURE_GATEWAY_{k}": v for k, v in own.items()}},
        ready_url=f"{home.url(zone)}/health",
        log=home.folder / f"{zone}.log",
        folder=home.zone(zone),
    )


def _tell_identity(home: Home, given: dict[str, str], tenants: _Tenants) -> None:
    """Name the tenant of each person and service, and those of suppliers beside them."""
    people = [
        {**one, "tenant": CONSUMER if "analyst" in one["roles"] else tenants.people}
        for one in json.loads(given["GRIDSECURE_IDENTITY_PEOPLE"])
    ]
    services = [
        {**one, "tenant": tenants.people}
        for one in json.loads(given["GRIDSECURE_IDENTITY_SERVICES"])
    ]
    for name, zone in tenants.suppliers:
        for person, role in ((f"{name}-operator", "operator"), (f"{name}-owner", "data-owner")):
            point = home.people[person].public_key.point.hex()
            people.append({"name": person, "roles": [role], "public_key": point, "tenant": name})
        own = {"role": "gateway", "public_key": home.point(zone), "tenant": name}
        services.append(own)
    given["GRIDSECURE_IDENTITY_PEOPLE"] = json.dumps(people)
    given["GRIDSECURE_IDENTITY_SERVICES"] = json.dumps(services)


def _approver(home: Home, person: str) -> dict[str, str]:
    point = home.people[person].public_key.point.hex()
    return {"person": person, "role": "data-owner", "public_key": point}


def _extended(text: str, more: Iterable[dict[str, str]]) -> str:
    return json.dumps([*json.loads(text), *more])


def _answer(hub: Hub) -> tuple[Decimal, list[str]]:
    """Bill nothing, tell a total: from readings to a verified answer of the consumer [kWh]."""
    unlock_vault(hub.client)
    for supplier in hub.suppliers:
        _supply(hub, supplier)
    period = billing_month(*read_month(MONTH), timezone=TIMEZONE)
    close_month(
        partial(hub.client.call, "billing"),
        key=hub.home.keys["billing-office"],
        now=utc_now(),
        start=period.start.isoformat(),
        end=period.end.isoformat(),
    )
    analyst = RunAnalyst(hub.home)
    analyst.enrol()
    analyst.ask(MONTH, each=lambda _progress: None)
    approved = _release(hub)
    release = analyst.read(MONTH).release
    question = build_question("energy", MONTH, where={"customer_class": [ASKED]})
    (row,) = answer_published(question, [read_published(release)]).frame.to_dict("records")
    if row["value"] is None:
        raise GridSecureError(
            "The total was withheld.",
            reason="network.withheld",
            remedy="Take more meter points: each owner's others have to be enough customers.",
        )
    return Decimal(row["value"]), approved


def _supply(hub: Hub, supplier: Supplier) -> None:
    """Enter a supplier's accounts, and have its gateway seal and upload the month."""
    gateway = supplier.client.home.keys["gateway"].public_key.thumbprint
    books = partial(hub.client.call, "operator", "identity", "PUT")
    accounts = invented_accounts(load_contracts(supplier.files.contracts), gateway=gateway)
    for start in range(0, len(accounts), MAX_ACCOUNTS):
        # Customers of two suppliers are two, whatever an invented book calls them.
        part = [
            {**one, "customer_id": f"{supplier.name}-{one['customer_id']}"}
            for one in accounts[start : start + MAX_ACCOUNTS]
        ]
        books("/books", json=part)
    books("/books/gateways", json=[{"gateway": gateway, "owner": supplier.name}])
    path, call = f"/months/{MONTH}", partial(supplier.client.call, supplier.operator, "gateway")
    with supplier.files.open_parts() as parts:
        call("PUT", f"{path}/files", files=parts)
    call("POST", f"{path}/process")
    supplier.client.poll(supplier.operator, "gateway", path, each=lambda _answer: None)


def _release(hub: Hub) -> list[str]:
    """What waits, once the hub's officers and those of each supplier approved it; who did."""
    start = partial(hub.client.call, "custodian", "authority", "POST", "/release-rounds")
    waiting = [one["request_id"] for one in start() if one["state"] == "waiting"]
    officers = [*APPROVERS, *(name for one in hub.suppliers for name in one.officers)]
    for officer in officers:
        call = partial(hub.client.call, officer)
        approve_waiting(call, key=hub.home.people[officer], requests=waiting, now=utc_now())
    refused = [one for one in start() if one["state"] != "released"]
    if refused:
        raise GridSecureError(
            "The key authority refused the release.",
            reason=refused[0].get("reason") or "release.refused",
            remedy="The reason code says which check failed; the evidence log has the entry.",
        )
    return officers


def _try_others(hubs: Sequence[Hub]) -> dict[str, str]:
    """Have people of one tenant ask gateways of another; the reason codes of their refusals."""
    everybody = [(hub, supplier) for hub in hubs for supplier in hub.suppliers]
    found: dict[str, str] = {}
    for hub, supplier in everybody:
        strangers = [(own, one) for own, one in everybody if one is not supplier]
        asking = [(own, one.operator, one.name) for own, one in strangers]
        for own, person, whose in [*asking, (hub, "analyst", CONSUMER)]:
            who = f"{person} of {whose} at {supplier.name}'s gateway"
            found[who] = _refusal(own, person, supplier)
    return found


def _refusal(other: Hub, person: str, supplier: Supplier) -> str:
    """How a supplier's gateway answers a person who signed in elsewhere; empty if it does."""
    gateway = supplier.client.home.ports["gateway"]
    asked = replace(other.home, ports={**other.home.ports, "gateway": gateway})
    client = ServicesClient(asked, other.client.http)
    try:
        client.call(person, "gateway", "GET", "/v1/sources")
    except GridSecureError as refused:
        return refused.reason
    return ""
