"""On whose terms columns are told of: what a gateway's owner signed into its rosters.

The policy in force is nobody's own where several owners supply one platform. So each may say on
which terms it supplies (维持原有数据供给协议): a release policy, and officers, of whom one approves
each release. Terms stand in the roster, which the gateway signs and every holder's seat names, and
so they go wherever its columns go. Checker and vault each compare the policy in force with them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from gridsecure.errors import GridSecureError
from gridsecure.messages import Digest, RosterManifest, SupplyTerms
from gridsecure.policy.decisions import compare_policies
from gridsecure.policy.language import Policy, parse_policy

LOOSER: Final = "policy.supply"


def check_supply(policy: Policy, supplied: Iterable[SupplyTerms]) -> None:
    """Let a request wait while the policy in force is looser than what a column was supplied under.

    Args:
        supplied: As rosters have them.

    Raises:
        GridSecureError: It is looser in some case (`policy.supply`); another one may be put in
            force, so nothing is refused.
        InputError: A roster's policy is none, as `parse_policy`.
    """
    for text in {one.policy for one in supplied if one.policy}:
        if _is_looser(policy.text, text):
            name = parse_policy(text).name
            raise GridSecureError(
                f"The release policy is looser than {name!r}, under which columns were supplied.",
                reason=LOOSER,
                remedy="Put a policy in force that is as strict as each supplier's "
                "(gridsecure policy strictest).",
            )


@lru_cache(maxsize=256)
def _is_looser(in_force: str, supplied: str) -> bool:
    """Of texts, because a policy that is asked at a moment is another object each time."""
    changes = compare_policies(parse_policy(supplied), parse_policy(in_force))
    return any(one.is_looser for one in changes)


def list_terms(rosters: Iterable[RosterManifest]) -> list[SupplyTerms]:
    """Whatever terms rosters have, each once."""
    found: list[SupplyTerms] = []
    for roster in rosters:
        if roster.supply is not None and roster.supply not in found:
            found.append(roster.supply)
    return found


def find_suppliers(supplied: Iterable[SupplyTerms]) -> list[list[Digest]]:
    """Of each supplier that wants to be asked, the keys of its officers; each once, in order."""
    found = {tuple(sorted(set(one.officers))) for one in supplied}
    return [list(one) for one in sorted(found) if one]
