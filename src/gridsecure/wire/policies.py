"""What key authority and platform answer of their release policies."""

from __future__ import annotations

from gridsecure.messages import Digest, Signed
from gridsecure.wire.services import Answer


class PolicyTold(Answer):
    """A policy as it was written, and the officers' signatures; of one that ships perhaps none.

    `begins_at` is when it took over, or takes over, ISO 8601.
    """

    digest: Digest
    name: str
    version: int
    begins_at: str
    text: str
    signatures: list[Signed]


class PoliciesTold(Answer):
    """The policy in force, and those that take over later.

    Nothing is in force before the first one's day.
    """

    in_force: PolicyTold | None
    waiting: list[PolicyTold]


class LooserCase(Answer):
    """What a new policy decides looser.

    `before` and `after` are the fewest customers that it may be about; none where it is refused.
    The measure is "request", and both are 0, where nothing of these customers is told and fewer
    approve what is asked about them: bills are issued all the same.
    """

    measure: str
    resolution: str
    customer_class: str
    role: str
    purpose: str
    before: int | None
    after: int | None


class PolicyTakenIn(Answer):
    """A policy that was taken in, and each case that it decides looser than what it replaces."""

    digest: Digest
    name: str
    version: int
    looser: list[LooserCase]
