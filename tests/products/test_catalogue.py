"""The catalogue: cards of verified releases, searched, as DCAT-AP and ODRL, and read back equal."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pyld import jsonld
from rdflib import DCTERMS, Graph, URIRef
from rdflib.compare import isomorphic
from rdflib.plugins.shared.jsonld import context as contexts

from gridsecure.errors import InputError
from gridsecure.policy.packs import list_packs, load_pack
from gridsecure.products import catalogue_rdf
from gridsecure.products.catalogue_rdf import (
    CATALOGUE,
    GS,
    check_shapes,
    from_graph,
    read_graph,
    to_graph,
    write_graph,
)
from gridsecure.products.datasets import (
    Catalogue,
    DatasetCard,
    Quality,
    Search,
    Terms,
    make_card,
    search,
)
from gridsecure.products.usage_rights import read_odrl, usage_of, write_odrl
from tests.queries.published_months import bill_release, curve_release

OWNER = Terms("示范供电局", "120.50")
QUALITY = Quality(accepted=1000, estimated=30, quarantined=20)


def cards() -> list[DatasetCard]:
    july = bill_release("2026-07").model_copy(
        update={"policy_name": "uniform-15", "policy": load_pack("uniform-15").digest}
    )
    curve = curve_release("2026-06", withheld=("luohu", "shop"))
    return [
        make_card(july, digest="1" * 64, terms=OWNER, quality=QUALITY),
        make_card(curve, digest="2" * 64, terms=Terms("Other utility")),
    ]


def catalogue() -> Catalogue:
    return Catalogue(title="City", title_zh="城市", publisher="示范供电局", cards=cards())


def test_a_card_says_what_a_release_says() -> None:
    july, june = cards()
    assert (july.resolution, july.grade, july.told, july.withheld) == ("monthly", 1, 12, 0)
    assert (july.meter_points, july.zones, july.classes) == (
        275, ["futian", "luohu"], ["household", "shop"],
    )  # fmt: skip
    assert (june.resolution, june.grade, june.withheld) == ("interval", 3, 720)
    assert QUALITY.measured_percent == 95
    sealed = bill_release("2026-07").model_copy(update={"plan": "query"})
    with pytest.raises(InputError) as refused:
        make_card(sealed, digest="3" * 64, terms=OWNER)
    assert refused.value.reason == "catalogue.sealed"


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Search(), 2),
        (Search(customer_class="shop"), 2),
        (Search(zone="baoan"), 0),
        (Search(at="2026-07"), 1),
        (Search(at="2026-06-30T23:30:00+08:00"), 1),
        (Search(measure="amount_fen"), 1),
        (Search(measured_percent=95), 1),
        (Search(measured_percent=96), 0),
    ],
)
def test_a_catalogue_is_searched(wanted: Search, found: int) -> None:
    assert len(search(cards(), wanted)) == found


def test_no_card_and_no_search_has_a_word_for_a_person() -> None:
    fields = {*DatasetCard.model_fields, *Search._fields}
    assert not [name for name in fields if "pseudonym" in name or "person" in name]
    with pytest.raises(InputError) as refused:
        search(cards(), Search(at="meter 440300000001"))
    assert refused.value.reason == "catalogue.period"


@pytest.mark.parametrize("ending", [".jsonld", ".ttl"])
def test_a_catalogue_comes_back_equal_and_conforms(ending: str) -> None:
    content = write_graph(to_graph(catalogue()), ending=ending)
    read = read_graph(content, ending=ending)
    assert check_shapes(read) == []
    back = from_graph(read)
    assert back == catalogue()
    assert [card.version for card in back.cards] == [card.version for card in cards()]


def test_another_reader_of_json_ld_finds_the_same() -> None:
    graph = to_graph(catalogue())
    document = json.loads(write_graph(graph, ending=".jsonld"))
    nquads: Any = jsonld.to_rdf(document, {"format": "application/n-quads"})
    assert isomorphic(Graph().parse(data=nquads, format="nt"), graph)


def test_what_does_not_conform_is_found() -> None:
    graph = to_graph(catalogue())
    graph.remove((URIRef(CATALOGUE), DCTERMS.publisher, None))
    (found,) = check_shapes(graph)
    assert (found.focus, found.path) == (CATALOGUE, str(DCTERMS.publisher))


@pytest.mark.parametrize(
    ("content", "ending", "reason"),
    [
        (b"{", ".jsonld", "catalogue.syntax"),
        (b'{"@context": "https://example.org/context", "@id": "urn:x"}', ".jsonld",
         "catalogue.syntax"),
        (b"no turtle", ".ttl", "catalogue.syntax"),
        (b"<urn:a> <urn:b> " + b"(" * 3000 + b")" * 3000 + b" .", ".ttl", "catalogue.syntax"),
        (b'"x"', ".jsonld", "catalogue.syntax"),
        (b'{"@context": 5, "@id": "urn:a"}', ".jsonld", "catalogue.syntax"),
        (b"[" * 100_000, ".jsonld", "catalogue.syntax"),
        (b"", ".xml", "catalogue.format"),
    ],
)  # fmt: skip
def test_what_is_no_catalogue_is_refused(content: bytes, ending: str, reason: str) -> None:
    with pytest.raises(InputError) as refused:
        read_graph(content, ending=ending)
    assert refused.value.reason == reason


def refusal_of(content: bytes) -> str:
    """Why JSON-LD is refused; nothing if it is not."""
    try:
        read_graph(content, ending=".jsonld")
    except InputError as error:
        return error.reason
    return ""


ELSEWHERE = "$ELSEWHERE"
SPELLINGS: list[Any] = [
    ELSEWHERE,
    [[ELSEWHERE]],
    {"@version": 1.1, "@import": ELSEWHERE},
    {"t": {"@id": "urn:t", "@context": {"@import": ELSEWHERE}}},
    {"t": {"@id": "urn:t", "@context": [ELSEWHERE]}},
    {"@context": [ELSEWHERE]},
]


@pytest.mark.parametrize("is_looked_through", [True, False])
@pytest.mark.parametrize("context", SPELLINGS)
def test_no_context_is_fetched_however_it_is_spelled(
    context: Any, is_looked_through: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is refused as it is looked through, and again by what the parser asks."""
    there = tmp_path / "context.jsonld"  # it could be read
    there.write_text(json.dumps({"@context": {"title": "urn:title"}}))
    asked = []
    ours = contexts.source_to_json

    def fetch(source: object, *more: object, **named: object) -> object:
        asked.append(source)
        return ours(source, *more, **named)

    monkeypatch.setattr(contexts, "source_to_json", fetch)
    if not is_looked_through:
        monkeypatch.setattr(catalogue_rdf, "_names_a_context", lambda _value: False)
    said = json.dumps({"@context": context, "@id": "urn:a", "t": {"title": "x"}})
    reason = refusal_of(said.replace(ELSEWHERE, there.as_uri()).encode())
    assert reason == "catalogue.syntax"
    assert bool(asked) != is_looked_through


def test_shapes_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "odd.ttl").write_text("no turtle")
    for name in ("odd.ttl", "missing.ttl"):
        with pytest.raises(InputError) as refused:
            check_shapes(to_graph(catalogue()), shapes=tmp_path / name)
        assert refused.value.reason == "catalogue.shapes"


def test_a_catalogue_that_says_two_things_is_refused() -> None:
    graph = to_graph(catalogue())
    (own,) = [one for one in graph.subjects(GS.dataset, None) if str(one).endswith("1" * 64)]
    graph.remove((own, GS.grade, None))
    with pytest.raises(InputError) as refused:
        from_graph(graph)
    assert refused.value.reason == "catalogue.terms"


@pytest.mark.parametrize("name", list_packs())
def test_a_policy_comes_back_equal_from_odrl(name: str) -> None:
    usage = usage_of(load_pack(name), target="urn:gridsecure:dataset:1", assigner="示范供电局")
    assert read_odrl(json.dumps(write_odrl(usage))) == usage


def first_version() -> dict[str, Any]:
    """A document of the first profile, as it was published: its readers never go."""
    return {
        "@context": ["http://www.w3.org/ns/odrl.jsonld", {"gs": "urn:gridsecure:odrl:"}],
        "@type": "Set",
        "uid": f"urn:gridsecure:policy:{'ab' * 32}",
        "profile": "urn:gridsecure:odrl:1",
        "permission": [
            {
                "uid": "urn:gridsecure:rule:all",
                "target": "urn:x",
                "assigner": "utility",
                "action": "use",
                "constraint": [
                    {"leftOperand": left, "operator": "isAnyOf", "rightOperand": right}
                    for left, right in (
                        ("gs:measures", ["energy_wh"]),
                        ("gs:resolutions", ["monthly"]),
                        ("gs:classes", ["*"]),
                        ("gs:roles", ["analyst"]),
                        ("purpose", ["research"]),
                    )
                ]
                + [
                    {"leftOperand": "gs:minimum", "operator": "gteq", "rightOperand": 15},
                    {"leftOperand": "gs:budget", "operator": "lteq", "rightOperand": 0},
                    {"leftOperand": "gs:dominance", "operator": "lteq", "rightOperand": 100},
                    {"leftOperand": "dateTime", "operator": "lt",
                     "rightOperand": "2027-01-01T00:00:00+00:00"},
                ],
                "duty": [{"action": "obtainConsent", "consentingParty": "data-owner"}],
            }
        ],
    }  # fmt: skip


def test_the_first_profile_says_for_ever_what_it_said() -> None:
    usage = read_odrl(first_version())
    assert write_odrl(usage) == first_version()
    asked = {"measure": "energy_wh", "resolution": "monthly", "customer_class": "shop"}
    before, after = (datetime(year, 6, 1, tzinfo=UTC) for year in (2026, 2027))
    rule = usage.permits(**asked, purpose="research", at=before)
    assert rule is not None
    assert (rule.minimum, rule.approvals) == (15, ["data-owner"])
    assert usage.permits(**asked, purpose="research", at=after) is None
    assert usage.permits(**asked, purpose="billing", at=before) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda found: found.update(profile="urn:gridsecure:odrl:2"), "odrl.profile"),
        (lambda found: found.update(prohibition=[]), "odrl.term"),
        (lambda found: found["permission"][0].update(action="distribute"), "odrl.term"),
        (lambda found: found["permission"][0]["constraint"][0].update(operator="eq"), "odrl.term"),
        (lambda found: found["permission"][0]["constraint"][0].update(leftOperand="count"),
         "odrl.term"),
        (lambda found: found["permission"][0]["duty"][0].update(action="pay"), "odrl.term"),
    ],
)  # fmt: skip
def test_a_term_that_is_not_known_is_refused(change: Any, reason: str) -> None:
    document = first_version()
    change(document)
    with pytest.raises(InputError) as refused:
        read_odrl(document)
    assert refused.value.reason == reason


def constraints(change: Callable[[dict[str, Any]], bool]) -> Callable[[Any], None]:
    """Leaves of the constraints those for which something holds; it may change them as well."""

    def applied(found: Any) -> None:
        one = found["permission"][0]
        one["constraint"] = [own for own in one["constraint"] if change(own)]

    return applied


def without(operand: str) -> Callable[[Any], None]:
    return constraints(lambda own: own["leftOperand"] != operand)


def saying(operand: str, value: object) -> Callable[[Any], None]:
    def change(own: dict[str, Any]) -> bool:
        if own["leftOperand"] == operand:
            own["rightOperand"] = value
        return True

    return constraints(change)


OPERANDS = [
    "gs:measures", "gs:resolutions", "gs:classes", "gs:roles", "purpose", "gs:minimum",
    "gs:budget", "gs:dominance", "dateTime",
]  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        *map(without, OPERANDS),
        lambda found: found["permission"][0].pop("duty"),
        saying("gs:minimum", 0),
        saying("gs:minimum", -5),
        saying("gs:dominance", 1000),
        saying("gs:budget", -1),
        saying("gs:measures", ["anything"]),
        saying("gs:roles", ["anybody"]),
        saying("purpose", ["anything"]),
        saying("dateTime", "never"),
        saying("gs:classes", ["\x1b[2J"]),
        lambda found: found["permission"][0]["duty"][0].update(consentingParty="anybody"),
        lambda found: found["permission"][0].update(target={"a": 1}),
        lambda found: found.update(uid="urn:gridsecure:policy:none"),
    ],
)
def test_a_policy_says_all_its_limits_in_bounds(change: Any) -> None:
    document = first_version()
    change(document)
    with pytest.raises(InputError) as refused:
        read_odrl(document)
    assert refused.value.reason == "odrl.term"


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "[]"])
def test_what_is_no_document_is_no_policy(text: str) -> None:
    with pytest.raises(InputError) as refused:
        read_odrl(text)
    assert refused.value.reason == "odrl.term"
