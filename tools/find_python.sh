#!/bin/sh
# Print a Python that aider-chat 0.86.2 runs on (3.11 or 3.12), or one sentence that says what to install.
good() { "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; }
for candidate in "${PYTHON:-}" python3.12 python3.11 python3 python "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[12]*/bin/python; do
    if [ -n "$candidate" ] && good "$candidate"; then command -v "$candidate"; exit 0; fi
done
if command -v uv >/dev/null 2>&1; then
    uv python find --system --no-project '>=3.11,<3.13' 2>/dev/null && exit 0
    uv python install -q 3.12 >&2 && uv python find --system --no-project 3.12 && exit 0
fi
echo "Python 3.11 or 3.12 with its venv module is needed: install python3.12 and python3.12-venv (or 3.11), or uv, which brings its own." >&2
exit 1
