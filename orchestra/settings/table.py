"""The table of options: help, power, conflicts, and whether a recording restores the value.

A new option is an entry here, and the place that uses it. `recorded` options decide the requests of a run. Commands,
addresses and places to write are never recorded, because a recording may come from anybody. Checks, limits of money and
time, and the display belong to the machine and the person that replays.
"""

from dataclasses import dataclass
from functools import partial

from orchestra.plan.roles import KINDS
from orchestra.settings.option import (
    Power,
    check_address,
    check_gate,
    check_gate_cache,
    check_price,
    check_stdout,
    define_option,
)


class OptionGroup:
    """The options that help lists together, each recorded or not."""

    def __init__(self, name: str) -> None:
        self.recorded = partial(define_option, group=name, recorded=True)
        self.unrecorded = partial(define_option, group=name, recorded=False)


WORK, AGENTS, LIMITS, MODELS, RESULT, HANDOVER = map(
    OptionGroup, ("work", "agents", "limits", "models", "result", "handover")
)


@dataclass(frozen=True)
class Options:
    """The value of each option, in the order in which the help lists them."""

    change: str = WORK.recorded(
        "", "what to change; @FILE reads it from a file, - from stdin", Power.READS, metavar="TEXT"
    )
    repo: str = WORK.unrecorded(
        "",
        "the repository: a path, or a URL to clone first (default: the current directory)",
        Power.STEERS,
        metavar="PATH",
    )
    files: tuple[str, ...] = WORK.recorded(
        (), "the files to change: paths, directories, globs (default: the PRD decides)", Power.HARMLESS, metavar="FILE"
    )
    together: tuple[str, ...] = WORK.recorded(
        (), "files that go to the same agent: each GLOB is a group", Power.HARMLESS, metavar="GLOB"
    )
    assign: str = WORK.recorded(
        "",
        "the files of each agent: a JSON file with a list of lists",
        Power.READS,
        metavar="FILE",
        conflicts=("agents", "together"),
    )
    prd: str = WORK.recorded(
        "", "use this PRD instead of asking Gemini for one", Power.READS, metavar="FILE", conflicts=("use_prd",)
    )
    use_prd: bool = WORK.recorded(True, "work without a PRD", Power.SPENDS, off=True)
    plan: str = WORK.recorded(
        "",
        "execute this plan: a name from `plan list`, or a plan's file",
        Power.READS,
        metavar="NAME",
        conflicts=("change", "files", "assign", "decompose"),
    )
    shard: str = WORK.unrecorded(
        "",
        "do only this part of a plan that `plan shard` has cut: 2/8, or auto for the job's number in CI; for `combine`",
        Power.STEERS,
        metavar="I/N",
    )
    decompose: bool = WORK.recorded(
        False,
        "have Gemini make a graph of tasks with dependencies, instead of dividing files",
        Power.SPENDS,
        conflicts=("files",),
    )
    approve: bool = WORK.unrecorded(
        False, "ask you to approve the plan before agents start (without a terminal: exit code 5)", Power.HARMLESS
    )
    commit_prd: bool = WORK.recorded(False, "commit the PRD with the change", Power.HARMLESS)
    trust_repo: bool = WORK.unrecorded(False, "use all of a committed settings file (see `trust`)", Power.CONSENTS)
    yes: bool = WORK.unrecorded(
        False,
        "answer yes to what is asked before work begins: an environment for Aider, uncommitted changes",
        Power.WRITES,
    )
    dry_run: bool = WORK.unrecorded(False, "only print the plan and its estimated cost", Power.STEERS)

    agents: int = AGENTS.recorded(
        0, "exactly N agents, or fewer if there are fewer files", Power.HARMLESS, metavar="N", conflicts=("max_agents",)
    )
    max_agents: int = AGENTS.recorded(
        0, "at most N agents (default: what cores, memory and files allow)", Power.HARMLESS, metavar="N"
    )
    agent_kind: str = AGENTS.unrecorded(
        "aider",
        "the kind of agent, if neither the plan nor the role names one: aider, claude, codex, or exec for --agent-cmd",
        Power.RUNS,
        metavar="KIND",
        choices=KINDS,
    )
    agent_cmd: str = AGENTS.unrecorded(
        "",
        "the command of an agent of kind exec: it gets the brief on stdin, and {brief}, {worktree} and {model} in it",
        Power.RUNS,
        metavar="CMD",
    )
    agents_per_task: int = AGENTS.recorded(
        1, "parallel attempts at each task, of which the best is kept", Power.SPENDS, metavar="K", most=16
    )
    max_iterations: int = AGENTS.recorded(
        10,
        "model replies per attempt, at most (by default 60 for agents other than Aider)",
        Power.SPENDS,
        env=("AIDER_MAX_ITERATIONS",),
        metavar="N",
    )
    retries: int = AGENTS.recorded(
        4, "further attempts at a task that failed, at most", Power.SPENDS, metavar="N", zero=True
    )
    ask: str = AGENTS.unrecorded(
        "terminal",
        "whether a task that failed finally waits for your decision: terminal (if you can be asked), always, never",
        Power.HARMLESS,
        metavar="WHEN",
        choices=("terminal", "always", "never"),
    )
    agent_timeout: float = AGENTS.unrecorded(
        1800.0, "the time for one attempt, without waiting in the gateway", Power.SPENDS, metavar="TIME"
    )
    conversation_kb: int = AGENTS.unrecorded(
        1024,
        "kilobytes kept of each attempt's conversation, at most; 0 keeps none",
        Power.SPENDS,
        metavar="KB",
        zero=True,
    )
    worktree_copy: tuple[str, ...] = AGENTS.unrecorded(
        (), "untracked files to copy into each worktree (.env.test)", Power.READS, metavar="PATH"
    )
    worktree_link: tuple[str, ...] = AGENTS.unrecorded(
        (), "untracked paths to link into each worktree (node_modules, .venv)", Power.WRITES, metavar="PATH"
    )
    setup_cmd: str = AGENTS.unrecorded("", "a command to run in each fresh worktree", Power.TESTS, metavar="CMD")
    aider_args: str = AGENTS.unrecorded("", "more options for Aider, as one string", Power.RUNS, metavar="ARGS")
    conventions: bool = AGENTS.recorded(
        True,
        "do not quote the repository's rules (AGENTS.md, CONVENTIONS.md, CLAUDE.md) to its agents",
        Power.HARMLESS,
        off=True,
    )
    fork_server: bool = AGENTS.unrecorded(
        True, "start each Aider as a new process instead of forking a loaded one", Power.HARMLESS, off=True
    )
    cluster: str = AGENTS.unrecorded(
        "",
        "let the agents work on the nodes of this Ray cluster: the address that `worker head` prints, or auto",
        Power.SENDS,
        metavar="HOST:PORT",
    )

    budget: float = LIMITS.unrecorded(
        0.0, "dollars that the run may cost, the PRD included", Power.SPENDS, metavar="USD"
    )
    task_budget: float = LIMITS.unrecorded(0.0, "dollars that each task may cost", Power.SPENDS, metavar="USD")
    max_tokens: int = LIMITS.unrecorded(0, "tokens that the run may use, in and out", Power.SPENDS, metavar="N")
    deadline: float = LIMITS.unrecorded(
        0.0, "the time for the run (90s, 30m, 2h); then finished work is combined", Power.SPENDS, metavar="TIME"
    )
    rpm: int = LIMITS.unrecorded(
        0, "requests per minute to a model, if you know its limit", Power.HARMLESS, metavar="N"
    )
    price: tuple[str, ...] = LIMITS.unrecorded(
        (),
        "dollars per million input and output tokens of the agents' model; NAME=IN,OUT for another one",
        Power.SPENDS,
        metavar="IN,OUT",
        check=check_price,
    )

    model: str = MODELS.recorded(
        "",
        "the agents' model",
        Power.CHOOSES_MODEL,
        env=("DEFAULT_AIDER_MODEL", "LITELLM_MODEL"),
        metavar="NAME",
        conflicts=("claude",),
    )
    claude: bool = MODELS.recorded(False, "use the default Claude model", Power.CHOOSES_MODEL)
    claude_model: str = MODELS.recorded(
        "", "the model that --claude uses", Power.CHOOSES_MODEL, env=("DEFAULT_CLAUDE_MODEL",), metavar="NAME"
    )
    gemini_model: str = MODELS.recorded(
        "", "the model that writes the PRD", Power.CHOOSES_MODEL, env=("DEFAULT_GEMINI_MODEL",), metavar="NAME"
    )
    critic_model: str = MODELS.recorded(
        "",
        "the model that reviews with --critic (default: the one that writes the PRD)",
        Power.CHOOSES_MODEL,
        metavar="NAME",
    )
    gemini_client: str = MODELS.unrecorded(
        "rest",
        "rest, or sdk for google-generativeai",
        Power.RUNS,
        env=("GEMINI_CLIENT",),
        metavar="NAME",
        choices=("rest", "sdk"),
    )
    api_key: str = MODELS.unrecorded(
        "",
        "Google API key (better: GOOGLE_API_KEY in the environment)",
        Power.SENDS,
        env=("GOOGLE_API_KEY", "GEMINI_API_KEY"),
        metavar="KEY",
    )

    test_cmd: str = RESULT.unrecorded("", "tests that the combined result must pass", Power.TESTS, metavar="CMD")
    lint_cmd: str = RESULT.unrecorded("", "a linter that it must pass", Power.TESTS, metavar="CMD")
    type_cmd: str = RESULT.unrecorded("", "a type checker that it must pass", Power.TESTS, metavar="CMD")
    gate: tuple[str, ...] = RESULT.unrecorded(
        (),
        "another check under a name of your choice; without CMD, leave out the check NAME",
        Power.TESTS,
        metavar="NAME=CMD",
        check=check_gate,
    )
    gate_cache: tuple[str, ...] = RESULT.unrecorded(
        (),
        "whether an outcome that an earlier run of a check had on the same tree is used: off for none, NAME=off if the"
        " check NAME depends on more than tree and machine, NAME=on if it does not even though it looks so",
        Power.HARMLESS,
        metavar="off|NAME=on|off",
        check=check_gate_cache,
    )
    detect: bool = RESULT.unrecorded(
        True, "use only the checks given; do not look for others in the repository", Power.HARMLESS, off=True
    )
    strict: bool = RESULT.unrecorded(
        False, "exit 1 when agents changed, skipped or removed tests that verify the result", Power.HARMLESS
    )
    require_tests: bool = RESULT.unrecorded(False, "exit 1 when no tests verify the result", Power.HARMLESS)
    critic: bool = RESULT.recorded(
        False, "have a model review each task's change against its acceptance checks", Power.SPENDS
    )
    guardian: bool = RESULT.recorded(
        False, "have a cheap model look at long attempts, and stop one that leaves its task", Power.SPENDS
    )
    sandbox: str = RESULT.unrecorded(
        "auto",
        "protect your keys and files from tests and set-up commands: auto (as far as the system allows), off, require",
        Power.RUNS,
        metavar="HOW",
        choices=("auto", "off", "require"),
    )
    sandbox_net: str = RESULT.unrecorded(
        "",
        "the network of tests and set-up commands: on, or off for loopback only (default: off for a fork)",
        Power.RUNS,
        metavar="on|off",
        choices=("on", "off"),
    )
    gate_timeout: float = RESULT.unrecorded(
        1800.0, "seconds for one gate, or the set-up command", Power.TESTS, metavar="S"
    )
    apply: bool = RESULT.recorded(True, "leave the result on its side branch", Power.HARMLESS, off=True)
    all_or_nothing: bool = RESULT.recorded(False, "apply nothing unless every task is complete", Power.HARMLESS)
    store: str = RESULT.unrecorded(
        "",
        "a database URL for all events, or postgres or mysql for that in POSTGRES_URI or MYSQL_URI"
        " (default: SQLite in .aider_logs)",
        Power.WRITES,
        metavar="URL",
    )
    events: str = RESULT.unrecorded(
        "",
        "- prints every event as a line of JSON on stdout, and other text on stderr",
        Power.HARMLESS,
        metavar="-",
        conflicts=("json",),
        check=check_stdout,
    )
    record: str = RESULT.unrecorded(
        "",
        "record the model traffic of the run in a new file, without keys",
        Power.WRITES,
        metavar="FILE",
        conflicts=("replay",),
    )
    replay: str = RESULT.unrecorded(
        "", "repeat a recorded run without requests to providers and without keys", Power.STEERS, metavar="FILE"
    )
    replay_strict: bool = RESULT.unrecorded(
        False, "exit 2 when a replayed run makes a request that is not recorded", Power.HARMLESS
    )
    json: bool = RESULT.unrecorded(
        False, "print the summary (or the plan of a dry run) as JSON on stdout", Power.HARMLESS
    )
    quiet: bool = RESULT.unrecorded(False, "print only the result", Power.HARMLESS)
    verbose: bool = RESULT.unrecorded(False, "print every event", Power.HARMLESS)

    branch: str = HANDOVER.unrecorded(
        "", "put the result on this branch, and do not move yours", Power.HANDS_OVER, metavar="NAME"
    )
    push: bool = HANDOVER.unrecorded(False, "push the branch that has the result", Power.HANDS_OVER)
    pr: bool = HANDOVER.unrecorded(
        False, "push the result as a new branch, and open a pull or merge request (GitHub, GitLab)", Power.HANDS_OVER
    )
    patch: str = HANDOVER.unrecorded(
        "", "write the whole result as one patch for `git apply`", Power.WRITES, metavar="FILE"
    )
    notify: str = HANDOVER.unrecorded(
        "",
        "POST the verdict as JSON to this address when the run ends",
        Power.SENDS,
        metavar="URL",
        check=check_address,
    )
