"""Whose cosignatures a checkpoint needs (c2sp.org/tlog-policy), and whether it has them.

    log <vkey> [<url>]
    witness <name> <vkey> [<url>]
    group <name> all|any|<k> <name>...
    quorum <name>|none

A log may stand here with an Ed25519 and an SM2 key, a line for each. Both have to have signed then
(`checkpoints.open_checkpoint`), where the specification would be content with one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from gridsecure.errors import AuditBrokenError, InputError, InvalidMessageError
from gridsecure.transparency.notes import NoteKey, read_key, read_note, verify_note

NO_QUORUM: Final = "none"
MOST_BYTES: Final = 1 << 20
_LOG_KINDS: Final = ("ed25519", "sm2")
_WITNESS_KINDS: Final = ("cosignature",)
_OTHER_OCTETS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,4}")
_BLANKS: Final = " \t"


@dataclass(frozen=True, slots=True)
class Group:
    """Witnesses and groups of whom some have to cosign.

    Args:
        least: How many.
        members: Their names; each stands in one group at most.
    """

    least: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LogPolicy:
    """A policy as read.

    Args:
        logs: The keys of the logs.
        witnesses: Keys by name.
        groups: By name.
        quorum: The witness or group that has to have cosigned, or `NO_QUORUM`.
    """

    logs: tuple[NoteKey, ...]
    witnesses: Mapping[str, NoteKey]
    groups: Mapping[str, Group]
    quorum: str

    def keys_of(self, origin: str) -> list[NoteKey]:
        """The keys of a log.

        Raises:
            InputError: The policy knows no such log (`log.policy-log`).
        """
        found = [key for key in self.logs if key.name == origin]
        if not found:
            raise InputError(
                f"The policy does not know the log {origin}.",
                reason="log.policy-log",
                remedy="Add the keys of this log to the policy, after comparing them with what its "
                "owner says (`gridsecure log keys`).",
            )
        return found

    def find_cosigners(self, checkpoint: bytes) -> list[str]:
        """The witnesses that cosigned a checkpoint, by the names that they have here.

        Raises:
            SignatureError: A line of one of them does not verify (`log.signature`).
            InvalidMessageError: It is no checkpoint.
        """
        note, keys = read_note(checkpoint), list(self.witnesses.values())
        known = {(key.name, key.key_id) for key in keys}
        if not any((line.name, line.key_id) in known for line in note.signatures):
            return []
        signed = set(verify_note(note, keys))
        return [name for name, key in self.witnesses.items() if key in signed]

    def check_quorum(self, cosigners: Iterable[str]) -> None:
        """Refuse a checkpoint that too few witnesses cosigned.

        Raises:
            AuditBrokenError: It is one (`log.quorum`).
        """
        given = set(cosigners)
        if self.quorum == NO_QUORUM or self._is_met(self.quorum, given):
            return
        raise AuditBrokenError(
            f"Too few witnesses cosigned the checkpoint: {', '.join(sorted(given)) or 'nobody'}.",
            reason="log.quorum",
            remedy="Have the witnesses cosign one checkpoint (`gridsecure log cosign`), "
            "and prove the entry in that one (`gridsecure log prove`).",
        )

    def _is_met(self, name: str, given: set[str]) -> bool:
        group = self.groups.get(name)
        if group is None:
            return name in given
        return sum(self._is_met(member, given) for member in group.members) >= group.least


def read_policy(data: bytes) -> LogPolicy:
    """Read a policy.

    Raises:
        InputError: It is none (`log.policy`).
    """
    return _Reader().read(data)


class _Reader:
    def __init__(self) -> None:
        self._logs: list[NoteKey] = []
        self._witnesses: dict[str, NoteKey] = {}
        self._groups: dict[str, Group] = {}
        self._quorum: str | None = None
        self._placed: set[str] = set()

    def read(self, data: bytes) -> LogPolicy:
        # Names are octets: one character for each, so that no alphabet makes two names one.
        text = data.decode("latin-1")
        if len(data) > MOST_BYTES or _OTHER_OCTETS.search(text) or not text.endswith("\n"):
            raise _no_policy("it is no text of lines")
        for number, line in enumerate(text[:-1].split("\n"), start=1):
            words = [word for word in re.split(f"[{_BLANKS}]+", line.strip(_BLANKS)) if word]
            if words and not words[0].startswith("#"):
                self._take(words, f"line {number}")
        if self._quorum is None:
            raise _no_policy("it has no quorum")
        return LogPolicy(tuple(self._logs), self._witnesses, self._groups, self._quorum)

    def _take(self, words: list[str], where: str) -> None:
        match words:
            case ["log", key, *url] if len(url) <= 1:
                self._logs.append(self._key(key, _LOG_KINDS, where))
            case ["witness", name, key, *url] if len(url) <= 1:
                self._check_new(name, where)
                self._witnesses[name] = self._key(key, _WITNESS_KINDS, where)
            case ["group", name, least, *members] if members:
                self._check_new(name, where)
                self._groups[name] = self._group(least, members, where)
            case ["quorum", name] if self._quorum is None:
                if name != NO_QUORUM:
                    self._check_known(name, where)
                self._quorum = name
            case _:
                raise _no_policy(where)

    def _group(self, least: str, members: list[str], where: str) -> Group:
        for name in members:
            self._check_known(name, where)
            if name in self._placed:
                raise _no_policy(f"{where}: {_shown(name)} is in a group already")
            self._placed.add(name)
        named = {"all": len(members), "any": 1}
        count = named.get(least) or (int(least) if _NUMBER.fullmatch(least) else 0)
        if not 1 <= count <= len(members):
            raise _no_policy(f"{where}: as many of the members cannot cosign")
        return Group(count, tuple(members))

    def _key(self, text: str, kinds: tuple[str, ...], where: str) -> NoteKey:
        try:
            key = read_key(text)
        except InvalidMessageError as error:
            raise _no_policy(f"{where}: this is no key") from error
        if key.kind not in kinds:
            raise _no_policy(f"{where}: a key of another type")
        known = {one.public_key for one in (*self._logs, *self._witnesses.values())}
        if key.public_key in known:
            raise _no_policy(f"{where}: this key is there already")
        return key

    def _check_new(self, name: str, where: str) -> None:
        if name == NO_QUORUM or name in self._witnesses or name in self._groups:
            raise _no_policy(f"{where}: {_shown(name)} cannot be named so")

    def _check_known(self, name: str, where: str) -> None:
        if name not in self._witnesses and name not in self._groups:
            raise _no_policy(f"{where}: {_shown(name)} is not known before it")


def _shown(name: str) -> str:
    return repr(name.encode("latin-1").decode(errors="replace"))


def _no_policy(what: str) -> InputError:
    return InputError(
        f"This is not a policy for logs: {what}.",
        reason="log.policy",
        remedy="Write it as c2sp.org/tlog-policy says: lines of log, witness, group and one quorum "
        "(docs/evidence.md).",
    )
