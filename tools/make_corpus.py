"""Run the scenarios of the corpus with any checkout of the program, store them for the tests, or compare two sets.

usage: python -m tools.make_corpus OUT [--program PATH/aider_orchestrator.py] [--only NAME ...]
       python -m tools.make_corpus --store OUT
       python -m tools.make_corpus --renew
       python -m tools.make_corpus --compare A B
"""

import argparse
import shutil
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support import runs, warm
from tools.corpus.scenarios import SCENARIOS
from tools.corpus.stage import ROOT, keep, perform

AT_ONCE = 2
# What the scenarios' checks call by its name.
TOOLS = {"python": '#!/bin/sh\nexec {} "$@"\n', "pytest": '#!/bin/sh\nexec {} -m pytest "$@"\n'}


def main(argv: list[str]) -> int:
    words = argparse.ArgumentParser(usage=(__doc__ or "").partition("usage: ")[2])
    words.add_argument("out", nargs="?", type=Path)
    words.add_argument("--program", type=Path, default=runs.PROGRAM)
    words.add_argument("--only", nargs="+", default=[])
    words.add_argument("--store", type=Path)
    words.add_argument("--renew", action="store_true")
    words.add_argument("--compare", nargs=2, type=Path)
    given = words.parse_args(argv)
    if given.compare:
        from tools.corpus.compare import compare

        return compare(*given.compare)
    if given.store:
        from tools.corpus.stored import store

        return store(given.store)
    if given.renew:
        from tools.corpus.stored import renew_expected

        return renew_expected()
    if given.out is None:
        words.error("OUT is missing")
    return make(given.out.absolute(), given.program.absolute(), given.only or list(SCENARIOS))


def make(out: Path, program: Path, names: list[str]) -> int:
    """Run the scenarios, two at a time. The exit code says whether one failed."""
    if ROOT.exists():
        print(f"{ROOT} is there: another maker is at work, or was killed. Then take it away.", file=sys.stderr)
        return 2
    ROOT.mkdir()
    try:
        set_up(program)
        with ThreadPoolExecutor(AT_ONCE) as threads:
            return int(not all(list(threads.map(lambda name: made(name, out / name), names))))
    finally:
        shutil.rmtree(ROOT)


def set_up(program: Path) -> None:
    """Tools at a neutral place of the PATH, and one warm Aider where the program is that of this checkout."""
    warm.shared = warm.shared and program == runs.PROGRAM
    runs.PROGRAM = program
    (ROOT / "bin").mkdir()
    for name, text in TOOLS.items():
        (ROOT / "bin" / name).write_text(text.format(sys.executable))
        (ROOT / "bin" / name).chmod(0o755)
    if warm.shared:
        warm.aider()


def made(name: str, target: Path) -> bool:
    shutil.rmtree(target, ignore_errors=True)
    try:
        keep(perform(name), target)
    except Exception:
        print(f"{name}: failed\n{traceback.format_exc()}", file=sys.stderr, flush=True)
        return False
    print(name, flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
