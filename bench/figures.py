"""What was measured, what it comes to, and how that is said: on a terminal and in Markdown."""

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from bench.modes import ALL_IN_ONE, AT_ONCE, IN_TURN, OUR_FLAGS, OURS

MANY = 32
WAYS = {
    AT_ONCE: "plain aiders at once",
    OUR_FLAGS: "plain aiders at once with our flags",
    IN_TURN: "plain aiders one after another",
}


@dataclass(frozen=True)
class Round:
    """One way, run once. Seconds, MiB, tokens, dollars; `others`: processors that were busy with something else."""

    agents: int
    mode: str
    wall: float
    cpu: float
    peak: float
    own: float
    others: float
    requests: int
    prompt: int
    completion: int
    dollars: float

    @property
    def tokens(self) -> int:
        return self.prompt + self.completion


def read(path: Path) -> list[Round]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [Round(**json.loads(line)) for line in lines]


def add(path: Path, one: Round) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(one)) + "\n")


@dataclass(frozen=True)
class Aim:
    words: str
    reached: str
    met: bool


@dataclass(frozen=True)
class Figures:
    """Medians of all rounds, and what they come to."""

    rounds: Sequence[Round]
    latency: float

    @cached_property
    def cells(self) -> dict[tuple[int, str], list[Round]]:
        found: dict[tuple[int, str], list[Round]] = defaultdict(list)
        for each in sorted(self.rounds, key=lambda each: each.agents):
            found[each.agents, each.mode].append(each)
        return dict(found)

    def values(self, agents: int, mode: str, name: str) -> list[float]:
        return [getattr(each, name) for each in self.cells.get((agents, mode), [])]

    def median(self, agents: int, mode: str, name: str) -> float:
        values = self.values(agents, mode, name)
        return statistics.median(values) if values else math.nan

    def times(self, agents: int, mode: str, name: str) -> float:
        """How many times as much another way takes as this program."""
        return self.median(agents, mode, name) / self.median(agents, OURS, name)

    @property
    def sizes(self) -> list[int]:
        return list(dict.fromkeys(agents for agents, _ in self.cells))

    @property
    def floor(self) -> float:
        """One plain aider's start and one reply: its whole wall without its second reply, the commit's message."""
        return self.median(1, AT_ONCE, "wall") - self.latency

    # --- tables

    def costs(self) -> list[list[str]]:
        head = ["files", "", "rounds", "wall s", "", "CPU s", "", "peak MiB", "", "own MiB", "others"]
        return [head, *(self.cost_row(*cell) for cell in self.cells)]

    def cost_row(self, agents: int, mode: str) -> list[str]:
        row = [str(agents), mode, str(len(self.cells[agents, mode]))]
        for name, digits in (("wall", 1), ("cpu", 1), ("peak", 0)):
            row += [self.spread(agents, mode, name, digits), self.ratio(agents, mode, name)]
        own = self.median(agents, mode, "own")
        return [*row, f"{own:.0f}" if own else "", f"{self.median(agents, mode, 'others'):.1f}"]

    def spread(self, agents: int, mode: str, name: str, digits: int) -> str:
        values = self.values(agents, mode, name)
        middle, low, high = (f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
        return f"{middle} ({low}–{high})" if len(values) > 1 else middle

    def ratio(self, agents: int, mode: str, name: str) -> str:
        times = self.times(agents, mode, name)
        return "" if mode == OURS or math.isnan(times) else f"{times:.1f}x" if times >= 1 else f"{times:.2f}x"

    def traffic(self) -> list[list[str]]:
        head = ["files", "", "requests", "prompt tokens", "reply tokens", "dollars", ""]
        rows = []
        for agents, mode in self.cells:
            requests, prompt, completion, dollars = (
                self.median(agents, mode, name) for name in ("requests", "prompt", "completion", "dollars")
            )
            words = [str(agents), mode, f"{requests:.0f}", f"{prompt:,.0f}", f"{completion:,.0f}", f"{dollars:.4f}"]
            rows.append([*words, self.ratio(agents, mode, "dollars")])
        return [head, *rows]

    # --- what it comes to

    def aims(self) -> list[Aim]:
        found = []
        if (MANY, AT_ONCE) in self.cells and (MANY, OURS) in self.cells:
            for name, word, least in (
                ("wall", "less wall time", 12),
                ("cpu", "less CPU", 20),
                ("peak", "less memory", 5),
            ):
                times = self.times(MANY, AT_ONCE, name)
                aim = f"{MANY} files: at least {least} times {word} than {MANY} plain aiders at once"
                found.append(Aim(aim, f"{times:.1f} times", times >= least))
            if not math.isnan(self.floor):
                floors = self.median(MANY, OURS, "wall") / self.floor
                aim = f"{MANY} files: at most twice the floor, which is {self.floor:.1f} s"
                found.append(Aim(aim, f"{floors:.2f} times", floors <= 2))
            for name in ("requests", "tokens", "dollars"):
                part = 1 / self.times(MANY, AT_ONCE, name)
                found.append(
                    Aim(f"{MANY} files: fewer {name} than plain aiders", f"{part:.2f} times as many", part < 1)
                )
        for mode, words in ((AT_ONCE, "default flags"), (OUR_FLAGS, "our flags")):
            if (1, mode) in self.cells and (1, OURS) in self.cells:
                part = 1 / self.times(1, mode, "wall")
                found.append(Aim(f"1 file: no slower than plain aider with {words}", f"{part:.2f} times", part <= 1))
        return found

    def when_not(self) -> Iterable[str]:
        """Where this program is not worth it."""
        for mode, words in WAYS.items():
            sizes = [agents for agents in self.sizes if {(agents, mode), (agents, OURS)} <= self.cells.keys()]
            slower = [agents for agents in sizes if self.times(agents, mode, "wall") <= 1]
            if sizes:
                outcome = f"no faster with {listed(slower)}" if slower else "faster with each of them"
                yield f"Against {words}, measured with {listed(sizes)} files: {outcome}."
        for agents in self.sizes:
            if {(agents, ALL_IN_ONE), (agents, OURS)} <= self.cells.keys():
                yield self.break_even(agents)
        yield "One file is always one agent's: work in a single file is not divided, however many agents there are."

    def break_even(self, agents: int) -> str:
        """One aider waits for a reply that is `agents` times as long; many wait for a short one, all at once."""
        ours = self.median(agents, OURS, "wall") - self.latency
        alone = self.median(agents, ALL_IN_ONE, "wall") - self.latency
        reply = (ours - alone) / (agents - 1)
        words = (
            f"One plain aider for all {agents} files takes {alone + self.latency:.1f} s if the model says all at once"
        )
        if reply <= 0:
            return f"{words}; this program is faster even then."
        return f"{words}; this program is faster as soon as the reply for one file takes {reply:.2f} s."


def listed(sizes: list[int]) -> str:
    return ", ".join(map(str, sizes))


# --- words ----------------------------------------------------------------------------------------------------------


def terminal(table: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
    return "\n".join(line.rstrip() for line in lines)


def markdown(table: list[list[str]]) -> str:
    head, *rows = (f"| {' | '.join(row)} |" for row in table)
    return "\n".join([head, "|---" * len(table[0]) + "|", *rows])


def aims_table(aims: list[Aim]) -> list[list[str]]:
    return [["aim", "reached", ""], *([aim.words, aim.reached, "met" if aim.met else "**missed**"] for aim in aims)]
