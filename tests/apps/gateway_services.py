"""The gateway service with the real identity service and platform behind it, in one process."""

from __future__ import annotations

from pathlib import Path

import httpx

from gridsecure.crypto.envelope import open_from
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.identity.access_tokens import give_token
from gridsecure.messages import ReleaseCertificate, Signed, open_message, sign_message
from gridsecure.periods import billing_month
from gridsecure.statement_checks import EXPECTED_PURPOSE, ExpectedBills
from gridsecure_api.gateway import create_gateway_app
from gridsecure_api.gateway_peers import SEED_FILE, open_zone
from gridsecure_api.identity import create_identity_app
from gridsecure_api.platform import create_platform_app
from gridsecure_api.settings import GatewaySettings, ServiceEntry
from tests.apps.zone_apps import identity_settings, place_key, platform_settings, point
from tests.cli.in_process import client_of
from tests.gateway.gateway_world import (
    MONTH,
    SEED,
    GatewayWorld,
    enrolled_authority,
    enrolled_records,
)
from tests.grid_simulator import NOW
from tests.identity.identity_world import keys as identity_keys

OFFICE = generate_private_key()


class Services:
    """The gateway service between the real identity service and platform; the authority publishes.

    Args:
        folder: Where everything goes.
        met: Whether the gateway has the records of a year in which it enrolled everybody.
        cycle_day: Day of the month that its billing periods begin on.
    """

    def __init__(self, folder: Path, *, met: bool = True, cycle_day: int = 1) -> None:
        self.world = GatewayWorld(folder)
        self.grid = self.world.grid
        self.folder = folder / "service"
        self.settings = GatewaySettings(
            folder=self.folder,
            identity_public_key=point(self.grid.identity_key),
            utility_public_key=point(identity_keys().staters["utility"]),
            regulator_public_key=point(identity_keys().staters["regulator"]),
            identity_url="http://identity",
            platform_url="http://platform",
            authority_url="http://authority",
            authority_public_key=point(self.grid.authority_key),
            billing_office_public_key=point(OFFICE),
            max_body_bytes=4_000_000,
            cycle_day=cycle_day,
            batch_processes=0,  # turns are taken where a test sees them
        )
        if met:
            place_key(self.folder, self.grid.gateway_key)
            place_key(self.folder, SEED, name=SEED_FILE)
            (self.folder / "zone.db").write_bytes(enrolled_records())
            enrolled_authority(folder / "identity").close()
        zone = open_zone(self.settings)
        self.key = zone.signing_key
        zone.engine.dispose()
        self.identity = create_identity_app(
            identity_settings(
                folder / "identity",
                services=(ServiceEntry(role="gateway", public_key=point(self.key)),),
            ),
            clock=self.world.clock,
        )
        self.platform = create_platform_app(
            platform_settings(self.grid.folder), clock=self.world.clock
        )
        self.platform_requests: list[str] = []
        self.platform_is_down = False
        self.apps = []
        self.start()

    def start(self) -> None:
        """Start the gateway service on its folder, as after any end of the one before."""
        self.app = create_gateway_app(self.settings, clock=self.world.clock, connect=self.connect)
        self.apps.append(self.app)
        self.client = client_of(self.app)

    def connect(self, url: str, auth: httpx.Auth | None) -> httpx.Client:
        if url == "http://authority":
            transport = httpx.MockTransport(self.world.authority_answer)
            return httpx.Client(transport=transport, base_url=url, auth=auth)
        if url == "http://identity":
            return client_of(self.identity, url=url, auth=auth)

        def note(request: httpx.Request) -> None:
            self.platform_requests.append(request.url.path)
            if self.platform_is_down:
                raise httpx.ConnectError("down")

        return client_of(self.platform, url=url, auth=auth, event_hooks={"request": [note]})

    @property
    def worker(self):
        return self.app.state.service.worker

    @property
    def months(self) -> Path:
        return self.folder / "months"

    def close(self) -> None:
        for app in self.apps:
            app.state.service.worker.wait(20)
            app.state.service.zone.engine.dispose()
        self.platform.state.platform.zone.engine.dispose()
        self.identity.state.zone.close()
        self.world.close()

    def token(
        self, *roles: str, audience: str = "gateway", subject: str = "person"
    ) -> dict[str, str]:
        given = give_token(
            subject,
            roles=roles,
            audience=audience,
            key=self.grid.identity_key,
            valid=(NOW, NOW.replace(hour=10)),
        )
        return {"Authorization": f"Bearer {given.token}"}

    def call(self, method: str, path: str, *, role: str = "operator", **content) -> httpx.Response:
        return self.client.request(
            method, f"/months/{MONTH}{path}", headers=self.token(role), **content
        )

    def put_files(self, *, readings=None, contracts=None, tariffs=(), checks=()) -> httpx.Response:
        readings = [self.world.simulated.wide_csv()] if readings is None else readings
        contracts = self.world.contracts_csv() if contracts is None else contracts
        parts = [("readings", ("any/../name.csv", data)) for data in readings]
        parts += [("contracts", ("contracts.csv", contracts))]
        parts += [("tariffs", ("own.toml", data)) for data in tariffs]
        parts += [("checks", ("faces.csv", data)) for data in checks]
        return self.call("PUT", "/files", files=parts)

    def certificate(self, *rosters: str, key: Sm2PrivateKey | None = None, **changes) -> Signed:
        """The key authority's certificate that bills of these rosters were released."""
        period = billing_month(*map(int, MONTH.split("-")), timezone="Asia/Shanghai")
        certificate = ReleaseCertificate(
            release_id="1" * 32,
            plan="bill",
            plan_version=2,
            start=period.start.isoformat(),
            end=period.end.isoformat(),
            purpose="billing",
            requested_by="clerk",
            released_at=NOW.isoformat(),
            transcripts=[],
            outputs_digest="2" * 64,
            minimum_members=15,
            cells=[],
            statements=dict.fromkeys(rosters, "3" * 64),
            evidence_head="4" * 64,
        )
        changed = certificate.model_copy(update=changes)
        return sign_message(changed, key=key or self.grid.authority_key)

    def expect(self, *certificates: Signed) -> httpx.Response:
        """Ask as the billing office what is expected of these releases' statements."""
        shown = [certificate.model_dump() for certificate in certificates]
        return self.call("POST", "/expected-bills", role="billing", json=shown)

    def told(self, *certificates: Signed) -> ExpectedBills:
        """The answer, as the office opens it."""
        sealed = self.expect(*certificates).content
        text = open_from(sealed, private_key=OFFICE, purpose=EXPECTED_PURPOSE)
        trusted = {self.key.public_key.thumbprint: self.key.public_key}
        return open_message(Signed.parse(text), expect=ExpectedBills, trusted=trusted)

    def processed(self) -> dict:
        started = self.call("POST", "/process")
        assert started.status_code == 202, started.text
        self.worker.wait(300)
        return self.call("GET", "").json()
