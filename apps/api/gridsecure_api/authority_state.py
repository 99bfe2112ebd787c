"""What the key authority's routes share: the checker they work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Annotated

from fastapi import Depends, Request

from gridsecure.key_authority.checker.held_policies import under_policy
from gridsecure.key_authority.checker.pull import PlatformPull
from gridsecure.key_authority.checker.query_trials import TrialMemory
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure_api.deps import Clock


@dataclass(frozen=True, slots=True)
class AuthorityState:
    """What the routes need.

    Args:
        zone: The checker's stores, keys and vault.
        round_lock: One release round at a time.
        told: Called when something happened that receivers may be told of.
        trials: What trials of questions remember.
    """

    zone: AuthorityZone
    pull: PlatformPull
    clock: Clock
    round_lock: Lock
    told: Callable[[], None]
    trials: TrialMemory = field(default_factory=TrialMemory)

    def zone_now(self) -> AuthorityZone:
        """The zone under the policy that holds now, for what goes by it from begin to end.

        Raises:
            StorageError: That a policy took over cannot be kept.
        """
        return under_policy(self.zone, now=self.clock())


async def _state(request: Request) -> AuthorityState:
    state: AuthorityState = request.app.state.authority
    return state


State = Annotated[AuthorityState, Depends(_state)]
