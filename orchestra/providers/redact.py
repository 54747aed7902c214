"""Find what looks like a secret: a table of well-known shapes, each replaced by its name.

A shape is searched for only if one of its hints is in the text, and no part of a text is read more than a few times, so
a text that is made to be slow is read as fast as any other.
"""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass

REDACTED_MARK = "[redacted: "
# A key begins at the end of a word. An escape before it (\n, \u003d, %3D) ends in a letter too.
KEY_START = r"(?:(?<![A-Za-z0-9_])|(?<=\\[bfnrt])|(?<=\\u[0-9a-fA-F]{4})|(?<=%[0-9a-fA-F]{2}))"
EQUALS_PATTERN = r"""(?:\\{0,3}["'])?\s{0,4}[:=]\s{0,4}(?:\\{0,3}["'])?"""
PEM_HEADERS = r"(?:\s|\\[nr]){0,4}(?:[A-Z][A-Za-z-]{2,20}: [^\n\\]{0,80}(?:\s|\\[nr]){1,4}){0,4}"
# Its lines may be in a program, as a string each.
PEM_GAP = r"""(?:\s|\\{1,4}[nrt]|["'][\s,+]{0,40}["']){0,8}"""


def has_letters_and_digits(value: str) -> bool:
    """Whether it has letters and digits, unlike a word of any language."""
    return any(map(str.isdigit, value)) and any(map(str.isalpha, value))


def looks_random(value: str) -> bool:
    """Whether it looks machine-made: digits among letters of both cases, or only hexadecimal digits."""
    both = any(map(str.islower, value)) and any(map(str.isupper, value))
    digits = sum(map(str.isdigit, value))
    return digits >= 3 and (both or re.fullmatch("[0-9a-f]{32,}", value) is not None)


def has_long_line(value: str) -> bool:
    """Whether it has a long line, as a key's text does; a program that only searches for its head has none."""
    return re.search("[A-Za-z0-9+/=]{40}", value) is not None


def is_no_template(value: str) -> bool:
    """Whether it is a value. Documentation has {password}, $PASSWORD or password in its place."""
    return not re.search(r"[{}<>$*\[\]|\\]|%[s(]", value) and value.lower() not in ("password", "passwd", "pass", "pw")


@dataclass(frozen=True)
class SecretShape:
    """A shape of secrets. The group `secret` of the pattern is hidden; without such a group, all of it."""

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
    """Make the shape of keys with a prefix of their own."""
    return SecretShape(name, (prefix.lower(),), re.compile(f"{prefix}(?<={KEY_START}{prefix}){rest}"))


def pattern_shape(
    name: str, hints: tuple[str, ...], pattern: str, is_secret: Callable[[str], bool] = has_letters_and_digits
) -> SecretShape:
    return SecretShape(name, hints, re.compile(pattern, re.IGNORECASE), is_secret)


def keyword_shape(
    name: str, words: tuple[str, ...], value: str, is_secret: Callable[[str], bool] = has_letters_and_digits
) -> SecretShape:
    """Make the shape of a value after one of these words, in any spelling: api_key, API-KEY, apiKey."""
    hints = tuple(word.replace(" ", sign) for word in words for sign in ("_", "-", ""))
    names = "|".join(word.replace(" ", "[_-]?") for word in words)
    return pattern_shape(name, hints, f"(?:{names}){EQUALS_PATTERN}(?P<secret>{value})", is_secret)


CACHED_LENGTH = 200
LONGEST_OPEN = 1 << 16  # characters of a growing text that wait for the end of a line or of a private key
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
    *(prefixed_shape("GitHub token", f"gh{kind}_", "[A-Za-z0-9]{20,}+") for kind in "pousr"),
    prefixed_shape("GitHub token", "github_pat_", "[A-Za-z0-9_]{20,}+"),
    prefixed_shape("GitLab token", "glpat-", "[A-Za-z0-9_-]{16,}+"),
    *(prefixed_shape("Slack token", f"xox{kind}-", "[A-Za-z0-9-]{10,}+") for kind in "abeoprs"),
    *(prefixed_shape("Stripe key", f"{kind}k_live_", "[A-Za-z0-9]{16,}+") for kind in "sr"),
    prefixed_shape("npm token", "npm_", "[A-Za-z0-9]{30,}+"),
    *(prefixed_shape("AWS key id", f"A{kind}IA", "[A-Z0-9]{16}(?![A-Za-z0-9])") for kind in "KS"),
    prefixed_shape("JSON web token", "eyJ", r"[A-Za-z0-9_-]{8,}+\.eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8,}+"),
    keyword_shape("AWS secret", ("secret access key", "session token"), r"[A-Za-z0-9/+=]{40,}+"),
    keyword_shape("secret", SECRET_NAMES, r"[A-Za-z0-9_+/=.-]{20,}+", looks_random),
    pattern_shape("token", ("bearer ",), r"\bbearer {1,4}(?P<secret>[A-Za-z0-9._~+/=-]{16,}+)"),
    pattern_shape(
        "password",
        ("basic ",),
        rf"authorization{EQUALS_PATTERN}basic {{1,4}}(?P<secret>[A-Za-z0-9+/=]{{8,}}+)",
        bool,
    ),
    pattern_shape("password", ("://",), r"""://[^\s/:@"'<>]{0,100}:(?P<secret>[^\s/@"'<>]{1,200})@""", is_no_template),
)


def redact(text: str) -> str:
    """Redact what looks like a secret. Redacting twice changes nothing more."""
    return cached_without_secrets(text) if len(text) <= CACHED_LENGTH else without_secrets(text)


def without_secrets(text: str) -> str:
    low = text.lower()
    for shape in SECRET_SHAPES:
        if any(hint in low for hint in shape.hints):
            text = shape.pattern.sub(shape.redact_match, text)
    return text


# Paths, states and names pass here very often.
cached_without_secrets = functools.lru_cache(4096)(without_secrets)


def is_redacted(value: object) -> bool:
    """Whether something was redacted in a text, or in any text of a record."""
    return REDACTED_MARK in str(value)


def redactable_length(text: str) -> int:
    """Return how much of a growing text can be redacted now: up to its last whole line, and not into a private key."""
    end = text.rfind("\n") + 1 or (len(text) if len(text) > LONGEST_OPEN else 0)
    begun = text.rfind("-----BEGIN ", 0, end)
    is_open = begun >= 0 and "PRIVATE KEY" in text[begun : begun + 60] and "-----END " not in text[begun:end]
    return begun if is_open and end - begun < LONGEST_OPEN else end
