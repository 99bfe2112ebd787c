"""Which policy may follow which: nothing gets looser but by officers and under a larger version.

What is taken in later supersedes what was taken in before, from its first day on. Until then it
waits. So a new policy is compared with the one in force and with all that wait.

What was replaced comes back only to tighten, whoever signed it and however lately: officers who
regret a policy replace it, and nobody brings their paper out again. So no texts take turns, either.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from gridsecure.approvals import APPROVER_ROLES
from gridsecure.errors import InputError
from gridsecure.policy.decisions import Change, compare_policies
from gridsecure.policy.language import Policy
from gridsecure.policy.signed_policies import OpenedPolicy, unsigned_error


@dataclass(frozen=True, slots=True)
class Predecessors:
    """What is known of the policies that were taken in before.

    Args:
        replaced: The one in force, and those that wait.
        altered: Whether another text had the new one's name and version.
        is_known: Whether the new one itself was taken in, and something else after it.
        newest: The largest version of all others; 0 if there is none.
    """

    replaced: tuple[Policy, ...]
    altered: bool
    is_known: bool
    newest: int


def check_successor(opened: OpenedPolicy, before: Predecessors) -> list[Change]:
    """The cases that a new policy decides looser than what it takes the place of.

    Raises:
        InputError: A policy of its name and version had another text (`policy.altered`); or it is
            looser somewhere, and older than one that was taken in, or was replaced itself; or it
            was replaced, and tightens nothing (`policy.rollback`).
        ReleaseRefusedError: It is looser somewhere, and officers did not sign it
            (`policy.unsigned`).
    """
    policy = opened.policy
    if before.altered:
        raise InputError(
            f"The policy {policy.name!r}, version {policy.version}, once had another text.",
            reason="policy.altered",
            remedy="Give the changed policy a larger version.",
        )
    looser = find_looser(before.replaced, policy)
    newest = max([before.newest, *(one.version for one in before.replaced if one != policy)])
    if looser and policy.version <= newest:
        raise InputError(
            f"The policy {policy.name!r} decides {len(looser)} cases looser than the one that "
            f"holds, and its version {policy.version} is no larger than {newest}.",
            reason="policy.rollback",
            remedy="Leave the policy that holds. Or, to release more from now on, give a copy of"
            " the new one a larger version and have officers sign it.",
        )
    if before.is_known and not _only_tightens(before.replaced, policy):
        raise InputError(
            f"The policy {policy.name!r}, version {policy.version}, was replaced by another, and "
            "tightens nothing that holds.",
            reason="policy.rollback",
            remedy="Leave the policy that holds. Or give a copy of the replaced one a larger"
            " version and have officers sign it.",
        )
    if looser and not opened.is_signed:
        raise unsigned_error(APPROVER_ROLES)
    return looser


def _only_tightens(replaced: Iterable[Policy], policy: Policy) -> bool:
    """Whether a policy is stricter than what it takes the place of, and looser nowhere."""
    changes = [one for before in replaced for one in compare_policies(before, policy)]
    return bool(changes) and not any(one.is_looser for one in changes)


def find_looser(replaced: Iterable[Policy], policy: Policy) -> list[Change]:
    """Each case that a policy decides looser than one of those that it takes the place of."""
    found = {
        change.case: change
        for before in replaced
        for change in compare_policies(before, policy)
        if change.is_looser
    }
    return list(found.values())


def begins_at(policy: Policy, *, taken_in: datetime) -> datetime:
    """When a policy takes over: on its day, and not before it was taken in."""
    return max(policy.in_force_from, taken_in)
