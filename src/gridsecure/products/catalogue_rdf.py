"""The catalogue as DCAT-AP, in JSON-LD or Turtle: written, read back equal, and validated.

DCAT has no words for minima, grades, policies' digests and counts of cells; those are terms of our
own beside its own ones. A catalogue is read back from them, and refused where both disagree.

`rdflib` writes and reads, `pyshacl` validates: the extra "catalogue". The shapes are ours
(`dcat-ap-shapes.ttl`): what DCAT-AP 3.0.0 [1] makes mandatory, and the ranges of what is written.
Other shapes may be given in their place, as the published ones.

[1] SEMIC: DCAT-AP 3.0.0 (2024), sections on mandatory properties.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

import rdflib.plugins.shared.jsonld.context as contexts
from pyshacl import validate
from rdflib import DCAT, DCTERMS, FOAF, RDF, XSD, BNode, Graph, Literal, Namespace, URIRef

from gridsecure.errors import InputError, InvalidMessageError
from gridsecure.products.datasets import Catalogue, DatasetCard, Quality

SHAPES: Final = Path(__file__).with_name("dcat-ap-shapes.ttl")
GS: Final = Namespace("urn:gridsecure:terms:")
ODRL: Final = Namespace("http://www.w3.org/ns/odrl/2/")
CATALOGUE: Final = "urn:gridsecure:catalogue"
_MOST_BYTES: Final = 1 << 24
_FORMATS: Final = {".jsonld": "json-ld", ".json": "json-ld", ".ttl": "turtle"}
_LISTS: Final = ("measures", "zones", "classes")
_NUMBERS: Final = ("grade", "told", "withheld", "meter_points", "minimum")
_TEXTS: Final = (
    "dataset", "title", "title_zh", "owner", "plan", "resolution", "start", "end", "policy",
    "policy_digest", "price_yuan", "certificate",
)  # fmt: skip
_QUALITY: Final = ("accepted", "estimated", "quarantined")


def _fetch_nothing(*_asked: object, **_how: object) -> Any:
    raise ValueError("a context elsewhere is not fetched")


# What rdflib asks for contexts. Files are looked through as well (`_names_a_context`), but which
# spellings of a context it follows is its own; through here none of them reaches a file or network.
contexts.source_to_json = _fetch_nothing


class Finding(NamedTuple):
    """Something that a shape refuses.

    Args:
        focus: Which resource.
        path: Which property of it.
    """

    focus: str
    path: str
    message: str


def to_graph(catalogue: Catalogue) -> Graph:
    """A catalogue as RDF."""
    graph = Graph()
    graph.bind("gs", GS)
    graph.bind("odrl", ODRL)
    own = URIRef(CATALOGUE)
    graph.add((own, RDF.type, DCAT.Catalog))
    _titles(graph, own, catalogue.title, catalogue.title_zh)
    graph.add((own, DCTERMS.publisher, _agent(graph, catalogue.publisher)))
    for card in catalogue.cards:
        graph.add((own, DCAT.dataset, _add_dataset(graph, card)))
    return graph


def _titles(graph: Graph, own: URIRef, title: str, title_zh: str) -> None:
    for text, language in ((title, "en"), (title_zh, "zh")):
        graph.add((own, DCTERMS.title, Literal(text, lang=language)))
        graph.add((own, DCTERMS.description, Literal(text, lang=language)))


def _agent(graph: Graph, name: str) -> BNode:
    agent = BNode()
    graph.add((agent, RDF.type, FOAF.Agent))
    graph.add((agent, FOAF.name, Literal(name)))
    return agent


def _add_dataset(graph: Graph, card: DatasetCard) -> URIRef:
    own = URIRef(f"urn:gridsecure:dataset:{card.certificate}")
    graph.add((own, RDF.type, DCAT.Dataset))
    _titles(graph, own, card.title, card.title_zh)
    graph.add((own, DCTERMS.identifier, Literal(card.dataset)))
    graph.add((own, DCTERMS.publisher, _agent(graph, card.owner)))
    for word in (*card.classes, *card.measures):
        graph.add((own, DCAT.keyword, Literal(word)))
    _add_period(graph, own, card)
    for zone in card.zones:
        place = BNode()
        graph.add((own, DCTERMS.spatial, place))
        graph.add((place, RDF.type, DCTERMS.Location))
        graph.add((place, GS.zone, Literal(zone)))
    if card.policy_digest:
        graph.add((own, ODRL.hasPolicy, URIRef(f"urn:gridsecure:policy:{card.policy_digest}")))
    for name in _LISTS:
        for value in getattr(card, name):
            graph.add((own, GS[name], Literal(value)))
    for name in _TEXTS:
        graph.add((own, GS[name], Literal(getattr(card, name))))
    for name in _NUMBERS:
        graph.add((own, GS[name], Literal(getattr(card, name), datatype=XSD.integer)))
    for name in _QUALITY if card.quality is not None else ():
        graph.add((own, GS[name], Literal(getattr(card.quality, name), datatype=XSD.integer)))
    return own


def _add_period(graph: Graph, own: URIRef, card: DatasetCard) -> None:
    period = BNode()
    graph.add((own, DCTERMS.temporal, period))
    graph.add((period, RDF.type, DCTERMS.PeriodOfTime))
    graph.add((period, DCAT.startDate, Literal(card.start, datatype=XSD.dateTime)))
    graph.add((period, DCAT.endDate, Literal(card.end, datatype=XSD.dateTime)))


def write_graph(graph: Graph, *, ending: str) -> bytes:
    """RDF as a file.

    Args:
        ending: `.jsonld` or `.ttl`.

    Raises:
        InputError: Another (`catalogue.format`).
    """
    text: str = graph.serialize(format=_format(ending), auto_compact=True)
    return text.encode()


def read_graph(content: bytes, *, ending: str) -> Graph:
    """RDF of a file.

    Raises:
        InputError: Another ending (`catalogue.format`), too much of it, or no RDF
            (`catalogue.syntax`). A context that would have to be fetched is not fetched.
    """
    form = _format(ending)
    if len(content) > _MOST_BYTES:
        raise _no_rdf()
    try:
        if form == "json-ld" and _names_a_context(json.loads(content)):
            raise _no_rdf()
        return Graph().parse(data=content, format=form)
    except InputError:
        raise
    except Exception as error:  # the parser is others' code, and the file a stranger's
        raise _no_rdf() from error


def _names_a_context(value: Any, *, is_context: bool = False) -> bool:
    """Whether JSON-LD names a context elsewhere: whoever reads it would ask for that."""
    if isinstance(value, dict):
        return "@import" in value or any(
            _names_a_context(own, is_context=name == "@context") for name, own in value.items()
        )
    if isinstance(value, list):
        return any(_names_a_context(one, is_context=is_context) for one in value)
    return is_context and isinstance(value, str)


def _format(ending: str) -> str:
    if ending not in _FORMATS:
        raise InputError(
            "A catalogue's file ends with .jsonld or .ttl.",
            reason="catalogue.format",
            remedy="Name the file so.",
        )
    return _FORMATS[ending]


def _no_rdf() -> InputError:
    return InputError(
        "The catalogue is no RDF of its kind, or names a context elsewhere.",
        reason="catalogue.syntax",
        remedy="Write JSON-LD or Turtle with all its terms in it.",
    )


def from_graph(graph: Graph) -> Catalogue:
    """The catalogue that `to_graph` made a graph of.

    Raises:
        InputError: It says something else in DCAT's terms than in ours, or lacks some
            (`catalogue.terms`).
    """
    own = URIRef(CATALOGUE)
    titles = _by_language(graph, own)
    cards = [_read_card(graph, one) for one in graph.objects(own, DCAT.dataset)]
    publisher = graph.value(own, DCTERMS.publisher)
    named = graph.value(publisher, FOAF.name) if publisher is not None else None
    if named is None:
        raise _other_terms("publisher")
    found = Catalogue(
        title=titles.get("en", ""),
        title_zh=titles.get("zh", ""),
        publisher=str(named),
        cards=sorted(cards, key=lambda card: card.dataset),
    )
    if len(graph) != len(to_graph(found)):
        raise _other_terms("catalogue")
    return found


def _by_language(graph: Graph, own: Any) -> dict[str, str]:
    return {
        str(title.language): str(title)
        for title in graph.objects(own, DCTERMS.title)
        if isinstance(title, Literal)
    }


def _read_card(graph: Graph, own: Any) -> DatasetCard:
    said: dict[str, Any] = {name: str(graph.value(own, GS[name]) or "") for name in _TEXTS}
    said |= {name: sorted(map(str, graph.objects(own, GS[name]))) for name in _LISTS}
    try:
        said |= {name: int(str(graph.value(own, GS[name]))) for name in _NUMBERS}
        if graph.value(own, GS.accepted) is not None:
            said["quality"] = Quality(
                **{name: int(str(graph.value(own, GS[name]))) for name in _QUALITY}
            )
        card = DatasetCard.parse(DatasetCard.model_construct(**said).model_dump_json())
    except (ValueError, InvalidMessageError) as error:
        raise _other_terms("dataset") from error
    titles = _by_language(graph, own)
    if (titles.get("en"), titles.get("zh")) != (card.title, card.title_zh):
        raise _other_terms("title")
    return card


def _other_terms(where: str) -> InputError:
    return InputError(
        f"The catalogue lacks terms, or says two things: {where}.",
        reason="catalogue.terms",
        remedy="Take the file as `gridsecure catalogue export` wrote it.",
    )


def check_shapes(graph: Graph, *, shapes: Path = SHAPES) -> list[Finding]:
    """What of a graph the shapes refuse, in order; nothing where it conforms.

    Raises:
        InputError: The shapes cannot be read, or are none (`catalogue.shapes`).
    """
    try:
        known = Graph().parse(data=shapes.read_bytes(), format="turtle")
        _, report, _ = validate(graph, shacl_graph=known, inference="none")
    except Exception as error:  # as in `read_graph`
        raise InputError(
            "The shapes are no SHACL in Turtle.",
            reason="catalogue.shapes",
            remedy="Give a file of shapes, or leave --shapes out for ours.",
        ) from error
    shacl = Namespace("http://www.w3.org/ns/shacl#")
    found = [
        Finding(
            str(report.value(one, shacl.focusNode)),
            str(report.value(one, shacl.resultPath)),
            str(report.value(one, shacl.resultMessage)),
        )
        for one in report.subjects(RDF.type, shacl.ValidationResult)
    ]
    return sorted(found)
