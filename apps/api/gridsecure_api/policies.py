"""The release policy's routes, of key authority and platform alike: read it, put another in force.

A token says who brings a policy; what counts is the officers' signatures in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Annotated, Final, get_args

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from gridsecure.approvals import APPROVER_ROLES
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.crypto.tokens import TokenClaims
from gridsecure.policy.decisions import Change
from gridsecure.policy.language import parse_policy
from gridsecure.policy.signed_policies import SignedPolicy
from gridsecure.store.held_policies import HeldPolicy, PolicyShelf
from gridsecure.wire.policies import LooserCase, PoliciesTold, PolicyTakenIn, PolicyTold
from gridsecure.wire.services import PolicyStated, StatePolicy
from gridsecure_api.deps import Clock, require
from gridsecure_api.lists import KEPT_ANSWERS, answer_kept
from gridsecure_api.settings import Role

PATH: Final = "/policy"
_TOLD_FOR: Final = timedelta(minutes=1)

Reader = Depends(require(*get_args(Role)))
Putter = Annotated[TokenClaims, Depends(require(*APPROVER_ROLES, "operator"))]


@dataclass(frozen=True, slots=True)
class PolicyDesk:
    """What the routes need.

    Args:
        put: Takes a policy in that somebody brings at a moment; what it decides looser.
    """

    shelf: PolicyShelf
    put: Callable[[SignedPolicy, str, datetime], list[Change]]
    clock: Clock


async def _desk(request: Request) -> PolicyDesk:
    desk: PolicyDesk = request.app.state.policies
    return desk


Desk = Annotated[PolicyDesk, Depends(_desk)]


def state_policy(shelf: PolicyShelf, clock: Clock) -> StatePolicy:
    """How a service says at `/about` which policy is in force, with what it keeps them by.

    One request reads at a time, and others are told what was read last, for a minute: strangers who
    ask hold one connection to the database, however slow it is. Then nothing is said.
    """

    def read() -> PolicyStated | None:
        found = shelf.stand(now=clock()).in_force
        if found is None:
            return None
        policy = found.policy
        return PolicyStated(name=policy.name, version=policy.version, digest=policy.digest)

    kept, reading = [(clock(), read())], Lock()

    def state() -> PolicyStated | None:
        if reading.acquire(blocking=False):
            try:
                kept[0] = clock(), read()
            finally:
                reading.release()
        at, said = kept[0]
        return said if clock() - at <= _TOLD_FOR else None

    return state


router = APIRouter(tags=["policy"])


@router.get(PATH, dependencies=[Reader], response_model=PoliciesTold, responses=KEPT_ANSWERS)
def read_policy(request: Request, desk: Desk) -> Response:
    """The release policy in force, with the officers' signatures, and those that wait."""
    standing = desk.shelf.stand(now=desk.clock())
    found = standing.in_force
    told = PoliciesTold(
        in_force=None if found is None else _told(found), waiting=list(map(_told, standing.waiting))
    )
    text = told.model_dump_json()
    return answer_kept(request, sm3_hex(text.encode()), lambda: text)


@router.put(PATH)
def put_policy(document: SignedPolicy, putter: Putter, desk: Desk) -> PolicyTakenIn:
    """Take a policy in that officers signed, or a stricter one that ships; it holds from its day.

    The one that was taken in last changes nothing. The answer says what gets looser.
    """
    looser = desk.put(document, putter.subject, desk.clock())
    policy = parse_policy(document.text)
    return PolicyTakenIn(
        digest=policy.digest,
        name=policy.name,
        version=policy.version,
        looser=[
            LooserCase(
                **one.case._asdict(),
                before=one.before and one.before.minimum,
                after=one.after and one.after.minimum,
            )
            for one in looser
        ],
    )


def _told(one: HeldPolicy) -> PolicyTold:
    policy = one.policy
    return PolicyTold(
        digest=policy.digest,
        name=policy.name,
        version=policy.version,
        begins_at=one.begins_at.isoformat(),
        text=policy.text,
        signatures=list(one.signatures),
    )
