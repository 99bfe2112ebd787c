"""Statistics: what is computed of a question's totals, each with its own parameters.

The platform and the key authority provide totals; whatever stands here is computed from them at
the asker's machine (`answers`). Sources of the formulas are with the computations.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

from gridsecure.errors import InputError
from gridsecure.messages import Message
from gridsecure.queries.cohorts import Cohort
from gridsecure.queries.exact import Exact, Name, Unsigned
from gridsecure.queries.spans import Days, Period, Times, Window, sort_windows

MAX_STEPS: Final = 9_300
"""Intervals of five minutes in the longest month."""
MAX_SERIES: Final = 8
MAX_EDGES: Final = 64
MAX_RATES: Final = 64
MAX_GIVEN: Final = 1_000
MAX_EDGE_KWH: Final = 8_191
"""Months of meter points are compared with whole kWh up to here (`homomorphic.thresholds`)."""
MAX_TARIFF: Final = 32_768
"""Longest text of a tariff [characters]."""

Every = Literal["interval", "hour", "day", "month"]
STEPS: Final[tuple[Every, ...]] = ("interval", "hour", "day", "month")
FINE: Final[frozenset[Every]] = frozenset({"interval", "hour", "day"})
CLOCKED: Final[frozenset[Every]] = frozenset({"interval", "hour"})
ANY_STEP: Final[frozenset[Every]] = frozenset(STEPS)
MONTHLY: Final[frozenset[Every]] = frozenset({"month"})

ENERGY: Final = "energy"
COUNT: Final = "count"
ENERGIES: Final = frozenset({ENERGY, "register", "tier"})
MONEYS: Final = frozenset({"bill", "line"})
TOTALLED: Final = ENERGIES | MONEYS | {"demand"}


class Form(Message):
    """Base of the statistics: to what each applies."""

    kind: ClassVar[str] = "statistic"
    measures: ClassVar[frozenset[str]] = TOTALLED
    steps: ClassVar[frozenset[Every]] = ANY_STEP


class Sum(Form):
    """The total of each group and step."""

    measures: ClassVar[frozenset[str]] = TOTALLED | {COUNT}
    name: Literal["sum"]


class Mean(Form):
    """The total per meter point, or per customer."""

    name: Literal["mean"]
    per: Literal["meter_point", "customer"] = "meter_point"


class Share(Form):
    """The total as a share of another cohort's [%]; without `of`, of everybody's."""

    measures: ClassVar[frozenset[str]] = TOTALLED | {COUNT}
    name: Literal["share"]
    of: Cohort | None = None


class Difference(Form):
    """The total less that of another cohort, or less that of a base period."""

    name: Literal["difference"]
    of: Cohort | None = None
    base: Period | None = None

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if (self.of is None) == (self.base is None):
            raise InputError(
                "A difference is from one thing.",
                reason="query.difference",
                remedy="Give of, which is a cohort, or base, which is a period.",
            )
        return self


class Index(Form):
    """What there was in a time beside the base period, which is 100 (复工电力指数)."""

    measures: ClassVar[frozenset[str]] = ENERGIES | MONEYS
    name: Literal["index"]
    base: Period


class LoadFactor(Form):
    """Mean power over peak power, and its inverse."""

    measures: ClassVar[frozenset[str]] = frozenset({ENERGY})
    steps: ClassVar[frozenset[Every]] = FINE
    name: Literal["load_factor"]


class CoincidentPeak(Form):
    """The share that a cohort has of another's peak [%]; without `of`, of everybody's."""

    measures: ClassVar[frozenset[str]] = frozenset({ENERGY})
    steps: ClassVar[frozenset[Every]] = FINE
    name: Literal["coincident_peak"]
    of: Cohort | None = None


class Rate(Message):
    """A price of energy, and when it holds; always, if that is left out.

    Args:
        name: Rates of one name have a line of revenue of their own, as those of a time-of-use
            period.
    """

    kind: ClassVar[str] = "rate"
    name: Name | None = None
    yuan_per_kwh: Unsigned
    when: Times | None = None


Rates = Annotated[list[Rate], Field(min_length=1, max_length=MAX_RATES)]


class WhatIf(Form):
    """Revenue under other rates: plain rates of energy, or a whole tariff.

    Args:
        rates: At each time, one of them holds.
        against: Rates that those are compared with.
        tariff: The text of a tariff file, by which the month is billed again.
    """

    measures: ClassVar[frozenset[str]] = ENERGIES | {"bill"}
    name: Literal["what_if"]
    rates: Rates | None = None
    against: Rates | None = None
    tariff: Annotated[str, Field(min_length=1, max_length=MAX_TARIFF)] | None = None

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if (self.rates is None) == (self.tariff is None) or (self.against and self.tariff):
            raise InputError(
                "A what-if has rates, or a tariff.",
                reason="query.rates",
                remedy="Give rates, with against if you want to compare, or the text of a tariff.",
            )
        return self


Edge = Annotated[int, Field(ge=1, le=MAX_EDGE_KWH)]
Edges = Annotated[list[Edge], Field(min_length=1, max_length=MAX_EDGES)]


class Binned(Form):
    """What is read off numbers of meter points between edges of the month's energy."""

    measures: ClassVar[frozenset[str]] = frozenset({ENERGY})
    steps: ClassVar[frozenset[Every]] = MONTHLY
    edges_kwh: Edges

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        if self.edges_kwh != sorted(set(self.edges_kwh)):
            raise InputError(
                "Edges do not ascend.",
                reason="query.edges",
                remedy="Give whole kWh, each above the one before.",
            )
        return self


class Histogram(Binned):
    """How many meter points used less than the first edge, up to the next one, and so on."""

    name: Literal["histogram"]
    shown: Literal["count", "share"] = "count"


class Quantiles(Binned):
    """The month's energy that so many of the meter points stay below.

    Args:
        points: 0.5 is the median.
    """

    name: Literal["quantile"]
    points: Annotated[list[Unsigned], Field(min_length=1, max_length=32)]

    @model_validator(mode="after")
    def _lie_between(self) -> Self:
        if any(not 0 < float(point) < 1 for point in self.points):
            raise InputError(
                "A quantile is not between 0 and 1.",
                reason="query.quantile",
                remedy='Give points as in "0.5" for the median, "0.1" to "0.9" for deciles.',
            )
        return self


class Variance(Form):
    """The variance over meter points [kWh²]."""

    measures: ClassVar[frozenset[str]] = frozenset({ENERGY})
    name: Literal["variance"]


class Variation(Form):
    """The coefficient of variation over meter points: standard deviation over mean."""

    measures: ClassVar[frozenset[str]] = frozenset({ENERGY})
    name: Literal["cv"]


class Concentration(Form):
    """How much of the energy few meter points have: Σx²/(Σx)², the Herfindahl-Hirschman index."""

    measures: ClassVar[frozenset[str]] = frozenset({ENERGY})
    name: Literal["hhi"]


Series = Annotated[list[Exact], Field(min_length=1, max_length=MAX_STEPS)]
UnsignedSeries = Annotated[list[Unsigned], Field(min_length=1, max_length=MAX_STEPS)]
SERIES_NAME: Final = r"^[a-z0-9][a-z0-9-]{0,59}$"
SeriesName = Annotated[
    str,
    Field(
        pattern=SERIES_NAME.removesuffix("$") + r"(@[0-9a-f]{64})?$",
        description="lower-case letters, digits and hyphens; then @ and the header's digest",
    ),
]
"""A series of somebody else, and the digest of its header where that is pinned (`series`)."""


def _which(value: object) -> str:
    return "by-name" if isinstance(value, str) else "by-value"


_BY_NAME: Final = Discriminator(_which)


class Regression(Form):
    """Energy of each step explained by public series, as the temperature of each day.

    Args:
        series: By name, a value for each step in order, or the name of a series.
        ridge: λ, by which slopes are held small; 0 is least squares.
    """

    measures: ClassVar[frozenset[str]] = frozenset({ENERGY})
    steps: ClassVar[frozenset[Every]] = FINE
    name: Literal["regression"]
    series: Annotated[
        dict[
            Name,
            Annotated[
                Annotated[Series, Tag("by-value")] | Annotated[SeriesName, Tag("by-name")], _BY_NAME
            ],
        ],
        Field(min_length=1, max_length=MAX_SERIES),
    ]
    ridge: Unsigned = "0"


class Score(Form):
    """A weighted sum of the steps' energy.

    Args:
        weights: One for each step in order.
    """

    measures: ClassVar[frozenset[str]] = frozenset({ENERGY})
    steps: ClassVar[frozenset[Every]] = FINE
    name: Literal["score"]
    weights: UnsignedSeries


class Saving(Form):
    """Demand response: the mean of baseline days, less what was used on event days.

    Args:
        event: Days on which less was to be used.
        baseline: Days that say what would have been used.
    """

    measures: ClassVar[frozenset[str]] = frozenset({ENERGY})
    steps: ClassVar[frozenset[Every]] = FINE
    name: Literal["saving"]
    event: Days
    baseline: Days

    @model_validator(mode="after")
    def _are_apart(self) -> Self:
        if set(self.event) & set(self.baseline):
            raise InputError(
                "A day is both an event and its baseline.",
                reason="query.contradiction",
                remedy="Name days without an event as baseline.",
            )
        return self


class Forecast(Form):
    """The load of the day after, and the error that such forecasts have had.

    Args:
        days: Of how many earlier days of its kind (workday or weekend) the mean is taken.
    """

    measures: ClassVar[frozenset[str]] = frozenset({ENERGY})
    steps: ClassVar[frozenset[Every]] = CLOCKED
    name: Literal["forecast"]
    days: int = Field(default=4, ge=1, le=14)


class Loss(Form):
    """What was fed in, less what was used.

    Args:
        fed_in_kwh: A feeder's readings, one for each step in order, or the name of a series.
    """

    measures: ClassVar[frozenset[str]] = frozenset({ENERGY})
    name: Literal["loss"]
    fed_in_kwh: Annotated[
        Annotated[UnsignedSeries, Tag("by-value")] | Annotated[SeriesName, Tag("by-name")], _BY_NAME
    ]


class PriceRatio(Message):
    """How many times as dear the peak is as the valley, in a question's own period and in its base.

    Args:
        now: In the own period.
        base: In the base period.
    """

    kind: ClassVar[str] = "price-ratio"
    now: Unsigned
    base: Unsigned

    @model_validator(mode="after")
    def _changes(self) -> Self:
        if self.now == self.base or "0" in (self.now, self.base):
            raise InputError(
                "A ratio of prices does not change, or is nothing.",
                reason="query.prices",
                remedy="Give the ratio of both periods, as in 3.2 and 2.5, or leave prices out.",
            )
        return self


Windows = Annotated[list[Window], AfterValidator(sort_windows), Field(min_length=1, max_length=24)]


class Shift(Form):
    """How use moved between peak and valley since a base period (峰谷转移).

    Args:
        peak: Hours of the clock.
        valley: Other hours.
        price_ratio: If it is given, the elasticity of substitution is computed as well.
    """

    measures: ClassVar[frozenset[str]] = frozenset({ENERGY})
    steps: ClassVar[frozenset[Every]] = CLOCKED
    name: Literal["shift"]
    base: Period
    peak: Windows
    valley: Windows
    price_ratio: PriceRatio | None = None

    @model_validator(mode="after")
    def _are_apart(self) -> Self:
        sort_windows([*self.peak, *self.valley])
        return self


class Given(Message):
    """An amount that the asker knows of a group, as its floor area.

    Args:
        group: Its values, in the order of `group_by`.
    """

    kind: ClassVar[str] = "given"
    group: list[Annotated[str, StringConstraints(max_length=200)]]
    amount: Unsigned


class Ratio(Form):
    """The total per given amount, or the given amount as a share of the total.

    Args:
        given: Of each group, or the name of a series.
        unit: Of the given amounts.
        is_share: Whether the given amount is divided by the total [%], as what was paid of bills.
    """

    measures: ClassVar[frozenset[str]] = TOTALLED | {COUNT}
    name: Literal["ratio"]
    given: Annotated[
        Annotated[list[Given], Field(min_length=1, max_length=MAX_GIVEN), Tag("by-value")]
        | Annotated[SeriesName, Tag("by-name")],
        _BY_NAME,
    ]
    unit: Name
    is_share: bool = False


Statistic = Annotated[
    Sum
    | Mean
    | Share
    | Difference
    | Index
    | LoadFactor
    | CoincidentPeak
    | WhatIf
    | Histogram
    | Quantiles
    | Variance
    | Variation
    | Concentration
    | Regression
    | Score
    | Saving
    | Shift
    | Forecast
    | Loss
    | Ratio,
    Field(discriminator="name"),
]

NOT_COMPUTABLE: Final[dict[str, tuple[str, str]]] = {
    name: said
    for names, said in {
        ("signature_count", "anomaly_count"): (
            "It compares a weighted sum of every meter point's intervals with a limit, and sums are"
            " not compared on ciphertexts.",
            "Ask for a score of groups, or for a histogram of the month's energy.",
        ),
        ("gini", "top_share", "rank", "median", "max", "min"): (
            "It sorts meter points by what they used, and nothing is sorted on ciphertexts.",
            "Ask for a histogram or quantiles between edges that you name.",
        ),
        ("k_means", "segments"): (
            "It assigns each meter point by its own readings, which nobody sees.",
            "Form cohorts by what rosters say, and ask for the mean of each.",
        ),
    }.items()
    for name in names
}
"""Statistic -> why it is not computed, and the nearest question that is."""
