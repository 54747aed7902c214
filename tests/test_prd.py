"""The PRD format, the names of PRD files, and the digest of a repository that a PRD is written from."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from orchestra.answers import prd_format
from orchestra.errors import UsageError
from orchestra.model import Contract, Requirement, WorkItem
from orchestra.plan.digest import build_digest, find_signatures, has_signatures

DEMO = Path(__file__).parents[1] / "orchestra" / "demo_project" / "prd.md"


def document(block: Any, fence: str = "```", word: str = "json") -> str:
    text = block if isinstance(block, str) else json.dumps(block, indent=2)
    return f"# Title\n\nProse.\n\n{fence}{word}\n{text}\n{fence}\n"


def complaint(block: Any) -> str:
    with pytest.raises(UsageError) as caught:
        prd_format.parse_prd(document(block))
    sentence = str(caught.value)
    assert sentence.startswith("The PRD's JSON block ")
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


# --- reading --------------------------------------------------------------------------------------------------------


def test_the_demo_s_document_is_read_completely() -> None:
    found = prd_format.parse_prd(DEMO.read_text("utf-8"))
    assert found.structured
    assert [one.id for one in found.requirements] == ["R1", "R2", "R3", "R4", "R5"]
    assert found.requirements[3] == Requirement(
        "R4",
        "In fog ships go at half the speed at which they would otherwise pass.",
        ("A ship of 12 knots passes at 6 in a calm with fog",),
    )
    assert found.contracts[1] == Contract(
        "blast",
        "def blast(weather: Weather) -> str",
        "lighthouse/horn.py",
        "What the horn sounds like in this weather; empty when it is clear.",
    )
    assert [work.file for work in found.work if work.new] == ["lighthouse/horn.py"]
    assert len(found.work) == 6
    assert found.prose.startswith("# Fog at the lighthouse\n")
    assert found.prose.endswith("nothing differs from before.")


def test_format_in_the_prompt_is_the_format_that_is_read() -> None:
    found = prd_format.parse_prd(prd_format.PRD_INSTRUCTIONS)
    assert [(work.file, work.new) for work in found.work] == [("app/voice.py", True), ("app/main.py", False)]
    assert found.requirements[0].acceptance == ("shout('hi') returns 'HI!'",)
    assert found.contracts[0].signature == "def shout(text: str) -> str"


WORK = {"work": [{"file": "a.py", "do": "x"}]}


@pytest.mark.parametrize(
    "text",
    [
        document(WORK),
        document(WORK, word="JSON"),
        document(WORK, word=" json title=plan"),
        document(WORK, fence="````"),
        document(WORK, fence="~~~"),
        document(WORK).replace("\n", "\r\n"),
        document(WORK).rstrip("\n"),
        "\ufeff" + document(WORK),
        document(WORK) + "\nThat is all.\n",
        document({"work": [{"file": "old.py"}]}) + document(WORK),
        document(WORK) + "\nA reply looks like this:\n\n```json\n{\"status\": 200}\n```\n",
        "```markdown\n" + document(WORK) + "```\n",
        document(WORK).removesuffix("```\n"),
        document(WORK | {"title": 3, "extra": {"work": 1}}),
    ],
    ids=[
        "plain", "JSON", "info", "four", "tildes", "crlf", "no-newline", "bom", "trailing", "last", "later-json",
        "wrapped", "unclosed", "unknown-keys",
    ],
)  # fmt: skip
def test_the_block_is_found(text: str) -> None:
    found = prd_format.parse_prd(text)
    assert found.structured
    assert found.work == (WorkItem("a.py", "x"),)


def test_the_prose_is_all_but_the_block() -> None:
    found = prd_format.parse_prd("# Fög\r\n\r\nBefore.\r\n\r\n" + document(WORK).split("\n\n", 2)[2] + "\nAfter.\n")
    assert found.prose == "# Fög\n\nBefore.\n\nAfter."


@pytest.mark.parametrize(
    "text", ["", "# Only prose\n", "```python\nwork = {}\n```\n", document({"status": 200}), "json"]
)
def test_a_document_without_a_block_of_ours_is_prose(text: str) -> None:
    found = prd_format.parse_prd(text)
    assert not found.structured
    assert found.prose == text.strip()
    assert (found.requirements, found.contracts, found.work) == ((), (), ())


def test_every_key_may_be_missing_or_null() -> None:
    assert prd_format.parse_prd(document({"work": []})).structured
    found = prd_format.parse_prd(
        document({"requirements": [{}, {"id": "X", "acceptance": None}], "contracts": [{}], "work": None})
    )
    assert found.requirements == (Requirement("R1", ""), Requirement("X", ""))
    assert found.contracts == (Contract("", ""),)
    assert found.work == ()


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"work": {}}, "work must be a list of objects, not an object"),
        ({"requirements": "R1"}, "requirements must be a list of objects, not a string"),
        ({"contracts": ["f"]}, "contracts[0] must be an object, not a string"),
        ({"work": [{"file": "a"}, None]}, "work[1] must be an object, not null"),
        ({"work": [{"file": 3}]}, "work[0].file must be a string, not a number"),
        ({"work": [{"file": "a", "new": "yes"}]}, "work[0].new must be true or false, not a string"),
        ({"work": [{"file": "a", "do": ["x"]}]}, "work[0].do must be a string, not a list"),
        ({"work": [{"file": "a", "requirements": "R1"}]}, "work[0].requirements must be a list of strings, not a st"),
        ({"requirements": [{"acceptance": [1]}]}, "requirements[0].acceptance[0] must be a string, not a number"),
        ({"requirements": [{"id": True}]}, "requirements[0].id must be a string, not true or false"),
        ({"work": [{"do": "x"}]}, "work[0].file must name a file"),
        ({"work": [{"file": "./"}]}, "work[0].file must name a file"),
        ({"work": [{"file": "src/"}]}, "'src/', which is not the name of a file"),
        ({"work": [{"file": "a", "do": "\ud800"}]}, "work[0].do holds control characters"),
        ({"work": [{"file": "a\0b"}]}, "work[0].file holds control characters"),
        ({"work": [{"file": "a\nb"}]}, "'a\\nb', which is not the name of a file"),
        ({"work": [{"file": "/etc/passwd"}]}, "'/etc/passwd', which is outside the repository"),
        ({"work": [{"file": "//server/x"}]}, "is outside the repository"),
        ({"work": [{"file": "a/../../b"}]}, "is outside the repository"),
        ({"work": [{"file": ".."}]}, "is outside the repository"),
        ({"work": [{"file": "C:\\x.py"}]}, "is outside the repository"),
        ({"contracts": [{"name": "f", "file": "../x"}]}, "contracts[0].file is '../x'"),
        ([{"work": []}], "must be an object, not a list"),
        ('{"work": [}', "is not valid JSON: Expecting value in line 6 of the document"),
        ('{"work": [{"file": "a.py",\n', "is not valid JSON"),
        ('{"work": ' + "[" * 200_000, "is nested too deeply"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(block: Any, words: str) -> None:
    assert words in complaint(block)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("a.py", "a.py"),
        ("./a.py", "a.py"),
        ("src//b/./c.py", "src/b/c.py"),
        ("src/x/../a.py", "src/a.py"),
        ("src\\win\\a.py", "src/win/a.py"),
        ("my file [1].py", "my file [1].py"),
        ("-dash", "-dash"),
        ("größe/ü.txt", "größe/ü.txt"),
        ("..hidden/a", "..hidden/a"),
    ],
)
def test_paths_are_written_as_git_writes_them(given: str, path: str) -> None:
    found = prd_format.parse_prd(document({"work": [{"file": given}], "contracts": [{"file": given}]}))
    assert (found.work[0].file, found.contracts[0].file) == (path, path)


def test_a_file_named_twice_is_one_piece_of_work() -> None:
    works = [
        {"file": "a.py", "do": "First.", "requirements": ["R1"]},
        {"file": "b.py", "do": "Other."},
        {"file": "./a.py", "do": "Second.", "new": True, "requirements": ["R2", "R1"]},
        {"file": "a.py", "do": "First."},
    ]
    found = prd_format.parse_prd(document({"work": works}))
    assert found.work == (WorkItem("a.py", "First. Second.", True, ("R1", "R2")), WorkItem("b.py", "Other."))


# --- files that prose names -----------------------------------------------------------------------------------------

TRACKED = (
    "Makefile",
    "a.py",
    "lib/a.py",
    "lib/a.pyi",
    "my a.py",
    "run",
    "src/[id].tsx",
    "src/größe.py",
    "test",
    "x-a.py",
)


@pytest.mark.parametrize(
    ("prose", "named"),
    [
        ("Change `a.py`.", ["a.py"]),
        ("Change a.py, then stop.", ["a.py"]),
        ("See a.py:12 and (lib/a.py).", ["a.py", "lib/a.py"]),
        ("In ./lib/a.py", ["lib/a.py"]),
        ("The file lib/a.pyi", ["lib/a.pyi"]),
        ("The file 'my a.py'", ["my a.py"]),
        ("xa.py, a.pyc, a.py.bak, other/a.py, a.py/b and b-a.py", []),
        ("x-a.py", ["x-a.py"]),
        ("Edit src/[id].tsx and src/größe.py!", ["src/[id].tsx", "src/größe.py"]),
        ("The Makefile's targets run every test.", ["Makefile"]),
        ("Mend `run` and `test`.", ["run", "test"]),
        ("", []),
    ],
)
def test_named_files(prose: str, named: list[str]) -> None:
    assert prd_format.files_named_in_prose(prose, TRACKED) == tuple(named)


# --- file names -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ("Add a password reset", "add-a-password-reset"),
        ("  Füge Größe hinzu!  ", "fuge-groe-hinzu"),
        ("../../etc/passwd; rm -rf", "etc-passwd-rm-rf"),
        ("追加する", "change"),
        ("", "change"),
        ("x" * 100, "x" * 40),
        ("Add user-password reset flow with email OTP and more", "add-user-password-reset-flow-with-email"),
        ("word " * 8 + "word", "word-word-word-word-word-word-word-word"),
    ],
)
def test_file_name(change: str, name: str) -> None:
    found = prd_format.prd_file_name(change, "20261105_101112")
    assert found == f"{name}_20261105_101112.md"
    assert re.fullmatch(r"[a-z0-9-]{1,40}_20261105_101112\.md", found)


# --- the digest -----------------------------------------------------------------------------------------------------

PYTHON = '''"""Class of its own."""
async def fetch(
    url: str,
    *,
    tries: int = (3),
) -> dict[str, int]:
    def inner(): ...
class Fetcher(Base, metaclass=Meta):
    def method(self): ...
'''
TYPESCRIPT = """import { x } from './x'
export default function App({ a }: Props): JSX.Element {
export interface Props extends Base<T> { a: string }
type Pair<T> = { left: T }
export { x }
  function inner() {
const add = (a: number) => a
"""
GO = "package a\n\nfunc (s *Store) Get(key string) (int, error) {\ntype Store struct {\nvar x = 1\n"
RUST = """use a;
pub fn run<T: Io>(io: &T) -> Result<(), E> {
impl Store {
    pub async fn get(&self) -> u8 {
    fn private() {
"""
JAVA = """public class Store<T> extends Base {
    private int x = 1;
    public static int get(int a, int b) {
        a = f(b);
"""
C = "#include <a.h>\nstatic int add(int a, int b) {\n  if (a) b();\n}\nint x = 3;\n"


@pytest.mark.parametrize(
    ("path", "text", "found"),
    [
        (
            "a.py",
            PYTHON,
            [
                "async def fetch(url: str, *, tries: int = (3)) -> dict[str, int]",
                "class Fetcher(Base, metaclass=Meta)",
            ],
        ),
        (
            "web/App.tsx",
            TYPESCRIPT,
            [
                "export default function App({ a }: Props): JSX.Element",
                "export interface Props extends Base<T>",
                "type Pair<T>",
                "const add = (a: number) => a",
            ],
        ),
        ("a.go", GO, ["func (s *Store) Get(key string) (int, error)", "type Store struct"]),
        (
            "a.rs",
            RUST,
            ["pub fn run<T: Io>(io: &T) -> Result<(), E>", "impl Store", "pub async fn get(&self) -> u8"],
        ),
        ("A.JAVA", JAVA, ["public class Store<T> extends Base", "public static int get(int a, int b)"]),
        ("a.c", C, ["static int add(int a, int b)"]),
        ("a.rb", "class A < B\n  def get(key, other = 1)\n    x\n", ["class A < B", "def get(key, other = 1)"]),
        ("a.sql", "CREATE TABLE a (\n  id int\n);\nSELECT 1;\n", ["CREATE TABLE a (id int)"]),
        ("a.sh", "set -e\nbuild() {\n", ["build()"]),
        ("notes.md", "# class A:\n", []),
        ("Makefile", "def x(\n", []),
    ],
)  # fmt: skip
def test_signatures(path: str, text: str, found: list[str]) -> None:
    assert find_signatures(path, text) == found
    assert find_signatures(path, text.replace("\n", "\r\n")) == found


def test_a_long_signature_is_cut_and_an_open_one_ends_somewhere() -> None:
    [found] = find_signatures("a.py", f"def f({', '.join(f'argument_{n}' for n in range(100))}): ...")
    assert len(found) == 160
    assert found.endswith("...")
    [found] = find_signatures("a.py", "def f(\n" + "    a,\n" * 50)
    assert found == "def f(" + "a, " * 10 + "a,"


def test_only_what_people_write_is_worth_reading() -> None:
    assert has_signatures("src/a.py")
    assert not any(map(has_signatures, ("README.md", "node_modules/a.js", "web/app.min.js", "py", "Makefile")))


def test_a_small_repository_is_shown_whole() -> None:
    files = [
        ("src/b.py", 30, "def b(): ...\n"),
        ("README.md", 5, "# Hi\n"),
        ("my file.bin", 9, None),
        ("a.py", 8, "x = 1\n"),
    ]
    assert build_digest(files) == (
        "## Tracked files: 4 of 4, each after its size in bytes; 0 left out\n"
        "5 README.md\n8 a.py\n9 my file.bin\n30 src/b.py\n\n"
        "## Signatures: those of 1 of 1 source files; 0 left out\nsrc/b.py\n  def b()"
    )


def test_the_digest_does_not_depend_on_the_order_of_the_files() -> None:
    files = [(f"src/m{n}.py", n, f"def f{n}(): ...\n" * 3) for n in range(500)]
    assert build_digest(files, 5_000) == build_digest(reversed(files), 5_000)


@pytest.mark.parametrize("limit", [400, 1_000, 8_000, 60_000])
@pytest.mark.parametrize("count", [1, 40, 3_000])
def test_the_digest_keeps_its_limit_and_counts_what_it_leaves_out(limit: int, count: int) -> None:
    files = [(f"größe/{n % 7}/modul_{n}.py", n, f"def funktion_{n}(größe: int) -> None: ...\n") for n in range(count)]
    found = build_digest(files, limit)
    assert len(found.encode()) <= limit
    listed, total, left = map(int, re.findall(r"Tracked files: (\d+) of (\d+),.*; (\d+) left out", found)[0])
    assert (total, left) == (count, count - listed)
    assert listed == len(re.findall(r"^\d+ größe/", found, re.MULTILINE))
    shown, total, left = map(int, re.findall(r"those of (\d+) of (\d+) source files; (\d+) left out", found)[0])
    assert (total, left) == (count, count - shown)
    assert shown == found.count("  def funktion_")


def test_the_most_telling_files_stay() -> None:
    noise = [(f"a/vendor/lib{n}.py", 10, "def v(): ...\n") for n in range(200)]
    docs = [(f"docs/page{n}.md", 10, None) for n in range(200)]
    tests = [(f"tests/test_{n}.py", 10, "def test(): ...\n") for n in range(200)]
    found = build_digest([*noise, *docs, *tests, ("zone/in/the/core.py", 10, "def core(): ...\n")], 2_000)
    assert "10 zone/in/the/core.py\n" in found
    assert "  def core()" in found
    assert "tests/test_" in found
    assert "vendor/" not in found


def test_a_name_that_cannot_be_written_is_counted_as_left_out() -> None:
    found = build_digest([("a.py", 1, None), ("b\nc.py", 1, "def x(): ...\n"), ("d\udcff.py", 1, None)])
    assert "1 of 3, each after its size in bytes; 2 left out" in found
    assert found.encode().count(b"\n") == 1


def test_an_empty_repository_and_a_very_talkative_file() -> None:
    assert build_digest([]) == "The repository has no tracked files yet."
    found = build_digest([("a.py", 1, "".join(f"def f{n}(): ...\n" for n in range(50)))])
    assert "  def f39()\n  ... and 10 more" in found
    assert "f40" not in found
