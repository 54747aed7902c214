"""Make the pictures of the docs anew, each from a real run, and note the digest of what draws it.

usage: python -m tools.make_pictures [NAME ...]    (default: all; the names are those of GROUPS)

docs/images/inputs.json holds the digests. tests/test_pictures.py fails when one is no longer that of its inputs.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.browser import FLAGS
from tests.support.browser import PROGRAM as CHROMIUM
from tools.terminal_picture import draw_demo

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
DIGESTS = IMAGES / "inputs.json"


@dataclass(frozen=True)
class Group:
    """Pictures that are made together. `inputs` are globs of the files that decide how they look."""

    make: Callable[[], None]
    pictures: str
    inputs: Sequence[str]

    def names(self) -> list[str]:
        return sorted(path.name for path in IMAGES.glob(self.pictures))

    def digest(self) -> str:
        files = sorted({path for pattern in self.inputs for path in ROOT.glob(pattern) if path.is_file()})
        digest = hashlib.sha256()
        for path in files:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(ROOT).as_posix()} {content}\n".encode())
        return digest.hexdigest()[:16]


def make_demo() -> None:
    (IMAGES / "demo.svg").write_text(draw_demo(), "utf-8")


def make_report() -> None:
    """Run the demo, and photograph the top of its report."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name:
        run_program("aider_orchestrator.py", "demo", f"{name}/lighthouse")
        [page] = Path(name).glob("lighthouse/.aider_logs/report_*.html")
        with sync_playwright() as started:
            browser = started.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
            tab = browser.new_page(viewport={"width": 1000, "height": 1000}, color_scheme="light")
            tab.goto(page.as_uri())
            tab.screenshot(path=IMAGES / "report.png")
            browser.close()


def make_dashboard() -> None:
    """The test that visits every screen of the dashboard writes its pictures too."""
    module = "tests/e2e/test_dashboard_screens.py"
    words = ["env", f"PICTURES={IMAGES}", sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", module]
    subprocess.run([*words, "-k", "pictures"], cwd=ROOT, check=True)


def make_waterfall() -> None:
    run_program("-m", "bench.waterfall", "--agents", "4", "--out", str(IMAGES / "waterfall.svg"))


def run_program(*words: str) -> None:
    subprocess.run([sys.executable, *words], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)


GROUPS = {
    "demo": Group(
        make_demo,
        "demo.svg",
        ("orchestra/board.py", "orchestra/report/closing.py", "orchestra/demo_tape.jsonl", "tools/terminal_picture.py"),
    ),
    "report": Group(make_report, "report.png", ("orchestra/report/page/*.*", "orchestra/demo_tape.jsonl")),
    "dashboard": Group(make_dashboard, "dashboard-*.png", ("orchestra/web/static/*", "tests/support/reset_story.py")),
    "waterfall": Group(make_waterfall, "waterfall.svg", ("bench/picture.py", "bench/story.py")),
}


def read_digests() -> dict[str, str]:
    digests: dict[str, str] = json.loads(DIGESTS.read_text("utf-8"))
    return digests


def main(argv: Sequence[str]) -> int:
    if unknown := set(argv) - set(GROUPS):
        print(f"There is no group {', '.join(sorted(unknown))}. There are: {', '.join(GROUPS)}.", file=sys.stderr)
        return 2
    digests = read_digests() if DIGESTS.exists() else {}
    for name in argv or GROUPS:
        GROUPS[name].make()
        digests[name] = GROUPS[name].digest()
        DIGESTS.write_text(json.dumps(digests, indent=1, sort_keys=True) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
