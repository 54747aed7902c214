"""A test that must fail, put beside a project's own: a runner that does not report it is bent. Pure."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from orchestra.gates.roll import PASSED, Roll, files_of, function_of
from orchestra.gates.run import Outcome

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
WORDS = "a control test of the orchestrator, which must fail"


def find_runner(command: str, texts: Mapping[str, str], roll: Roll) -> str:
    """The runner behind a gate's command, empty if it is none that we know. `texts` are the base's set-up files."""
    if roll.runner in PYTHON:
        return roll.runner
    spoken = "\n".join([command, *steps_of(command, texts)])
    return next((runner for runner, pattern in RUNNERS.items() if re.search(pattern, spoken)), "")


def steps_of(command: str, texts: Mapping[str, str], depth: int = 0) -> list[str]:
    """What npm's scripts and make's targets run, those that they call too."""
    steps = []
    if hit := SCRIPTED.search(command):
        name = {"t": "test"}.get(hit[1], hit[1])
        steps += [script_of(texts.get("package.json", ""), name)]
    if hit := MAKE.search(command):
        makefile = next((texts[name] for name in MAKEFILES if name in texts), "")
        steps += [recipe_of(makefile, hit[1])]
    found = [step for step in steps if step]
    return found + [more for step in found if depth < DEEPEST for more in steps_of(step, texts, depth + 1)]


def script_of(manifest: str, name: str) -> str:
    try:
        scripts = json.loads(manifest or "{}").get("scripts", {})
        return " && ".join(str(scripts[key]) for key in (f"pre{name}", name, f"post{name}") if key in scripts)
    except (ValueError, AttributeError):
        return ""


def recipe_of(makefile: str, target: str, seen: tuple[str, ...] = ()) -> str:
    """A target's commands and those of what it needs, with the variables that they may stand for."""
    hit = re.search(
        rf"^{re.escape(target)}[ \t]*::?(?!=)([^\n#]*)\n((?:[\t ]+[^\n]*\n|[ \t]*\n)*)", f"{makefile}\n", re.M
    )
    if hit is None or target in seen or len(seen) > DEEPEST:
        return ""
    needs = [recipe_of(makefile, need, (*seen, target)) for need in hit[1].split()]
    text = "\n".join([hit[2], *needs])
    variables = dict(re.findall(r"^(\w+)[ \t]*[:?+]?=[ \t]*(.*)$", makefile, re.M))
    return re.sub(r"\$[({](\w+)[)}]", lambda name: variables.get(name[1], name[0]), text)


def set_up_texts(files: Iterable[str]) -> list[str]:
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


def candidates(runner: str, files: Iterable[str], roll: Roll) -> list[str]:
    """The files beside whose tests the control test may be put."""
    known = sorted(files)
    if runner in PYTHON:
        found = files_of([name for name, outcome in roll.tests.items() if outcome == PASSED], set(known))
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
    return {"pytest": in_pytest, "unittest": in_unittest, "go": in_go, "cargo": in_cargo}.get(runner, in_script)(
        name, texts
    )


def control_name(roll: Roll, word: str) -> str:
    """Called as the project's own tests are, so that a runner finds it among them."""
    passed = [function_of(name).replace("::", ".").rpartition(".")[2] for name in roll.named(PASSED)]
    own = min((name for name in passed if name.isidentifier()), default="test") if roll.runner in PYTHON else "test"
    return f"{own}_control_{word}"


def in_pytest(name: str, texts: Mapping[str, str]) -> dict[str, str]:
    for path, text in texts.items():
        return {path: f"{text}\n\n\ndef {name}():\n    raise AssertionError({WORDS!r})\n"}
    return {}


def in_unittest(name: str, texts: Mapping[str, str]) -> dict[str, str]:
    body = f"\n\n\nimport unittest\n\n\nclass Case_{name}(unittest.TestCase):\n    def {name}(self):\n"
    able = {path: text for path, text in texts.items() if "load_tests" not in text}
    return {path: f"{text}{body}        self.fail({WORDS!r})\n" for path, text in list(able.items())[:3]}


def in_script(name: str, texts: Mapping[str, str]) -> dict[str, str]:
    """By the function that the file itself calls its tests with."""
    calls = {path: hit[1] for path, text in texts.items() if (hit := JS_CALL.search(text))}
    return {
        path: f"{texts[path]}\n;{call}({name!r}, () => {{ throw new Error({WORDS!r}) }});\n"
        for path, call in calls.items()
    }


def go_name(name: str) -> str:
    return "Test" + name.replace("_", "X")


def in_go(name: str, texts: Mapping[str, str]) -> dict[str, str]:
    """Once in each package, because a name may stand there only once."""
    found = dict[tuple[str, str], str]()
    for path, text in texts.items():
        package = re.search(r"^package (\w+)", text, re.M)
        if package and re.search(r'^\s*(?:import )?"testing"$', text, re.M):
            found.setdefault((str(PurePosixPath(path).parent), package[1].removesuffix("_test")), path)
    function = go_name(name)
    body = f'\n\nfunc {function}(t *testing.T) {{\n\tt.Fatal("{WORDS}")\n}}\n'
    return {path: f"{texts[path]}{body}" for path in found.values()}


def in_cargo(name: str, texts: Mapping[str, str]) -> dict[str, str]:
    packages = [path for path, text in texts.items() if "[package]" in text and "autotests" not in text]
    body = f'#[test]\nfn {name}() {{\n    panic!("{WORDS}");\n}}\n'
    return {str(PurePosixPath(path).parent / "tests" / f"{name}.rs"): body for path in packages}


def is_reported(outcome: Outcome, name: str, files: Iterable[str]) -> bool:
    """Whether the run with the control test failed for it. A file that could not be loaded with it counts too: that is
    no runner that lets failures pass."""
    if outcome.ended.code == 0 or outcome.ended.timed_out:
        return False
    signs = {name, go_name(name), *files}
    named = {*outcome.failing, *outcome.roll.named("failed")}
    return any(sign in failure for failure in named for sign in signs)
