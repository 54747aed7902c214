"""Repositories that nobody has seen before, drawn from a seed, with the edits that shall be made in them."""

import os
import random
from dataclasses import dataclass

WORDS = ("lamp", "harbour", "gull", "tide", "rope", "signal", "keeper", "fog", "bell", "north", "buoy", "chart", "wave")
SOAK = os.environ.get("SOAK") == "1"


@dataclass(frozen=True)
class Sample:
    """`said` is what the model answers with (LF), `after` what must then stand in the files, byte by byte."""

    files: dict[str, bytes]
    said: dict[str, str]
    after: dict[str, bytes]
    arguments: tuple[str, ...]  # after --files: paths, folders and globs that mean exactly the edited ones


def draw(seed: int, targets: int) -> Sample:
    """A repository with this many files to change, among others that must not."""
    rng = random.Random(seed)
    folder = f"src/{rng.choice(WORDS)}"
    some = rng.sample(WORDS, min(rng.randint(0, targets), len(WORDS)))
    whole = [f"{folder}/{word}.{rng.choice(('py', 'md', 'js'))}" for word in some]
    globbed = [
        f"lib/{word}_{n}.{rng.choice(('ts', 'go'))}" for n, word in enumerate(rng.choices(WORDS, k=targets // 3))
    ]
    single = [f"{word} {n}.txt" for n, word in enumerate(rng.choices(WORDS, k=targets))]
    chosen = [*whole, *globbed, *single][:targets]
    by_folder = [folder] if set(whole) & set(chosen) else []
    by_glob = ["lib/*.[tg]*"] if set(globbed) & set(chosen) else []
    arguments = [*by_folder, *by_glob, *(path for path in chosen if path in single)]
    rng.shuffle(arguments)
    before = {path: text(rng) for path in chosen}
    said = {path: edited(rng, content) for path, content in before.items()}
    looks = {path: rng.choice(("plain", "plain", "crlf", "open")) for path in chosen}
    others = {f"docs/{word}.md": text(rng).encode() for word in rng.sample(WORDS, 4)} | {"bin.dat": rng.randbytes(300)}
    return Sample(
        {path: dressed(content, looks[path]) for path, content in before.items()} | others,
        said,
        {path: dressed(content, looks[path]) for path, content in said.items()},
        tuple(arguments),
    )


def text(rng: random.Random) -> str:
    """Lines that can be told apart, for a change in the middle has to find its place; some say unusual things."""
    odd = ("", "    ", "\tégalité — ☂", "# ======= not a divider", "'''")
    lines = [f"{rng.choice(WORDS)} {n} = {rng.randint(0, 9999)}" for n in range(rng.randint(3, 60))]
    for _ in range(rng.randint(0, 4)):
        lines.insert(rng.randrange(1, len(lines)), rng.choice(odd))
    return "\n".join(lines) + "\n"


def edited(rng: random.Random, before: str) -> str:
    """Some lines changed, some put in, some taken out, never none."""
    lines = before.splitlines()
    for n in range(rng.randint(1, 3)):
        at = rng.randrange(len(lines))
        what = rng.choice(("change", "insert", "delete")) if len(lines) > 3 else "insert"
        new = f"new {rng.choice(WORDS)} {n} {rng.random()}"
        lines[at : at + (what != "insert")] = [] if what == "delete" else [new]
    return "\n".join([*lines, f"the end {rng.random()}"]) + "\n"


def dressed(content: str, look: str) -> bytes:
    """As it lies in the repository: plain, with CRLF, or without the last line's end."""
    if look == "open":
        content = content.removesuffix("\n")
    return content.replace("\n", "\r\n" if look == "crlf" else "\n").encode()
