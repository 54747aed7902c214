"""Text of models, repositories and people is told as it is, and nothing of it becomes markup, a header or a path."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestra.events import event_record, make_event
from orchestra.web.repositories import Repositories
from tests.support.runs import make_place
from tests.test_web import OTHERS, OWNER, ask, routes

TEXTS = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "\u202eexe.txt \u2066a\u2069",
    "\x1b[31mred\x1b[0m\x1b]8;;http://evil.test\x07",
    "x" * 1_000_000,
    "nul \0 here",
    "a lone surrogate \udcff",
    "javascript:alert(1)",
    "=cmd|' /C calc'!A0",
    "line\r\nSet-Cookie: a=b",
    "{{7*7}} ${7*7} {% raw %}",
)
NAME = "20260101_120000"


def hostile_events(text: str) -> Iterator[dict[str, Any]]:
    first = {"change": text, "options": {}, "folder": text, "pid": 1, "namespace": text, "unborn": False}
    first |= {"repository": text, "branch": text, "base": text, "model": text, "provider": text}
    files = [{"path": text, "tokens": 1, "new": False, "required": True}]
    task = {
        "id": 1,
        "title": text,
        "brief": text,
        "files": files,
        "requirements": [text],
        "reads": [text],
        "role": text,
    }
    gate = {"name": text, "about": text, "command": text, "tree": text, "output": text}
    asked = {"role": text, "provider": text, "model": text, "status": 200, "failure": text, "message": text}
    kinds: list[tuple[str, int | None, dict[str, Any]]] = [
        ("run_started", None, first),
        ("plan_made", None, {"agents": 1, "skipped": [text], "tasks": [task], "named": [text]}),
        ("note", None, {"text": text}),
        ("attempt_started", 1, {"model": text}),
        ("request", 1, asked | {"usage": {"requests": 1}, "seconds": 1.0, "body": text, "identity": text}),
        ("assistant_response", 1, {"content": text, "finish": text}),
        ("gate_started", None, gate),
        ("gate_ended", 1, gate | {"ok": False, "verifies": False, "new": [text], "remarks": [text]}),
        ("attempt_ended", 1, {"verdict": text, "cause": text, "commit": text, "branch": text, "changed": [text]}),
        ("human_needed", 1, {"why": text}),
        ("task_moved", 1, {"state": "waiting_human"}),
        (text, None, {text: text}),
    ]
    for seq, (kind, task_number, data) in enumerate(kinds, 1):
        yield event_record(
            make_event(NAME, seq, 1_767_268_800_000 + seq, kind, task_number, 1 if task_number else None, data)
        )


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_hostile_text_is_told_as_it_is(tmp_path: Path, text: str) -> None:
    place = make_place(tmp_path, {"a.py": "a = 1\n"})
    folder = place.repo / ".aider_logs"
    folder.mkdir()
    (folder / ".gitignore").write_text("*\n", "utf-8")
    for record in hostile_events(text):
        name = f"agent{record['task']}" if record.get("task") else "run"
        with (folder / f"{name}_{NAME}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
    opened = Repositories([str(place.repo)], "")
    told = dict.fromkeys(("change", "title", "question"), "")
    for method, path in routes():
        if method != "GET" or "stream" in path or not path.startswith(("/api/v1/", "/metrics")):
            continue
        address = path.format_map({"run": NAME, "task": 1, "name": "x"} | OTHERS | {"seq": "2", "gate": "7"})
        answer = ask(opened, "GET", address + ("?at=9" if path.endswith("/state") else ""), OWNER)
        assert answer.status_code < 500, f"{path}: {answer.text[:300]}"
        assert answer.headers["x-content-type-options"] == "nosniff" and "set-cookie" not in answer.headers
        kind = answer.headers["content-type"].partition(";")[0]
        assert kind in ("application/json", "text/plain", "text/x-diff", "application/problem+json"), f"{path}: {kind}"
        data: Any = answer.json().get("data") if kind == "application/json" and answer.status_code == 200 else None
        if path == "/api/v1/runs/{run}":
            told |= {"change": data["run"]["change"], "title": data["rows"][0]["title"]}
        if path == "/api/v1/runs/{run}/interrupts":
            told["question"] = data[0]["question"]
    assert set(told.values()) == {text}
    for header in ("X-Request-Id", "Idempotency-Key", "If-Match"):
        value = text[:5_000].encode("utf-8", "surrogatepass").replace(b"\0", b"").replace(b"\r\n", b" ")
        sent = {header.encode(): value} | {name.encode(): each.encode() for name, each in OWNER.items()}
        answer = ask(opened, "GET", "/api/v1/runs/never", sent)  # type: ignore[arg-type]
        assert answer.status_code == 404 and text not in answer.headers["x-request-id"]
    opened.close()
