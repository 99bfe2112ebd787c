"""What every service answers alike: what it is, that it runs, what a reason code means."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gridsecure.builds import BuildStatement
from gridsecure.messages import Signed

Count = Annotated[int, Field(ge=0)]
"""How many there are, or how many bytes."""


class Answer(BaseModel):
    """The JSON of an answer, as the service sends it and as a client reads it.

    Fields that a later release adds do a client no harm; a field of another type is an error, and
    its value stays out of it.
    """

    model_config = ConfigDict(frozen=True, strict=True, hide_input_in_errors=True)


class WorkerSandbox(Answer):
    """What the kernel keeps from the worker processes that decode what others sent.

    `files` says that they see no files but their own; `network` that they open no connection;
    `programs` that they start none and look into no other process. `by` is what does it.
    """

    files: bool
    network: bool
    programs: bool
    by: list[str]


class LevelStated(Answer):
    """The security level that a service says it has: its name, and the digest of its text."""

    name: str
    digest: str


class PolicyStated(Answer):
    """The release policy that a service says is in force there, with the digest of its text."""

    name: str
    version: int
    digest: str


StatePolicy = Callable[[], PolicyStated | None]
"""Says which release policy is in force now; None while none is."""


class About(Answer):
    """What a service says of itself; the last two are the identity service's.

    `logs` are the public keys of its logs by their paths, each as signed notes name keys. `build`
    is what it measured of its own software, and `build_statement` what the maker signed of it.
    `sandbox` is there where a service has worker processes that can be confined, and `level` where
    it is held to a security level. `policy` is there where a release policy is in force.
    """

    zone: str
    title: str
    description: str
    version: str
    sm2_engines: list[str]
    logs: dict[str, list[str]]
    build: BuildStatement | None = None
    build_statement: Signed | None = None
    sandbox: WorkerSandbox | None = None
    level: LevelStated | None = None
    policy: PolicyStated | None = None
    periods: list[str] | None = None
    local_demonstration_only: list[str] | None = None


class Usage(Answer):
    """What a party used of one thing in a month: jobs, bytes, cells that were told."""

    party: str
    measure: str
    amount: Count


class MonthUsage(Answer):
    """What was used in a month, by party and measure; `month` is one of UTC."""

    month: str
    used: list[Usage]


class ReceiverRegistered(Answer):
    """Who is told of events, and where; its notices are signed with `service_key`."""

    name: str
    address: str
    events: list[str]
    service_key: str


class EventNoticeStatus(Answer):
    """A notice of an event, made `at`: whether its receiver was told, or when it is tried again.

    `entry` is the entry of the evidence log that says what happened.
    """

    event: str
    subject: str
    count: Count
    entry: Count
    state: Literal["waiting", "told", "given-up"]
    attempts: Count
    at: str
    due_at: str | None


class NoticesRetried(Answer):
    """How many notices that were given up are sent again."""

    notices: Count


class Health(Answer):
    """Given while a service runs."""

    state: str


class Ready(Answer):
    """Given while a service can do its work."""

    state: Literal["ready"]


class Meaning(Answer):
    """One thing that a reason code may mean."""

    message: str
    remedy: str


class ReasonMeaning(Answer):
    """What a reason code means; words in braces stand for what varies."""

    code: str
    meanings: list[Meaning]

    @classmethod
    def of(cls, code: str, *, meanings: Iterable[tuple[str, str]]) -> ReasonMeaning:
        """A code with each message and remedy that stands under it."""
        said = [Meaning(message=message, remedy=remedy) for message, remedy in meanings]
        return cls(code=code, meanings=said)
