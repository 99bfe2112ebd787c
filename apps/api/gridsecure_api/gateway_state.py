"""What the gateway's routes share: the service they work with, and files that come in a form."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, BinaryIO, Final

from fastapi import Depends, Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.errors import StorageError
from gridsecure.gateway.zone import GatewayZone
from gridsecure.store.log_tree import SignedLog
from gridsecure_api.deps import Clock
from gridsecure_api.gateway_months import MonthWorker
from gridsecure_api.gateway_timetable import Timetable

MAX_FILES: Final = 1000
"""Files of one month; a request with more is refused."""

FILE_LIST: Final[dict[str, Any]] = {
    "type": "array",
    "items": {"type": "string", "format": "binary"},
}
"""OpenAPI's words for files of one name in a form."""


@dataclass(frozen=True, slots=True)
class GatewayService:
    """What the routes work with.

    Args:
        billing_office: Whom expected bills are sealed to.
        log: What signs the gateway's log.
    """

    zone: GatewayZone
    worker: MonthWorker
    timetable: Timetable
    billing_office: Sm2PublicKey
    clock: Clock
    log: SignedLog


async def _service(request: Request) -> GatewayService:
    service: GatewayService = request.app.state.service
    return service


async def _read_form(request: Request) -> AsyncIterator[FormData]:
    try:
        async with request.form(max_files=MAX_FILES, max_fields=0) as form:
            yield form
    except OSError as error:
        raise StorageError(
            "The files could not be taken in; nothing was kept.",
            reason="storage.write",
            remedy="Free disk space on the gateway, then send them again.",
        ) from error


Service = Annotated[GatewayService, Depends(_service)]
Form = Annotated[FormData, Depends(_read_form)]


def form_files(form: FormData, name: str) -> list[BinaryIO]:
    """The files of one name in a form; what is none under that name is a bad request."""
    values = form.getlist(name)
    files = [value.file for value in values if isinstance(value, UploadFile)]
    if len(files) != len(values):
        raise HTTPException(400)
    return files
