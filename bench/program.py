"""This program as a user starts it: a process of its own, with made-up keys and a home of its own."""

import os
import sys
from pathlib import Path

from tests.support.modelserver import ModelServer

SCRIPT = Path(__file__).resolve().parent.parent / "aider_orchestrator.py"
MODEL = "openai/gpt-4o"


def command(*words: str) -> list[str]:
    return [sys.executable, str(SCRIPT), *words]


def environment(home: Path, server: ModelServer) -> dict[str, str]:
    """Every provider is the loopback server; the price table is the bundled one, so that nothing needs the network."""
    home.mkdir(exist_ok=True)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "BROWSER": "true",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "OPENAI_API_KEY": "sk-made-up-for-the-bench",
        "OPENAI_API_BASE": server.openai_base,
        "ANTHROPIC_API_KEY": "sk-ant-made-up-for-the-bench",
        "ANTHROPIC_API_BASE": server.anthropic_base,
        "GEMINI_API_KEY": "made-up-for-the-bench",
        "GEMINI_API_BASE": server.gemini_base,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Bench",
        "GIT_AUTHOR_EMAIL": "bench@example.org",
        "GIT_COMMITTER_NAME": "Bench",
        "GIT_COMMITTER_EMAIL": "bench@example.org",
    }
