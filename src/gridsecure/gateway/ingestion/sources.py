"""Meter-data systems that may send readings, and what each declared of its readings.

A source is known by its SM2 key: the identity service gives a token to whoever signs with it, under
the role `meter-data`, and the gateway finds the source by the key's thumbprint. What it declares is
declared once. Registering it again under its name replaces that; batches taken in before stay as
they were read.

The gateway looks at its own record with every request, and again as it keeps what was sent. So a
source whose key was replaced, or that was suspended or removed (`source_states`), is refused from
that moment on, whatever token it holds and however long its upload takes.

Several sources may send readings of one meter point, as while one system takes over from another:
which reading counts is told by its quality and by when it came, whoever sent it.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal
from zoneinfo import ZoneInfo

import pandas as pd
from sqlmodel import Session, col, select

from gridsecure.billing.interval_lengths import UNKNOWN
from gridsecure.billing.readings import DAY_MINUTES, INTERVAL_MINUTES
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.errors import AccessDeniedError, ConflictError, GridSecureError, InputError
from gridsecure.gateway.formats import LAYOUT_NAMES, SYSTEM_NAMES
from gridsecure.gateway.meanings import Meaning, Stamps, Unit
from gridsecure.gateway.tables import SourceRow
from gridsecure.gateway.zone import GatewayZone, IntakeZone
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure.store.notices import may_be_told
from gridsecure.store.rows import find

ROLE: Final = "meter-data"
"""The role of a source's tokens."""

SourceState = Literal["active", "suspended", "removed"]
"""Of a source: it may send; it may not until it is resumed; it never may again."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_FIXED: Final = re.compile(r"([+-])(\d{2}):?([0-5]\d)")
_EASTMOST_MINUTES: Final = 14 * 60
_WESTMOST_MINUTES: Final = -12 * 60
_MOST_PREFIXES: Final = 1000
_LONGEST_PREFIX: Final = 64


@dataclass(frozen=True, slots=True)
class Source:
    """A meter-data system.

    Args:
        name: As batches and receipts have it.
        thumbprint: Of its key.
        meter_points: Beginnings of the meter point ids that it may send; an empty text is all.
        stamps: Whether its times begin or end their intervals; empty, each body is looked at.
        timezone: Zone of its local times [IANA name, or an offset as `+05:30`].
        webhook: Address that notices go to; empty for none.
        interval_minutes: Length of its intervals, for meter points of which a batch has too few
            readings to show it; 0 where it declared none.
        declares_zone: Whether the zone is its own word, which its times may not contradict, or the
            gateway's for want of one.
        formats: Of `LAYOUT_NAMES` and `SYSTEM_NAMES`, those that it sends; without any, all.
        unit: Of values that stand without one; empty for none.
        state: Whether it may send.
    """

    name: str
    thumbprint: str
    meter_points: tuple[str, ...]
    stamps: Literal["", "start", "end"]
    timezone: str
    webhook: str
    interval_minutes: int = 0
    declares_zone: bool = False
    formats: tuple[str, ...] = ()
    unit: Unit = ""
    state: SourceState = "active"

    @property
    def interval(self) -> pd.Timedelta:
        """Length to take for meter points that show none."""
        return pd.Timedelta(minutes=self.interval_minutes) if self.interval_minutes else UNKNOWN

    @property
    def meaning(self) -> Meaning:
        """What its times are taken for."""
        stamps = Stamps(self.stamps) if self.stamps else None
        zone = self.timezone if self.declares_zone else None
        # Files of one meter point often leave it out.
        only = self.meter_points[0] if len(self.meter_points) == 1 else ""
        return Meaning(stamps=stamps, zone=zone, meter_point_id=only, unit=self.unit)

    def has_format_of(self, other: Source) -> bool:
        """Whether both may send some format; whoever declared none may send any."""
        declared = bool(self.formats and other.formats)
        return not declared or not set(self.formats).isdisjoint(other.formats)


def find_overlaps(every: Sequence[Source]) -> dict[str, list[str]]:
    """By source the others, not removed, that may send some reading of a meter point of its own."""
    beginnings = defaultdict(list)
    for source in every:
        for beginning in source.meter_points:
            beginnings[beginning].append(source)
    found: dict[str, set[str]] = {source.name: set() for source in every}
    for whole, longer in beginnings.items():
        shorter = (one for end in range(len(whole) + 1) for one in beginnings.get(whole[:end], ()))
        for one, other in itertools.product(shorter, longer):
            if one.name != other.name and one.has_format_of(other):
                found[one.name].add(other.name)
                found[other.name].add(one.name)
    removed = {source.name for source in every if source.state == "removed"}
    return {name: sorted(others - removed) for name, others in found.items()}


def register_source(  # noqa: PLR0913 - what a source declares, part by part
    zone: GatewayZone,
    name: str,
    *,
    key: Sm2PublicKey,
    meter_points: Sequence[str],
    stamps: Literal["", "start", "end"],
    timezone: str,
    webhook: str,
    interval_minutes: int,
    formats: Sequence[str] = (),
    unit: Unit = "",
    person: str,
    at: datetime,
) -> Source:
    """Enter a source, or replace what the one of that name declared.

    Its key is replaced by `source_states.replace_key` alone, so never by mistake.

    Args:
        name: Up to 64 small letters, digits and hyphens.
        timezone: IANA name, or a fixed offset, as `+08:00` or `+05:30`; empty for the gateway's
            own.
        webhook: Address that notices go to; empty for none.
        interval_minutes: Length of its intervals, one of `INTERVAL_MINUTES` or a day; 0 for none.
        formats: Those that it sends; without any, all.
        unit: Of values that stand without one; empty where each file has to say it.
        person: Who enters it.

    Raises:
        InputError: A part of it cannot be (`source.name`, `source.scope`, `source.timezone`,
            `source.webhook`, `source.interval`, `source.format`).
        ConflictError: Another source has this key, or this one has another key
            (`conflict.source-key`); or it was removed (`conflict.source-removed`).
    """
    scope = _checked_scope(meter_points)
    _check_name(name)
    _check_webhook(webhook)
    _check_interval(interval_minutes)
    local = _checked_zone(timezone or zone.timezone)
    source = Source(
        name,
        key.thumbprint,
        scope,
        stamps,
        local,
        webhook,
        interval_minutes,
        declares_zone=bool(timezone),
        formats=_checked_formats(formats),
        unit=unit,
    )
    with write_session(zone.engine) as session:
        check_key(session, source.name, source.thumbprint)
        known = find(session, SourceRow, name=name)
        if known is not None:
            source = replace(source, state=_kept_state(known, source.thumbprint))
        session.merge(_row(source, _told_since(known, webhook, at=at)))
        note_change(zone, session, source, change="declared", person=person, at=at)
    return source


def check_key(session: Session, name: str, thumbprint: str) -> None:
    """Refuse a key that another source has or had when it was removed.

    Raises:
        ConflictError: It is another's (`conflict.source-key`).
    """
    holder = find(session, SourceRow, thumbprint=thumbprint)
    if holder is not None and holder.name != name:
        raise ConflictError(
            "Another source has this key.",
            reason="conflict.source-key",
            remedy="Give each source a key of its own.",
        )


def _kept_state(known: SourceRow, thumbprint: str) -> SourceState:
    """The state that a source has and keeps."""
    source = read_source(known)
    if source.state == "removed":
        raise removed_source()
    if source.thumbprint != thumbprint:
        raise ConflictError(
            "This source has another key.",
            reason="conflict.source-key",
            remedy="Replace its key first: gridsecure source rotate.",
        )
    return source.state


def removed_source() -> ConflictError:
    """A name that no source can have any more (`conflict.source-removed`)."""
    return ConflictError(
        "The source of that name was removed.",
        reason="conflict.source-removed",
        remedy="Register the system under another name, with a new key. What the removed source"
        " sent stays under its name.",
    )


def note_change(
    zone: GatewayZone, session: Session, source: Source, *, change: str, person: str, at: datetime
) -> None:
    """Append to the evidence log who changed what of a source.

    Args:
        session: From `write_session`, that of the change.
    """
    detail = {"source": source.name, "key": source.thumbprint, "change": change, "person": person}
    evidence.append(session, at=at, actor=zone.service_id, action="source.changed", detail=detail)


def _row(source: Source, since: datetime) -> SourceRow:
    return SourceRow(
        name=source.name,
        thumbprint=source.thumbprint,
        meter_points="\n".join(source.meter_points),
        stamps=source.stamps,
        timezone=source.timezone,
        webhook=source.webhook,
        interval_minutes=source.interval_minutes,
        declares_zone=source.declares_zone,
        formats="\n".join(source.formats),
        unit=source.unit,
        at=since,
        state=source.state,
    )


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InputError(
            "A source's name has up to 64 small letters, digits and hyphens.",
            reason="source.name",
            remedy="Choose another name, such as headend-1.",
        )


def _checked_scope(meter_points: Sequence[str]) -> tuple[str, ...]:
    scope = tuple(sorted(set(meter_points)))
    if not 0 < len(scope) <= _MOST_PREFIXES or any(
        len(one) > _LONGEST_PREFIX or not one.isprintable() for one in scope
    ):
        raise InputError(
            f"A source needs 1 to {_MOST_PREFIXES:,} beginnings of meter point ids, each of up to"
            f" {_LONGEST_PREFIX} characters.",
            reason="source.scope",
            remedy="Send an empty text for a source of all meter points.",
        )
    return scope


def _checked_formats(formats: Sequence[str]) -> tuple[str, ...]:
    names = (*LAYOUT_NAMES, *SYSTEM_NAMES)
    if not set(formats) <= set(names):
        raise InputError(
            "A format is none that is told apart here.",
            reason="source.format",
            remedy=f"Give some of {', '.join(names)}, or none for all.",
        )
    return tuple(name for name in names if name in formats)


def _checked_zone(written: str) -> str:
    offset, name = _FIXED.fullmatch(written), written
    if offset:
        sign, hours, minutes = offset[1], int(offset[2]), int(offset[3])
        total = (60 * hours + minutes) * (1 if sign == "+" else -1)
        if minutes and _WESTMOST_MINUTES <= total <= _EASTMOST_MINUTES:
            return f"{sign}{hours:02}:{minutes:02}"
        # East of Greenwich is minus in these names, as in POSIX.
        name = f"Etc/GMT{'-' if sign == '+' else '+'}{hours}" if not minutes else written
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise InputError(
            "There is no time zone of that name.",
            reason="source.timezone",
            remedy="Give an IANA name, such as Asia/Shanghai, or a fixed offset, such as +08:00"
            " or +05:30.",
        ) from error
    return name


def _told_since(known: SourceRow | None, webhook: str, *, at: datetime) -> datetime:
    """Since when notices go to an address: registering it again loses none."""
    return known.at if known is not None and known.webhook == webhook else at


def _check_interval(minutes: int) -> None:
    if minutes and minutes not in (*INTERVAL_MINUTES, DAY_MINUTES):
        raise InputError(
            "An interval of that length can never be billed.",
            reason="source.interval",
            remedy="Give its length in minutes: one of"
            f" {', '.join(map(str, INTERVAL_MINUTES))} or {DAY_MINUTES}, or 0 to declare none.",
        )


def _check_webhook(address: str) -> None:
    """Refuse an address that no notice should go to: unprotected, or with a password in it."""
    if address and not may_be_told(address):
        raise InputError(
            "This is no address that notices can go to.",
            reason="source.webhook",
            remedy="Give an https:// address without a name, password or fragment.",
        )


def list_sources(zone: GatewayZone) -> list[Source]:
    """All sources, by name; also those that were removed."""
    with read_session(zone.engine) as session:
        every = select(SourceRow).order_by(SourceRow.name)
        return [read_source(row) for row in session.exec(every)]


def find_source(zone: GatewayZone, thumbprint: str) -> Source:
    """The source that has a key and may send.

    Raises:
        AccessDeniedError: None is registered with it, or it was removed (`access.source`).
        ConflictError: It is suspended (`conflict.source-suspended`).
    """
    found = find_sources(zone, [thumbprint])[thumbprint]
    if isinstance(found, GridSecureError):
        raise found
    return found


def find_sources(
    zone: IntakeZone, thumbprints: Collection[str]
) -> dict[str, Source | GridSecureError]:
    """By thumbprint the source that has a key and may send, or the error of `find_source`."""
    with read_session(zone.engine) as session:
        return _find_admitted(session, thumbprints)


def find_stopped(session: Session, sources: Collection[Source]) -> dict[str, GridSecureError]:
    """By thumbprint why sources that were found earlier may not send now, those that may not.

    Args:
        session: From `write_session`, that of what they sent: none is stopped before it ends.
    """
    found = _find_admitted(session, {source.thumbprint for source in sources})
    return {key: one for key, one in found.items() if isinstance(one, GridSecureError)}


def _find_admitted(
    session: Session, thumbprints: Collection[str]
) -> dict[str, Source | GridSecureError]:
    own = select(SourceRow).where(col(SourceRow.thumbprint).in_(thumbprints))
    found = {row.thumbprint: read_source(row) for row in session.exec(own)}
    return {thumbprint: _admit(found.get(thumbprint)) for thumbprint in thumbprints}


def _admit(source: Source | None) -> Source | GridSecureError:
    if source is None or source.state == "removed":
        return AccessDeniedError("No source has this key.", reason="access.source")
    if source.state == "suspended":
        return ConflictError(
            "An operator of the gateway suspended this source.",
            reason="conflict.source-suspended",
            remedy="Keep what you have to send. Ask the operator of the gateway to resume the"
            " source, then send it under the same ids and sequences.",
        )
    return source


def read_source(row: SourceRow) -> Source:
    """A source as its row has it."""
    scope = tuple(row.meter_points.split("\n"))
    return Source(
        row.name,
        row.thumbprint,
        scope,
        row.stamps,  # type: ignore[arg-type]
        row.timezone,
        row.webhook,
        row.interval_minutes,
        declares_zone=row.declares_zone,
        formats=tuple(row.formats.split("\n")) if row.formats else (),
        unit=row.unit,  # type: ignore[arg-type]
        state=row.state,  # type: ignore[arg-type]
    )
