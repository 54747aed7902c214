"""The plan before it is carried out: for a person on one screen, for a program as JSON."""

import math
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from orchestra import catalogue
from orchestra.model import Link, Plan, Task
from orchestra.report.sentence import plural

WIDTH, HEIGHT = 80, 40
FRAME = 13  # lines that are not about one agent
FIXED_TOKENS = 2_000  # Aider's own instructions in each prompt
BYTES_PER_TOKEN = 3
QUICK, SLOW = 100, 25  # tokens that a model writes in a second
WAIT = 5.0  # seconds until it begins, and for the rest of an attempt


@dataclass(frozen=True)
class Estimate:
    """From one reply per task that writes a twentieth of its files to three replies that write a fifth each."""

    tokens: tuple[int, int]
    dollars: tuple[float, float] | None
    minutes: tuple[float, float]
    each: int = 1

    @property
    def times(self) -> str:
        return f"; all of that {self.each} times" if self.each > 1 else ""

    @property
    def side_by_side(self) -> str:
        return f"{self.each} attempts at each task side by side, of which the best is kept." if self.each > 1 else ""

    @property
    def basis(self) -> str:
        return (
            "from one reply per task that writes a twentieth of its files to three that write a fifth each, "
            f"at {QUICK} to {SLOW} tokens a second; without the PRD's{self.times}"
        )


def estimate(
    plan: Plan, model: catalogue.Model, sizes: Mapping[str, int], *, each: int = 1, places: int = 0
) -> Estimate:
    """`each` is how often every task is done, side by side, and `places` how many attempts are made at once."""
    tasks = [task for task in plan.tasks for _ in range(each)]
    asked = [prompt_tokens(task, sizes) for task in tasks]
    low = [(tokens, task.tokens // 20 + 200) for tokens, task in zip(asked, tasks, strict=True)]
    high = [(3 * tokens + task.tokens, 3 * task.tokens // 5 + 1_000) for tokens, task in zip(asked, tasks, strict=True)]
    prices = [catalogue.cost(model, sum(i for i, _ in each), 0, 0, sum(o for _, o in each)) for each in (low, high)]
    return Estimate(
        (sum(map(sum, low)), sum(map(sum, high))),
        None if prices[0] is None or prices[1] is None else (prices[0], prices[1]),
        (minutes(low, places or plan.agents, QUICK, 1), minutes(high, places or plan.agents, SLOW, 3)),
        each,
    )


def prompt_tokens(task: Task, sizes: Mapping[str, int]) -> int:
    beside = len(task.brief.encode()) + sum(sizes.get(path, 0) for path in task.reads)
    return task.tokens + FIXED_TOKENS + beside // BYTES_PER_TOKEN


def minutes(work: Sequence[tuple[int, int]], agents: int, speed: int, replies: int) -> float:
    """The longest task, or all of them one after another by so many agents."""
    seconds = [said / speed + replies * WAIT for _, said in work]
    return max(max(seconds, default=0.0), math.fsum(seconds) / max(agents, 1)) / 60


# --- for a program --------------------------------------------------------------------------------------------------


def record(plan: Plan, model: str, found: Estimate, left_out: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    links = plan.basis.together or ((),) * len(plan.tasks)
    return {
        "model": model,
        "agents": plan.agents,
        "tasks": [
            {
                "agent": task.agent,
                "tokens": task.tokens,
                "files": [asdict(file) for file in task.files],
                "reads": list(task.reads),
                "links": [asdict(link) for link in those],
            }
            for task, those in zip(plan.tasks, links, strict=True)
        ],
        "cut": None if plan.basis.cut is None else round(plan.basis.cut, 4),
        "commits": plan.basis.commits,
        "cut_links": [asdict(link) for link in plan.basis.apart],
        "notes": list(plan.basis.notes),
        "left_out": {why: list(paths) for why, paths in left_out.items()},
        "estimate": asdict(found) | {"basis": found.basis},
    }


# --- for a person ---------------------------------------------------------------------------------------------------


def page(plan: Plan, model: str, found: Estimate, left_out: Mapping[str, Sequence[str]]) -> str:
    files = sum(len(task.files) for task in plan.tasks)
    waves = -(-len(plan.tasks) // max(plan.agents, 1))
    head = f"{plural(files, 'file')} for {plural(plan.agents, 'agent')} at once, {model}"
    if waves > 1:
        head += f"; {len(plan.tasks)} tasks in {waves} waves"
    lines = [head, *wrapped(found.side_by_side), *(line for note in plan.basis.notes for line in wrapped(note)), ""]
    tail = [*cut(plan), *said_left_out(left_out), *told(found)]
    room = HEIGHT - len(lines) - len(tail) - 1
    return "\n".join([*lines, *agents(plan, room), "", *tail])


def agents(plan: Plan, room: int) -> list[str]:
    """Every file where that fits on the screen, else the folders, and at last one line for each agent."""
    links = plan.basis.together or ((),) * len(plan.tasks)
    whole = [agent(task, those, every_file(task)) for task, those in zip(plan.tasks, links, strict=True)]
    if sum(map(len, whole)) <= room:
        return [line for one in whole for line in one]
    each = max(room // max(len(plan.tasks), 1), 1)
    short = [shortened(task, those, each) for task, those in zip(plan.tasks, links, strict=True)]
    shown = short[: max(room - 1, 1)] if each == 1 and len(short) > room else short
    rest = [f"… and {len(short) - len(shown)} more tasks"] if len(shown) < len(short) else []
    return [line for one in shown for line in one] + rest


def agent(task: Task, links: Sequence[Link], files: Sequence[str]) -> list[str]:
    because = [clipped(f"together: {brief(links[0])}")] if links else []
    return [title(task), *files, *because]


def title(task: Task) -> str:
    return f"agent{task.id}  {plural(len(task.files), 'file')}, about {task.tokens:,} tokens"


def every_file(task: Task) -> list[str]:
    own = [f"  {file.path}{'  (new)' if file.new else ''}" for file in task.files]
    return own + [f"  {path}  (to read only)" for path in task.reads]


def shortened(task: Task, links: Sequence[Link], lines: int) -> list[str]:
    if lines < 3:
        found = [clipped(f"{title(task)}: {folders(task, 2)}")]
        return [*found, clipped(f"  together: {brief(links[0])}")] if lines == 2 and links else found
    because = [clipped(f"  together: {brief(link)}") for link in links[: lines - 2]]
    return [
        title(task),
        *(f"  {line}" for line in wrapped(folders(task, 6), WIDTH - 2)[: lines - 1 - len(because)]),
        *because,
    ]


def folders(task: Task, most: int) -> str:
    """src/auth (12), tests (7) and 3 more: where the files lie."""
    counts = Counter(file.path.rpartition("/")[0] or "." for file in task.files)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in ranked[most:])
    return ", ".join(f"{name} ({count})" for name, count in ranked[:most]) + (f" and {rest} more" if rest else "")


def brief(link: Link) -> str:
    """The first reason, and what lies in the same folder by its name alone."""
    folder = link.one.rpartition("/")[0]
    same = folder and link.other.rpartition("/")[0] == folder
    other = link.other.rpartition("/")[2] if same else link.other
    return f"{link.why.split(',')[0]}: {link.one} + {other}"


def cut(plan: Plan) -> list[str]:
    if len(plan.tasks) < 2:
        return []
    basis = plan.basis
    if basis.cut is None:
        said = ["How much of what usually changes together is cut is not known: the history says too little."]
    else:
        said = [f"Cut: {basis.cut:.0%} of what usually changes together ({plural(basis.commits, 'commit')})."]
    return [*said, *(clipped(f"cut: {brief(link)}") for link in basis.apart), ""]


def said_left_out(left_out: Mapping[str, Sequence[str]]) -> list[str]:
    found = [wrapped(f"Left out, because {why}: {some(paths)}") for why, paths in left_out.items() if paths]
    return [*(line for lines in found for line in lines), ""] if found else []


def some(paths: Sequence[str], most: int = 12) -> str:
    return ", ".join(paths[:most]) + (f" and {len(paths) - most} more" if len(paths) > most else "")


def told(found: Estimate) -> list[str]:
    low, high = found.dollars or (None, None)
    cost = f"${low:.2f} to ${high:.2f}" if low is not None and high is not None else "no price is known for this model"
    time = f"{max(found.minutes[0], 0.1):.1f} to {max(found.minutes[1], 0.1):.1f} minutes"
    return wrapped(f"Estimate: {cost}, {time}, {found.tokens[0]:,} to {found.tokens[1]:,} tokens ({found.basis}).")


def wrapped(text: str, width: int = WIDTH) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def clipped(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
