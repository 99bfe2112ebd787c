"""The four services as applications on folders of a test, and tokens for them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path

from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import Response

from gridsecure.credentials.access import ISSUER
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.crypto.tokens import TokenClaims, issue_token
from gridsecure.gateway.identity_peer import HolderLogin
from gridsecure.identity.access_tokens import give_token
from gridsecure.wire.problems import REFUSED
from gridsecure.zone_keys import SIGNING_KEY, make_zone_folder
from gridsecure_api.authority import create_authority_app
from gridsecure_api.deps import Clock
from gridsecure_api.encryption import create_encryption_app
from gridsecure_api.gateway import create_gateway_app
from gridsecure_api.gateway_peers import HolderAuth
from gridsecure_api.identity import create_identity_app
from gridsecure_api.identity_zone import ISSUER_KEY
from gridsecure_api.market import create_market_app
from gridsecure_api.platform import create_platform_app
from gridsecure_api.settings import (
    AuthoritySettings,
    EncryptionSettings,
    GatewaySettings,
    IdentitySettings,
    MarketSettings,
    PersonEntry,
    PlatformSettings,
    ServiceEntry,
)
from tests.approving import ENTRIES, approval_of
from tests.grid_simulator import NOW, OFFICE, grid_keys
from tests.identity.identity_world import PEOPLE
from tests.identity.identity_world import keys as identity_keys
from tests.identity.identity_world import suite as identity_suite


class TestClock:
    """A clock that stands until it is moved."""

    __test__ = False

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **span: float) -> None:
        self.now += timedelta(**span)


def point(key: Sm2PrivateKey) -> str:
    return key.public_key.point.hex()


def bearer(
    audience: str,
    *roles: str,
    person: str = "clerk",
    key: Sm2PrivateKey | None = None,
    valid: tuple[datetime, datetime] = (NOW, NOW + timedelta(minutes=5)),
    tenant: str = "",
) -> dict[str, str]:
    """The header of somebody who signed in."""
    given = give_token(
        person,
        roles=roles,
        audience=audience,
        key=key or grid_keys().identity,
        valid=valid,
        tenant=tenant,
    )
    return {"Authorization": f"Bearer {given.token}"}


def refused_body(status: int) -> dict[str, object]:
    """What everybody outside reads of whatever is not trusted."""
    return {**REFUSED.model_dump(), "status": status, "title": HTTPStatus(status).phrase}


def is_refused(answer: Response, status: int) -> bool:
    """Whether an answer is that to whatever is not trusted, or to a good token of another role."""
    if (answer.status_code, answer.json()["reason"]) == (403, "authenticity.role"):
        return status == 403 and answer.json()["detail"].startswith("Only the role")
    return (answer.status_code, answer.json()) == (status, refused_body(status))


def holder_token(subject: str, *, key: Sm2PrivateKey, **changes: object) -> HolderLogin:
    """A pseudonym's token for the platform, as the token service gives it."""
    claims = TokenClaims(
        subject=subject,
        roles=("gateway",),
        audience="platform",
        issuer=ISSUER,
        issued_at=NOW,
        expires_at=NOW + timedelta(minutes=5),
        token_id=secrets.token_hex(16),
        holder_thumbprint=key.public_key.thumbprint,
    )
    claims = replace(claims, **changes)
    return HolderLogin(issue_token(claims, key=grid_keys().identity), claims.expires_at)


def gateway_auth(key: Sm2PrivateKey | None = None, *, subject: str | None = None) -> HolderAuth:
    """How the grid's gateway, or another, signs its requests to the platform."""
    own = key or grid_keys().gateway
    name = subject or sm3_hex(own.public_key.point)
    return HolderAuth(lambda: (holder_token(name, key=own), own), clock=TestClock())


GATEWAY = gateway_auth()
"""One for all tests: its counter only rises."""


def place_key(folder: Path, key: Sm2PrivateKey | bytes, *, name: str = SIGNING_KEY) -> None:
    """Give a zone the session's key before its first start."""
    path = make_zone_folder(folder) / name
    path.write_bytes(key if isinstance(key, bytes) else key.to_bytes())
    path.chmod(0o600)


def identity_settings(folder: Path, **changes: object) -> IdentitySettings:
    """Settings of an identity service that is fully set up; its keys are in its folder."""
    made, keys = identity_keys(), grid_keys()
    place_key(folder, keys.identity)
    place_key(folder, made.issuer.to_bytes(identity_suite()), name=ISSUER_KEY)
    services = (
        ServiceEntry(role="gateway", public_key=point(keys.gateway)),
        ServiceEntry(role="platform", public_key=point(keys.platform)),
        ServiceEntry(role="authority", public_key=point(keys.authority)),
    )
    people = tuple(
        PersonEntry(name=name, roles=roles, public_key=point(made.people[name]))
        for name, roles in PEOPLE.items()
    )
    settings = IdentitySettings(
        folder=folder,
        statements=tuple(one.model_dump_json() for one in made.statements),
        utility_public_key=point(made.staters["utility"]),
        regulator_public_key=point(made.staters["regulator"]),
        periods=("2026", "2027"),
        people=people,
        services=services,
    )
    return settings.model_copy(update=changes)


def identity_app(folder: Path, *, clock: TestClock | None = None, **changes: object) -> FastAPI:
    settings = identity_settings(folder, **changes)
    return create_identity_app(settings, clock=clock or TestClock())


def platform_settings(folder: Path, **changes: object) -> PlatformSettings:
    keys = grid_keys()
    place_key(folder, keys.platform)
    return PlatformSettings(
        folder=folder,
        identity_public_key=point(keys.identity),
        authority_public_key=point(keys.authority),
        billing_office_public_key=point(OFFICE),
        workers=1,
        policy="uniform-15",
        approvers=ENTRIES,
    ).model_copy(update=changes)


def platform_app(folder: Path, **changes: object) -> FastAPI:
    return create_platform_app(platform_settings(folder, **changes), clock=TestClock())


def gateway_app(folder: Path, *, clock: Clock | None = None, **told: int | str) -> FastAPI:
    keys = grid_keys()
    settings = GatewaySettings(
        folder=folder,
        identity_public_key=point(keys.identity),
        identity_url="http://identity.invalid",
        platform_url="http://platform.invalid",
        authority_url="http://authority.invalid",
        authority_public_key=point(keys.authority),
        billing_office_public_key=point(keys.stranger),
        utility_public_key=point(identity_keys().staters["utility"]),
        regulator_public_key=point(identity_keys().staters["regulator"]),
        **({"batch_processes": 0} | told),
    )
    return create_gateway_app(settings, clock=clock or TestClock())


def authority_settings(folder: Path, *, vault: Path, **changes: object) -> AuthoritySettings:
    """Settings of a key authority that is fully set up; its key is in its folder."""
    keys = grid_keys()
    place_key(folder, keys.authority)
    return AuthoritySettings(
        folder=folder,
        identity_public_key=point(keys.identity),
        identity_url="http://identity.invalid",
        platform_url="http://platform.invalid",
        platform_public_key=point(keys.platform),
        billing_office_public_key=point(OFFICE),
        vault_socket=vault,
        workers=0,
        policy="uniform-15",
        approvers=ENTRIES,
    ).model_copy(update=changes)


def authority_app(folder: Path, **changes: object) -> FastAPI:
    stranger = point(grid_keys().stranger)
    settings = authority_settings(
        folder, vault=folder / "no-vault", billing_office_public_key=stranger, **changes
    )
    return create_authority_app(settings, clock=TestClock())


def approve_waiting(client: TestClient) -> None:
    """As the officers: approve over the routes what waits."""
    for asked in client.get("/approvals?only=waiting", headers=officer("data-owner")).json():
        for role in asked["missing"]:
            body = approval_of(asked["text"], role=role).model_dump()
            answer = client.post("/approvals", json=body, headers=officer(role))
            assert answer.status_code == 200, answer.text


def officer(role: str) -> dict[str, str]:
    """The header of an officer who signed in."""
    return bearer("authority", role, person=role)


def answered_round(client: TestClient, headers: dict[str, str] | None = None) -> Response:
    """A release round, and another one once officers approved what waited in it."""
    answer = client.post("/release-rounds", headers=headers)
    if all(one["state"] != "waiting" for one in answer.json()):
        return answer
    approve_waiting(client)
    return client.post("/release-rounds", headers=headers)


def market_app(folder: Path, tenant: str = "") -> FastAPI:
    keys = grid_keys()
    settings = MarketSettings(
        folder=folder,
        identity_public_key=point(keys.identity),
        registrar_public_key=point(keys.stranger),
        authority_public_key=point(keys.authority),
        policy="uniform-15",
        approvers=ENTRIES,
        tenant=tenant,
    )
    return create_market_app(settings, clock=TestClock())


def encryption_app(folder: Path, tenant: str = "") -> FastAPI:
    keys = grid_keys()
    settings = EncryptionSettings(
        folder=folder,
        identity_public_key=point(keys.identity),
        authority_public_key=point(keys.authority),
        tenant=tenant,
    )
    return create_encryption_app(settings, clock=TestClock())


@contextmanager
def every_zone(folder: Path, *, tenant: str = "") -> Iterator[dict[str, TestClient]]:
    """The four services, the data market and the encryption service, running."""
    market = market_app(folder / "market", tenant)
    encryption = encryption_app(folder / "encryption", tenant)
    with (
        all_services(folder, tenant=tenant) as running,
        TestClient(market) as documents,
        TestClient(encryption) as keys,
    ):
        yield running | {"market": documents, "encryption": keys}


@contextmanager
def all_services(folder: Path, *, tenant: str = "") -> Iterator[dict[str, TestClient]]:
    """The four services by zone, running."""
    apps = {
        "identity": identity_app(folder / "identity", tenant=tenant),
        "gateway": gateway_app(folder / "gateway", tenant=tenant),
        "platform": platform_app(folder / "platform", tenant=tenant),
        "authority": authority_app(folder / "authority", tenant=tenant),
    }
    with ExitStack() as stack:
        yield {name: stack.enter_context(TestClient(app)) for name, app in apps.items()}
