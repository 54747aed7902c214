"""Seat a real Aider in a small repository, behind a real gateway, before a scripted model server."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from orchestra import dialects
from orchestra.agents.aider import FLAGS as AIDER_FLAGS
from orchestra.agents.base import AgentOutcome
from orchestra.agents.seat import AgentJob, AgentProcesses, agent_environment
from orchestra.dialects import DIALECTS as FORMATS
from orchestra.gateway.billing import ClientPass, Exchange, GatewayListener, Upstream
from orchestra.gateway.budget import Amount
from orchestra.gateway.gateway import Gateway
from orchestra.providers import catalogue
from tests.support.load import within
from tests.support.modelserver import ModelServer

MODELS = {
    "openai": "openai/gpt-6.1-sol",
    "anthropic": "anthropic/claude-opus-5-5",
    "gemini": "gemini/gemini-flash-latest",
}
DIALECTS = tuple(MODELS)
SAY: dict[str, Any] = {"model": "m-1", "messages": [{"role": "user", "content": "Hi"}]}
PARTS: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "openai": ("chat/completions", SAY),
    "anthropic": ("v1/messages", SAY),
    "gemini": ("models/m-1:generateContent", PARTS),
}
STREAMS: dict[str, tuple[str, dict[str, Any]]] = {
    "openai": ("chat/completions", SAY | {"stream": True, "stream_options": {"include_usage": True}}),
    "anthropic": ("v1/messages", SAY | {"stream": True}),
    "gemini": ("models/m-1:streamGenerateContent?alt=sse", PARTS),
}
FILES = {"a.py": "x = 1\n", "b.py": "y = 2\n"}


def real_key(provider: str) -> str:
    return f"sk-real-{provider}-0123456789"


def upstreams(server: ModelServer) -> dict[str, Upstream]:
    bases = {"openai": server.openai_base, "anthropic": server.anthropic_base, "gemini": server.gemini_base}
    return {name: Upstream(name, name, base, real_key(name)) for name, base in bases.items()}


class Listener(GatewayListener):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.notes: list[str] = []
        self.waits: list[tuple[int | None, str, str]] = []
        self.reservations: list[tuple[int, Amount]] = []

    def on_exchange(self, ticket: ClientPass, exchange: Exchange) -> None:
        self.exchanges.append(exchange)

    def on_note(self, ticket: ClientPass, text: str) -> None:
        self.notes.append(text)

    def on_wait(self, ticket: ClientPass, whom: str, why: str) -> None:
        self.waits.append((ticket.task, whom, why))

    def on_reservation(self, ticket: ClientPass, number: int, most: Amount) -> None:
        self.reservations.append((number, most))


@asynccontextmanager
async def door(
    routes: ModelServer | dict[str, Upstream], listener: Listener | None = None, **how: Any
) -> AsyncIterator[tuple[Gateway, list[Exchange]]]:
    """An open gateway, and what it has heard."""
    listener = listener or Listener()
    routes = upstreams(routes) if isinstance(routes, ModelServer) else routes
    gateway = Gateway(routes, listener, **how)
    await gateway.start()
    try:
        yield gateway, listener.exchanges
    finally:
        await gateway.stop()


def client() -> httpx.AsyncClient:
    return httpx.AsyncClient(trust_env=False, timeout=within(), verify=False)


def is_final(answer: httpx.Response, dialect: str) -> bool:
    told = (answer.status_code, answer.headers.get("x-should-retry"), answer.headers["content-type"])
    return told == (400, "false", "application/json") and answer.content == dialects.final_error_body(FORMATS[dialect])


def plant(tree: Path, files: Mapping[str, str] = FILES) -> Path:
    """A repository whose only commit holds these files."""
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text, encoding="utf-8")
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    for words in (("init", "-q", "-b", "main"), ("add", "-A"), (*who, "commit", "-q", "-m", "Start")):
        subprocess.run(["git", *words], cwd=tree, check=True)
    return tree


def make_job(
    gateway: Gateway,
    ticket: ClientPass,
    tree: Path,
    *more: str,
    model: str = MODELS["openai"],
    message: str = "Add a line.",
    files: tuple[str, ...] = ("a.py",),
    reads: tuple[str, ...] = (),
    **env: str,
) -> AgentJob:
    """As conduct makes it, for any repository: the tree's parent is the attempt's folder."""
    known, folder = catalogue.resolve_model(model), tree.parent
    home, metadata = folder / "home", folder / "metadata.json"
    home.mkdir(exist_ok=True)
    metadata.write_text(json.dumps({known.aider_name: catalogue.metadata_entry(known)}), encoding="utf-8")
    argv = (
        *AIDER_FLAGS,
        *("--model", known.aider_name, "--weak-model", known.aider_name, "--model-metadata-file", str(metadata)),
        *("--timeout", "3600", "--chat-history-file", str(folder / "chat.md")),
        *("--input-history-file", str(folder / "input"), "--llm-history-file", str(folder / "llm")),
        *more,
        *(word for name in files for word in ("--file", str(tree / name))),
        *(word for name in reads for word in ("--read", str(tree / name))),
    )
    provider = known.provider
    door = {provider.agent_key_var: ticket.token, provider.agent_base_var: gateway.client_url(ticket, provider.name)}
    entry = catalogue.settings_entry(known, known.aider_name, 100)
    return AgentJob(ticket.token, tree, folder, argv, message, agent_environment(home) | door | env, entry)


async def sit(
    seats: AgentProcesses, gateway: Gateway, tree: Path, *more: str, **how: Any
) -> tuple[AgentOutcome, ClientPass]:
    """One attempt from the first to the last, in at most a minute."""
    ticket = gateway.add_client(ClientPass("agent", 1, 1, root=str(tree)))
    try:
        async with asyncio.timeout(within()):
            return await seats.run(make_job(gateway, ticket, tree, *more, **how)), ticket
    finally:
        gateway.remove_client(ticket)
