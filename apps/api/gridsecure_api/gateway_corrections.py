"""Routes of the gateway for corrections of a finished month: by files, and by late batches."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Depends

from gridsecure.errors import InvalidMessageError
from gridsecure.gateway.correction_plan import save_correction
from gridsecure.wire.gateway import CorrectionStatus
from gridsecure_api.deps import require
from gridsecure_api.gateway_state import FILE_LIST, Form, Service, form_files

router = APIRouter(prefix="/months/{month}/corrections", tags=["corrections"])

_PARTS: Final = ("readings", "tariffs")
_FORM: Final[dict[str, Any]] = {
    "requestBody": {
        "required": False,
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "properties": dict.fromkeys(_PARTS, FILE_LIST)}
            }
        },
    }
}


@router.post("", dependencies=[Depends(require("operator"))], openapi_extra=_FORM, status_code=202)
def start_correction(month: str, service: Service, form: Form) -> CorrectionStatus:
    """Correct a finished month in the background, by what is sent and by batches that came late.

    Files of readings lie over all that came before, interval by interval; a tariff takes the place
    of the one with its id. Sending the same again resumes the same correction. One that failed or
    was interrupted before is finished first.
    """
    if set(form) - set(_PARTS):
        raise InvalidMessageError(
            "A correction has files named readings and files named tariffs.",
            reason="message.correction-files",
            remedy="Send them as multipart/form-data, or nothing for late batches alone.",
        )
    readings, tariffs = (form_files(form, name) for name in _PARTS)
    return service.worker.correct(
        month,
        lambda: save_correction(service.zone, month, readings=readings, tariffs=tariffs),
    )


@router.get("", dependencies=[Depends(require("operator", "billing"))])
def read_corrections(month: str, service: Service) -> list[CorrectionStatus]:
    """The corrections of a month, in order, and where each stands."""
    return service.worker.corrections(month)
