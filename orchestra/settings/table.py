"""The table of options, and the settings made from it: one frozen object that remembers where each value came from."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from orchestra.errors import SettingsError
from orchestra.plan.roles import Role
from orchestra.providers.redact import is_marked
from orchestra.settings.option import Power, flag, option
from orchestra.settings.values import parse_price

# Where values come from, the strongest first. The settings file follows, then the defaults.
REPOSITORY_ENV, SCRIPT_ENV = "repository .env", "script .env"
PLACES = ("flag", "environment", REPOSITORY_ENV, SCRIPT_ENV)


@dataclass(frozen=True)
class Committed:
    """What became of a settings file that git tracks, so that anyone who can commit may have written it."""

    place: str
    used: Mapping[str, Any] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)  # the setting, and why
    models: tuple[str, ...] = ()  # of the refused ones those that chose a model which this run would ask
    trusted: bool = False


@dataclass(frozen=True)
class Settings:
    change: str = option(
        "", "what to change; @FILE reads it from a file, - from stdin", power=Power.READS, group="work", metavar="TEXT"
    )
    repo: str = option(
        "",
        "the repository: a path, or a URL to clone first (default: the current directory)",
        power=Power.STEERS,
        group="work",
        metavar="PATH",
    )
    files: tuple[str, ...] = option(
        (),
        "the files to change: paths, directories, globs (default: the PRD decides)",
        power=Power.HARMLESS,
        group="work",
        metavar="FILE",
    )
    together: tuple[str, ...] = option(
        (), "files that one agent must get: each GLOB is a group", power=Power.HARMLESS, group="work", metavar="GLOB"
    )
    assign: str = option(
        "",
        "who gets which files: a JSON file with a list of files for each agent",
        power=Power.READS,
        group="work",
        metavar="FILE",
    )
    prd: str = option(
        "", "use this PRD instead of asking Gemini for one", power=Power.READS, group="work", metavar="FILE"
    )
    use_prd: bool = option(True, "work without a PRD", power=Power.SPENDS, group="work", off=True)
    plan: str = option(
        "",
        "carry out this plan: a name from `plan list`, or a plan's file",
        power=Power.READS,
        group="work",
        metavar="NAME",
    )
    decompose: bool = option(
        False,
        "have Gemini make a graph of tasks, with what each needs, instead of dividing files",
        power=Power.SPENDS,
        group="work",
    )
    approve: bool = option(
        False,
        "wait for your yes to the plan before agents start (without a terminal: exit code 5)",
        power=Power.HARMLESS,
        group="work",
    )
    commit_prd: bool = option(False, "commit the PRD with the change", power=Power.HARMLESS, group="work")
    trust_repo: bool = option(
        False, "obey all of a committed settings file (see `trust`)", power=Power.CONSENTS, group="work"
    )
    dry_run: bool = option(False, "show the plan and its cost, run nothing", power=Power.STEERS, group="work")

    agents: int = option(
        0, "exactly N agents, as far as there are files", power=Power.HARMLESS, group="agents", metavar="N"
    )
    max_agents: int = option(
        0,
        "at most N agents (default: what cores, memory and files allow)",
        power=Power.HARMLESS,
        group="agents",
        metavar="N",
    )
    agents_per_task: int = option(
        1,
        "attempts at each task side by side, of which the best is kept",
        power=Power.SPENDS,
        group="agents",
        metavar="K",
    )
    max_iterations: int = option(
        10,
        "model replies per attempt, at most",
        power=Power.SPENDS,
        group="agents",
        env=("AIDER_MAX_ITERATIONS",),
        metavar="N",
    )
    retries: int = option(
        4, "further attempts at a task that failed, at most", power=Power.SPENDS, group="agents", metavar="N", zero=True
    )
    ask: str = option(
        "terminal",
        "whether a task that failed for good waits for a person: terminal (where one can be asked), always, never",
        power=Power.HARMLESS,
        group="agents",
        metavar="WHEN",
    )
    agent_timeout: float = option(
        1800.0,
        "the time for one attempt; waiting in the gateway does not count",
        power=Power.SPENDS,
        group="agents",
        metavar="TIME",
    )
    conversation_kb: int = option(
        1024,
        "kilobytes kept of each attempt's conversation, at most; 0 keeps none",
        power=Power.SPENDS,
        group="agents",
        metavar="KB",
        zero=True,
    )
    worktree_copy: tuple[str, ...] = option(
        (), "untracked files to copy into each worktree (.env.test)", power=Power.READS, group="agents", metavar="PATH"
    )
    worktree_link: tuple[str, ...] = option(
        (),
        "untracked paths to link into each worktree (node_modules, .venv)",
        power=Power.WRITES,
        group="agents",
        metavar="PATH",
    )
    setup_cmd: str = option(
        "", "a command to run in each fresh worktree", power=Power.TESTS, group="agents", metavar="CMD"
    )
    aider_args: str = option(
        "", "more options for Aider, as one string", power=Power.RUNS, group="agents", metavar="ARGS"
    )
    fork_server: bool = option(
        True,
        "start every Aider by itself instead of forking a warm one",
        power=Power.HARMLESS,
        group="agents",
        off=True,
    )

    budget: float = option(
        0.0, "dollars that the run may cost, the PRD included", power=Power.SPENDS, group="limits", metavar="USD"
    )
    task_budget: float = option(
        0.0, "dollars that each task may cost", power=Power.SPENDS, group="limits", metavar="USD"
    )
    max_tokens: int = option(
        0, "tokens that the run may use, in and out", power=Power.SPENDS, group="limits", metavar="N"
    )
    deadline: float = option(
        0.0,
        "the time for the run (90s, 30m, 2h); then what is finished is integrated",
        power=Power.SPENDS,
        group="limits",
        metavar="TIME",
    )
    rpm: int = option(
        0,
        "requests per minute to a model, if you know how many it takes",
        power=Power.HARMLESS,
        group="limits",
        metavar="N",
    )
    price: tuple[str, ...] = option(
        (),
        "dollars per million tokens in and out of the agents' model, or of another one as NAME=IN,OUT",
        power=Power.SPENDS,
        group="limits",
        metavar="IN,OUT",
    )

    model: str = option(
        "",
        "the agents' model",
        power=Power.CHOOSES_MODEL,
        group="models",
        env=("DEFAULT_AIDER_MODEL", "LITELLM_MODEL"),
        metavar="NAME",
    )
    claude: bool = option(False, "use the default Claude model", power=Power.CHOOSES_MODEL, group="models")
    claude_model: str = option(
        "",
        "what --claude stands for",
        power=Power.CHOOSES_MODEL,
        group="models",
        env=("DEFAULT_CLAUDE_MODEL",),
        metavar="NAME",
    )
    gemini_model: str = option(
        "",
        "the model that writes the PRD",
        power=Power.CHOOSES_MODEL,
        group="models",
        env=("DEFAULT_GEMINI_MODEL",),
        metavar="NAME",
    )
    critic_model: str = option(
        "",
        "the model that reviews with --critic (default: the one that writes the PRD)",
        power=Power.CHOOSES_MODEL,
        group="models",
        metavar="NAME",
    )
    gemini_client: str = option(
        "rest",
        "rest, or sdk for google-generativeai",
        power=Power.RUNS,
        group="models",
        env=("GEMINI_CLIENT",),
        metavar="NAME",
    )
    api_key: str = option(
        "",
        "Google API key (better: GOOGLE_API_KEY in the environment)",
        power=Power.SENDS,
        group="models",
        env=("GOOGLE_API_KEY", "GEMINI_API_KEY"),
        metavar="KEY",
    )

    test_cmd: str = option(
        "", "tests that the combined result must pass", power=Power.TESTS, group="result", metavar="CMD"
    )
    lint_cmd: str = option("", "a linter that it must pass", power=Power.TESTS, group="result", metavar="CMD")
    type_cmd: str = option("", "a type checker that it must pass", power=Power.TESTS, group="result", metavar="CMD")
    gate: tuple[str, ...] = option(
        (),
        "any other check, by a name of yours; without CMD, leave one out",
        power=Power.TESTS,
        group="result",
        metavar="NAME=CMD",
    )
    detect: bool = option(
        True,
        "use only the checks given, look for none in the repository",
        power=Power.HARMLESS,
        group="result",
        off=True,
    )
    strict: bool = option(
        False,
        "exit 1 when the tests that verify the result are not the base's: changed, skipped or taken out by the agents",
        power=Power.HARMLESS,
        group="result",
    )
    require_tests: bool = option(False, "exit 1 when no tests verify the result", power=Power.HARMLESS, group="result")
    critic: bool = option(
        False,
        "have a model review each task's change against its acceptance checks",
        power=Power.SPENDS,
        group="result",
    )
    sandbox: str = option(
        "auto",
        "keep tests and set-up commands from your keys and files: auto (as far as the system allows), off, require",
        power=Power.RUNS,
        group="result",
        metavar="HOW",
    )
    sandbox_net: str = option(
        "",
        "the network of tests and set-up commands: on, or off for a loopback of their own (default: off for a fork's)",
        power=Power.RUNS,
        group="result",
        metavar="on|off",
    )
    gate_timeout: float = option(1800.0, "seconds for one gate", power=Power.TESTS, group="result", metavar="S")
    apply: bool = option(True, "leave the result on its side branch", power=Power.HARMLESS, group="result", off=True)
    all_or_nothing: bool = option(
        False, "apply nothing unless every task is complete", power=Power.HARMLESS, group="result"
    )
    store: str = option(
        "",
        "where all events are kept as well: a database URL (default: SQLite in .aider_logs)",
        power=Power.WRITES,
        group="result",
        metavar="URL",
    )
    events: str = option(
        "",
        "print every event as a line of JSON on stdout: -; the words then go to stderr",
        power=Power.HARMLESS,
        group="result",
        metavar="-",
    )
    record: str = option(
        "",
        "record the run's model traffic on a new tape, without keys",
        power=Power.WRITES,
        group="result",
        metavar="FILE",
    )
    replay: str = option(
        "",
        "run again what is on a tape: no provider is asked, no key is needed",
        power=Power.STEERS,
        group="result",
        metavar="FILE",
    )
    replay_strict: bool = option(
        False,
        "exit 2 when a replayed run asks for anything else than is on the tape",
        power=Power.HARMLESS,
        group="result",
    )
    json: bool = option(
        False, "print the summary, or of a dry run the plan, as JSON on stdout", power=Power.HARMLESS, group="result"
    )
    quiet: bool = option(False, "print only the result", power=Power.HARMLESS, group="result")
    verbose: bool = option(False, "print every event", power=Power.HARMLESS, group="result")

    branch: str = option(
        "",
        "put the result on this branch, and leave yours where it is",
        power=Power.HANDS_OVER,
        group="handover",
        metavar="NAME",
    )
    push: bool = option(False, "push the branch that has the result", power=Power.HANDS_OVER, group="handover")
    pr: bool = option(
        False,
        "push the result as a branch of its own, and open a pull or merge request (GitHub, GitLab)",
        power=Power.HANDS_OVER,
        group="handover",
    )
    patch: str = option(
        "", "write the whole result as one patch for `git apply`", power=Power.WRITES, group="handover", metavar="FILE"
    )
    notify: str = option(
        "",
        "POST the verdict as JSON to this address when the run ends",
        power=Power.SENDS,
        group="handover",
        metavar="URL",
    )

    # The settings file's table of prices: a model's name, and dollars per million tokens in and out.
    prices: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    # Its tables of roles, as far as they say something else than the package's.
    roles: Mapping[str, Role] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict, repr=False)
    # What became of a committed settings file.
    committed: "Committed | None" = None
    variables: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)

    def key(self, names: Iterable[str]) -> tuple[str, str]:
        """The value of these variables from the strongest place, and that place; in one place the first name counts."""
        found = [self.variables[name] for name in names if name in self.variables]
        return min(found, key=lambda value: rank(value[1]), default=("", ""))

    def base_url(self, names: Iterable[str], key_source: str) -> str:
        """A base URL. One from a repository's .env counts only beside a key from that same file, or without any key: a
        file that came with a repository must not be able to send a key from elsewhere to a server of its choice."""
        value, source = self.key(names)
        strange = source == REPOSITORY_ENV and key_source and not key_source.startswith(REPOSITORY_ENV)
        return "" if strange else value.rstrip("/")

    @property
    def known_prices(self) -> dict[str, tuple[float, float]]:
        """Those of the file, and those of --price, where "" is the agents' model."""
        return dict(self.prices) | dict(parse_price(text, "--price") for text in self.price)

    @property
    def model_name(self) -> str:
        """The agents' model, as the user calls it."""
        from orchestra.providers import catalogue

        if self.claude:
            return self.claude_model or catalogue.DEFAULT_CLAUDE_MODEL
        return self.model or catalogue.DEFAULT_MODEL

    @property
    def gemini_name(self) -> str:
        """The model that writes the PRD, with its provider."""
        from orchestra.providers import catalogue

        name = self.gemini_model or catalogue.DEFAULT_GEMINI_MODEL
        return f"gemini/{name.removeprefix('gemini/').removeprefix('models/')}"

    def is_users(self, name: str) -> bool:
        """Whether it is as the user has it, and not as a committed file says to which they have not consented."""
        return self.committed is None or self.committed.trusted or self.source(name) != self.committed.place

    @property
    def own_branch(self) -> str:
        """The flag by which the result is to be on a branch of its own, and the user's is left where it is."""
        return "--branch" if self.branch else "--pr" if self.pr else ""

    def options(self) -> dict[str, Any]:
        """The values that a resumed run goes on with: all but the keys, which are never written down."""
        # Who knows the address of a chat's hook may write to that chat.
        secret = {"api_key", "notify"} | ({"store"} if PASSWORD.search(self.store) else set())
        return {f.name: getattr(self, f.name) for f in options() if f.name not in secret}

    def resumed(self, before: Mapping[str, Any]) -> "Settings":
        """The settings of a run as it was, but for what is said anew by a flag."""
        given = {name for name, source in self.sources.items() if source == "flag"}
        given |= {rival for pair in RIVALS if given & set(pair) for rival in pair}
        kept = {f.name: before[f.name] for f in options() if f.name in before and f.name not in given}
        for name, value in list(kept.items()):
            if is_marked(value):
                del kept[name]
                if self.source(name) == "default":
                    option = next(flag(f) for f in options() if f.name == name)
                    raise SettingsError(f"{option} held a secret, which was not written down: give it again.")
        return self.with_values(**{name: tuple(v) if isinstance(v, list) else v for name, v in kept.items()})

    def source(self, name: str) -> str:
        return self.sources.get(name, "default")

    def with_values(self, **values: Any) -> "Settings":
        return dataclasses.replace(self, **values)


RIVALS = (
    *(("agents", "max_agents"), ("assign", "agents"), ("assign", "together")),
    *(("plan", "change"), ("plan", "files"), ("plan", "assign"), ("plan", "decompose"), ("decompose", "files")),
    *(("prd", "use_prd"), ("model", "claude"), ("record", "replay"), ("events", "json")),
)
PASSWORD = re.compile("//[^/@]*:[^/@]*@")
ADDRESS = re.compile(r"https?://[^/\s]+")
SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD")


def options() -> list[dataclasses.Field[Any]]:
    return [f for f in fields(Settings) if "help" in f.metadata]


def rank(source: str) -> int:
    return next((n for n, place in enumerate(PLACES) if source.startswith(place)), len(PLACES))


def masked(name: str, value: str) -> str:
    """A value that may be shown: keys lose everything but their last two characters, addresses who logs in there."""
    secret = any(word in name.upper() for word in SECRET_WORDS)
    if secret and value:
        return f"…{value[-2:]}" if len(value) > 8 else "…"
    if name == "notify" and (found := ADDRESS.match(value)):
        value = f"{found[0]}/…"
    return re.sub(r"://[^/@\s]+@", "://…@", value)
