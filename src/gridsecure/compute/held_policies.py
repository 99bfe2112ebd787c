"""The platform's release policies: by the one in force a run's load curves are laid out."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Engine

from gridsecure.compute.tables import PolicyRow
from gridsecure.compute.zone import PlatformZone
from gridsecure.policy.levels import Level
from gridsecure.store.held_policies import PolicyShelf

ACTOR = "platform"


def policy_shelf(engine: Engine, level: Level | None = None) -> PolicyShelf:
    """The platform's policies, which all platforms on one database share.

    Args:
        level: What those that are taken in are held to.
    """
    return PolicyShelf(engine, PolicyRow, actor=ACTOR, level=level)


def under_policy(zone: PlatformZone, *, now: datetime) -> PlatformZone:
    """A zone with the policy that holds at a moment, for planning one run.

    Raises:
        StorageError: That a policy took over cannot be kept.
    """
    policy = policy_shelf(zone.engine).stand(now=now).policy
    return zone if policy is None else replace(zone, policy=policy.at(now))
