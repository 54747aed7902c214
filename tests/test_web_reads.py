"""What the API tells of runs, people, agents, files and settings: each answer is what the commands print."""

import json
from typing import Any

import pytest

from orchestra.answers.conversation import Turn
from orchestra.cli.commands.diff import diff_of_run, diff_of_task
from orchestra.model import TaskState
from orchestra.report.detail import Attempt, build_detail
from orchestra.report.fold import fold_events
from orchestra.report.state import Report
from orchestra.web.envelope import ApiError
from orchestra.web.live import LiveRun
from orchestra.web.repositories import Repositories
from orchestra.web.routes.agents import stats_record
from orchestra.web.routes.people import waiting_records
from orchestra.web.routes.runs import patched_paths, split_patch
from orchestra.web.routes.tasks import conversation_page, read_changes
from orchestra.web.run_fold import RunFold
from orchestra.web.timeline import timeline_record
from tests.test_web import OWNER, ask, repositories

__all__ = ["repositories"]


def read(repositories: Repositories, path: str) -> Any:
    answer = ask(repositories, "GET", f"/api/v1{path}", OWNER)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def test_patches_are_those_of_diff(repositories: Repositories) -> None:
    index, run = repositories.find("latest")
    whole = ask(repositories, "GET", "/api/v1/runs/latest/diff", OWNER)
    assert whole.content == diff_of_run(index, run) and whole.headers["content-type"].startswith("text/x-diff")
    part = ask(repositories, "GET", "/api/v1/runs/latest/tasks/2/diff", OWNER)
    assert part.content == diff_of_task(index, run, 2)
    missing = ask(repositories, "GET", "/api/v1/runs/latest/tasks/9/diff", OWNER)
    assert missing.status_code == 404 and "it has agent1 to agent2" in missing.json()["error"]["message"]


def test_patch_of_one_file_is_its_part(repositories: Repositories) -> None:
    index, run = repositories.find("latest")
    whole = diff_of_run(index, run)
    paths = [row["path"] for row in read(repositories, "/runs/latest/files") if row["changed_by"]]
    parts = [ask(repositories, "GET", f"/api/v1/runs/latest/diff?file={path}", OWNER).content for path in paths]
    assert len(parts) == 2 and b"".join(parts) == whole
    assert ask(repositories, "GET", "/api/v1/runs/latest/diff?file=nothing.py", OWNER).status_code == 404


def test_files_of_a_patch_are_found_by_any_name() -> None:
    names = {
        b"diff --git a/x y.py b/x y.py\n--- a/x y.py\t\n+++ b/x y.py\t\n@@ -1 +1 @@\n+++ b/other\n": {"x y.py"},
        b'diff --git "a/\\303\\251.py" "b/\\303\\251.py"\nnew file mode 100644\n--- /dev/null\n'
        b'+++ "b/\\303\\251.py"\n@@ -0,0 +1 @@\n+1\n': {"\u00e9.py"},
        b"diff --git a/run.sh b/run.sh\nold mode 100644\nnew mode 100755\n": {"run.sh"},
    }
    assert {part: patched_paths(part) for part in split_patch(b"".join(names))} == names


def test_timeline_has_the_spans_of_the_report(repositories: Repositories) -> None:
    index, run = repositories.find("latest")
    detail = build_detail(index.read_log(run).events)
    timeline = read(repositories, "/runs/latest/timeline")
    assert [lane["name"] for lane in timeline["lanes"]] == ["run", "agent1", "agent2"]
    assert timeline["total"] == detail.working_ms(detail.ended) and len(timeline["breaks"]) == len(detail.breaks) > 0
    spans = [tuple(span) for lane in timeline["lanes"] for span in lane["spans"]]
    expected = [(s.kind, detail.working_ms(s.start), detail.working_ms(s.end), s.task) for s in detail.spans]
    assert sorted(spans, key=repr) == sorted(expected, key=repr)
    assert max(end for _, _, end, _ in spans) <= timeline["total"] and timeline["kinds"].keys() >= {s[0] for s in spans}
    packed = read(repositories, "/runs/latest/timeline?packed=true")["lanes"]
    assert packed[1]["name"] == "slot 1" and {span[3] for lane in packed[1:] for span in lane["spans"]} == {1, 2}


def test_timeline_of_an_attempt_at_work_shows_what_its_row_says(repositories: Repositories) -> None:
    """At each moment of the run: while it waits for a reply, the model answers."""
    index, run = repositories.find("latest")
    fold, shown = RunFold("r"), set()
    for event in index.read_log(run).events:
        fold.fold(event)
        now = event.time + 1000
        working = fold.report.running_attempts and timeline_record(fold.report, fold.detail, now)["lanes"][1:]
        for lane in working or ():
            if lane["spans"] and lane["spans"][-1][2] == fold.detail.working_ms(now):
                row = fold.task_rows({lane["task"]})[0]
                shown.add((row["is_at"], lane["spans"][-1][0]))
    assert ("asking", "model") in shown and ("asking", "edit") not in shown, shown
    assert ("editing", "model") not in shown and ("checking", "edit") not in shown, shown


def test_cost_is_that_of_the_summary(repositories: Repositories) -> None:
    cost, summary = read(repositories, "/runs/latest/cost"), read(repositories, "/runs/latest")["status"]
    assert cost["usage"].items() <= summary["usage"].items() and cost["reserved"] == 0
    assert sum(task["requests"] for task in cost["tasks"]) == cost["usage"]["requests"] > 0


def test_conversation_is_read_in_pages(repositories: Repositories, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = read(repositories, "/runs/latest/tasks/2/attempts")
    task = read(repositories, "/runs/latest/tasks/2")
    assert [each["number"] for each in attempts] == [each["number"] for each in task["attempts"]]
    for number in (1, 2):
        expected = task["attempts"][number - 1]["conversation"]
        found = read(repositories, f"/runs/latest/tasks/2/conversation?attempt={number}")
        assert found["turns"] == expected and found["attempt"] == number
    assert read(repositories, "/runs/latest/tasks/2/memories") == read(
        repositories, "/runs/latest/tasks/2/conversation"
    )
    turns = [Turn((("user", "x" * 50),), f"reply {n}") for n in range(5)]
    monkeypatch.setattr("orchestra.web.routes.tasks.PAGE_BYTES", 250)
    attempt, after, read_turns = Attempt(1, turns=turns, whole=True), 0, []
    while after is not None:
        data, page = conversation_page([attempt], 0, after)
        read_turns += data["turns"]
        assert 1 <= len(data["turns"]) < 5
        after = page["next"]
    assert [turn["said"] for turn in read_turns] == [turn.said for turn in turns]
    for wrong in ("attempts?", "conversation?"):
        assert ask(repositories, "GET", f"/api/v1/runs/latest/tasks/9/{wrong}", OWNER).status_code == 404
    assert ask(repositories, "GET", "/api/v1/runs/latest/tasks/2/conversation?attempt=9", OWNER).status_code == 404


def test_events_are_found_by_kind_and_text(repositories: Repositories) -> None:
    events = read(repositories, "/runs/latest/events?limit=1000")
    kinds = read(repositories, "/runs/latest/events?kinds=task_moved,note&limit=1000")
    assert kinds == [event for event in events if event["event"] in ("task_moved", "note")] != []
    text = events[0]["data"]["change"]
    assert events[0] in read(repositories, f"/runs/latest/events?q={text[:8].upper()}")
    first = ask(repositories, "GET", "/api/v1/runs/latest/events?task=2&limit=3", OWNER).json()
    rest = read(repositories, f"/runs/latest/events?task=2&limit=1000&after={first['page']['next']}")
    assert [*first["data"], *rest] == [event for event in events if event.get("task") == 2]
    assert read(repositories, "/runs/latest/events/3") == events[2]
    for wrong in ("0", "-1", "999999"):
        assert ask(repositories, "GET", f"/api/v1/runs/latest/events/{wrong}", OWNER).status_code == 404


def test_graph_has_all_tasks(repositories: Repositories) -> None:
    graph = read(repositories, "/runs/latest/graph")
    assert [(node["id"], node["state"]) for node in graph["nodes"]] == [(1, "complete"), (2, "complete")]
    assert graph["edges"] == [] and [task for task, *_ in graph["layout"]["boxes"]] == [1, 2]


@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 1.0])
def test_state_at_an_event_is_the_fold_up_to_it(repositories: Repositories, part: float) -> None:
    index, run = repositories.find("latest")
    events = index.read_log(run).events
    at = max(1, round(len(events) * part))
    state = read(repositories, f"/runs/latest/state?at={at}")
    report = fold_events(events[:at])
    assert [(row["id"], row["state"]) for row in state["rows"]] == [
        (task.id, task.state) for task in report.tasks.values()
    ]
    assert (state["run"]["seq"], state["time"]) == (at, events[at - 1].time)
    assert state["run"]["exit_code"] == report.exit_code
    if part == 1:
        now = read(repositories, "/runs/latest")
        assert (state["run"], state["rows"]) == (now["run"], now["rows"])


def test_state_after_the_last_event_is_the_state_now(repositories: Repositories) -> None:
    now = read(repositories, "/runs/latest")["run"]
    assert read(repositories, f"/runs/latest/state?at={now['seq'] + 99}")["run"] == now
    assert ask(repositories, "GET", "/api/v1/runs/latest/state", OWNER).status_code == 422


def make_live_run_that_waits(repositories: Repositories) -> LiveRun:
    """The run of the scenario until it waited for a person."""
    index, run = repositories.find("latest")
    events = index.read_log(run).events
    asked = next(n for n, event in enumerate(events) if event.kind == "human_needed") + 1
    live = LiveRun(index, run)
    live.apply(events[:asked], True)
    return live


def test_exception_is_the_question_of_a_task(repositories: Repositories) -> None:
    live = make_live_run_that_waits(repositories)
    [record] = waiting_records(live)
    assert record["id"] == f"{live.run.name}:2:{record['task']['question']}"
    assert live.seq - 1 <= record["task"]["question"] <= live.seq
    assert record["question"] == record["task"]["asks"] != ""
    # It was answered since, so it can be read and decided no more.
    for method, path in (("GET", "exceptions"), ("PATCH", "exceptions")):
        more = {"json": {"action": "retry"}} if method == "PATCH" else {}
        found = ask(repositories, method, f"/api/v1/{path}/{record['id']}", OWNER, **more)
        told = "Task 2 was decided already: a person had it retried. It is complete now."
        assert (found.status_code, found.json()["error"]["message"]) == (409, told)
    assert read(repositories, "/exceptions") == read(repositories, "/interrupts") == []
    assert read(repositories, "/runs/latest/interrupts") == []
    for wrong in ("x", "latest:9:1", "never:1:1"):
        assert ask(repositories, "GET", f"/api/v1/exceptions/{wrong}", OWNER).status_code == 404


@pytest.mark.parametrize("body", [{}, {"task": "2"}, {"task": 2}, {"task": 2, "action": "explode"}])
def test_decision_that_says_too_little_is_refused(repositories: Repositories, body: dict[str, Any]) -> None:
    assert ask(repositories, "POST", "/api/v1/runs/latest/resolve", OWNER, json=body).status_code == 400


def test_change_of_a_task_understands_other_words() -> None:
    changes = {"title": "A", "add_dependency": 1, "remove_dependency": [2, 3]}
    assert read_changes(changes) == {"title": "A", "link": [1], "unlink": [2, 3]}
    with pytest.raises(ApiError, match="`status` cannot be changed"):
        read_changes({"status": "done"})


def test_task_is_abandoned_only_by_a_run_at_work(repositories: Repositories) -> None:
    listed = ask(repositories, "DELETE", "/api/v1/runs/latest/tasks/1?dry_run=true", OWNER).json()["data"]
    assert listed["needed_by"] == []
    for method, more in (("DELETE", {}), ("PATCH", {"json": {"title": "A"}})):
        refused = ask(repositories, method, "/api/v1/runs/latest/tasks/1", OWNER, **more)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "NOT_RUNNING")


def test_agents_are_attempts(repositories: Repositories) -> None:
    run = repositories.find("latest")[1].name
    assert read(repositories, "/agents") == []
    agent = read(repositories, f"/agents/{run}:2:1")
    assert agent["verdict"] == "no_change" and agent["ended"] > agent["started"] and agent["conversation"]
    events = read(repositories, f"/agents/{run}:2:1/logs")
    assert {(event["task"], event["attempt"]) for event in events} == {(2, 1)}
    for wrong in (f"{run}:2:9", "nonsense"):
        assert ask(repositories, "GET", f"/api/v1/agents/{wrong}", OWNER).status_code == 404


def test_stats_count_what_there_is(repositories: Repositories) -> None:
    index, run = repositories.find("latest")
    report = fold_events(index.read_log(run).events)
    stats = read(repositories, "/dashboard/stats")
    assert stats["runs"] == {"ended": 1} and stats["tasks"]["complete"] == stats["tasks"]["total"] == 2
    assert stats["successRate"] == 1 and stats["cost"] == report.usage.paid and stats["verdicts"] == {"applied": 2}
    assert stats_record([])["successRate"] is None
    broken = Report(started=10**18)
    assert stats_record([(broken, "ended")])["tasks"] == dict.fromkeys(map(str, TaskState), 0) | {"total": 0}


def test_files_that_a_run_holds(repositories: Repositories) -> None:
    index = repositories.indexes[0]
    far = "far/" * 100 + "a.py"
    index.store.lease_files(index.key, "r1", ["shop/cart.py", far], 60_000)
    locks = read(repositories, "/locks")
    assert {lock["run"] for lock in locks} == {"r1"} and 0 < locks[0]["seconds_left"] <= 60
    body = {"paths": ["free.py", "shop/cart.py", far]}
    checked = ask(repositories, "POST", "/api/v1/locks/check", OWNER, json=body).json()["data"]
    assert checked["available"] is False
    assert sorted(lock["path"] for lock in checked["conflicts"]) == sorted(["shop/cart.py", far])
    index.store.release_files(index.key, "r1")
    assert ask(repositories, "POST", "/api/v1/locks/check", OWNER, json=body).json()["data"]["available"]
    for paths in ([], ["a"] * 101, [1], "a"):
        assert ask(repositories, "POST", "/api/v1/locks/check", OWNER, json={"paths": paths}).status_code == 400


def test_settings_have_their_source_and_no_key(repositories: Repositories, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-the-server-123456")
    monkeypatch.setenv("ORCHESTRA_TEST_CMD", "run --key sk-secret-of-the-server-123456")
    rows = {row["name"]: row for row in read(repositories, "/settings")}
    assert "environment" in rows["test-cmd"]["source"] and "secret-of" not in json.dumps(rows)
    assert rows["max-agents"]["flag"] == "--max-agents" and rows["max-agents"]["help"]
    assert read(repositories, "/repositories") == [str(repositories.indexes[0].root)]
    assert ask(repositories, "GET", "/api/v1/settings?repository=/etc", OWNER).status_code == 404
    assert all("claude" in model["name"] for model in read(repositories, "/models?q=claude"))
    assert {"coder", "tester", "researcher"} <= {role["name"] for role in read(repositories, "/roles")}
