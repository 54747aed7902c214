"""Rows of bars over seconds, as one SVG file that needs nothing else and suits light and dark pages."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

WIDTH, LEFT, RIGHT = 960, 215, 120
ROW, THICK, TOP, BOTTOM = 22, 14, 62, 26
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300)
MOST_MARKS = 12
# Kind: its colour, which can be told from both backgrounds, and what the legend says.
KINDS = {
    "ours": ("#4c8bd6", "this program"),
    "git": ("#2fa39b", "git"),
    "imports": ("#9b78d0", "Aider is imported"),
    "waits": ("#9aa0a6", "waiting"),
    "aider": ("#e08a3c", "Aider works"),
    "model": ("#6fb35a", "the model answers"),
    "gate": ("#d3699c", "a gate's command"),
}
STYLE = """
  svg { background: #fff; font: 12px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
  text { fill: #24292f; } .quiet { fill: #6a737d; } .title { font-size: 14px; font-weight: 600; }
  .mark { stroke: #d9dde2; } .stripe { fill: #f4f6f8; }
  @media (prefers-color-scheme: dark) {
    svg { background: #0d1117; } text { fill: #e6edf3; } .quiet { fill: #9aa4af; }
    .mark { stroke: #2b323b; } .stripe { fill: #161b22; }
  }
"""


class Bar(NamedTuple):
    """In seconds. Of several `lanes` in one row it takes one."""

    start: float
    end: float
    kind: str
    lane: int = 0
    lanes: int = 1


class Row(NamedTuple):
    name: str
    bars: Sequence[Bar]
    note: str


def picture(rows: Sequence[Row], total: float, title: str) -> str:
    bottom = TOP + ROW * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + BOTTOM}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}{colours()}</style>",
        text(12, 22, title, "title"),
        *legend({bar.kind for row in rows for bar in row.bars}),
        *(f'<rect class="stripe" y="{TOP + ROW * n}" width="{WIDTH}" height="{ROW}"/>' for n in range(0, len(rows), 2)),
        *axis(total, bottom),
    ]
    for n, row in enumerate(rows):
        top = TOP + ROW * n
        parts += [text(12, top + 15, row.name), text(WIDTH - 12, top + 15, row.note, "quiet", "end")]
        parts += [drawn(bar, top + (ROW - THICK) / 2, total) for bar in row.bars]
    return "\n".join([*parts, "</svg>", ""])


def colours() -> str:
    return " ".join(f".{kind} {{ fill: {colour}; }}" for kind, (colour, _) in KINDS.items())


def place(moment: float, total: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * moment / total


def drawn(bar: Bar, top: float, total: float) -> str:
    """Even the shortest can be seen."""
    left, right = place(bar.start, total), place(bar.end, total)
    height = THICK / bar.lanes
    where = f'x="{left:.1f}" y="{top + height * bar.lane:.1f}"'
    return f'<rect class="{bar.kind}" {where} width="{max(right - left, 1):.1f}" height="{height:.1f}"/>'


def axis(total: float, bottom: float) -> Iterator[str]:
    step = next((step for step in STEPS if total / step <= MOST_MARKS), STEPS[-1])
    for n in range(int(total / step) + 1):
        x = place(n * step, total)
        yield f'<path class="mark" d="M{x:.1f} {TOP}V{bottom}"/>'
        yield text(x, bottom + 17, f"{n * step:g} s" if n else "0", "quiet", "middle")


def legend(kinds: set[str]) -> Iterator[str]:
    left = 12.0
    for kind, (_, words) in KINDS.items():
        if kind in kinds:
            yield f'<rect class="{kind}" x="{left:.0f}" y="36" width="12" height="12"/>'
            yield text(left + 17, 46, words)
            left += 40 + 6.6 * len(words)


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'
