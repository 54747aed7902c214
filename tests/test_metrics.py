"""/metrics: its figures are those of the summaries, and neither they nor the board's names drift."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from orchestra.events import event_record, make_event
from orchestra.report.fold import fold_events
from orchestra.report.summary import build_summary
from orchestra.web.metrics import CACHE_SECONDS, PREFIX, Metrics
from orchestra.web.repositories import Repositories
from tests.support import corpus
from tests.support.ci_runner import ROOT

LABELS = ("kind", "ok", "version", "schema", "route", "method", "code")
BOARD = ROOT / "examples" / "grafana.json"
# A person's decision; a session with lost requests and another after it; a search for the guilty one.
SCENARIOS = ("person_retries", "killed_with_requests_on_their_way", "two_that_break_it_together", "best_of_three")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def read_samples(text: bytes) -> dict[str, float]:
    """The samples of Prometheus' text by their names, and by name and each label."""
    totals: dict[str, float] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            name = sample.name.removeprefix(f"{PREFIX}_")
            totals[name] = totals.get(name, 0) + sample.value
            for label, value in sample.labels.items():
                key = f"{name}{{{label}={value}}}"
                totals[key] = totals.get(key, 0) + sample.value
    return totals


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_metrics_have_the_totals_of_the_summary(tmp_path: Path, scenario: str) -> None:
    repositories = Repositories([str(corpus.unpack(scenario, tmp_path / "repo"))], "")
    logs = [(index.read_log(run), run) for index, run in repositories.list_runs()]
    found = read_samples(Metrics(repositories).render())
    repositories.close()
    summaries = [build_summary(fold_events(log.events), {}) for log, _ in logs]

    def total(name: str) -> Any:
        return sum(summary["usage"][name] or 0 for summary in summaries)

    assert found["requests_total"] == total("requests")
    assert found["tokens_total{kind=input}"] == total("input_tokens")
    assert found["tokens_total{kind=cached}"] == total("cached_tokens")
    assert found["tokens_total{kind=output}"] == total("output_tokens")
    assert found["dollars_total"] == pytest.approx(total("cost"))
    assert found["events_total"] == sum(len(log.events) for log, _ in logs)
    assert found["leases"] == 0
    states = [agent["state"] for summary in summaries for agent in summary["agents"].values()]
    assert {state: found[f"tasks{{state={state}}}"] for state in states} == {s: states.count(s) for s in states}
    assert found["runs"] == len(logs)
    ends = [event.data["verdict"] for log, _ in logs for event in log.events if event.kind == "attempt_ended"]
    counted = {verdict: found[f"attempts_total{{verdict={verdict}}}"] for verdict in ends}
    assert counted == {verdict: ends.count(verdict) for verdict in ends}


def test_metrics_count_new_events_once_and_only_after_five_seconds(tmp_path: Path) -> None:
    root = corpus.unpack("all_applied", tmp_path / "repo")
    repositories, clock = Repositories([str(root)], ""), Clock()
    metrics = Metrics(repositories, clock)
    first = read_samples(metrics.render())
    metrics.observe_request("/api/v1/runs", "GET", 200, 0.01)
    metrics.observe_request("none", "BREW", 404, 0.01)
    assert read_samples(metrics.render()) == first
    clock.now = CACHE_SECONDS
    second = read_samples(metrics.render())
    repositories.close()
    assert second["http_requests_total"] == 2 and second["http_requests_total{method=other}"] == 1
    assert {name: value for name, value in second.items() if not name.startswith("http")} == {
        name: value for name, value in first.items() if not name.startswith("http")
    }


def test_runs_of_the_same_name_in_two_repositories_are_two(tmp_path: Path) -> None:
    roots = [str(corpus.unpack("all_applied", tmp_path / name)) for name in ("one", "two")]
    repositories, single = Repositories(roots, ""), Repositories(roots[:1], "")
    both, one = (read_samples(Metrics(each).render()) for each in (repositories, single))
    repositories.close()
    single.close()
    assert one["runs"] == 1 and both["runs"] == 2
    for name in ("events_total", "requests_total", "attempts_total"):
        assert both[name] == 2 * one[name] > 0


def test_agent_that_waits_for_a_failing_provider_opens_its_breaker(tmp_path: Path) -> None:
    """An agent that waits for its turn, or for the rate limit, does not."""
    repositories = Repositories([str(corpus.unpack("all_applied", tmp_path / "repo"))], "")
    index, run = repositories.find("latest")
    last, logs = index.read_log(run).events[-1].seq, index.logs / f"run_{run.name}.jsonl"
    waits = (
        ("anthropic", "unreachable: no route"),
        ("openai", "rate_limit: slower"),
        ("mistral", "other requests are in line"),
    )
    kinds: list[tuple[str, int | None, Any]] = [("run_resumed", None, {"pid": 1, "folder": "", "options": {}})]
    kinds += [("waiting", n, {"role": "agent", "on": on, "why": why}) for n, (on, why) in enumerate(waits)]
    events = [make_event(run.name, last + n, 10**12, kind, 1, of, data) for n, (kind, of, data) in enumerate(kinds, 1)]
    with logs.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(event_record(event)) + "\n" for event in events)
    index.store.acquire_run(run.key, run.name, "me", "host", 1, 60_000)
    index.store.append_events(run.key, index.read_log(run).events)
    found = read_samples(Metrics(repositories).render())
    repositories.close()
    assert found["breaker_open"] == found["breaker_open{provider=anthropic}"] == 1
    assert found["store_lag_seconds"] > 10**6, "the files were written long after the events' time"


def test_no_label_grows_with_the_work(tmp_path: Path) -> None:
    repositories = Repositories([str(corpus.unpack("person_retries", tmp_path / "repo"))], "")
    families = list(text_string_to_metric_families(Metrics(repositories).render().decode()))
    repositories.close()
    sets = {(s.name, *sorted(s.labels.items())) for family in families for s in family.samples if "le" not in s.labels}
    assert len(sets) < 200
    labels = {label for family in families for sample in family.samples for label in sample.labels}
    assert labels <= {*("le", "state", "exit_code", "verdict", "role", "provider", "model", "status_class"), *LABELS}
    assert all(family.documentation for family in families)


def test_board_asks_only_for_metrics_that_are_there(tmp_path: Path) -> None:
    repositories = Repositories([str(corpus.unpack("all_applied", tmp_path / "repo"))], "")
    text = Metrics(repositories).render().decode()
    repositories.close()
    known = {name for line in text.splitlines() if line.startswith("# TYPE") for name in line.split()[2:3]}
    board = json.loads(BOARD.read_text("utf-8"))
    asked = {
        name.removesuffix("_bucket")
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(rf"{PREFIX}_\w+", target["expr"])
    }
    assert asked <= known
    assert known - asked == {f"{PREFIX}_build_info"}, "each figure has its place on the board"
