"""A change that a dashboard can be looked at with: nine tasks of a password reset, one of which needs a person."""

import json
import re

from tests.support.edits import say
from tests.support.modelserver import Reply, Request
from tests.support.runs import Place

GOAL = "Add user-password reset flow with email OTP"
HINT = "the code is a string of six digits"
BROKEN = 'def send_code(to, code)\n    return f"{to}: {code}"\n'
# By file: its text before (none: it is new), and what the agent makes of it.
FILES: dict[str, tuple[str, str]] = {
    "shop/users.py": (
        "class User:\n    def __init__(self, mail):\n        self.mail = mail\n",
        "class User:\n    def __init__(self, mail):\n        self.mail = mail\n        self.code = None\n",
    ),
    "shop/settings.py": ("DEBUG = False\n", "DEBUG = False\nCODE_MINUTES = 10\n"),
    "shop/codes.py": ("", 'import secrets\n\n\ndef make_code():\n    return f"{secrets.randbelow(10**6):06d}"\n'),
    "shop/limits.py": ("", "TRIES = 5\n"),
    "shop/reset.py": ("", "def reset(user, code):\n    return user.code == code\n"),
    "shop/pages.py": ("PAGES = {}\n", 'PAGES = {"reset": "reset.html"}\n'),
    "shop/mail.py": ("", 'def send_code(to, code):\n    return f"{to}: {code}"\n'),
    "shop/api.py": ("ROUTES = []\n", 'ROUTES = ["/reset"]\n'),
    "docs/reset.md": ("", "# Password reset\n\nA code of six digits comes by mail.\n"),
}
# Title, file, and what it needs.
TASKS = {
    "user": ("A code on the user", "shop/users.py", []),
    "settings": ("Minutes that a code is valid", "shop/settings.py", []),
    "codes": ("Make random codes", "shop/codes.py", ["settings"]),
    "limits": ("Limit the tries", "shop/limits.py", ["settings"]),
    "reset": ("Check the code and reset", "shop/reset.py", ["user", "codes", "limits"]),
    "pages": ("The page of the reset", "shop/pages.py", ["reset"]),
    "mail": ("OTP mail", "shop/mail.py", ["codes"]),
    "api": ("Routes of the reset", "shop/api.py", ["reset", "mail"]),
    "docs": ("Tell users of it", "docs/reset.md", ["api"]),
}
PLAN = f"goal = {json.dumps(GOAL)}\napproved = true\n" + "".join(
    f"\n[[task]]\nid = {json.dumps(id)}\ntitle = {json.dumps(title)}\nneeds = {json.dumps(needs)}\n"
    f"brief = {json.dumps(f'{title}: write {path}.')}\nfiles = {json.dumps([path])}\n"
    for id, (title, path, needs) in TASKS.items()
)
YOUR_PART = re.compile(r"## Your part\n.*write (\S+)\.")
OLD_FILES = {path: before for path, (before, _) in FILES.items() if before}


class ResetModel:
    """Writes each file as it should be, but the mail with a mistake until it has the hint. The agents of the files
    that it `holds` wait until `release`."""

    def __init__(self, *holds: str) -> None:
        self.holds, self.release = holds, False

    def __call__(self, request: Request) -> Reply:
        path = next(iter(YOUR_PART.findall(request.text)), "shop/users.py")
        is_mail_wrong = path == "shop/mail.py" and HINT not in request.text
        before = request.files.get(path, "")
        text = say(request, path, before, BROKEN if is_mail_wrong else FILES[path][1])
        reply = f"I write {path}.\n\n{text}"
        held = path in self.holds
        return Reply(reply, until=(lambda: self.release) if held else None)


def write_plan(place: Place, name: str = "reset") -> None:
    place.write({f".aider_logs/plans/{name}.toml": PLAN, ".aider_logs/.gitignore": "*\n"})
