"""Spans of requests for OpenTelemetry, off unless `TRACES_URL` is set; they name nobody.

A span has the request's number, method, route template, status and times, and nothing else of it:
no path, query, header, body, name or address. So it is made here, and not by an instrumentation
that records what it is not told to leave out. **A trace's id is the request's number**
(`gridsecure.wire.request_ids`): it crosses zones where that does, and no further. A number that
somebody else's `traceparent` brings is not taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from gridsecure.errors import InputError
from gridsecure.loopback import is_loopback
from gridsecure.version import VERSION
from gridsecure.wire.request_ids import CURRENT, PARENT
from gridsecure_api.metrics import Answered

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

_PARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


@dataclass
class Traces:
    """The spans of one service; none until `start`.

    Attributes:
        provider: Who makes spans, and gives them to exporters.
    """

    provider: TracerProvider | None = field(default=None)

    @contextmanager
    def span(self, sent: str) -> Iterator[Answering]:
        """A span of the request that is being answered.

        Args:
            sent: The `traceparent` that came with it, or nothing.
        """
        if self.provider is None:
            yield Answering(None)
            return
        from opentelemetry.trace import SpanKind  # noqa: PLC0415 - an extra that most do without

        tracer = self.provider.get_tracer("gridsecure", VERSION)
        span = tracer.start_span("other", context=_context(sent), kind=SpanKind.SERVER)
        told = span.get_span_context()
        token = PARENT.set(f"00-{told.trace_id:032x}-{told.span_id:016x}-{told.trace_flags:02x}")
        try:
            yield Answering(span)
        finally:
            PARENT.reset(token)
            span.end()


@dataclass(frozen=True, slots=True)
class Answering:
    """A request under way, and its span, if there is one."""

    span: Span | None

    def end(self, answered: Answered) -> None:
        """Say what became of it."""
        if self.span is None:
            return
        self.span.update_name(f"{answered.method} {answered.route}")
        self.span.set_attributes(
            {
                "gridsecure.request": CURRENT.get(),
                "http.request.method": answered.method,
                "http.route": answered.route,
                "http.response.status_code": answered.status,
            }
        )


def start_traces(traces: Traces, zone: str, url: str | None) -> None:
    """Send spans from now on to a collector, in batches, on a thread of its own.

    Args:
        url: Where it takes OTLP over HTTP, as `https://collector.example/v1/traces`; without, there
            are no spans. Certificates, headers and sampling are said by OpenTelemetry's own
            variables (`OTEL_EXPORTER_OTLP_…`, `OTEL_TRACES_SAMPLER`).

    Raises:
        InputError: They would leave the machine in the clear (`traces.plain`), or the extra
            `traces` is not installed (`traces.extra`).
    """
    if url is None:
        return
    parts = urlsplit(url)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise InputError(
            "Traces would leave this machine by plain HTTP.",
            reason="traces.plain",
            remedy="Name an https:// address, or a collector at 127.0.0.1, in TRACES_URL.",
        )
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - likewise
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - likewise
    except ImportError as error:
        raise InputError(
            "TRACES_URL is set, and OpenTelemetry is not installed.",
            reason="traces.extra",
            remedy="Install gridsecure[traces], or leave TRACES_URL out.",
        ) from error
    traces.provider = new_provider(zone)
    traces.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)))


def new_provider(zone: str) -> TracerProvider:
    """A maker of spans whose traces are the numbers of requests.

    Args:
        zone: Whose spans they are.
    """
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - likewise
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - likewise
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator  # noqa: PLC0415 - likewise

    class Numbers(RandomIdGenerator):  # type: ignore[misc] # an extra, whose types are skipped
        def generate_trace_id(self) -> int:
            return int(CURRENT.get() or "0", 16) or super().generate_trace_id()

    # Said in full: what else OpenTelemetry finds of the process, it leaves out then.
    resource = Resource({"service.name": f"gridsecure-{zone}", "service.version": VERSION})
    return TracerProvider(resource=resource, id_generator=Numbers())


def _context(sent: str) -> object:
    """What a span is below: the one that sent this request, if that is of the same number."""
    from opentelemetry.context import Context  # noqa: PLC0415 - likewise
    from opentelemetry.trace import (  # noqa: PLC0415 - likewise
        NonRecordingSpan,
        SpanContext,
        TraceFlags,
        set_span_in_context,
    )

    found = _PARENT.fullmatch(sent)
    if found is None or found[1] != CURRENT.get():
        return Context()
    flags = TraceFlags(int(found[3], 16))
    parent = SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(parent), Context())
