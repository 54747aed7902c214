"""What looks like a secret, whoever's it is: a table of well-known shapes, each replaced by its name.

Every shape is searched for only where one of its hints stands, and no part of a text is read more than a few times: a
text made to be slow is read as fast as any other.
"""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass

REDACTED_MARK = "[redacted: "
# A key begins where no word goes on. What stands escaped before it (\n, \u003d, %3D) ends in a letter all the same.
KEY_START = r"(?:(?<![A-Za-z0-9_])|(?<=\\[bfnrt])|(?<=\\u[0-9a-fA-F]{4})|(?<=%[0-9a-fA-F]{2}))"
EQUALS_PATTERN = r"""(?:\\{0,3}["'])?\s{0,4}[:=]\s{0,4}(?:\\{0,3}["'])?"""
PEM_HEADERS = r"(?:\s|\\[nr]){0,4}(?:[A-Z][A-Za-z-]{2,20}: [^\n\\]{0,80}(?:\s|\\[nr]){1,4}){0,4}"
# Its lines may stand in a program, as strings side by side.
PEM_GAP = r"""(?:\s|\\{1,4}[nrt]|["'][\s,+]{0,40}["']){0,8}"""


def has_letters_and_digits(value: str) -> bool:
    """No word of any language: letters and digits."""
    return any(map(str.isdigit, value)) and any(map(str.isalpha, value))


def looks_random(value: str) -> bool:
    """As only a machine writes it: digits among letters of both cases, or nothing but hexadecimal digits."""
    both = any(map(str.islower, value)) and any(map(str.isupper, value))
    digits = sum(map(str.isdigit, value))
    return digits >= 3 and (both or re.fullmatch("[0-9a-f]{32,}", value) is not None)


def is_any_text(value: str) -> bool:
    return True


def has_long_line(value: str) -> bool:
    """A key's own text; a program that only looks for the head of one has none."""
    return re.search("[A-Za-z0-9+/=]{40}", value) is not None


def is_no_template(value: str) -> bool:
    """Documentation and programs say {password}, $PASSWORD or password where the real one would stand."""
    return not re.search(r"[{}<>$*\[\]|\\]|%[s(]", value) and value.lower() not in ("password", "passwd", "pass", "pw")


@dataclass(frozen=True)
class SecretShape:
    """The group `secret` of the pattern is what must not be seen; without such a group, all of it."""

    name: str
    hints: tuple[str, ...]
    pattern: re.Pattern[str]
    is_secret: Callable[[str], bool] = has_letters_and_digits

    def redact_match(self, found: re.Match[str]) -> str:
        group = "secret" if "secret" in self.pattern.groupindex else 0
        if not self.is_secret(found[group]):
            return found[0]
        start, end = (at - found.start() for at in found.span(group))
        return f"{found[0][:start]}{REDACTED_MARK}{self.name}]{found[0][end:]}"


def prefixed_shape(name: str, prefix: str, rest: str) -> SecretShape:
    """A key that begins with letters of its own."""
    return SecretShape(name, (prefix.lower(),), re.compile(f"{prefix}(?<={KEY_START}{prefix}){rest}"))


def pattern_shape(
    name: str, hints: tuple[str, ...], pattern: str, is_secret: Callable[[str], bool] = has_letters_and_digits
) -> SecretShape:
    return SecretShape(name, hints, re.compile(pattern, re.IGNORECASE), is_secret)


def keyword_shape(name: str, words: tuple[str, ...], value: str, is_secret: Callable[[str], bool]) -> SecretShape:
    """What stands behind one of these words, however they are written: api_key, API-KEY, apiKey."""
    hints = tuple(word.replace(" ", sign) for word in words for sign in ("_", "-", ""))
    names = "|".join(word.replace(" ", "[_-]?") for word in words)
    return pattern_shape(name, hints, f"(?:{names}){EQUALS_PATTERN}(?P<secret>{value})", is_secret)


CACHED_LENGTH = 200
SECRET_NAMES = ("api key", "secret key", "access token", "auth token", "client secret", "private token", "account key")
SECRET_SHAPES = (
    SecretShape(
        "private key",
        ("private key",),
        re.compile(
            rf"-----BEGIN [A-Z0-9 ]{{0,30}}PRIVATE KEY(?: BLOCK)?-----{PEM_HEADERS}"
            rf"(?:{PEM_GAP}[A-Za-z0-9+/=]++)*+"
            rf"(?:{PEM_GAP}-----END [A-Z0-9 ]{{0,30}}PRIVATE KEY(?: BLOCK)?-----)?"
        ),
        has_long_line,
    ),
    prefixed_shape("Anthropic key", "sk-ant-", "[A-Za-z0-9_-]{16,}+"),
    prefixed_shape("OpenRouter key", "sk-or-", "[A-Za-z0-9_-]{16,}+"),
    prefixed_shape("OpenAI key", "sk-", "[A-Za-z0-9_-]{20,}+"),
    prefixed_shape("Google key", "AIza", "[A-Za-z0-9_-]{30,}+"),
    prefixed_shape("Google token", "ya29[.]", "[A-Za-z0-9_-]{30,}+"),
    prefixed_shape("xAI key", "xai-", "[A-Za-z0-9]{30,}+"),
    prefixed_shape("Groq key", "gsk_", "[A-Za-z0-9]{30,}+"),
    prefixed_shape("Hugging Face token", "hf_", "[A-Za-z0-9]{30,}+"),
    *(
        prefixed_shape("GitHub token", prefix, "[A-Za-z0-9]{20,}+")
        for prefix in ("ghp_", "gho_", "ghu_", "ghs_", "ghr_")
    ),
    prefixed_shape("GitHub token", "github_pat_", "[A-Za-z0-9_]{20,}+"),
    prefixed_shape("GitLab token", "glpat-", "[A-Za-z0-9_-]{16,}+"),
    *(prefixed_shape("Slack token", f"xox{kind}-", "[A-Za-z0-9-]{10,}+") for kind in "abeoprs"),
    prefixed_shape("Stripe key", "sk_live_", "[A-Za-z0-9]{16,}+"),
    prefixed_shape("Stripe key", "rk_live_", "[A-Za-z0-9]{16,}+"),
    prefixed_shape("npm token", "npm_", "[A-Za-z0-9]{30,}+"),
    prefixed_shape("AWS key id", "AKIA", "[A-Z0-9]{16}(?![A-Za-z0-9])"),
    prefixed_shape("AWS key id", "ASIA", "[A-Z0-9]{16}(?![A-Za-z0-9])"),
    prefixed_shape("JSON web token", "eyJ", r"[A-Za-z0-9_-]{8,}+\.eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8,}+"),
    keyword_shape(
        "AWS secret", ("secret access key", "session token"), r"[A-Za-z0-9/+=]{40,}+", has_letters_and_digits
    ),
    keyword_shape("secret", SECRET_NAMES, r"[A-Za-z0-9_+/=.-]{20,}+", looks_random),
    pattern_shape("token", ("bearer ",), r"\bbearer {1,4}(?P<secret>[A-Za-z0-9._~+/=-]{16,}+)"),
    pattern_shape(
        "password",
        ("basic ",),
        rf"authorization{EQUALS_PATTERN}basic {{1,4}}(?P<secret>[A-Za-z0-9+/=]{{8,}}+)",
        is_any_text,
    ),
    SecretShape(
        "password",
        ("://",),
        re.compile(r"""://[^\s/:@"'<>]{0,100}:(?P<secret>[^\s/@"'<>]{1,200})@"""),
        is_no_template,
    ),
)


def redact(text: str) -> str:
    """The text without what looks like a secret. What is redacted once stays as it is."""
    return cached_without_secrets(text) if len(text) <= CACHED_LENGTH else without_secrets(text)


def without_secrets(text: str) -> str:
    low = text.lower()
    for shape in SECRET_SHAPES:
        if any(hint in low for hint in shape.hints):
            text = shape.pattern.sub(shape.redact_match, text)
    return text


# Paths, states and names pass here again and again.
cached_without_secrets = functools.lru_cache(4096)(without_secrets)


def is_redacted(value: object) -> bool:
    """Whether something was taken out of a text, or of any text in a record."""
    return REDACTED_MARK in str(value)


def redactable_length(text: str, longest: int = 1 << 16) -> int:
    """How much of a text that still grows can be redacted now: up to its last whole line, and not into a private key.

    One that stays open is not waited for longer than this many characters.
    """
    end = text.rfind("\n") + 1 or (len(text) if len(text) > longest else 0)
    begun = text.rfind("-----BEGIN ", 0, end)
    is_open = begun >= 0 and "PRIVATE KEY" in text[begun : begun + 60] and "-----END " not in text[begun:end]
    return begun if is_open and end - begun < longest else end
