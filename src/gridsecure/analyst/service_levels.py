"""Which security level each service says it is held to, and how levels differ.

Services say it themselves, at `/about`, to everybody; no token is needed for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import httpx

from gridsecure.analyst.policies import StandingPolicies
from gridsecure.policy.levels import (
    SWITCHES,
    Level,
    find_level,
    find_policy_shortfalls,
    find_weaker_switches,
    list_levels,
    load_level,
)
from gridsecure.wire.answers import fetch_body
from gridsecure.wire.client import parse_answer
from gridsecure.wire.services import About
from gridsecure.wire.words import PeopleWords

ALL_SWITCHES: Final[tuple[str, ...]] = SWITCHES
OF_POLICY: Final = frozenset({"approvals", "groups", "noise"})
"""Switches that a release policy is held to."""


class ServiceLevel(NamedTuple):
    """What a service says of itself.

    Args:
        name: Of its level; empty where it is held to none.
        digest: Of the level's text; likewise.
        is_confined: Whether its worker processes are; None where it has none.
        is_attested: Whether it shows a statement of its maker.
    """

    service: str
    name: str
    digest: str
    is_confined: bool | None
    is_attested: bool


def read_service_level(http: httpx.Client, *, service: str, address: str) -> ServiceLevel:
    """Ask a service which level it has.

    Raises:
        GridSecureError: It cannot be reached or answers in another shape.
    """
    content = fetch_body(http, "GET", f"{address.rstrip('/')}/about", service=service)
    about = parse_answer(content, About, words=PeopleWords(service))
    box, level = about.sandbox, about.level
    return ServiceLevel(
        service=service,
        name=level.name if level else "",
        digest=level.digest if level else "",
        is_confined=None if box is None else box.files and box.programs,
        is_attested=about.build_statement is not None,
    )


@dataclass(frozen=True, slots=True)
class LevelShown:
    """A level that ships, as it is set beside another one."""

    level: Level

    @property
    def name(self) -> str:
        """Its name; of two, the stricter one's is later."""
        return self.level.name

    def stricter_switches(self, than: LevelShown | None) -> list[str]:
        """The switches in which it asks for more than another level; all of them, than none."""
        if than is None:
            return list(ALL_SWITCHES)
        return [str(switch) for switch in find_weaker_switches(than.level, self.level)]

    def count_shortfalls(self, standing: StandingPolicies) -> Counter[str] | None:
        """How often the policy in force falls below it, by switch; None where none is in force."""
        if standing.in_force is None:
            return None
        found = find_policy_shortfalls(self.level, standing.in_force.policy)
        return Counter(str(one.switch) for one in found)


def list_shown() -> list[LevelShown]:
    """The levels that ship, from the weakest to the strictest."""
    return [LevelShown(load_level(name)) for name in list_levels()]


def find_in_force(told: Sequence[ServiceLevel]) -> LevelShown | None:
    """The level that ships which every service names; None where there is no such level."""
    digests = {one.digest for one in told}
    found = find_level(digests.pop()) if len(digests) == 1 else None
    return None if found is None else LevelShown(found)
