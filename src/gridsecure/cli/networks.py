"""`gridsecure network`: one question in three networks of tenants, each through real processes.

    point-to-point  点对点   a supplier with services of its own, and a consumer
    star            星状     a hub, and two suppliers with gateways and officers of their own
    mesh            融合·网状  two cities, each with a hub of its own; the consumer asks both

The code is the same: a network is which services there are, whose each is, and whom each knows. All
meter points are those of one simulated month, in one area or divided between two suppliers. In a
star the suppliers' policy and officers stand in their rosters, so the joint total needs both. In a
mesh the cities are each other's consumers, by a direct link (`network_links`): each tells the other
its own total under an agreement, and both join the two certificates on their own machines.
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

from gridsecure.analyst.desk import build_question
from gridsecure.analyst.published_answers import read_published
from gridsecure.billing.contracts import load_contracts
from gridsecure.circulation.agreed_releases import MISSING
from gridsecure.cli.home import APPROVERS, Home, create_home
from gridsecure.cli.meters import MeterFiles
from gridsecure.cli.network_links import (
    BUYER,
    Link,
    join_totals,
    read_own,
    read_total,
    write_policies,
)
from gridsecure.cli.online import utc_now
from gridsecure.cli.ports import claim_ports
from gridsecure.cli.processes import Services, ServiceSpec
from gridsecure.cli.run import unlock_vault
from gridsecure.cli.run_analyst import RunAnalyst
from gridsecure.cli.run_order import TIMEZONE
from gridsecure.cli.service_specs import market_spec, service_specs
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
QUESTION: Final = build_question("energy", MONTH, where={"customer_class": [ASKED]})
_MINUTES: Final = 60
_ZONE: Final = "city"
_OWN: Final = ("identity", "gateway", "platform", "authority")
_GUESTS: Final = frozenset({"analyst", BUYER})
"""The users of a run who are the consumer's."""


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
        link: To the neighbour that asks; None where the consumer is no city.
    """

    tenant: str
    home: Home
    client: ServicesClient
    suppliers: tuple[Supplier, ...]
    link: Link | None = None


@dataclass(frozen=True, slots=True)
class _Told:
    """What a hub told.

    Args:
        total: The number [kWh].
        release: Its id.
        certificate: As the consumer got it.
        approvals: Who approved.
        agreement: Under which one; empty where policy wants none.
        without: Reason code with which it waited before one was named; empty likewise.
    """

    total: Decimal
    release: str
    certificate: bytes
    approvals: Sequence[str]
    agreement: str = ""
    without: str = ""


@dataclass(frozen=True, slots=True)
class NetworkAnswer:
    """What came of a question.

    Args:
        told: What each hub told [kWh].
        plain: The same in the clear [kWh].
        approvals: Who approved at each hub.
        refused: Reason codes with which people of one tenant were refused by another's services.
        joined: What each city of a mesh has of both certificates [kWh].
        without: Reason codes with which each city told its neighbour nothing before they agreed.
    """

    topology: Topology
    told: Mapping[str, Decimal]
    plain: Decimal
    approvals: Mapping[str, Sequence[str]]
    refused: Mapping[str, str]
    joined: Mapping[str, Decimal] = field(default_factory=dict)
    without: Mapping[str, str] = field(default_factory=dict)

    @property
    def total(self) -> Decimal:
        """What the consumer has together [kWh]."""
        return sum(self.told.values(), Decimal(0))

    @property
    def is_exact(self) -> bool:
        """Whether it is what the meter points used, and nobody read another tenant's."""
        totals = {self.total, *self.joined.values()}
        waited = all(reason == MISSING for reason in self.without.values())
        return totals == {self.plain} and waited and all(self.refused.values())


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
    zones = cities if topology == "mesh" else [_ZONE] * len(cities)
    files = dict(zip(cities, _divided(month, zones, folder), strict=True))
    with ExitStack() as stack:
        services = stack.enter_context(Services())
        http = stack.enter_context(new_client(timeout=600))
        if topology == "star":
            hubs = [_start_star(folder, files, services, http, stack)]
        elif topology == "mesh":
            hubs = _start_mesh(folder, files, services, http, stack)
        else:
            hubs = [_start_city(folder, *one, services, http, stack) for one in files.items()]
        services.wait_ready()
        told = {hub.tenant: _answer(hub) for hub in hubs}
        joined = _join(hubs, told) if topology == "mesh" else {}
        refused = _try_others(hubs)
        services.check()
    return NetworkAnswer(
        topology,
        {city: one.total for city, one in told.items()},
        _plain_kwh(month),
        {city: one.approvals for city, one in told.items()},
        refused,
        joined,
        {city: one.without for city, one in told.items() if one.agreement},
    )


def _simulated(meters: int) -> SimulatedMonth:
    return simulate(meters, month=MONTH, interval_minutes=_MINUTES)


def _plain_kwh(month: SimulatedMonth) -> Decimal:
    homes = (month.contracts["customer_class"] == ASKED).to_numpy()
    return Decimal(int(month.energy_wh[homes].sum())) / 1000


def _divided(month: SimulatedMonth, zones: Sequence[str], folder: Path) -> Iterator[MeterFiles]:
    """The meter points of each supplier, with as many of each class, as files for its gateway.

    Args:
        zones: In which zone each supplier's are.
    """
    order = month.contracts.groupby("customer_class").cumcount().to_numpy()
    for part, zone in enumerate(zones):
        own = order % len(zones) == part
        names = tuple(
            name for name, is_own in zip(month.meter_point_ids, own, strict=True) if is_own
        )
        contracts_of = month.contracts[own].assign(zone=zone)
        some = SimulatedMonth(names, month.days, month.energy_wh[own], contracts_of)
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
    home = _home(folder / city, stack.enter_context(claim_ports(None)))
    services.launch(_edited(home, _Tenants(dict.fromkeys(_OWN, city), city)))
    client = ServicesClient(home, http)
    return Hub(city, home, client, (Supplier(city, client, "operator", (), files),))


def _start_mesh(
    folder: Path,
    files: Mapping[str, MeterFiles],
    services: Services,
    http: Any,
    stack: ExitStack,
) -> list[Hub]:
    """Cities with services and a market of their own, each of which asks the other."""
    homes = {city: _home(folder / city, stack.enter_context(claim_ports(None))) for city in files}
    keys = {city: (home.people["analyst"], home.people["utility"]) for city, home in homes.items()}
    hubs = []
    for city, neighbour in zip(CITIES, reversed(CITIES), strict=True):
        home = homes[city]
        # Who asks and signs for the neighbour here has the key that is the neighbour's.
        home.people["analyst"], home.people[BUYER] = keys[neighbour]
        tenants = _Tenants(
            dict.fromkeys((*_OWN, "market"), city),
            city,
            neighbour,
            policies=write_policies(home, city, CITIES),
        )
        services.launch(_edited(home, tenants))
        client = ServicesClient(home, http)
        supplier = Supplier(city, client, "operator", (), files[city])
        link = Link(city, neighbour, client, files[city])
        hubs.append(Hub(city, home, client, (supplier,), link))
    return hubs


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
    whose = dict.fromkeys(("identity", "platform", "authority"), HUB)
    tenants = _Tenants(whose, HUB, suppliers=tuple(added))
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
        people: The tenant of the run's people.
        consumer: Whose its analyst is, and who buys at its market.
        suppliers: Name and zone of each gateway of another tenant, in the place of the run's own.
        policies: What is put in force, and what the gateway supplies under, where these are no
            policies that ship; then there is a market.
    """

    services: Mapping[str, str]
    people: str
    consumer: str = CONSUMER
    suppliers: tuple[tuple[str, str], ...] = field(default=())
    policies: tuple[Path, Path] | None = None


def _edited(home: Home, tenants: _Tenants) -> Iterator[ServiceSpec]:
    """The services of a run, each told whose it is and whom it knows."""
    specs = [*service_specs(home, years=sorted({year_text(MONTH), f"{utc_now():%Y}"}))]
    for spec in [*specs, *([market_spec(home)] if tenants.policies else [])]:
        zone, given = spec.name, dict(spec.environment)
        prefix = f"GRIDSECURE_{zone.upper()}_"
        if zone in tenants.services:
            given[f"{prefix}TENANT"] = tenants.services[zone]
        if tenants.policies is not None:
            in_force, supplied = map(str, tenants.policies)
            own_policy = {"gateway": {"SUPPLY_POLICY": supplied}, "identity": {}}
            for name, value in own_policy.get(zone, {"POLICY": in_force}).items():
                given[f"{prefix}{name}"] = value
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
        {**one, "tenant": tenants.consumer if one["name"] in _GUESTS else tenants.people}
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


def _answer(hub: Hub) -> _Told:
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
    asked = _release(hub)
    release = analyst.read(MONTH).release
    return replace(
        asked,
        total=read_total(QUESTION, [read_published(release)]),
        certificate=(release.signed_text or "").encode(),
    )


def _join(hubs: Sequence[Hub], told: Mapping[str, _Told]) -> dict[str, Decimal]:
    """What each city has of its own certificate and of the one that its neighbour told it [kWh]."""
    homes = {hub.tenant: hub.home for hub in hubs}
    agreements = {city: one.agreement for city, one in told.items()}
    joined = {}
    for hub in hubs:
        got = {city: one.certificate for city, one in told.items()}
        got[hub.tenant] = read_own(hub.client, told[hub.tenant].release)
        joined[hub.tenant] = join_totals(QUESTION, got, homes=homes, agreements=agreements)
    return joined


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


def _release(hub: Hub) -> _Told:
    """Have what waits released, once all officers approved it, and a neighbour agreed on it."""
    start = partial(hub.client.call, "custodian", "authority", "POST", "/release-rounds")
    waiting = [one["request_id"] for one in start() if one["state"] == "waiting"]
    officers = [*APPROVERS, *(name for one in hub.suppliers for name in one.officers)]
    for officer in officers:
        call = partial(hub.client.call, officer)
        approve_waiting(call, key=hub.home.people[officer], requests=waiting, now=utc_now())
    agreement = without = ""
    if hub.link is not None:
        (without,) = {str(one["reason"]) for one in start()}
        agreement = hub.link.agree()
        for release in waiting:
            hub.link.name(agreement, release)
    refused = [one for one in start() if one["state"] != "released"]
    if refused:
        raise GridSecureError(
            "The key authority refused the release.",
            reason=refused[0].get("reason") or "release.refused",
            remedy="The reason code says which check failed; the evidence log has the entry.",
        )
    return _Told(Decimal(0), waiting[0], b"", officers, agreement, without)


def _try_others(hubs: Sequence[Hub]) -> dict[str, str]:
    """Have people of one tenant ask gateways of another; the reason codes of their refusals."""
    everybody = [(hub, supplier) for hub in hubs for supplier in hub.suppliers]
    found: dict[str, str] = {}
    for hub, supplier in everybody:
        strangers = [(own, one) for own, one in everybody if one is not supplier]
        asking = [(own, one.operator, one.name) for own, one in strangers]
        consumer = hub.link.neighbour if hub.link else CONSUMER
        for own, person, whose in [*asking, (hub, "analyst", consumer)]:
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
