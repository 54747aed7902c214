"""What a cluster needs before anything is paid; each refusal is one sentence. Ray is not installed for these tests."""

import ast
import sys
from pathlib import Path

import pytest

from orchestra.errors import UsageError
from orchestra.hosts import ray_cluster, ray_start
from orchestra.hosts.node_messages import NodeVersions
from tests.support.edits import no_edits
from tests.support.modelserver import ModelServer
from tests.support.runs import make_place
from tools.layers import MODULES

INSTALL = "Install it on each machine: pip install 'aider-orchestrator[ray]'."


@pytest.mark.parametrize(
    "words",
    [
        ("--change", "x", "--cluster", "10.0.0.1:6379", "--no-prd", "--model", "openai/gpt-6.1-sol"),
        *(("worker", "head"), ("worker", "join", "10.0.0.1:6379"), ("worker", "list")),
    ],
)
def test_without_ray_a_cluster_says_what_to_install(tmp_path: Path, words: tuple[str, ...]) -> None:
    place = make_place(tmp_path, {"a.py": "x = 1\n"})
    with ModelServer(no_edits()) as server:
        ran = place.run(*words, server=server)
        assert (ran.code, server.count()) == (2, 0)
    assert ran.err.splitlines()[-1] == f"aider-orchestrator: A cluster needs Ray, which is not installed. {INSTALL}"


def test_ray_is_imported_only_where_a_cluster_is_used() -> None:
    found: dict[str, int] = {}
    for module, path in MODULES.items():
        tree = ast.parse(path.read_bytes())
        names = {node: ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)}
        ray = [node for node, text in names.items() if text.startswith(("import ray", "from ray"))]
        assert not any(node in tree.body for node in ray), f"{module} imports Ray when it is imported itself"
        found |= {module: len(ray)} if ray else {}
    assert found.keys() == {"orchestra.hosts.ray_cluster", "orchestra.hosts.ray_loopback"}
    assert "ray" not in sys.modules


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ray://10.0.0.1:10001", "the run must stand on a machine of the cluster"),
        ("10.0.0.1", "this is no address such as 10.0.0.1:6379"),
        ("10.0.0.1:70000", "this is no address such as 10.0.0.1:6379"),
        ("auto", "this machine is in no cluster"),
    ],
)
def test_address_that_is_none_is_refused(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with pytest.raises(UsageError, match=message):
        ray_cluster.parse_cluster_address(text)


def test_address_is_taken_as_it_is_or_as_ray_notes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray/ray_current_cluster").write_text("10.0.0.1:6379\n")
    assert ray_cluster.parse_cluster_address("auto") == "10.0.0.1:6379"
    assert ray_cluster.parse_cluster_address("localhost:6379") == "127.0.0.1:6379"
    assert ray_cluster.parse_cluster_address("[fd00::1]:6379") == "[fd00::1]:6379"


def test_token_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    environment = {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "of/ray")}
    with pytest.raises(UsageError, match="The cluster's token is missing"):
        ray_cluster.check_token(environment)
    path = ray_start.make_token(environment)
    text = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600 and len(text) == 64
    assert ray_start.make_token(environment).read_text() == text
    ray_cluster.check_token(environment)
    path.chmod(0o640)
    with pytest.raises(UsageError, match="Other users can read the cluster's token"):
        ray_cluster.check_token(environment)


@pytest.mark.parametrize(
    ("host", "environment", "refused"),
    [
        ("127.0.0.1", {}, False),
        ("10.1.2.3", {}, False),
        ("8.8.8.8", {}, True),
        ("8.8.8.8", {"RAY_USE_TLS": "1"}, False),
        ("0.0.0.0", {"RAY_USE_TLS": "1"}, True),
        ("[2001:4860:4860::8888]", {}, True),
        ("localhost", {}, False),
        ("no-such-host.invalid", {}, False),
    ],
)
def test_public_network_needs_tls(host: str, environment: dict[str, str], refused: bool) -> None:
    if refused:
        with pytest.raises(UsageError):
            ray_cluster.check_address(host, environment)
    else:
        ray_cluster.check_address(host, environment)


def test_protection_of_the_way_is_named() -> None:
    described = [ray_cluster.describe_protection(host, {}) for host in ("127.0.0.1", "10.1.2.3")]
    assert described == ["it is on this machine alone", "it is on a private network, which nothing encrypts"]
    assert "TLS" in ray_cluster.describe_protection("8.8.8.8", {"RAY_USE_TLS": "1"})


def test_folder_too_deep_for_sockets_is_refused(tmp_path: Path) -> None:
    ray_start.check_folder("/tmp")
    with pytest.raises(UsageError, match="too long a path for Ray's sockets"):
        ray_start.check_folder(f"/tmp/{'x' * 60}")


def test_nodes_get_no_key_and_always_a_token() -> None:
    secret = {"OPENAI_API_KEY": "sk-1", "GITHUB_TOKEN": "t"}
    made = ray_start.node_environment(secret | {"PATH": "/bin", "AIDER_BIN": "/a", "RAY_AUTH_TOKEN_PATH": "/t"})
    assert made["RAY_AUTH_MODE"] == "token" and made["AIDER_BIN"] == "/a" and made["RAY_AUTH_TOKEN_PATH"] == "/t"
    assert not secret.keys() & made.keys()


def test_other_software_is_named_with_the_remedy() -> None:
    head = NodeVersions("aider-orchestrator 0.2.0", "aider-chat 0.86.2", "Python 3.11")
    assert head.explain_difference(head) == ""
    other = NodeVersions("aider-orchestrator 0.2.0", "aider-chat 0.86.2", "Python 3.12")
    why = "It has Python 3.12, and the head has Python 3.11: install that there."
    assert other.explain_difference(head) == why
