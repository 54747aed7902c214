"""A run as spans: their tree, their figures, and that a collector gets them."""

import gzip
from pathlib import Path
from typing import Any, ClassVar

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from orchestra.cli.telemetry import traces_address
from orchestra.errors import UsageError
from orchestra.report.fold import fold_events
from orchestra.report.spans import build_spans
from orchestra.web.repositories import Repositories
from tests.support import corpus
from tests.support.long_run import long_run
from tests.support.loopback import Loopback, Quiet


@pytest.mark.parametrize("scenario", ["person_retries", "best_of_three", "gates_of_ones_own", "killed_and_not_resumed"])
def test_spans_have_the_figures_of_the_run(tmp_path: Path, scenario: str) -> None:
    opened = Repositories([str(corpus.unpack(scenario, tmp_path / "repo"))], "")
    index, run = opened.find("latest")
    log = index.read_log(run).events
    opened.close()
    report, spans = fold_events(log), build_spans(log)
    by_key = {span.key: span for span in spans}
    assert len(by_key) == len(spans) and spans[0].parent is None
    for span in spans[1:]:
        parent = by_key[span.parent or ()]
        assert span.start <= span.end <= parent.end, "a span ends within its parent"
    chats = [span for span in spans if span.name.startswith("chat ")]
    assert sum(span.attributes["gen_ai.usage.input_tokens"] for span in chats) == report.usage.input
    assert sum(span.attributes["gen_ai.usage.output_tokens"] for span in chats) == report.usage.output
    agents = [span for span in spans if span.attributes.get("gen_ai.operation.name") == "invoke_agent"]
    assert len(agents) == sum(event.kind == "attempt_started" for event in log)
    assert {key[0] for key in by_key if len(key) == 1 and key[0] > 0} == set(report.tasks)


def test_spans_of_very_many_events_are_made_fast() -> None:
    spans = build_spans(long_run(50, 5_000))
    assert spans[0].attributes["orchestrator.run"] and len(spans) > 1_000


class Collector(Quiet):
    """Keeps what it gets."""

    got: ClassVar[list[Any]] = []
    status = 200

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        self.got.append((self.path, ExportTraceServiceRequest.FromString(body)))
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_collector_gets_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import aider_orchestrator

    root = corpus.unpack("person_retries", tmp_path / "repo")
    Collector.got, Collector.status = [], 200
    with Loopback(Collector) as collector:
        assert aider_orchestrator.main(["report", "--repo", str(root), "--otel", collector.url]) == 0
    assert "spans sent to" in capsys.readouterr().out
    [(path, request)] = Collector.got
    [spans] = [each.spans for each in request.resource_spans[0].scope_spans]
    assert path == "/v1/traces" and len({span.span_id for span in spans}) == len(spans)
    assert len({span.trace_id for span in spans}) == 1
    roots = [span for span in spans if not span.parent_span_id]
    assert [span.name.split()[0] for span in roots] == ["run"]
    names = {attribute.key for span in spans for attribute in span.attributes}
    assert {"gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.usage.input_tokens"} <= names


def test_address_that_takes_no_spans_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import aider_orchestrator

    root = corpus.unpack("all_applied", tmp_path / "repo")
    Collector.got, Collector.status = [], 400
    with Loopback(Collector) as collector:
        assert aider_orchestrator.main(["report", "--repo", str(root), "--otel", collector.url]) == 1
    assert "did not take the spans" in capsys.readouterr().err
    with pytest.raises(UsageError, match="this is no address"):
        traces_address("collector:4318")
    assert traces_address("https://a/x/v1/traces") == "https://a/x/v1/traces"
