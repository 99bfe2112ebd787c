"""Sources that may send readings of one meter point are found among many."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from gridsecure.gateway.ingestion.sources import Source, find_overlaps

DECLARED = st.tuples(
    st.frozensets(st.text("MN", max_size=3), max_size=3),
    st.sampled_from([(), ("a",), ("a", "b"), ("c",)]),
    st.sampled_from(["active", "suspended", "removed"]),
)


def source(name: str, beginnings: frozenset[str], formats: tuple[str, ...], state: str) -> Source:
    return Source(name, "", tuple(beginnings), "", "", "", formats=formats, state=state)


def have_one(one: Source, other: Source) -> bool:
    return any(
        a.startswith(b) or b.startswith(a) for a in one.meter_points for b in other.meter_points
    ) and (not one.formats or not other.formats or bool({*one.formats} & {*other.formats}))


@given(st.lists(DECLARED, max_size=6))
def test_overlaps_are_those_of_every_two_sources(declared) -> None:
    every = [source(f"s{number}", *said) for number, said in enumerate(declared)]
    expected = {one.name: list[str]() for one in every}
    for one, other in permutations(every, 2):
        if other.state != "removed" and have_one(one, other):
            expected[one.name].append(other.name)
    assert find_overlaps(every) == {name: sorted(others) for name, others in expected.items()}
