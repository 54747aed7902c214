"""Runs that never were: the events of any number of tasks, drawn from a seed, with words of one's choice in them."""

import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from orchestra.answers.conversation import Turn, pack_turns
from orchestra.events import Event, to_json_value
from orchestra.model import Usage
from tests.support.written import event

STAMP = "20261120_174258"
START = 1_795_000_000_000
BASE, RESULT = "b" * 40, "f" * 40
Say = Callable[[str], str]
FAILURES = ("no_change", "rejected_edit", "timeout", "gates_failed", "crashed", "auth", "out_of_scope", "cancelled")


def itself(words: str) -> str:
    return words


@dataclass
class Story:
    """Writes events as a run does. `say` may change every word that comes from outside."""

    say: Say = itself
    now: int = START
    events: list[Event] = field(default_factory=list)

    def emit(
        self, kind: str, task: int | None = None, attempt: int | None = None, after: int = 20, **data: Any
    ) -> None:
        self.now += after
        self.events.append(event(kind, task, attempt, run=STAMP, seq=len(self.events) + 1, time=self.now, **data))

    def begin(self, tasks: int, needs: bool = False) -> None:
        say = self.say
        self.emit(
            "run_started",
            change=say("Teach the lighthouse about fog"),
            repository="/home/ada/lighthouse",
            branch=say("main"),
            base=BASE,
            model=say("openai/gpt-6.1-sol"),
            provider="openai",
        )
        self.emit("note", text=say("Uncommitted changes stay as they are."))
        self.request(None, None, 4.0, role="prd")
        wanted = [{"id": say("R1"), "text": say("The horn sounds in fog."), "acceptance": []}]
        self.emit("prd_written", path=say("docs/prd/fog.md"), text="", structured=True, requirements=wanted, work=[])
        self.emit(
            "plan_made", agents=8, skipped=[say("logo.png")], tasks=[self.task(n, needs) for n in range(1, tasks + 1)]
        )

    def task(self, n: int, needs: bool) -> dict[str, Any]:
        return {
            "id": n,
            "title": self.say(f"Fog in module {n}"),
            "brief": self.say(f"Do part {n}.\nKeep the tests as they are.\n"),
            "files": [{"path": self.say(f"lighthouse/part_{n}.py"), "tokens": 100, "new": False, "required": True}],
            "requirements": [self.say("R1")],
            "reads": [],
            "needs": [n // 2] if needs and n > 1 else [],
        }

    def request(
        self, task: int | None, attempt: int | None, seconds: float, failure: str = "", role: str = "agent"
    ) -> None:
        used = asdict(Usage(1, int(not failure), 2_500, 100, 0, 300, 0.0081)) if not failure else asdict(Usage(1))
        message = self.say("The server is tired.") if failure else ""
        data: dict[str, Any] = {
            "role": role,
            "provider": "openai",
            "model": self.say("gpt-6.1-sol"),
            "status": 503 if failure else 200,
        }
        data |= {"failure": failure, "message": message, "usage": used, "seconds": seconds, "replayed": False}
        self.emit("request", task, attempt, round(1000 * seconds), **data)

    def attempt(self, task: int, number: int, verdict: str, said: int = 1) -> None:
        self.emit("task_moved", task, number, state="active")
        self.emit("attempt_started", task, number, model=self.say("gpt"))
        self.request(task, number, 0.4, failure="server")
        for _ in range(said):
            self.request(task, number, 0.8 + (7 * task + number) % 13 / 4)
            self.emit("assistant_response", task, number, content=self.say("Here is the change."), finish="stop")
        self.now += 150 + 40 * (task % 7)
        turn = Turn(
            (("system", self.say("You are an engineer.")), ("user", self.say("Do it."))), self.say("Here it is.\n" * 20)
        )
        self.emit("conversation", task, number, **to_json_value(pack_turns([turn], itself)))
        self.gate(task, number, verdict != "gates_failed")
        self.emit(
            "attempt_ended",
            task,
            number,
            verdict=verdict,
            cause=self.say(f"What came of part {task}."),
            remedy="" if verdict == "applied" else self.say("Try another model."),
            commit=f"{task:040x}" if verdict == "applied" else "",
            seconds=2.5,
            changed=[self.say(f"lighthouse/part_{task}.py")],
            foreign=[self.say("other.py")] if task % 9 == 0 else [],
            refused=[],
            left_out=[],
            patch=self.say(f".aider_logs/agent{task}.patch") if verdict != "applied" else "",
        )

    def review(self, task: int, attempt: int, passed: bool) -> None:
        words: dict[str, Any] = {
            "name": "critic",
            "about": "review",
            "command": self.say("review by gemini-flash-latest"),
        }
        self.emit("gate_started", task, attempt, **words)
        reasons = [] if passed else [self.say("The horn is silent at noon.")]
        data: dict[str, Any] = {"ok": passed, "seconds": 0.4, "output": "", "reasons": reasons}
        self.emit("gate_ended", task, attempt, 400, **words, **data)

    def decision(self, task: int, attempt: int) -> None:
        """A person is asked, and says something."""
        self.emit("task_moved", task, attempt, state="waiting_human")
        self.emit("human_needed", task, attempt, why=self.say("The horn is silent."))
        self.emit("resolved", task, attempt, action="retry", text=self.say("Look at horn.py."))

    def gate(self, task: int | None, attempt: int | None, ok: bool, name: str = "lint", **more: Any) -> None:
        words: dict[str, Any] = {"name": self.say(name), "command": self.say("ruff check .")}
        self.emit("gate_started", task, attempt, **words)
        output = self.say(f".aider_logs/{name}_{task or 'all'}.txt")
        data: dict[str, Any] = {"ok": ok, "code": int(not ok), "timed_out": False, "seconds": 0.3, "output": output}
        self.emit("gate_ended", task, attempt, 300, **words, **(data | more))

    def end(self, done: list[int], ok: bool = True, code: int = 0) -> None:
        for task in done:
            self.emit("task_integrated", task, 1, commit=f"{task:040x}")
        self.emit("combined", commit=RESULT)
        self.gate(None, None, ok, "tests")
        for task in done:
            self.emit("task_moved", task, state="complete" if ok else "failed")
        side = "" if ok else "aider-orchestrator/run/result"
        take = "" if ok else f"git merge {side}"
        files = {self.say(f"lighthouse/part_{task}.py"): [12, 3] for task in done}
        data: dict[str, Any] = {
            "applied": ok,
            "reason": "" if ok else "the tests failed on it",
            "take": take,
            "branch": self.say("main"),
        }
        self.emit("delivered", **data, side_branch=side, result=RESULT, files=files)
        self.emit("run_ended", exit_code=code, error="")


def story(
    tasks: int, failed: float = 0.0, *, say: Say = itself, needs: bool = False, ok: bool = True, seed: int = 1
) -> list[Event]:
    """A whole run with eight agents at once, in which this share of the tasks fails."""
    rng, told = random.Random(seed), Story(say)
    told.begin(tasks, needs)
    for task in range(1, tasks + 1):
        told.emit("task_moved", task, state="ready", after=1)
    done, seats = [], [told.now] * 8
    for task in range(1, tasks + 1):
        seat = Story(say, min(seats) + rng.randint(0, 400))
        if one(seat, task, rng, failed):
            done.append(task)
        seats[seats.index(min(seats))] = seat.now
        told.events += seat.events
    told.now = max(seats)
    told.end(done, ok, int(not ok or bool(failed)))
    in_order = sorted(told.events, key=lambda event: event.time)
    return [replace(event, seq=n) for n, event in enumerate(in_order, 1)]


def one(told: Story, task: int, rng: random.Random, failed: float) -> bool:
    """One task's part; whether its work is in the result."""
    verdict = rng.choice(FAILURES) if rng.random() < failed else "applied"
    told.attempt(task, 1, verdict, rng.randint(1, 3))
    if verdict == "gates_failed":
        told.emit("task_moved", task, 1, state="failed")
        told.review(task, 1, passed=False)
        told.decision(task, 1)
        told.emit("task_moved", task, 1, state="ready")
        told.now += 700
        told.attempt(task, 2, verdict, said=2)
    told.emit("task_moved", task, 1, state="awaiting_qa" if verdict == "applied" else "failed")
    if verdict == "applied" and rng.random() < failed / 5:
        told.emit("task_held", task, 1, reason=told.say("its change does not fit on that of agent1"))
        return False
    return verdict == "applied"


def checked_by(
    *gates: dict[str, Any], say: Say = itself, unusable: dict[str, str] | None = None, code: int = 0
) -> list[Event]:
    """A run of one good task whose result these gates checked. `unusable` are gates of the repository and why."""
    told = Story(say)
    told.begin(1)
    found = [{"name": name, "about": "tests", "why": say(why)} for name, why in (unusable or {}).items()]
    told.emit("gates_found", gates=[], notes=[], unusable=found)
    told.attempt(1, 1, "applied")
    told.emit("task_integrated", 1, 1, commit="1" * 40)
    told.emit("combined", commit=RESULT)
    for gate in gates:
        told.gate(
            None, None, gate.get("ok", True), gate["name"], **{k: v for k, v in gate.items() if k not in ("name", "ok")}
        )
    told.emit("task_moved", 1, state="complete")
    data: dict[str, Any] = {"applied": True, "reason": "", "take": "", "branch": "main", "side_branch": ""}
    told.emit("delivered", **data, result=RESULT, files={"lighthouse/part_1.py": [12, 3]})
    told.emit("run_ended", exit_code=code, error="")
    return told.events


PR = "https://github.com/ada/lighthouse/pull/7"


def handed(events: list[Event], say: Say = itself, url: str = PR) -> list[Event]:
    """The same run, and its result given to others."""
    told = Story(say, events[-1].time, list(events))
    told.emit("patch_written", path=say("all.patch"), size=7)
    told.emit("pushed", remote=say("origin"), branch=say("fix/fog"), commit=RESULT)
    told.emit("pr_opened", url=url, number=7, existed=False, host="github", head="", base="main", commit=RESULT)
    told.emit("not_handed_over", what="branch", why=say("it is there already"), by_hand=say("git branch NAME"))
    return told.events


def cancelled(tasks: int = 4) -> list[Event]:
    """Stopped while the second agent was at work."""
    told = Story()
    told.begin(tasks)
    for task in range(1, tasks + 1):
        told.emit("task_moved", task, state="ready", after=1)
    told.attempt(1, 1, "applied")
    told.emit("task_moved", 1, 1, state="awaiting_qa")
    told.emit("task_moved", 2, 1, state="active")
    told.emit("attempt_started", 2, 1, model="gpt")
    told.request(2, 1, 3.0)
    told.emit("run_ended", after=900, exit_code=143, error="")
    return told.events


def diffs(tasks: int, say: Say = itself) -> dict[int, str]:
    def one(n: int) -> str:
        name = f"lighthouse/part_{n}.py"
        lines = [f'+    return "fog" if visibility < {k} else None  # part {n}' for k in range(40)]
        body = "\n".join(
            [
                f"diff --git a/{name} b/{name}",
                "index 1..2 100644",
                f"--- a/{name}",
                f"+++ b/{name}",
                "@@ -1,3 +1,43 @@ def horn():",
                " def horn(visibility):",
                "-    return 'silence'",
                *lines,
            ]
        )
        return say(body + "\n")

    return {n: one(n) for n in range(1, tasks + 1)}


def printed(events: list[Event], say: Say = itself) -> dict[str, str]:
    """What each gate printed."""
    text = say("tests/test_fog.py:12: AssertionError\n" + "F" * 400 + "\n1 failed in 0.3s\n")
    return {str(event.data["output"]): text for event in events if event.kind == "gate_ended"}
