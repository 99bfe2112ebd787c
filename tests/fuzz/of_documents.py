"""Tariffs, policies, levels, rule books, questions, products and bills: texts that people write."""

from __future__ import annotations

import json
from pathlib import Path

import gridsecure
from gridsecure.billing.rule_books import default_text, parse_book, parse_kept_book
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.plans.noise import read_epsilon
from gridsecure.policy.language import parse_policy
from gridsecure.policy.levels import parse_level
from gridsecure.policy.packs import load_pack
from gridsecure.products.catalogue_rdf import from_graph, read_graph, to_graph, write_graph
from gridsecure.products.datasets import Catalogue
from gridsecure.products.designs import list_standard, read_design, standard_text
from gridsecure.products.usage_rights import read_odrl, usage_of, write_odrl
from gridsecure.queries.language import parse_question
from gridsecure.queries.series import SeriesHeader, read_series
from gridsecure.statements.bill_document import read_bill
from gridsecure.tariffs.tariff import parse_tariff
from gridsecure.tariffs.urdb.conversion import UrdbOptions, import_rate
from gridsecure.tariffs.urdb.elements import parse_urdb
from tests.fuzz.parsers import Parser, text_of

SOURCES = Path(gridsecure.__file__).parent
BILLS = Path(__file__).parents[1] / "statements" / "data"
URDB = UrdbOptions(year=2018, timezone="Asia/Shanghai", tier_convention="per-period")
DAYS = b"day,value\n2026-07-01,31.5\n2026-07-02,33\n"
HALF_HOURS = (
    b"start,end,value\n2026-07-01T00:00,2026-07-01T00:30,1\n2026-07-01T00:30,2026-07-01T01:00,2\n"
)
GROUPED = b"zone,value\nnorth,1.5\nsouth,2\n"
RATE = {
    "label": "L",
    "energyratestructure": [
        [{"rate": 0.1, "max": 100, "unit": "kWh"}, {"rate": 0.2}],
        [{"rate": 0.3, "adj": 0.01, "max": 100, "unit": "kWh"}, {"rate": 0.4}],
    ],
    "energyweekdayschedule": [[0] * 8 + [1] * 16] * 12,
    "energyweekendschedule": [[0] * 24] * 12,
    "fixedchargefirstmeter": 10,
    "fixedchargeunits": "$/month",
    "flatdemandstructure": [[{"rate": 5.5}]],
    "flatdemandmonths": [0] * 12,
}


def _files(folder: str, ending: str = "toml") -> list[bytes]:
    return [path.read_bytes() for path in sorted((SOURCES / folder).glob(f"*.{ending}"))]


def _periods() -> list[bytes]:
    documents = [json.loads(path.read_bytes()) for path in sorted(BILLS.glob("*.json"))]
    return [
        json.dumps(period, ensure_ascii=False).encode()
        for document in documents
        for meter in document["meters"].values()
        for period in meter["periods"]
    ]


def _rights() -> list[bytes]:
    rights = [usage_of(load_pack(name), target="urn:x", assigner="a") for name in ("strict",)]
    return [json.dumps(write_odrl(one)).encode() for one in rights]


def _catalogues() -> list[bytes]:
    catalogue = Catalogue(title="City", title_zh="城市", publisher="P", cards=[])
    return [write_graph(to_graph(catalogue), ending=".ttl")]


def _bill(data: bytes) -> object:
    return read_bill(_json(data))


def _json(data: bytes) -> object:
    """What is no JSON is refused before; these readers are given what it held."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _series(data: bytes) -> object:
    header = SeriesHeader(name="weather", owner="office", unit="C", table=sm3_hex(data))
    return read_series(header.text, data)


def _series_header(data: bytes) -> object:
    return read_series(text_of(data), DAYS)


def _urdb(data: bytes) -> object:
    return import_rate(parse_urdb(text_of(data)), options=URDB)


def _header() -> list[bytes]:
    said = SeriesHeader(name="weather", owner="office", unit="C", table=sm3_hex(DAYS))
    return [said.text.encode()]


PARSERS = (
    Parser("tariff", lambda data: parse_tariff(text_of(data)), lambda: _files("tariffs/catalogue")),
    Parser(
        "urdb", _urdb, lambda: [json.dumps(RATE).encode(), json.dumps({"items": [RATE]}).encode()]
    ),
    Parser("policy", lambda data: parse_policy(text_of(data)), lambda: _files("policy/packs")),
    Parser("level", lambda data: parse_level(text_of(data)), lambda: _files("policy/levels")),
    Parser("rule-book", lambda data: parse_book(text_of(data)), lambda: [default_text().encode()]),
    Parser(
        "kept-rule-book",
        lambda data: parse_kept_book(text_of(data)),
        lambda: [default_text().encode()],
    ),
    Parser(
        "question",
        lambda data: parse_question(text_of(data)),
        lambda: _files("queries/packs", "json"),
    ),
    Parser("series", _series, lambda: [DAYS, HALF_HOURS, GROUPED]),
    Parser("series-header", _series_header, _header),
    Parser(
        "product",
        lambda data: read_design(text_of(data)),
        lambda: [standard_text(name).encode() for name in list_standard()],
    ),
    Parser("odrl", lambda data: read_odrl(text_of(data)), _rights),
    Parser(
        "catalogue",
        lambda data: from_graph(read_graph(data, ending=".ttl")),
        _catalogues,
    ),
    Parser("bill", _bill, _periods),
    Parser("epsilon", lambda data: read_epsilon(text_of(data)), lambda: [b"0.5", b"12"]),
)
