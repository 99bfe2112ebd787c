"""Requests of gateways to the platform: a token bound to a key, and that key's signature each time.

Whose key it is the platform does not know; it knows the pseudonym in the token, keeps the first key
that came with it, and takes every counter once (`gridsecure.compute.holder_uploads`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

from gridsecure.compute.holder_uploads import admit_upload
from gridsecure.compute.intake import check_sender
from gridsecure.compute.seating import refuse_revoked_gateway
from gridsecure.compute.zone import PlatformZone
from gridsecure.credentials.uploads import (
    COUNTER_HEADER,
    HOLDER_HEADER,
    SIGNATURE_HEADER,
    Upload,
    brings_objects,
    digest_objects,
    name_objects,
)
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.crypto.sm3 import sm3_digest
from gridsecure.errors import AccessDeniedError, InvalidMessageError, SignatureError
from gridsecure.messages import Signed
from gridsecure.store.database import read_session
from gridsecure_api.deps import Clock, read_claims

ROLE: Final = "gateway"
_MAX_DIGITS: Final = 19


@dataclass(frozen=True, slots=True)
class Gateway:
    """Who sent a request.

    Args:
        subject: The pseudonym.
    """

    subject: str
    thumbprint: str

    def check_signer(self, envelope: Signed) -> None:
        """Refuse a message that another key signed than the one that sends it.

        Raises:
            SignatureError: It did (`authenticity.signer`).
        """
        if envelope.signer != self.thumbprint:
            raise SignatureError(
                "A message is not signed by its sender.", reason="authenticity.signer"
            )

    def check_upload(self, zone: PlatformZone, upload_id: str) -> None:
        """Refuse a step of another gateway's upload.

        Raises:
            NotFoundError: No such upload of this one.
        """
        check_sender(zone, upload_id, thumbprint=self.thumbprint)


async def signed_request(request: Request) -> Gateway:
    """The gateway behind a request, once token, signature, key and counter are checked.

    Raises:
        AuthenticityError: Any of them does not hold, or another role.
    """
    claims = read_claims(request)
    if claims.roles != (ROLE,) or claims.holder_thumbprint is None:
        raise AccessDeniedError("This role may not do this.")
    state = request.app.state.platform
    zone: PlatformZone = state.zone
    clock: Clock = state.clock
    body = await request.body()
    holder, signature = _holder(request), _bytes(request, SIGNATURE_HEADER)

    def admit() -> None:
        path = request.scope["path"]  # what is routed; a URL would be taken apart once more
        # Hashed once: the route finds them here.
        brings = brings_objects(path)
        request.state.objects = name_objects(body) if brings else {}
        digest = digest_objects(request.state.objects) if brings else sm3_digest(body)
        upload = Upload(
            method=request.method,
            path=path,
            token=request.headers["authorization"].partition(" ")[2],
            counter=_counter(request),
            body_digest=digest,
        )
        admit_upload(
            upload,
            signature=signature,
            claims=claims,
            holder=holder,
            engine=zone.engine,
            now=clock(),
        )
        with read_session(zone.engine) as session:
            refuse_revoked_gateway(session, claims.subject)

    await run_in_threadpool(admit)
    return Gateway(claims.subject, holder.thumbprint)


SignedBy = Annotated[Gateway, Depends(signed_request)]
"""The gateway that signed the request."""


def _holder(request: Request) -> Sm2PublicKey:
    try:
        return Sm2PublicKey(_bytes(request, HOLDER_HEADER))
    except InvalidMessageError as refused:
        raise _unsigned() from refused


def _bytes(request: Request, header: str) -> bytes:
    try:
        return bytes.fromhex(request.headers[header])
    except (KeyError, ValueError) as refused:
        raise _unsigned() from refused


def _counter(request: Request) -> int:
    text = request.headers.get(COUNTER_HEADER, "")
    if not (text.isascii() and text.isdecimal()) or len(text) > _MAX_DIGITS:
        raise _unsigned()
    return int(text)


def _unsigned() -> SignatureError:
    return SignatureError("An upload does not verify.", reason="authenticity.upload")
