"""Send the spans of a run to a collector, with OpenTelemetry's SDK, which is imported only here."""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from orchestra import __version__
from orchestra.errors import HandoverFailed, UsageError
from orchestra.report.spans import SYSTEM, SpanKey, SpanRecord

BATCH = 512
TIMEOUT = 10  # seconds for each batch
PATH = "/v1/traces"


def send_spans(spans: Sequence[SpanRecord], address: str, scrub: Callable[[str], str]) -> None:
    """Send the spans by OTLP over HTTP. A run that is sent again has the same ids."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import SpanExportResult
    except ImportError:
        raise UsageError(
            "--otel needs OpenTelemetry.", hint="Install it: pip install 'aider-orchestrator[otel]'."
        ) from None
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # its lines besides our sentence
    exporter = OTLPSpanExporter(endpoint=traces_address(address), timeout=TIMEOUT)
    made = list(make_spans(spans, scrub))
    try:
        for start in range(0, len(made), BATCH):
            if exporter.export(made[start : start + BATCH]) is not SpanExportResult.SUCCESS:
                raise HandoverFailed(f"{address} did not take the spans.", hint="Is a collector for OTLP/HTTP there?")
    finally:
        exporter.shutdown()  # type: ignore[no-untyped-call]


def traces_address(address: str) -> str:
    """Return the address of the collector's traces: only its host may be given."""
    url = urlsplit(address)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise UsageError(f"--otel {address}: this is no address such as http://127.0.0.1:4318.")
    return address if url.path.strip("/") else f"{address.rstrip('/')}{PATH}"


def make_spans(spans: Sequence[SpanRecord], scrub: Callable[[str], str]) -> Iterator[Any]:
    """Yield the spans as the SDK has them."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

    resource = Resource({"service.name": SYSTEM, "service.version": __version__})
    scope, trace = InstrumentationScope(SYSTEM, __version__), spans[0].name if spans else ""

    def context(key: SpanKey) -> SpanContext:
        trace_id, span_id = digest(trace, 16), digest(f"{trace} {key}", 8)
        return SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))

    for span in spans:
        yield ReadableSpan(
            name=span.name,
            context=context(span.key),
            parent=None if span.parent is None else context(span.parent),
            resource=resource,
            attributes={name: clean_value(value, scrub) for name, value in span.attributes.items()},
            kind=SpanKind.CLIENT if span.name.startswith("chat ") else SpanKind.INTERNAL,
            instrumentation_scope=scope,
            status=Status(StatusCode.ERROR, scrub(span.error)) if span.error else Status(StatusCode.OK),
            start_time=span.start,
            end_time=span.end,
        )


def digest(text: str, length: int) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:length])


def clean_value(value: Any, scrub: Callable[[str], str]) -> Any:
    return scrub(value) if isinstance(value, str) else value
