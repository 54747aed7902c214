"""A test that must fail, put beside a project's own: a runner that does not report it is bent. Pure."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from orchestra.gates.recorded_tests import PASSED, RecordedTests, files_of_tests, function_of
from orchestra.gates.run import GateOutcome

# Runners whose tests we can write, each by how a command speaks of it. The first that is found counts.
END = r"(?![\w/-]|\.\w)"
RUNNERS = {
    "pytest": rf"(?<![\w.-])(?:pytest|py\.test){END}",
    "unittest": rf"-m\s+unittest{END}|\bmanage\.py\s+test{END}",
    "vitest": rf"(?<![\w.-])vitest{END}",
    "jest": rf"(?<![\w.-])jest{END}|(?<![\w.-])react-scripts\s+test{END}",
    "mocha": rf"(?<![\w.-])mocha{END}",
    "node": r"(?<![\w.-])node\b[^|;&\n]*\s--test(?![\w-])",
    "go": rf"(?<![\w.-])(?:go\s+test|gotestsum){END}",
    "cargo": rf"(?<![\w.-])cargo\s+(?:\S+\s+)?(?:test|nextest){END}",
}
SCRIPTED = re.compile(r"\b(?:npm|pnpm|yarn|bun)\s+(?:run\s+|run-script\s+)?(?:--?\S+\s+)*([\w:.-]+)")
MAKE = re.compile(r"\bg?make\s+(?:-\S+\s+)*([\w.-]+)")
MAKEFILES = ("GNUmakefile", "makefile", "Makefile")
PYTHON = ("pytest", "unittest")
DEEPEST = 4
MOST_FILES = 30
CONTROL_MESSAGE = "a control test of the orchestrator, which must fail"


def find_runner(command: str, texts: Mapping[str, str], roll: RecordedTests) -> str:
    """The runner behind a gate's command, empty if it is none that we know. `texts` are the base's set-up files."""
    if roll.runner in PYTHON:
        return roll.runner
    spoken = "\n".join([command, *command_steps(command, texts)])
    return next((runner for runner, pattern in RUNNERS.items() if re.search(pattern, spoken)), "")


def command_steps(command: str, texts: Mapping[str, str], depth: int = 0) -> list[str]:
    """What npm's scripts and make's targets run, those that they call too."""
    steps = []
    if hit := SCRIPTED.search(command):
        name = {"t": "test"}.get(hit[1], hit[1])
        steps += [npm_script(texts.get("package.json", ""), name)]
    if hit := MAKE.search(command):
        makefile = next((texts[name] for name in MAKEFILES if name in texts), "")
        steps += [make_recipe(makefile, hit[1])]
    found = [step for step in steps if step]
    return found + [more for step in found if depth < DEEPEST for more in command_steps(step, texts, depth + 1)]


def npm_script(manifest: str, name: str) -> str:
    try:
        scripts = json.loads(manifest or "{}").get("scripts", {})
        return " && ".join(str(scripts[key]) for key in (f"pre{name}", name, f"post{name}") if key in scripts)
    except (ValueError, AttributeError):
        return ""


def make_recipe(makefile: str, target: str, seen: tuple[str, ...] = ()) -> str:
    """A target's commands and those of what it needs, with the variables that they may stand for."""
    hit = re.search(
        rf"^{re.escape(target)}[ \t]*::?(?!=)([^\n#]*)\n((?:[\t ]+[^\n]*\n|[ \t]*\n)*)", f"{makefile}\n", re.M
    )
    if hit is None or target in seen or len(seen) > DEEPEST:
        return ""
    needs = [make_recipe(makefile, need, (*seen, target)) for need in hit[1].split()]
    text = "\n".join([hit[2], *needs])
    variables = dict(re.findall(r"^(\w+)[ \t]*[:?+]?=[ \t]*(.*)$", makefile, re.M))
    return re.sub(r"\$[({](\w+)[)}]", lambda name: variables.get(name[1], name[0]), text)


def find_set_up_files(files: Iterable[str]) -> list[str]:
    """The files that say what a gate's command does."""
    names = {*MAKEFILES, "package.json"}
    return [path for path in files if path in names]


# A pytest's command and configuration with no word that could be a plug-in's.
PLAIN_PYTEST = re.compile(
    r"(?:\S*python\S* -m )?\S*pytest(?: (?:-[qvxs]+|-p no:\w+|--continue-on-collection-errors|[\w./]+))*"
)
PLUGINS = re.compile(r"addopts|required_plugins|asyncio_mode|strict|pytest_plugins|filterwarnings")


def needs_no_plugins(command: str, configuration: Iterable[str]) -> bool:
    return bool(PLAIN_PYTEST.fullmatch(command)) and not any(PLUGINS.search(text) for text in configuration)


# --- the test -------------------------------------------------------------------------------------------------------

JS_TEST = re.compile(
    r"(?:[._-](?:test|spec)|(?:^|/)tests?)\.[cm]?[jt]sx?$|(?:^|/)(?:tests?|specs?|__tests__)/.+\.[cm]?[jt]sx?$"
)
JS_CALL = re.compile(r"^[ \t]*(?:await )?(test|it)(?:\.\w+)?\s*\(", re.M)


def control_candidates(runner: str, files: Iterable[str], roll: RecordedTests) -> list[str]:
    """The files beside whose tests the control test may be put."""
    known = sorted(files)
    if runner in PYTHON:
        found = files_of_tests([name for name, outcome in roll.tests.items() if outcome == PASSED], set(known))
        return [path for path in found if path.endswith(".py")][: 1 if runner == "pytest" else MOST_FILES]
    if runner in ("node", "jest", "vitest", "mocha"):
        return [path for path in known if JS_TEST.search(path)][:MOST_FILES]
    if runner == "go":
        return [path for path in known if path.endswith("_test.go")][:MOST_FILES]
    if runner == "cargo":
        return [path for path in known if PurePosixPath(path).name == "Cargo.toml"][:MOST_FILES]
    return []


def control_files(runner: str, name: str, texts: Mapping[str, str]) -> dict[str, str]:
    """The files with the control test in them, from those of the candidates that can hold it."""
    return {"pytest": add_to_pytest, "unittest": add_to_unittest, "go": add_to_go, "cargo": add_to_cargo}.get(
        runner, add_to_script
    )(name, texts)


def control_name(roll: RecordedTests, word: str) -> str:
    """Called as the project's own tests are, so that a runner finds it among them."""
    passed = [function_of(name).replace("::", ".").rpartition(".")[2] for name in roll.names_with(PASSED)]
    own = min((name for name in passed if name.isidentifier()), default="test") if roll.runner in PYTHON else "test"
    return f"{own}_control_{word}"


def add_to_pytest(name: str, texts: Mapping[str, str]) -> dict[str, str]:
    for path, text in texts.items():
        return {path: f"{text}\n\n\ndef {name}():\n    raise AssertionError({CONTROL_MESSAGE!r})\n"}
    return {}


def add_to_unittest(name: str, texts: Mapping[str, str]) -> dict[str, str]:
    body = f"\n\n\nimport unittest\n\n\nclass Case_{name}(unittest.TestCase):\n    def {name}(self):\n"
    able = {path: text for path, text in texts.items() if "load_tests" not in text}
    return {path: f"{text}{body}        self.fail({CONTROL_MESSAGE!r})\n" for path, text in list(able.items())[:3]}


def add_to_script(name: str, texts: Mapping[str, str]) -> dict[str, str]:
    """By the function that the file itself calls its tests with."""
    calls = {path: hit[1] for path, text in texts.items() if (hit := JS_CALL.search(text))}
    return {
        path: f"{texts[path]}\n;{call}({name!r}, () => {{ throw new Error({CONTROL_MESSAGE!r}) }});\n"
        for path, call in calls.items()
    }


def go_test_name(name: str) -> str:
    return "Test" + name.replace("_", "X")


def add_to_go(name: str, texts: Mapping[str, str]) -> dict[str, str]:
    """Once in each package, because a name may stand there only once."""
    found = dict[tuple[str, str], str]()
    for path, text in texts.items():
        package = re.search(r"^package (\w+)", text, re.M)
        if package and re.search(r'^\s*(?:import )?"testing"$', text, re.M):
            found.setdefault((str(PurePosixPath(path).parent), package[1].removesuffix("_test")), path)
    function = go_test_name(name)
    body = f'\n\nfunc {function}(t *testing.T) {{\n\tt.Fatal("{CONTROL_MESSAGE}")\n}}\n'
    return {path: f"{texts[path]}{body}" for path in found.values()}


def add_to_cargo(name: str, texts: Mapping[str, str]) -> dict[str, str]:
    packages = [path for path, text in texts.items() if "[package]" in text and "autotests" not in text]
    body = f'#[test]\nfn {name}() {{\n    panic!("{CONTROL_MESSAGE}");\n}}\n'
    return {str(PurePosixPath(path).parent / "tests" / f"{name}.rs"): body for path in packages}


def is_control_reported(outcome: GateOutcome, name: str, files: Iterable[str]) -> bool:
    """Whether the run with the control test failed for it. A file that could not be loaded with it counts too: that is
    no runner that lets failures pass."""
    if outcome.ended.code == 0 or outcome.ended.timed_out:
        return False
    signs = {name, go_test_name(name), *files}
    named = {*outcome.failing, *outcome.roll.names_with("failed")}
    return any(sign in failure for failure in named for sign in signs)
