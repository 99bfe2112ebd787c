"""What lies at the platform for a query's period: all of what the billing office closed, verified.

Whatever a question is about, the same is looked at: every roster and every upload of the lists in
force, and every load column of the asked days. So the platform, which sends all of it, learns
nothing of the question by what it is asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gridsecure.credentials.sealed_questions import SEALED_QUERY_VERSION
from gridsecure.errors import (
    AuthenticityError,
    InputError,
    InvalidMessageError,
    ReleaseRefusedError,
)
from gridsecure.key_authority.checker.closings import REFUSED, check_lists_in_force
from gridsecure.key_authority.checker.ledger import Period, check_counted_once
from gridsecure.key_authority.checker.verification import verify_datas
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.messages import (
    ClosingList,
    ColumnEntry,
    Digest,
    QueriedUploads,
    ReleaseRequest,
    Transcript,
    open_message,
)
from gridsecure.month_texts import read_moment
from gridsecure.plans.execution import RosterData
from gridsecure.plans.quantities import Family, find_family
from gridsecure.plans.transcript_inputs import PlatformView, fetch_tariff
from gridsecure.policy.noise_costs import reading_months
from gridsecure.policy.query_resolutions import is_month
from gridsecure.tariffs.tariff import parse_tariff
from gridsecure.version import VERSION

_CLOSING_REMEDY: Final = (
    "The billing office closes the period (gridsecure period close); then ask again."
)


_Column = tuple[str, datetime, datetime, int]
"""Of a load column: name, start, end and number of intervals."""


@dataclass(frozen=True, slots=True, eq=False)
class QueriedData:
    """What a question may be about.

    Args:
        start: Of the period that was asked about; likewise `end`, exclusive.
        uploads: Digests, in the order of the rosters.
        quantities: The load columns of the period's days, which all rosters divide alike.
        tariffs: Names of tariffs by digest.
        tariff_texts: Their texts by digest.
        timezone: Local time.
        period: What is told of it is compared within.
        left_out: How many rosters are not in it, because their days are divided otherwise.
        lists: What each closing list names, by upload, also what is left out.
    """

    start: str
    end: str
    uploads: tuple[Digest, ...]
    datas: tuple[RosterData, ...]
    quantities: tuple[str, ...]
    tariffs: Mapping[Digest, str]
    tariff_texts: Mapping[Digest, str]
    timezone: str
    period: Period
    left_out: int = 0
    lists: tuple[Mapping[Digest, RosterData], ...] = ()

    @property
    def by_upload(self) -> dict[Digest, RosterData]:
        """What lies there, by the digests of uploads."""
        return dict(zip(self.uploads, self.datas, strict=True))

    def fetched(self, data: RosterData) -> list[ColumnEntry]:
        """The columns of a roster that are fetched, whatever a question is about.

        Of a whole month these are all that there are: a question may be about its registers.
        """
        upload = data.upload
        shown, whole = ((self.start, self.end), (upload.start, upload.end))
        if list(map(read_moment, shown)) == list(map(read_moment, whole)):
            return list(data.columns.values())
        return [data.entry(name) for name in self.quantities]

    def entries(self) -> dict[str, ColumnEntry]:
        """The load columns of the first roster, whose times are those of all."""
        return {name: self.datas[0].entry(name) for name in self.quantities}


def verify_queried(
    zone: AuthorityZone, request: ReleaseRequest, *, view: PlatformView
) -> QueriedData:
    """Verify what a request says lies there.

    1. the billing office signed the lists, they are of one period that the query lies in, no upload
       is in two, and no later list that a release rests on names one;
    2. the request names all their uploads, each with its roster, signed by the gateway it is of;
    3. nobody is in two rosters;
    4. those whose load columns are of other days, or divided otherwise, than most meter points' are
       left out: by a rule that looks at nothing that a question says.

    Raises:
        ReleaseRefusedError: `release.closing`, `release.incomplete`, `release.overlap`.
        InputError: Not most meter points have load columns that are alike (`query.days`).
        GridSecureError: As `verify_datas`.
    """
    queried = request.queried
    if queried is None or request.transcripts or request.seeds or request.closing is not None:
        raise ReleaseRefusedError("The request is incomplete.", reason="release.incomplete")
    lists = _check_lists(zone, request, queried)  # 1.
    start, end = lists[0].start, lists[0].end
    named = Transcript(  # 2. what was run is nothing; of what is named all holds that holds there
        plan="query",
        plan_version=SEALED_QUERY_VERSION,
        start=start,
        end=end,
        rosters=queried.rosters,
        uploads=queried.uploads,
        inputs={},
        outputs={},
        seed_commitment=None,
        release=VERSION,
    )
    datas = verify_datas(named, zone=zone, view=view)
    check_counted_once(data.roster for data in datas)  # 3.
    period = _find_period(datas)
    texts = {name: fetch_tariff(view, name) for name in sorted({d.roster.tariff for d in datas})}
    parsed = {name: parse_tariff(text) for name, text in texts.items()}
    by_upload = dict(zip(queried.uploads, datas, strict=True))
    kept, quantities = _find_alike(datas, start=request.start, end=request.end)  # 4.
    return QueriedData(
        start=request.start,
        end=request.end,
        uploads=tuple(queried.uploads[number] for number in kept),
        datas=tuple(datas[number] for number in kept),
        quantities=quantities,
        left_out=len(datas) - len(kept),
        tariffs={name: one.tariff_id for name, one in parsed.items()},
        tariff_texts=texts,
        timezone=parsed[datas[0].roster.tariff].timezone,
        period=period,
        lists=tuple(_listed(one, by_upload) for one in lists),
    )


def _listed(one: ClosingList, by_upload: Mapping[Digest, RosterData]) -> dict[Digest, RosterData]:
    names = set(one.uploads)
    return {name: data for name, data in by_upload.items() if name in names}


def _find_period(datas: Sequence[RosterData]) -> Period:
    """What is told is compared within."""
    periods = {Period.of(data) for data in datas}
    if len(periods) != 1:
        raise ReleaseRefusedError(
            "The query is about rosters of different billing cycles.",
            reason="release.cycle",
            remedy="Close them apart, and ask about one cycle.",
        )
    return periods.pop()


def _check_lists(
    zone: AuthorityZone, request: ReleaseRequest, queried: QueriedUploads
) -> list[ClosingList]:
    """The lists, which close one period."""
    try:
        lists = [
            open_message(one, expect=ClosingList, trusted=zone.office) for one in queried.closings
        ]
    except (AuthenticityError, InvalidMessageError) as error:
        raise _refused("The billing office did not sign a closing list.") from error
    spans = {(one.start, one.end) for one in lists}
    uploads = [digest for one in lists for digest in one.uploads]
    if len(spans) != 1 or len(set(uploads)) != len(uploads):
        raise _refused("The closing lists are not those of one period.")
    ((start, end),) = spans
    if sorted(uploads) != sorted(queried.uploads):
        raise _refused("The request and the closing lists name different uploads.")
    if not _lies_in((request.start, request.end), (start, end)):
        raise _refused("The query is about another period than was closed.")
    if not _is_on_clock((request.start, request.end), (start, end)):
        raise _refused("The query's period is of another time zone than the one that was closed.")
    if is_month(request.start, request.end) and not _is_same(request, start, end):
        raise _refused("The query is about a month that is not the one that was closed.")
    check_lists_in_force(zone, lists)
    return lists


def _is_same(request: ReleaseRequest, start: str, end: str) -> bool:
    """Whether a request is about just this period: a month cut out of a longer one is not whole."""
    own = (read_moment(request.start), read_moment(request.end))
    return own == (read_moment(start), read_moment(end))


def _is_on_clock(inner: tuple[str, str], outer: tuple[str, str]) -> bool:
    """Whether a period is of no other calendar months than the one that it lies in.

    Noise is charged to the months that it spells: far to the west, 1 July is 30 June.
    """
    clocks = {datetime.fromisoformat(one).utcoffset() for one in outer}
    own = {datetime.fromisoformat(one).utcoffset() for one in inner}
    return own <= clocks and set(reading_months(*inner)) <= set(reading_months(*outer))


def _lies_in(inner: tuple[str, str], outer: tuple[str, str]) -> bool:
    first, last = map(read_moment, inner)
    begin, end = map(read_moment, outer)
    if first is None or last is None or begin is None or end is None:
        return False
    return begin <= first < last <= end


def _find_alike(
    datas: Sequence[RosterData], *, start: str, end: str
) -> tuple[list[int], tuple[str, ...]]:
    """The rosters, by place, with the load columns of more than half of all meter points."""
    found = [tuple(_load_columns(data, start=start, end=end)) for data in datas]
    slots = Counter[tuple[_Column, ...]]()
    for own, data in zip(found, datas, strict=True):
        slots[own] += data.roster.slots
    (most, many), *_ = slots.most_common(1)
    if not most or 2 * many <= slots.total():
        raise InputError(
            "Not most meter points have intervals of the same days, divided alike.",
            reason="query.days",
            remedy="Ask about days of which all meter points have intervals; a day that was sealed "
            "by itself is asked about by itself.",
        )
    kept = [number for number, own in enumerate(found) if own == most]
    return kept, tuple(name for name, *_ in most)


def _load_columns(data: RosterData, *, start: str, end: str) -> list[_Column]:
    """The load columns within a period, in time."""
    first, last = datetime.fromisoformat(start), datetime.fromisoformat(end)
    columns = [
        (
            one.quantity,
            datetime.fromisoformat(one.start),
            datetime.fromisoformat(one.end),
            one.intervals,
        )
        for one in data.columns.values()
        if find_family(one.quantity) is Family.INTERVALS
    ]
    own = [one for one in columns if first <= one[1] and one[2] <= last]
    return sorted(own, key=lambda one: one[1])


def _refused(message: str) -> ReleaseRefusedError:
    return ReleaseRefusedError(message, reason=REFUSED, remedy=_CLOSING_REMEDY)
