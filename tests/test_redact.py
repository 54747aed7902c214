"""What looks like a secret is taken out, whoever's it is; programs and prose stay as they are; nothing is slow."""

import base64
import json
import sysconfig
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from orchestra.conduct.core.secrets import Secrets
from orchestra.providers.redact import SECRET_SHAPES, is_redacted, redact, redactable_length
from orchestra.settings import load_settings

MIX = "aB3dE5fG7hJ9kL1mN0pQ"
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{MIX * 3}\n{MIX * 3}\n-----END RSA PRIVATE KEY-----"
KEYS = {
    f"sk-proj-{MIX}{MIX}": "OpenAI key",
    f"sk-{MIX}{MIX}": "OpenAI key",
    f"sk-ant-api03-{MIX}-{MIX}": "Anthropic key",
    "sk-or-v1-" + "0123456789abcdef" * 4: "OpenRouter key",
    f"AIzaSy{MIX}-{MIX[:12]}": "Google key",
    f"gsk_{MIX}{MIX}": "Groq key",
    f"xai-{MIX}{MIX}": "xAI key",
    f"ghp_{MIX}{MIX[:16]}": "GitHub token",
    f"gho_{MIX}{MIX[:16]}": "GitHub token",
    f"github_pat_{MIX}_{MIX}{MIX}": "GitHub token",
    f"glpat-{MIX}": "GitLab token",
    "xoxb-123456789012-1234567890123-abcDEF": "Slack token",
    "xoxp-123456789012-abcDEF": "Slack token",
    "AKIAIOSFODNN7EXAMPLE": "AWS key id",
    f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.{MIX}": "JSON web token",
    PEM: "private key",
    PEM.replace("RSA ", ""): "private key",
    PEM.replace("RSA", "OPENSSH"): "private key",
    PEM.rpartition("\n")[0]: "private key",
    PEM.replace("-----\n", "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,AB12\n\n", 1): "private key",
}
INSIDE = {
    f"Authorization: Bearer {MIX}": MIX,
    f"authorization: bearer {MIX}.x": f"{MIX}.x",
    "Authorization: Basic dXNlcjpwYXNzd29yZA==": "dXNlcjpwYXNzd29yZA==",
    "git clone https://ada:hunter2@host.example/x.git": "hunter2",
    "postgresql://ada:p%40ss-w0rd@db:5432/x": "p%40ss-w0rd",
    f'aws_secret_access_key = "{MIX}/{MIX[:19]}"': f"{MIX}/{MIX[:19]}",
    f"AWS_SECRET_ACCESS_KEY={MIX}+{MIX[:19]}": f"{MIX}+{MIX[:19]}",
    f'"clientSecret": "{MIX}~"'.replace("~", "Z"): f"{MIX}Z",
    f"API-KEY: {MIX}": MIX,
}
HARMLESS = """
task-description-with-many-words-1234567890 risk-assessment-2024-report-final desk-lamp-0123456789abcdefghij
ask-me-anything-about-0123456789-things sk-animation-folding-cube-wrapper sk-short1
api_key = os.environ["OPENAI_API_KEY"]; access_token = get_token(self.client_secret); secret_key: str | None = None
if text.startswith("-----BEGIN PRIVATE KEY-----") or "-----END PRIVATE KEY-----" in text: pass
f"https://{user}:{password}@{host}" "http://user:password@host" "https://$USER:$PASS@host" http://host:8080/@x
commit 3b18e512dba79e4c8300dd08aeb37f8e728b8dad Bearer of bad news; "Bearer " + token; Bearer YOUR_ACCESS_TOKEN_HERE
eyJ.eyJ.x AKIA AKIASHORT ghp_ghp_ xoxb- AIza mailto:ada@example.com 12:30@noon ftp://host
[redacted: OpenAI key]
"""


AROUND = ("{}", "key={}", '"{}"', "say {}.", "{}\n", "a\n{}", "https://host/?key={}&x=1")


@pytest.mark.parametrize("around", AROUND)
def test_redact_takes_out_keys_of_every_known_shape(around: str) -> None:
    for key, name in KEYS.items():
        assert_is_taken_out(key, name, around)


def assert_is_taken_out(key: str, name: str, around: str) -> None:
    expected = around.format(f"[redacted: {name}]")
    assert redact(around.format(key)) in (expected, expected.replace(".", "", 1))
    escaped = redact(json.dumps(around.format(key)))
    assert key not in json.loads(escaped) and name in escaped
    assert key not in redact(quote(around.format(key)).replace("-----BEGIN", "")) or name == "private key"


@pytest.mark.parametrize(("text", "secret"), INSIDE.items())
def test_what_stands_beside_a_secret_stays(text: str, secret: str) -> None:
    before, after = text.split(secret)
    assert redact(text).startswith(before + "[redacted: ") and redact(text).endswith("]" + after)
    assert secret not in redact(json.dumps(json.dumps(text)))


def test_programs_and_prose_stay_as_they_are() -> None:
    assert redact(HARMLESS) == HARMLESS


def test_what_is_redacted_once_stays_as_it_is() -> None:
    text = redact("\n".join([*KEYS, *INSIDE, HARMLESS]))
    assert redact(text) == text and is_redacted(text) and not is_redacted("[redacted]")


def test_real_programs_have_next_to_none() -> None:
    """Only what looks like a real key or password in examples: `scott:tiger@`. Counted, and looked at, once."""
    folder = Path(sysconfig.get_path("purelib"))
    paths = [
        path
        for name in ("httpx", "aider", "openai", "sqlalchemy", "starlette")
        for path in (folder / name).rglob("*.py")
    ]
    texts = [path.read_text("utf-8", "replace") for path in paths[::5]]
    marks = sum(redact(text).count("[redacted: ") - text.count("[redacted: ") for text in texts)
    assert len(texts) > 100 and marks < 25


UNITS = [
    "a",
    "sk-",
    "sk-a1",
    "eyJ",
    "eyJaaaaaaaa.",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\nA: b\n",
]
UNITS += ["://", "://a:b", "Bearer ", "api_key='", "AKIA", "ghp_", "\\n", "%3D", "authorization: basic ", "\"' ", "\n"]


@pytest.mark.parametrize("unit", UNITS)
def test_redact_takes_time_that_grows_with_the_length_of_the_text_only(unit: str) -> None:
    """In CPU time of this process, for sixteen times as much text: a quadratic pattern would take 256 times as long."""
    hints = " ".join(hint for shape in SECRET_SHAPES for hint in shape.hints)
    seconds = []
    for length in (80_000, 1_280_000):
        text = f"{hints} {unit * (length // len(unit))}"
        started = time.process_time()
        redact(text)
        seconds.append(time.process_time() - started)
    assert seconds[1] < 80 * (seconds[0] + 0.005)


# --- the user's own -------------------------------------------------------------------------------------------------

OWN = {"OPENAI_API_KEY": "planted/key+0123&456789", "MY_TOKEN": 'abc"\\é-12345678'}


@pytest.mark.parametrize(("name", "key"), OWN.items())
def test_our_own_keys_are_found_in_every_form(name: str, key: str) -> None:
    secrets = Secrets.from_settings(load_settings({}, [("environment", OWN)]))
    raw = key.encode()
    forms = [key, json.dumps(key), json.dumps(json.dumps(key)), quote(key), quote(key, safe=""), raw.hex()]
    forms += [base64.b64encode(before + raw + b"!").decode() for before in (b"", b"a", b"ab", b"user:")]
    forms += [base64.urlsafe_b64encode(raw).decode(), f"cut: {key[:-3]}"]
    for form in forms:
        assert f"[redacted: {name}]" in secrets.scrub(form), form
        assert key not in secrets.scrub(form)


def test_a_password_in_the_stores_address_is_one_of_them() -> None:
    secrets = Secrets.from_settings(load_settings({"store": "postgresql://ada:tr0ub4dor%26@db/x"}, []))
    assert secrets.scrub("no: tr0ub4dor%26, tr0ub4dor&") == "no: [redacted: password], [redacted: password]"


def test_a_text_that_grows_is_redacted_line_by_line_and_never_within_a_key() -> None:
    assert [redactable_length(text) for text in ("", "no end", "line\n", "line\nhalf")] == [0, 0, 5, 5]
    assert redactable_length("a\n" + PEM[:90] + "\n") == 2
    assert redactable_length("a\n" + PEM + "\n") == len(PEM) + 3
    assert redactable_length("x" * 70_000) == 70_000
