"""The warrant routes over the offices' desk of a world, as a service of its own."""

from __future__ import annotations

from fastapi import FastAPI

from gridsecure_api.identity_warrants import WarrantService, router
from gridsecure_api.own_build import open_build
from gridsecure_api.serving import ServiceDescription, new_app
from gridsecure_api.settings import BuildSettings
from tests.apps.zone_apps import TestClock
from tests.grid_simulator import grid_keys
from tests.identity.identity_world import World, keys
from tests.identity.office_world import new_desk


def warrant_app(world: World, clock: TestClock) -> FastAPI:
    """The service; its clock stands until it is moved."""
    app = new_app(
        ServiceDescription(zone="identity", title="identity", text="The offices' side."),
        identity_key=grid_keys().identity.public_key,
        max_body_bytes=4 << 20,
        clock=clock,
        build=open_build(BuildSettings(), whose="the tests"),
    )
    app.include_router(router)
    app.state.warrants = WarrantService(new_desk(world), clock, keys().signers)
    return app
