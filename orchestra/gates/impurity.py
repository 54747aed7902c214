"""Find what a gate reads that no digest can hold: the clock, chance, git's history, what runs elsewhere. Pure."""

import re

# Extended regular expressions as git has them, so without \b and \d. Each names the clock in some language.
CLOCK = "|".join(
    (
        r"(^|[^A-Za-z0-9_])time\.(time|time_ns|localtime|gmtime|ctime|asctime|strftime|monotonic|perf_counter|process_time)",
        r"from time import .*(time|monotonic|perf_counter|process_time)",
        r"(import time as|__import__\(['\"](time|datetime)|import_module\(['\"](time|datetime))",
        r"[.:](now|today|utcnow|now_utc|currentTimeMillis|nanoTime)\(",
        r"(datetime|date|timezone|Time|Date|DateTime|DateTimeOffset)\.(now|today|utcnow|current|Now|UtcNow|Today)",
        r"(^|[^A-Za-z0-9_])time\.(Now|Since|Until)",
        r"new Date([^A-Za-z0-9_(]|\(\)|$)|(^|[^A-Za-z0-9_.])Date\(\)|process\.hrtime|performance\.mark",
        r"(^|[^A-Za-z0-9_.])(time|microtime|hrtime|clock|gettimeofday|clock_gettime|localtime|gmtime|mktime)\(",
        r"(^|[^A-Za-z0-9_])strftime\(|date\(['\"]|getmtime|st_[mac]time|mtimeMs|/proc/(uptime|stat|loadavg)",
        "(^|[;&|($`])[ \t]*date([ \t]*$|[ \t]+[-+'\"]|[ \t]*[>|)`;])",
        r"EPOCHSECONDS|EPOCHREALTIME|\$\{?SECONDS|-(mtime|mmin|newer|nt|ot) |%\(%|systime\(|os\.times\(",
        r"(run|call|output|Popen|system|popen|exec|spawn)[A-Za-z_]*\(\[?['\"]date",
        r"CURRENT_(TIMESTAMP|DATE|TIME)|(^|[^A-Za-z0-9_])NOW\(|['\"](now|today)['\"]",
    )
)
CHANCE = (
    r"(^|[^A-Za-z0-9_])random\.(random|randint|randrange|choice|choices|shuffle|sample|uniform|rand|randn)"
    r"|from random import|Math\.random|\$\{?RANDOM|/dev/u?random|(^|[^A-Za-z0-9_])rand\.(Int|Float|Perm|Shuffle)"
    "|(^|[;&|($`])[ \t]*shuf|thread_rng|rand::random|ThreadLocalRandom|new Random[(]"
)
HISTORY = r"['\"`]git['\" ]|(^|[;&|($`] *)git +[a-z]|rev-parse|GitPython|setuptools.scm|versioneer|git-describe"
# Programs whose work depends on what is installed or stored elsewhere.
ELSEWHERE = (
    r"(^|[^A-Za-z0-9_./-])(docker|docker-compose|podman|kubectl|ssh|scp|rsync|curl|wget|poetry|pipenv|hatch|pdm|rye|uv|uvx"
    r"|conda|mamba|micromamba|nix|nix-shell|bazel|bazelisk|vagrant|tox|nox|psql|mysql|mongosh|redis-cli|pre-commit)"
    r"([^A-Za-z0-9_.-]|$)"
)
REASONS = {
    "reads the clock": CLOCK,
    "draws random numbers": CHANCE,
    "asks git for the history": HISTORY,
    "calls a program that works elsewhere": ELSEWHERE,
}
NO_CODE = ("*.md", "*.rst", "*.txt", "*.adoc", "*.html", "*.svg", "*.json", "*.lock", "*.csv", "*.po", "LICENSE*")
BUILD_FILES = ("Makefile", "makefile", "GNUmakefile", "*.mk", "package.json", "justfile", "Rakefile", "*.sh")
CODE, BUILD = f"{CLOCK}|{CHANCE}|{HISTORY}", f"{CLOCK}|{ELSEWHERE}"
PATHSPECS = {
    CODE: ["--", ".", *(f":(exclude,glob)**/{name}" for name in NO_CODE)],
    BUILD: ["--", *(f":(glob)**/{name}" for name in BUILD_FILES)],
}


def why_command_impure(command: str) -> str:
    """Return why a command's outcome may change without a change of the tree, as a clause; empty if it may not."""
    return next((f"its command {why}" for why, pattern in REASONS.items() if re.search(pattern, command)), "")
