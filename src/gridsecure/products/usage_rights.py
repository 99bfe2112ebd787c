"""A release policy as ODRL, in a closed profile: every term is ours and known, or it is refused.

ODRL [1] lets anybody bring terms of their own, and leaves open what an unknown one means. So this
profile has a version and a list of terms. A document of a later version, or with another term, is
refused (`odrl.profile`, `odrl.term`), and a version that was ever published stays readable, and
says what it said: `PROFILES` only grows.

A term that is left out permits nothing more than one that is there: every operand and the duties
stand in each permission, also where they limit nothing, and without one it is refused.

[1] W3C: ODRL Information Model 2.2 (2018), ODRL Vocabulary 2.2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import Field, model_validator

from gridsecure.approvals import APPROVER_ROLES
from gridsecure.errors import InputError, InvalidMessageError
from gridsecure.messages import Message
from gridsecure.month_texts import read_moment
from gridsecure.plans.cells import MEASURES, WHOLE
from gridsecure.plans.purposes import PURPOSES
from gridsecure.policy.language import MOST, RESOLUTIONS, ROLES, Policy, Rule
from gridsecure.written_words import OneLine, is_plain

CONTEXT: Final = "http://www.w3.org/ns/odrl.jsonld"
TERMS: Final = "urn:gridsecure:odrl:"
PROFILE: Final = f"{TERMS}1"
"""The profile that is written today."""
NEVER: Final = "9999-12-31T00:00:00+00:00"
"""When a rule without an end ends: a limit that is left out would be none."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_MOST_TEXT: Final = 500
_Class = Annotated[OneLine, Field(min_length=1, max_length=64)]


class UsageRule(Message):
    """What somebody may be told, and on which terms.

    Args:
        expires: ISO 8601; "" is never.
        budget: Releases of a calendar month; 0 is any number.
        dominance: Largest share that one customer may have [%].
    """

    kind: ClassVar[str] = "usage-rule"
    name: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")]
    measures: list[str]
    resolutions: list[str]
    classes: list[_Class]
    roles: list[str]
    purposes: list[str]
    minimum: Annotated[int, Field(ge=1, le=MOST)]
    approvals: list[str]
    expires: str = ""
    budget: Annotated[int, Field(ge=0)] = 0
    dominance: Annotated[int, Field(ge=0, le=WHOLE)] = WHOLE

    @model_validator(mode="after")
    def _knows_its_words(self) -> Self:
        for said, known in (
            (self.measures, MEASURES), (self.resolutions, RESOLUTIONS), (self.roles, ROLES),
            (self.purposes, PURPOSES), (self.approvals, APPROVER_ROLES),
        ):  # fmt: skip
            if not set(said) <= set(known):
                raise ValueError(f"known are {', '.join(known)}")
        if self.expires and read_moment(self.expires) is None:
            raise ValueError("it ends at no time")
        return self


class UsagePolicy(Message):
    """The rules of a policy, of a dataset of an owner."""

    kind: ClassVar[str] = "usage-policy"
    policy: str
    target: str
    assigner: str
    rules: list[UsageRule]

    def permits(
        self, *, measure: str, resolution: str, customer_class: str, purpose: str, at: datetime
    ) -> UsageRule | None:
        """The rule with the largest minimum of those that permit something; None if none does."""
        found = [
            rule
            for rule in self.rules
            if measure in rule.measures
            and resolution in rule.resolutions
            and ({customer_class, "*"} & set(rule.classes))
            and purpose in rule.purposes
            and (not rule.expires or at < datetime.fromisoformat(rule.expires))
        ]
        return max(found, key=lambda rule: rule.minimum, default=None)


def usage_of(policy: Policy, *, target: str, assigner: str) -> UsagePolicy:
    """A release policy's rules, as whoever takes a dataset is told them.

    Raises:
        InputError: It wants agreements, which this profile has no word for (`odrl.agreement`):
            whoever read it would take them for not needed.
    """
    if policy.agreement:
        raise InputError(
            "The policy wants agreements, and the profile has no word for them.",
            reason="odrl.agreement",
            remedy="Hand on the policy's own text.",
        )
    rules = [_usage_rule(policy, rule) for rule in policy.rules]
    return UsagePolicy(policy=policy.digest, target=target, assigner=assigner, rules=rules)


def _usage_rule(policy: Policy, rule: Rule) -> UsageRule:
    classes = frozenset[str]().union(*(policy.class_groups[group] for group in rule.classes))
    return UsageRule(
        name=rule.name,
        measures=sorted(rule.measures),
        resolutions=[one for one in RESOLUTIONS if policy.grades[one] in rule.grades],
        classes=sorted(classes),
        roles=sorted(rule.roles),
        purposes=sorted(rule.purposes),
        minimum=rule.minimum,
        approvals=sorted(rule.approvals),
        expires=rule.expires.isoformat() if rule.expires else "",
        budget=rule.budget or 0,
        dominance=rule.dominance,
    )


def write_odrl(usage: UsagePolicy) -> dict[str, Any]:
    """A policy as an ODRL set in JSON-LD."""
    return {
        "@context": [CONTEXT, {"gs": TERMS}],
        "@type": "Set",
        "uid": f"urn:gridsecure:policy:{usage.policy}",
        "profile": PROFILE,
        "permission": [_permission(rule, usage) for rule in usage.rules],
    }


def _permission(rule: UsageRule, usage: UsagePolicy) -> dict[str, Any]:
    listed = {
        name: getattr(rule, name)
        for name in ("measures", "resolutions", "classes", "roles", "purposes")
    }
    numbers = {"minimum": rule.minimum, "budget": rule.budget, "dominance": rule.dominance}
    constraints = [
        {"leftOperand": _operand(name), "operator": "isAnyOf", "rightOperand": values}
        for name, values in listed.items()
    ]
    constraints += [
        {"leftOperand": _operand(name), "operator": _COMPARES[name], "rightOperand": value}
        for name, value in numbers.items()
    ]
    constraints.append(
        {"leftOperand": "dateTime", "operator": "lt", "rightOperand": rule.expires or NEVER}
    )
    return {
        "uid": f"urn:gridsecure:rule:{rule.name}",
        "target": usage.target,
        "assigner": usage.assigner,
        "action": "use",
        "constraint": constraints,
        "duty": [{"action": "obtainConsent", "consentingParty": role} for role in rule.approvals],
    }


_COMPARES: Final = {"minimum": "gteq", "budget": "lteq", "dominance": "lteq"}
_LISTS: Final = ("measures", "resolutions", "classes", "roles", "purposes")


def _operand(name: str) -> str:
    """What the vocabulary of ODRL has no name for is the profile's own."""
    return "purpose" if name == "purposes" else f"gs:{name}"


def read_odrl(document: Mapping[str, Any] | str) -> UsagePolicy:
    """Read a policy that `write_odrl` wrote, in any version of the profile.

    Raises:
        InputError: Another profile (`odrl.profile`), a term that it has not, or one of its own that
            is missing or says what it cannot (`odrl.term`).
    """
    try:
        read: Any = json.loads(document) if isinstance(document, str) else document
    except (ValueError, RecursionError) as error:
        raise _unknown("document") from error
    if not isinstance(read, Mapping):
        raise _unknown("document")
    reader = PROFILES.get(str(read.get("profile")))
    if reader is None:
        raise InputError(
            "The policy is of a profile that is not known here.",
            reason="odrl.profile",
            remedy=f"Known are {', '.join(PROFILES)}; take a release that knows the profile.",
        )
    return reader(read)


def _read_first(document: Mapping[str, Any]) -> UsagePolicy:
    """A document of the first profile."""
    _only(document, ("@context", "@type", "uid", "profile", "permission"), "policy")
    if document["@type"] != "Set" or document["@context"] != [CONTEXT, {"gs": TERMS}]:
        raise _unknown("policy")
    permissions = _texts_of(document, "permission")
    rules = [_read_permission(one) for one in permissions]
    parties = {(_word(one["target"]), _word(one["assigner"])) for one in permissions}
    digest = _after(document["uid"], "urn:gridsecure:policy:")
    if len(parties) != 1 or _DIGEST.fullmatch(digest) is None:
        raise _unknown("target or uid")
    ((target, assigner),) = parties
    return UsagePolicy(policy=digest, target=target, assigner=assigner, rules=rules)


def _read_permission(one: Mapping[str, Any]) -> UsageRule:
    _only(one, ("uid", "target", "assigner", "action", "constraint", "duty"), "permission")
    if one["action"] != "use":
        raise _unknown("action")
    said: dict[str, Any] = {"name": _after(one["uid"], "urn:gridsecure:rule:")}
    for constraint in _texts_of(one, "constraint"):
        _only(constraint, ("leftOperand", "operator", "rightOperand"), "constraint")
        name, operator = _name_of(constraint["leftOperand"])
        if constraint["operator"] != operator or name in said:
            raise _unknown("constraint")
        said[name] = constraint["rightOperand"]
    if not {*_LISTS, *_COMPARES, "expires"} <= said.keys():
        raise _unknown("constraint")  # what is left out limits nothing
    if said["expires"] == NEVER:
        said["expires"] = ""
    said["approvals"] = []
    for duty in _texts_of(one, "duty"):
        _only(duty, ("action", "consentingParty"), "duty")
        if duty["action"] != "obtainConsent":
            raise _unknown("duty")
        said["approvals"].append(duty["consentingParty"])
    try:
        return UsageRule.parse(json.dumps(said))
    except InvalidMessageError as error:
        raise _unknown("constraint or duty") from error


def _name_of(operand: object) -> tuple[str, str]:
    """The field that a left operand is, and its operator."""
    if operand == "dateTime":
        return "expires", "lt"
    for name in _LISTS:
        if operand == _operand(name):
            return name, "isAnyOf"
    for name, operator in _COMPARES.items():
        if operand == _operand(name):
            return name, operator
    raise _unknown("leftOperand")


def _only(document: object, known: Sequence[str], where: str) -> None:
    """Refuse terms that are not known, and known ones that are not there."""
    if not isinstance(document, Mapping) or document.keys() != set(known):
        raise _unknown(where)


def _texts_of(document: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = document[name]
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise _unknown(name)
    return found


def _after(text: object, start: str) -> str:
    if not isinstance(text, str) or not text.startswith(start):
        raise _unknown("uid")
    return text.removeprefix(start)


def _word(text: object) -> str:
    if not isinstance(text, str) or not is_plain(text) or not 0 < len(text) <= _MOST_TEXT:
        raise _unknown("target or assigner")
    return text


def _unknown(where: str) -> InputError:
    return InputError(
        f"A term of the policy is none that its profile has, or lacks: in {where}.",
        reason="odrl.term",
        remedy="Write the policy with the terms of docs/workshop.md, and no others.",
    )


PROFILES: Final[Mapping[str, Callable[[Mapping[str, Any]], UsagePolicy]]] = {PROFILE: _read_first}
"""Every version of the profile that was ever published, with its reader."""
