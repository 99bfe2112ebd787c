"""Dates from the ends of the calendar, and texts that are none, at every door of every service.

The doors are read from the applications themselves, so that a new route or option is tried the day
it is written. Whatever is sent, the answer is one of ours: never a 500, never "internal".
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from copy import deepcopy
from functools import cache
from itertools import product
from typing import Any, get_args
from urllib.parse import quote

import httpx
import pytest
from fastapi.testclient import TestClient

from gridsecure import identity_messages
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.identity_messages import SignedLogin
from gridsecure.messages import Message, Signed
from gridsecure_api.settings import Role, ServiceRole
from tests.apps.zone_apps import GATEWAY, all_services, bearer
from tests.grid_simulator import OFFICE, grid_keys
from tests.hostile_dates import HOSTILE, NUMBERS
from tests.identity import identity_world

ZONES = ("identity", "gateway", "platform", "authority")
ROLES = (*get_args(Role), *get_args(ServiceRole))


@pytest.fixture(scope="module")
def services(tmp_path_factory) -> Iterator[dict[str, TestClient]]:
    with all_services(tmp_path_factory.mktemp("zones")) as running, ExitStack() as stack:
        yield {
            zone: stack.enter_context(TestClient(client.app, raise_server_exceptions=False))
            for zone, client in running.items()
        }


def ask_within(client: TestClient, ask: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
    """Have requests asked where the service runs, by whoever signed in with every role.

    A test client hands each request to another thread and back, which takes as long as answering.
    """

    async def run() -> None:
        sys.modules.setdefault("sniffio", None)  # looked for in vain with every request
        transport = httpx.ASGITransport(client.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=str(client.base_url)) as within:
            await ask(within)

    client.portal.call(run)


# --- requests made from what a service says of itself --------------------------------------------

WHEN = ("start", "end", "closed_at", "issued_at", "period")
"""Fields that say when, which are tried with everything."""

# Something for every kind of text that the services ask for; the first that fits is sent.
SAMPLES = (
    "2026-07-01T00:00:00+08:00",
    "2026-07",
    "2026",
    "a" * 64,
    "a" * 32,
    "ab",
    "04" + "a" * 128,
    "a" * 128,
    "bill",
)


def resolve(schema: dict[str, Any], page: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = page["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def sample(schema: dict[str, Any], page: dict[str, Any]) -> Any:  # noqa: PLR0911 - a kind each
    """A value that fits a schema; of one that holds itself, nothing."""
    if schema.get("$ref") in page.get("within", ()):
        return None
    page = {**page, "within": {*page.get("within", ()), schema.get("$ref")} - {None}}
    schema = resolve(schema, page)
    if "const" in schema or "enum" in schema:
        return schema.get("const", (schema.get("enum") or [None])[0])
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return sample(schema[choice][0], page)
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        return {name: sample(one, page) for name, one in schema.get("properties", {}).items()}
    if kind == "array":
        if "prefixItems" in schema:
            return [sample(one, page) for one in schema["prefixItems"]]
        return [sample(schema.get("items", {}), page)] * max(1, schema.get("minItems", 1))
    if kind in {"integer", "number"}:
        return max(1, schema.get("minimum", 1))
    if kind == "boolean":
        return True
    short, long = schema.get("minLength", 0), schema.get("maxLength", 10**6)
    fitting = (
        text
        for text in SAMPLES
        if re.search(schema.get("pattern", ""), text) and short <= len(text) <= long
    )
    return next(fitting, "x" * short)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the texts and numbers of a document are."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value[:1]):
            yield from leaves(inner, (*path, number))
    elif not isinstance(value, bool):
        yield path


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    changed = deepcopy(document)
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return changed


def operations(client: TestClient) -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    page = client.get("/openapi.json").json()
    for path, methods in page["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation, page


def hostile_requests(client: TestClient) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every route, with one hostile value in one place at a time."""
    for method, path, operation, page in operations(client):
        parameters = {"path": [], "query": []}
        for one in operation.get("parameters", []):
            parameters.setdefault(one["in"], []).append((one["name"], one["schema"]))
        good_path = {
            name: "2026-07" if name == "month" else sample(schema, page)
            for name, schema in parameters["path"]
        }
        good_query = {name: sample(schema, page) for name, schema in parameters["query"]}
        content = operation.get("requestBody", {}).get("content", {})
        body = (
            {"json": sample(content["application/json"]["schema"], page)}
            if "application/json" in content
            else {"content": b"2026-07"}
            if content
            else {}
        )
        for name in good_path:
            for text in HOSTILE:
                url = path.format(**(good_path | {name: quote(text, safe="")}))
                yield method, url, {"params": good_query, **body}
        url = path.format(**good_path)
        for name in good_query:
            for text in HOSTILE:
                yield method, url, {"params": good_query | {name: text}, **body}
        for number, place in enumerate(leaves(body.get("json", {}))):
            # Every fifth value in each place, so that a body is tried with all of them.
            for value in (*HOSTILE, *NUMBERS)[number % 5 :: 5]:
                yield (
                    method,
                    url,
                    {
                        "params": good_query,
                        "json": replaced(body["json"], place, value),
                    },
                )


@pytest.mark.parametrize("zone", ZONES)
def test_no_route_fails_on_a_date(services, zone, sampled):
    client, everyone = services[zone], bearer(zone, *ROLES)
    requests = list(hostile_requests(client))

    async def ask(within: httpx.AsyncClient) -> None:
        for method, url, request in sampled(requests):
            answer = await within.request(method, url, headers=everyone, **request)
            told = (method, url, request, answer.text[:300])
            if '"vault.down"' in answer.text:  # it got as far as the vault, and here is none
                continue
            assert answer.status_code < 500, told
            assert "internal" not in json.dumps(answer.json() if answer.content else {}), told

    ask_within(client, ask)
    assert len(requests) > 100


# --- signed messages: what is inside is read only under a good signature --------------------------


def message_kinds() -> list[type[Message]]:
    assert issubclass(identity_messages.EnrolmentOrder, Message)  # its module is loaded
    found, waiting = [], [Message]
    while waiting:
        waiting += (kinds := waiting.pop().__subclasses__())
        found += [kind for kind in kinds if kind is not Signed and "kind" in vars(kind)]
    return sorted(found, key=lambda kind: kind.kind)


def keys() -> list[Sm2PrivateKey]:
    own, made = grid_keys(), identity_world.keys()
    people = (*made.people.values(), *made.staters.values())
    return [own.gateway, own.platform, own.authority, own.identity, own.stranger, OFFICE, *people]


def sealed(kind: type[Message], document: Any, *, key: Sm2PrivateKey) -> dict[str, Any]:
    """A signed message of any content, as a holder of the key can make it."""
    empty = Signed(
        body_kind=kind.kind,
        body=json.dumps(document),
        signer=key.public_key.thumbprint,
        signature="",
    )
    signature = key.sign(empty._signed_bytes).hex()
    return empty.model_copy(update={"signature": signature}).model_dump()


def signed_routes(client: TestClient) -> Iterator[tuple[str, str]]:
    for method, path, operation, _ in operations(client):
        content = operation.get("requestBody", {}).get("content", {})
        schema = content.get("application/json", {}).get("schema", {})
        if schema.get("$ref", "").endswith("/Signed"):
            yield method, path


@cache
def sample_of(kind: type[Message]) -> Any:
    """A document that fits a kind's schema."""
    schema = kind.model_json_schema()
    return sample(schema, {"components": {"schemas": schema.get("$defs", {})}})


@pytest.mark.parametrize("zone", ["identity", "platform"])
def test_no_signed_message_fails_on_a_date(services, zone, sampled):
    """Each kind under each key at each door; where it is read at all, its texts in turn."""
    client, everyone = services[zone], bearer(zone, *ROLES)
    tried = list(product(signed_routes(client), message_kinds(), keys()))
    read = set()

    async def ask(within: httpx.AsyncClient) -> None:
        for door, kind, key in sampled(tried):
            auth = GATEWAY if door[1] == "/uploads" else None

            async def send(
                content: Any,
                *,
                door: tuple[str, str] = door,
                how: tuple[type[Message], Sm2PrivateKey] = (kind, key),
                auth: httpx.Auth | None = auth,
            ) -> int:
                message = sealed(how[0], content, key=how[1])
                answer = await within.request(*door, json=message, headers=everyone, auth=auth)
                assert answer.status_code < 500, (door, how[0], content, answer.text)
                return answer.status_code

            # A login of another minute is refused like a stranger's; its time is read before,
            # where there are logins.
            document, login = sample_of(kind), zone == "identity" and issubclass(kind, SignedLogin)
            if await send(document) in {401, 403} and not login:
                continue
            read.add((door[1], kind.kind))
            for number, place in enumerate(leaves(document)):
                for text in HOSTILE if place[-1] in WHEN else HOSTILE[number % 5 :: 5]:
                    await send(replaced(document, place, text))

    ask_within(client, ask)
    assert len(read) >= 2 or not sampled.is_whole, read
