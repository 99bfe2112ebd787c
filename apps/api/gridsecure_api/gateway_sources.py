"""Routes of the gateway for its sources: an operator registers, changes, suspends and removes them.

A source signs in with its key at the identity service, where the same key is registered under the
same name (`identity_sources`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from gridsecure.crypto.tokens import TokenClaims
from gridsecure.gateway.ingestion.notices import retry_notices
from gridsecure.gateway.ingestion.source_states import remove_source, replace_key, set_state
from gridsecure.gateway.ingestion.sources import (
    Source,
    find_overlaps,
    list_sources,
    register_source,
)
from gridsecure.gateway.meanings import Unit
from gridsecure.gateway.zone import GatewayZone
from gridsecure.wire.gateway import SourceRegistered
from gridsecure.wire.services import NoticesRetried
from gridsecure_api.deps import require
from gridsecure_api.gateway_readings import OPERATOR, In
from gridsecure_api.lists import KEPT_ANSWERS, answer_whole
from gridsecure_api.settings import PublicPoint, public_key

Operator = Annotated[TokenClaims, Depends(require(OPERATOR))]

router = APIRouter(prefix="/v1/sources", tags=["readings"])


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class SourceDeclared(_Body):
    """What a source declares of itself and its readings."""

    public_key: PublicPoint
    meter_points: list[str] = Field(default=[""], max_length=1000)
    stamps: Literal["", "start", "end"] = ""
    timezone: str = Field(default="", max_length=64)
    webhook: str = Field(default="", max_length=2000)
    interval_minutes: int = Field(default=0, ge=0, le=1440)
    formats: list[str] = Field(default=[], max_length=100)
    unit: Unit = ""


class KeyReplaced(_Body):
    """The public key that takes the place of a source's."""

    public_key: PublicPoint


class StateWanted(_Body):
    """Whether a source may send."""

    state: Literal["active", "suspended"]


@router.put("/{name}")
def put_source(name: str, wanted: SourceDeclared, intake: In, claims: Operator) -> SourceRegistered:
    """Register a meter-data system, or replace what the one of that name declared.

    A suspended one stays so. Its key is replaced by `PUT /v1/sources/{name}/key`.
    """
    source = register_source(
        intake.zone,
        name,
        key=public_key(wanted.public_key),
        meter_points=wanted.meter_points,
        stamps=wanted.stamps,
        timezone=wanted.timezone,
        webhook=wanted.webhook,
        interval_minutes=wanted.interval_minutes,
        formats=wanted.formats,
        unit=wanted.unit,
        person=claims.subject,
        at=intake.clock(),
    )
    intake.turns.prepare()  # before its first batch
    return _shown(intake.zone, source)


@router.put("/{name}/key")
def put_source_key(
    name: str, wanted: KeyReplaced, intake: In, claims: Operator
) -> SourceRegistered:
    """Give a source another key; tokens of the earlier one are refused from now on."""
    key = public_key(wanted.public_key)
    source = replace_key(intake.zone, name, key=key, person=claims.subject, at=intake.clock())
    return _shown(intake.zone, source)


@router.put("/{name}/state")
def put_source_state(
    name: str, wanted: StateWanted, intake: In, claims: Operator
) -> SourceRegistered:
    """Suspend a source, whose requests are refused from now on (409), or resume it.

    What it sent stays, and an operator reads it as before.
    """
    source = set_state(
        intake.zone, name, state=wanted.state, person=claims.subject, at=intake.clock()
    )
    return _shown(intake.zone, source)


@router.post("/{name}/notices/retries")
def retry_source_notices(name: str, intake: In, claims: Operator) -> NoticesRetried:
    """Send again the notices to a source that were given up, within a minute.

    One that is suspended is resumed first (409).
    """
    again = retry_notices(intake.zone, name, person=claims.subject, at=intake.clock())
    return NoticesRetried(notices=again)


@router.delete("/{name}")
def delete_source(name: str, intake: In, claims: Operator) -> SourceRegistered:
    """Remove a source for good; what it sent stays, and so does its name."""
    source = remove_source(intake.zone, name, person=claims.subject, at=intake.clock())
    return _shown(intake.zone, source)


@router.get(
    "",
    dependencies=[Depends(require(OPERATOR))],
    response_model=list[SourceRegistered],
    responses=KEPT_ANSWERS,
)
async def read_sources(request: Request, intake: In) -> Response:
    """All sources, by name; also those that are suspended or were removed."""

    def read() -> list[SourceRegistered]:
        every = list_sources(intake.zone)
        overlaps = find_overlaps(every)
        return [_registered(intake.zone, source, overlaps[source.name]) for source in every]

    return await answer_whole(request, read)


def _shown(zone: GatewayZone, source: Source) -> SourceRegistered:
    return _registered(zone, source, find_overlaps(list_sources(zone))[source.name])


def _registered(zone: GatewayZone, source: Source, overlaps: list[str]) -> SourceRegistered:
    return SourceRegistered(
        name=source.name,
        thumbprint=source.thumbprint,
        state=source.state,
        meter_points=list(source.meter_points),
        stamps=source.stamps,
        timezone=source.timezone,
        webhook=source.webhook,
        interval_minutes=source.interval_minutes,
        formats=list(source.formats),
        unit=source.unit,
        overlaps=overlaps,
        gateway_key=zone.signing_key.public_key.point.hex(),
    )
