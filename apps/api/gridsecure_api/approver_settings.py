"""Whose signatures count, as settings say: officers', and those that prove agreements."""

from __future__ import annotations

from collections.abc import Iterable

from gridsecure.approvals import Approver, Approvers, pin_approvers
from gridsecure.circulation.agreed_releases import ProvedBy
from gridsecure.errors import InputError
from gridsecure.policy.language import Policy, join_approvals
from gridsecure_api.settings import ApproverEntry, ProvingSettings, key_registry, public_key


def read_approvers(entries: Iterable[ApproverEntry]) -> Approvers:
    """The officers of a setting, by key.

    Raises:
        InputError: A person or key is there twice (`approval.person`).
        InvalidMessageError: A key is no point of the curve.
    """
    return pin_approvers(
        Approver(one.person, one.role, public_key(one.public_key)) for one in entries
    )


def read_proved_by(settings: ProvingSettings) -> ProvedBy:
    """The keys that prove agreements, by their thumbprints.

    Raises:
        InvalidMessageError: A key is no point of the curve.
    """
    points = (settings.registrar_public_key, settings.market_public_key)
    return ProvedBy(*(key_registry(point) if point else {} for point in points))


def check_approvers(approvers: Approvers, policy: Policy) -> None:
    """Refuse a policy whose approvals nobody can give.

    Raises:
        InputError: It needs a role that nobody has (`approval.nobody`).
    """
    lacking = join_approvals(policy.rules).roles - {one.role for one in approvers.values()}
    if lacking:
        raise InputError(
            f"The release policy needs the approval of {', '.join(sorted(lacking))}, and no "
            "approver has that role.",
            reason="approval.nobody",
            remedy="Name the officers with their keys in the setting APPROVERS of key authority "
            "and vault (docs/approvals.md).",
        )
