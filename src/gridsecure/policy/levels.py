"""Security levels: profiles that say of all of a deployment's protections together how strong.

A level is a TOML file; `L1`, `L2` and `L3` ship. One setting of every service names it. What a
service is told besides, and the release policy that it takes in, may be stricter than the level and
never weaker: a service that finds a *shortfall* does not start, and takes no such policy in.

The digest of the level's text names it: between services, which work together under one level
alone, and in every release certificate. So the text of a level that shipped stays as it is; what is
to be changed becomes a level of another version, beside it.

What each switch is held to is compared here, of settings as they are told. That a kernel confines
and that a build is the released one is for those who do it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gridsecure.approvals import ApproverRole
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import InputError
from gridsecure.plans.cells import BILLS, OTHER_CLASSES, WHOLE
from gridsecure.plans.noise import EPSILON_WORDS, read_epsilon
from gridsecure.policy.language import FEWEST, MOST, Policy
from gridsecure.policy.packs import read_policy_text
from gridsecure.policy.private_answers import PrivateTerms, is_less_noise
from gridsecure.toml_documents import read_document

Switch = Literal["approvals", "groups", "noise", "custody", "sandbox", "attestation"]
SWITCHES: Final[tuple[Switch, ...]] = (
    "approvals", "groups", "noise", "custody", "sandbox", "attestation",
)  # fmt: skip
DIFFERS: Final = "level.differs"

_FOLDER: Final = Path(__file__).with_name("levels")
_LONGEST_HOURS: Final = 168
_MOST_CUSTODIANS: Final = 15


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class Approvals(_Part):
    """Whose approval every release needs.

    Args:
        roles: Roles of officers.
        standing: Whether standing authorisations may do for them.
    """

    roles: tuple[ApproverRole, ...] = Field(min_length=1, strict=False)
    standing: bool


class Group(_Part):
    """Of how many customers of a class a number is.

    Args:
        minimum: Fewest customers.
        dominance: Largest share of a cell that one of them may have [%].
    """

    minimum: int = Field(ge=FEWEST, le=MOST)
    dominance: int = Field(default=WHOLE, ge=1, le=WHOLE)


class Noise(_Part):
    """That analysts are told numbers with noise alone.

    Args:
        epsilon: Of one question, at the most, as text.
        budget: Of all questions about a month of readings together.
    """

    epsilon: str
    budget: str

    @field_validator("epsilon", "budget")
    @classmethod
    def _is_epsilon(cls, text: str) -> str:
        if read_epsilon(text) is None:
            raise ValueError(EPSILON_WORDS)
        return text

    @property
    def terms(self) -> PrivateTerms:
        """As a policy has them."""
        return PrivateTerms(read_epsilon(self.epsilon) or 0, read_epsilon(self.budget) or 0)


class Custody(_Part):
    """Among whom the vault's key is split.

    Args:
        custodians: Fewest who keep a share.
        needed: Fewest of them who open the vault together.
        unlocked_hours: Longest that they open it for [h].
    """

    custodians: int = Field(ge=3, le=_MOST_CUSTODIANS)
    needed: int = Field(ge=2, le=_MOST_CUSTODIANS)
    unlocked_hours: float = Field(gt=0, le=_LONGEST_HOURS)


class Sandbox(_Part):
    """Whether the kernel has to confine what decodes and what decrypts."""

    required: bool


class Attestation(_Part):
    """Whether the maker's key has to be pinned, so that released builds alone work together."""

    pinned: bool


class Shortfall(NamedTuple):
    """What falls below a level.

    Args:
        wanted: By the level, in words.
        found: What is so instead.
    """

    switch: Switch
    wanted: str
    found: str


class Level(_Part):
    """A security level; `parse_level` reads one.

    Args:
        version: A later text of the same name has a larger one.
        groups: By customer class; `*` is every class that is not named, and is always there.
        noise: None where analysts may be told exact numbers.
        text: As it was written.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,31}$")
    version: int = Field(ge=1, le=MOST)
    title: str = Field(min_length=1, max_length=500)
    approvals: Approvals
    groups: dict[str, Group]
    noise: Noise | None = None
    custody: Custody
    sandbox: Sandbox
    attestation: Attestation
    text: str = Field(repr=False)

    @field_validator("groups")
    @classmethod
    def _says_others(cls, groups: dict[str, Group]) -> dict[str, Group]:
        if OTHER_CLASSES not in groups:
            raise ValueError("groups say what holds for every other class, '*'")
        return groups

    @property
    def digest(self) -> str:
        """SM3 of its text."""
        return sm3_hex(self.text.encode())

    def group_of(self, customer_class: str) -> Group:
        """What holds for a customer class."""
        return self.groups.get(customer_class, self.groups[OTHER_CLASSES])


def list_levels() -> list[str]:
    """The names of those that ship, from the weakest to the strictest."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


@cache
def load_level(name: str) -> Level:
    """A level that ships.

    Raises:
        InputError: There is none of this name (`level.unknown`).
    """
    if name not in list_levels():
        raise InputError(
            f"No security level of the name {name!r} ships.",
            reason="level.unknown",
            remedy=f"Name one of {', '.join(list_levels())}, or a file whose name ends in .toml.",
        )
    return parse_level((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


def find_level(digest: str) -> Level | None:
    """The level that ships with a digest; None where none does."""
    return next((one for one in map(load_level, list_levels()) if one.digest == digest), None)


def open_level(named: str) -> Level | None:
    """The level of a setting; None where it is empty: then nothing is held to one.

    Args:
        named: One that ships, or a file of one's own (`.toml`).

    Raises:
        InputError: There is none (`level.unknown`), it cannot be read (`policy.file`), or is none
            (`level.syntax`).
    """
    if not named:
        return None
    is_file = named.endswith(".toml")
    return parse_level(read_policy_text(Path(named))) if is_file else load_level(named)


def parse_level(text: str) -> Level:
    """Read a level.

    Raises:
        InputError: It is no level (`level.syntax`).
    """
    document = read_document(text, name="level", refuse=_refusal)
    try:
        return Level.model_validate({**document, "text": text})
    except ValidationError as error:
        found = error.errors()[0]
        where = ".".join(map(str, found["loc"])) or "the file"
        raise _refusal(f"The level's {where}: {found['msg']}") from error


def _refusal(why: str) -> InputError:
    return InputError(
        f"{why}.",
        reason="level.syntax",
        remedy="Correct it; `gridsecure level show L2 --text` prints an example.",
    )


def find_policy_shortfalls(level: Level, policy: Policy) -> list[Shortfall]:
    """Where a release policy is weaker than a level: every rule of it is held to the level.

    So a rule that another one overrules counts as well: with the other gone it would decide.
    """
    return [
        *_weaker_approvals(level, policy),
        *_weaker_groups(level, policy),
        *_weaker_noise(level, policy),
    ]


def _weaker_approvals(level: Level, policy: Policy) -> Iterator[Shortfall]:
    wanted = frozenset[str](level.approvals.roles)
    for rule in policy.rules:
        missing = wanted - rule.approvals
        if missing:
            said = f"rule {rule.name} of {policy.name} does without {', '.join(sorted(missing))}"
            yield Shortfall("approvals", f"approval of {', '.join(sorted(wanted))}", said)
        if rule.standing and not level.approvals.standing:
            said = f"rule {rule.name} of {policy.name} takes standing authorisations"
            yield Shortfall("approvals", "each release approved by itself", said)


def _weaker_groups(level: Level, policy: Policy) -> Iterator[Shortfall]:
    for customer_class in sorted({*policy.classes, *level.groups}):
        wanted, group = level.group_of(customer_class), policy.find_group(customer_class)
        for rule in policy.rules:
            share = WHOLE if rule.measures == {BILLS} else wanted.dominance
            if group in rule.classes and (rule.minimum < wanted.minimum or rule.dominance > share):
                found = f"rule {rule.name} of {policy.name}: {_say(rule.minimum, rule.dominance)}"
                said = f"{customer_class}: {_say(wanted.minimum, share)}"
                yield Shortfall("groups", said, found)


def _weaker_noise(level: Level, policy: Policy) -> Iterator[Shortfall]:
    asks = any("analyst" in rule.roles for rule in policy.rules)
    if level.noise is not None and asks and is_less_noise(policy.private, level.noise.terms):
        found = policy.private.said if policy.private else "exactly"
        said = f"{policy.name} tells analysts numbers {found}"
        yield Shortfall("noise", f"analysts are told {level.noise.terms.said}", said)


def _say(minimum: int, dominance: int) -> str:
    share = "" if dominance == WHOLE else f", none of them above {dominance} %"
    return f"at least {minimum} customers{share}"


def find_custody_shortfalls(
    level: Level, *, custodians: int, needed: int, hours: float
) -> list[Shortfall]:
    """Where a vault's key lies with fewer people than a level wants, or open for longer.

    Args:
        hours: How long they unlock it for [h].
    """
    wanted = level.custody
    found = []
    if custodians < wanted.custodians or needed < wanted.needed:
        said = f"{wanted.needed} of {wanted.custodians} custodians at least"
        found.append(Shortfall("custody", said, f"{needed} of {custodians}"))
    if hours > wanted.unlocked_hours:
        said = f"unlocked for {wanted.unlocked_hours:g} hours at the most"
        found.append(Shortfall("custody", said, f"{hours:g} hours"))
    return found


def find_sandbox_shortfalls(level: Level, wish: str) -> list[Shortfall]:
    """Where a service would work without its kernel's sandbox although a level wants it."""
    if not level.sandbox.required or wish == "required":
        return []
    return [Shortfall("sandbox", "the setting SANDBOX is required", f"it is {wish}")]


def find_attestation_shortfalls(level: Level, *, is_pinned: bool) -> list[Shortfall]:
    """Where a service would talk to any build although a level wants the maker's key pinned."""
    if not level.attestation.pinned or is_pinned:
        return []
    return [Shortfall("attestation", "the maker's key is pinned", "no MAKER_PUBLIC_KEY")]


def find_weaker_switches(level: Level, than: Level) -> list[Switch]:
    """The switches in which a level lets more pass than another one."""
    a, b = level, than
    noise = None if a.noise is None else a.noise.terms
    classes = {*a.groups, *b.groups}
    weaker: dict[Switch, bool] = {
        "approvals": not set(a.approvals.roles) >= set(b.approvals.roles)
        or (a.approvals.standing and not b.approvals.standing),
        "groups": any(
            a.group_of(one).minimum < b.group_of(one).minimum
            or a.group_of(one).dominance > b.group_of(one).dominance
            for one in classes
        ),
        "noise": b.noise is not None and is_less_noise(noise, b.noise.terms),
        "custody": a.custody.custodians < b.custody.custodians
        or a.custody.needed < b.custody.needed
        or a.custody.unlocked_hours > b.custody.unlocked_hours,
        "sandbox": b.sandbox.required and not a.sandbox.required,
        "attestation": b.attestation.pinned and not a.attestation.pinned,
    }
    return [switch for switch in SWITCHES if weaker[switch]]


def refuse_shortfalls(level: Level, found: Iterable[Shortfall], *, whose: str) -> None:
    """Refuse settings that fall below a level.

    Args:
        whose: A name for the message, as "the platform".

    Raises:
        InputError: Some do (`level.below`).
    """
    said = "; ".join(f"{one.switch}: {one.wanted}, but {one.found}" for one in found)
    if said:
        raise InputError(
            f"What {whose} is told falls below the security level {level.name}: {said}.",
            reason="level.below",
            remedy="Set what is named, or choose another level for the whole deployment "
            "(docs/levels.md).",
        )
