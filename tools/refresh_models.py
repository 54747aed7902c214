"""Rewrites orchestra/providers/models.json from the price table that ships inside litellm's newest wheel.

Run it with `make models`, or with `--from FILE` for a wheel or a table that is already here, and read the diff.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from orchestra.providers import catalogue  # noqa: E402

SHOWN = "orchestra/providers/models.json"
TARGET = ROOT / SHOWN
TABLE_IN_WHEEL = "litellm/model_prices_and_context_window_backup.json"
# A server that needs no key is the user's own, and has no prices.
PROVIDERS = tuple(sorted(name for name, provider in catalogue.PROVIDERS.items() if provider.key_vars))
INDISPENSABLE = {"anthropic", "gemini", "openai"}
PRICES = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cache_read": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
}
SIZES = {"context": "max_input_tokens", "max_output": "max_output_tokens"}
LONG_PROMPT_PRICE = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")

Row = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    with tempfile.TemporaryDirectory() as folder:
        source = options.source or download(Path(folder))
        version, table = read(source)
    rows = select(table)
    missing = INDISPENSABLE - {name.partition("/")[0] for name in rows}
    if missing:
        sys.exit(f"{source.name} prices no chat model of {', '.join(sorted(missing))}: its format may have changed")
    write(options.to, render(version, rows))
    print(f"{options.to.name}: {len(rows)} models from litellm {version}")
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE", help="a litellm wheel, or its JSON table")
    parser.add_argument(
        "--to", type=Path, default=TARGET, metavar="FILE", help="what to write (orchestra/providers/models.json)"
    )
    return parser.parse_args(argv)


def download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    # A wheel only: building the source archive would run its build back end and fetch what that needs.
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(folder), "litellm"]
    if subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode != 0:
        sys.exit("pip could not download litellm; download its wheel by hand and give it with --from FILE")
    return next(folder.glob("litellm-*.whl"))


def read(source: Path) -> tuple[str, dict[str, Row]]:
    """The version and the table of a wheel; a bare table does not say its version, so its file name stands for it."""
    if source.suffix != ".whl":
        return source.name, json.loads(source.read_bytes())
    with zipfile.ZipFile(source) as wheel:
        return source.name.split("-")[1], json.loads(wheel.read(TABLE_IN_WHEEL))


def select(table: dict[str, Row]) -> dict[str, Row]:
    """The models that an agent can use, by their name with the provider in front."""
    usable = [name for name, entry in table.items() if is_usable(entry)]
    # Some stand there twice; the entry with its provider in front is the one for that provider's own endpoint.
    usable.sort(key=lambda name: "/" in name)
    return {full_name(name, table[name]["litellm_provider"]): shorten(table[name]) for name in usable}


def is_usable(entry: Row) -> bool:
    """Whether it is a priced model that reads and writes text over chat completions, as agents do."""
    # Models of mode "responses" are left out: they answer at another endpoint, and the current ones are all chat.
    writes = entry.get("supported_output_modalities", ["text"])
    endpoints = entry.get("supported_endpoints", ["/v1/chat/completions"])
    return (
        entry.get("litellm_provider") in PROVIDERS
        and entry.get("mode") == "chat"
        and "input_cost_per_token" in entry
        and "output_cost_per_token" in entry
        and "text" in writes
        and not entry.get("supports_audio_output")
        and "/v1/chat/completions" in endpoints
    )


def full_name(name: str, provider: str) -> str:
    return name if name.startswith(f"{provider}/") else f"{provider}/{name}"


def shorten(entry: Row) -> Row:
    row = {short: entry.get(long) for short, long in (PRICES | SIZES).items()}
    row["long"] = long_prompt_prices(entry)
    row["retires"] = entry.get("deprecation_date")
    return without_gaps(row)


def long_prompt_prices(entry: Row) -> Row | None:
    """What a request costs whose prompt is above a size; no provider has more than one such step."""
    for key in entry:
        if step := LONG_PROMPT_PRICE.fullmatch(key):
            thousands = step.group(1)
            # A price without a step of its own stays as it is.
            prices = {
                short: entry.get(f"{long}_above_{thousands}k_tokens", entry.get(long)) for short, long in PRICES.items()
            }
            return {"above": int(thousands) * 1000} | without_gaps(prices)
    return None


def without_gaps(row: Row) -> Row:
    return {key: value for key, value in row.items() if value is not None}


def render(version: str, rows: dict[str, Row]) -> str:
    """One line per model, sorted, so that a refresh reads well as a diff."""
    lines = [f"  {json.dumps(name)}: {json.dumps(row, sort_keys=True)}" for name, row in sorted(rows.items())]
    return f'{{"litellm": {json.dumps(version)}, "models": {{\n' + ",\n".join(lines) + "\n}}\n"


def write(target: Path, text: str) -> None:
    unfinished = target.with_name(target.name + ".new")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(target)


if __name__ == "__main__":
    sys.exit(main())
