"""How a service is put together: engines proved, gate, error answers, public pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import FastAPI

from gridsecure import frames
from gridsecure.crypto.sm2 import Sm2PublicKey, cross_check
from gridsecure.errors import GridSecureError
from gridsecure.version import VERSION
from gridsecure.wire.problems import LATER, NOT_READY, PROBLEM_TYPE, REASONS_PATH, Problem
from gridsecure.wire.reasons import meanings_of
from gridsecure.wire.services import About, Health, Ready, ReasonMeaning, StatePolicy
from gridsecure_api.answer_headers import ProtectedAnswers
from gridsecure_api.api_page import add_api_page
from gridsecure_api.deps import ALWAYS_PUBLIC, READY, AccessCheck, AccessRules, Clock
from gridsecure_api.errors import install_error_handlers
from gridsecure_api.kept_pages import KeptPages
from gridsecure_api.log_pages import ServedLog, add_log_pages
from gridsecure_api.metrics import Counts, ServiceMetrics
from gridsecure_api.observed import ObservedRequests
from gridsecure_api.own_build import OwnBuild
from gridsecure_api.readiness import Readiness, ReadyCheck
from gridsecure_api.shared_looks import SharedLooks
from gridsecure_api.traces import Traces

_BYTES: Final = {"schema": {"type": "string", "format": "binary"}}

FRAMES_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {frames.CONTENT_TYPE: _BYTES},
    }
}
"""OpenAPI's words for a body of frames."""


def binary(content_type: str) -> dict[str, Any]:
    """OpenAPI's words for an answer of bytes."""
    return {"content": {content_type: _BYTES}}


def text_header(description: str) -> dict[str, Any]:
    """OpenAPI's words for a header of an answer."""
    return {"description": description, "schema": {"type": "string"}}


OCTETS: Final = "application/octet-stream"

_BUSY: Final = {
    "description": "The service is busy, and did nothing.",
    "model": Problem,
    "headers": {"Retry-After": text_header("In how many seconds to ask again.")},
}

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class ServiceDescription:
    """What a service says of itself at `/about` and on its API page.

    Args:
        zone: Its name, which is also the audience of its tokens.
        text: What it does, holds and never sees.
        public_paths: Paths of its own that need no token.
        body_limits: Of public paths, as `AccessRules` has them [bytes].
        plain_paths: What is answered before it reaches a route of that very path.
        facts: More for `/about`; public.
        logs: Its logs, by the path they are served at.
        guests: What of it people of other tenants reach, as `AccessRules` has it.
        tenant: Whose service it is; likewise.
        checks: What it needs to be of use.
        counts: How much it holds, for its metrics.
        policy: Which release policy is in force there, where it keeps some.
    """

    zone: str
    title: str
    text: str
    public_paths: frozenset[str] = frozenset()
    body_limits: Mapping[str, int] = field(default_factory=dict)
    plain_paths: frozenset[str] = frozenset()
    facts: Mapping[str, Any] | None = None
    logs: Mapping[str, ServedLog] = field(default_factory=dict)
    guests: Mapping[str, frozenset[str]] = field(default_factory=dict)
    tenant: str = ""
    checks: tuple[ReadyCheck, ...] = ()
    counts: Counts | None = None
    policy: StatePolicy | None = None


def new_app(
    description: ServiceDescription,
    *,
    identity_key: Sm2PublicKey,
    max_body_bytes: int,
    clock: Clock,
    build: OwnBuild,
    lifespan: Lifespan | None = None,
) -> FastAPI:
    """An application that denies by default and answers errors alike.

    Args:
        build: What `/about` says of the software.
        identity_key: The key tokens are signed with.
        max_body_bytes: Largest request body [bytes].

    Raises:
        GridSecureError: The SM2 engines do not agree (`crypto.engine.mismatch`); do not start.
    """
    engines = cross_check()
    app = FastAPI(
        title=description.title,
        description=description.text,
        version=VERSION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        responses={"4XX": {"model": Problem}, LATER: _BUSY, "5XX": {"model": Problem}},
    )
    app.state.pages, app.state.looks = KeptPages(), SharedLooks()
    install_error_handlers(app)
    _name_problems(app)
    rules = AccessRules(
        audience=description.zone,
        identity_key=identity_key,
        public_paths=ALWAYS_PUBLIC | description.public_paths,
        max_body_bytes=max_body_bytes,
        clock=clock,
        body_limits=description.body_limits,
        tenant=description.tenant,
        guests=description.guests,
    )
    _add_gates(app, description, rules)
    add_api_page(app)
    _add_public_pages(app, description, engines=engines, build=build)
    for path, log in description.logs.items():
        add_log_pages(app, path, log)
    return app


def _name_problems(app: FastAPI) -> None:
    """Have the API page say of what media type problems are; the framework takes them for JSON."""
    written = app.openapi

    def openapi() -> dict[str, Any]:
        document = written()
        for operations in document["paths"].values():
            for operation in operations.values():
                for status, answer in operation["responses"].items():
                    forms = answer.get("content", {})
                    if status >= "4" and "application/json" in forms:
                        forms[PROBLEM_TYPE] = forms.pop("application/json")
        return document

    app.openapi = openapi  # type: ignore[method-assign] # the framework's documented way


def _add_gates(app: FastAPI, description: ServiceDescription, rules: AccessRules) -> None:
    """What a request goes through; what is added last is asked first."""
    readiness = Readiness(description.checks)
    metrics = ServiceMetrics(description.zone, readiness=readiness, counts=description.counts)
    app.state.metrics, app.state.traces = metrics, Traces()
    app.add_middleware(AccessCheck, rules=rules, metrics=metrics)
    app.add_middleware(ProtectedAnswers)
    app.add_middleware(
        ObservedRequests,
        metrics=metrics,
        traces=app.state.traces,
        plain_paths=description.plain_paths,
    )
    _add_readiness(app, Readiness([one for one in description.checks if one.is_told]))


def _add_readiness(app: FastAPI, readiness: Readiness) -> None:
    @app.get(READY, tags=["service"])
    def read_ready() -> Ready:
        """Whether the service can do its work; 503 where it lacks something. Public."""
        if readiness.failing():
            raise GridSecureError(
                "The service cannot do its work now.",
                reason=NOT_READY,
                remedy="Its metrics name what is missing; a restart does not mend it.",
            )
        return Ready(state="ready")


def _add_public_pages(
    app: FastAPI, description: ServiceDescription, *, engines: tuple[str, ...], build: OwnBuild
) -> None:
    about = About(
        zone=description.zone,
        title=description.title,
        description=description.text,
        version=VERSION,
        sm2_engines=list(engines),
        logs={path: log.keys for path, log in description.logs.items()},
        build=build.measured,
        build_statement=build.statement,
        level=build.stated_level,
        **(description.facts or {}),
    )

    @app.get("/about", tags=["service"], response_model_exclude_none=True)
    def read_about() -> About:
        """What this service is, and which release policy is in force there. Public."""
        policy = description.policy
        return about.model_copy(update={"policy": policy()}) if policy else about

    @app.get("/health", tags=["service"])
    def read_health() -> Health:
        """Answers while the service runs. Public."""
        return Health(state="ok")

    @app.get(REASONS_PATH + "{code}", tags=["service"])
    def read_reason(code: str) -> ReasonMeaning:
        """What a reason code means and what to do; where errors link to. Public."""
        meanings = [(one.message, one.remedy) for one in meanings_of(code)]
        return ReasonMeaning.of(code, meanings=meanings)
