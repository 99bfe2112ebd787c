"""The officers of a setting, for key authority and vault: no other service looks at a policy."""

from __future__ import annotations

from collections.abc import Iterable

from gridsecure.approvals import Approver, Approvers, pin_approvers
from gridsecure.errors import InputError
from gridsecure.policy.language import Policy, join_approvals
from gridsecure_api.settings import ApproverEntry, public_key


def read_approvers(entries: Iterable[ApproverEntry], *, policy: Policy) -> Approvers:
    """The officers of a setting, by key.

    Raises:
        InputError: A person or key is there twice (`approval.person`), or the policy needs a role
            that nobody has (`approval.nobody`).
        InvalidMessageError: A key is no point of the curve.
    """
    found = pin_approvers(
        Approver(one.person, one.role, public_key(one.public_key)) for one in entries
    )
    lacking = join_approvals(policy.rules).roles - {one.role for one in found.values()}
    if lacking:
        raise InputError(
            f"The release policy needs the approval of {', '.join(sorted(lacking))}, and no "
            "approver has that role.",
            reason="approval.nobody",
            remedy="Name the officers with their keys in the setting APPROVERS of key authority "
            "and vault (docs/approvals.md).",
        )
    return found
