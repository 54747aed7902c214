"""Check what a run needs, one thing at a time, and whether model servers answer, with the cheapest request."""

import asyncio
import os
import re
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from orchestra import dialects
from orchestra.agents import AGENTS
from orchestra.agents.aider_environment import HINT, explain_missing, is_curable, plan_environment
from orchestra.agents.commands import find_program, is_tried_version, program_version
from orchestra.agents.seat import agent_environment, check_version, find_aider_python
from orchestra.conduct.core.agents import INSTALL
from orchestra.conduct.core.locations import DATABASE, LOGS
from orchestra.conduct.core.models import chosen_model, user_base_url
from orchestra.conduct.core.secrets import Secrets
from orchestra.conduct.core.slots import measure_machine
from orchestra.conduct.planning.prd import gemini_notice
from orchestra.dialects import DIALECTS
from orchestra.errors import AiderMissing, OrchestraError, SettingsError
from orchestra.gateway.wire import LOOPBACK_ADDRESSES
from orchestra.hosts import ray_cluster
from orchestra.hosts.isolation import NO_SANDBOX_HOLDS, NO_SANDBOX_RISK, WEAKER_SANDBOX, find_sandbox_mode
from orchestra.plan.sizing import MEMORY_PER_AGENT
from orchestra.providers import catalogue
from orchestra.providers.catalogue import Model, Provider
from orchestra.settings import Settings, mask_value
from orchestra.workspace.git import OLDEST_GIT, ask_git

OLDEST_PYTHON = (3, 11)
CONNECT_TIMEOUT = 5.0
ANSWER_TIMEOUT = 60.0
LONGEST_ANSWER = 16
PORTS = {"http": 80, "https": 443}
# By the name of a check, or by the failure of a provider.
REMEDIES = {
    "models": "`models` lists those that are known.",
    "store": "Check --store, or leave it out.",
    "aider": HINT,
    "disk": "Check --repo and TMPDIR.",
    "auth": "Check the key, and that it may use this model.",
    "quota": "Add credit, or raise the quota.",
    "unreachable": "Check the address, the network and the proxy.",
    "bad_request": "Check the model's name and the address.",
}
OWN_SANDBOX_IS_OFF = "; in this program's sandbox, its own one is off"
ALLOW_NAMESPACES = "Allow user namespaces (sysctl, AppArmor, or the container's seccomp profile)."
MB, GB = 1 << 20, 1 << 30
Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One finding. `level` says whether a run will work, may fail, or cannot work."""

    name: str
    level: Level
    text: str
    remedy: str = ""


Findings = AsyncIterator[Finding]


async def run_checkup(settings: Settings, folder: Path, *, online: bool) -> Findings:
    """Check in the order in which a run needs things. No finding contains a key."""
    secrets = Secrets.from_settings(settings)
    for check in CHECKS:
        name = check.__name__.removeprefix("diagnose_")
        try:
            found = [each async for each in check(settings, folder)]
        except OrchestraError as error:
            found = [Finding(name, "error", error.detail or str(error), error.hint or REMEDIES.get(name, ""))]
        except OSError as error:
            found = [Finding(name, "error", str(error), REMEDIES.get(name, ""))]
        for each in found:
            yield Finding(each.name, each.level, secrets.scrub(each.text), each.remedy)
    for provider in catalogue.PROVIDERS.values():
        if online and (settings.strongest_variable(provider.key_vars)[0] or user_base_url(settings, provider)):
            level, text, remedy = await probe_provider(settings, provider)
            yield Finding(f"{provider.name} online", level, secrets.scrub(text), remedy)


async def diagnose_git(settings: Settings, folder: Path) -> Findings:
    version = ask_git(Path("/"), "--version")
    number = re.search(r"(\d+)\.(\d+)", version or "")
    if version is None or number is None:
        yield Finding("git", "error", "git was not found.", "Install it, 2.34 or newer.")
    elif tuple(map(int, number.groups())) < OLDEST_GIT:
        yield Finding("git", "error", f"{version} is too old.", "Install 2.34 or newer.")
    else:
        yield Finding("git", "ok", version)


async def diagnose_aider(settings: Settings, folder: Path) -> Findings:
    try:
        python = find_aider_python(os.environ)
        yield Finding("aider", "ok", f"{await check_version(python)}, run by {python}")
    except AiderMissing as missing:
        if not is_curable(missing, os.environ):
            raise
        plan = plan_environment(os.environ)
        text = f"{explain_missing(missing)} An environment for it can be made with {plan.source}"
        yield Finding("aider", "error", text, HINT)


async def diagnose_agents(settings: Settings, folder: Path) -> Findings:
    """Check the programs of other kinds of agents: those that are installed, and those that the settings choose."""
    chosen = {settings.agent_kind, *(role.kind for role in settings.roles.values())}
    for agent in (one for one in AGENTS.values() if one.program):
        path = find_program(agent, os.environ)
        if not path and agent.name in chosen:
            yield Finding("agents", "error", f"{agent.title} is not installed", INSTALL[agent.name])
        if not path:
            continue
        with tempfile.TemporaryDirectory(prefix="aider-orchestrator-") as home:
            version = await program_version(path, Path(home), agent_environment(Path(home)))
        first, last = agent.tried_versions
        if version and not is_tried_version(agent, version):
            remedy = f"If it fails, install {last}."
            yield Finding("agents", "warning", f"{agent.title} {version} was not tried: {first} to {last} were", remedy)
        else:
            held = OWN_SANDBOX_IS_OFF if agent.name == "codex" and settings.sandbox != "off" else ""
            yield Finding("agents", "ok", f"{agent.title} {version or 'of an unknown version'}, {path}{held}")
    if "exec" in chosen and not settings.agent_cmd:
        yield Finding("agents", "error", "An agent of kind exec needs a command", "Give --agent-cmd CMD.")


async def diagnose_python(settings: Settings, folder: Path) -> Findings:
    old = sys.version_info[:2] < OLDEST_PYTHON
    remedy = "Use Python 3.11 or newer." if old else ""
    yield Finding("python", "error" if old else "ok", sys.version.split()[0], remedy)


async def diagnose_disk(settings: Settings, folder: Path) -> Findings:
    """Worktrees need space in the temporary folder, results in the repository."""
    for disk in dict.fromkeys((folder, Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(disk).free
        level: Level = "error" if free < 100 * MB else "warning" if free < GB else "ok"
        remedy = "" if level == "ok" else "Make room, or set TMPDIR to a larger disk."
        yield Finding("disk", level, f"{free / GB:.1f} GB free in {disk}", remedy)


async def diagnose_memory(settings: Settings, folder: Path) -> Findings:
    machine = measure_machine()
    room = machine.free_memory // MEMORY_PER_AGENT
    text = f"{machine.free_memory / GB:.1f} GB free and {machine.cores} cores: room for about {room} agents at once"
    if room < (settings.agents or settings.max_agents or 4):
        yield Finding("memory", "warning", text, "Close other programs, or give a smaller --max-agents.")
    else:
        yield Finding("memory", "ok", text)


async def diagnose_keys(settings: Settings, folder: Path) -> Findings:
    """Report which keys exist and where each comes from, never their values."""
    sources = {name: settings.strongest_variable(one.key_vars) for name, one in catalogue.PROVIDERS.items()}
    for name, (value, source) in sources.items():
        if value:
            yield Finding("keys", "ok", f"{name}: a key from the {source}")
    try:
        model = chosen_model(settings)
    except SettingsError:
        return  # reported with the models
    names = " or ".join(model.provider.key_vars)
    if names and not sources[model.provider.name][0] and not user_base_url(settings, model.provider):
        remedy = f"Set {names}, or choose another --model; `doctor --fix` writes a .env."
        yield Finding("keys", "error", f"{model.provider.name}: no key for {model.name}", remedy)
    if settings.use_prd and not settings.prd and not sources["gemini"][0]:
        remedy = "Set GOOGLE_API_KEY, or work with --prd FILE or --no-prd."
        yield Finding("keys", "warning", "gemini: no key for writing the PRD", remedy)


async def diagnose_models(settings: Settings, folder: Path) -> Findings:
    """Check the models. A retired one may still be served at the user's own address."""
    model = chosen_model(settings)
    notices = {model.provider.name: catalogue.retirement_notice(model, date.today())}
    if settings.use_prd and not settings.prd:
        notices = {"gemini": gemini_notice(settings)} | notices
    for name, notice in notices.items():
        if notice is not None:
            gone = notice.severity == "retired" and not user_base_url(settings, catalogue.PROVIDERS[name])
            yield Finding("models", "error" if gone else "warning", notice.sentence, REMEDIES["models"])
    if model.price_in is None:
        yield Finding("models", "warning", f"no price is known for {model.name}: its cost is unknown")
    elif not any(notices.values()):
        yield Finding("models", "ok", f"{model.name} for the agents")


async def diagnose_addresses(settings: Settings, folder: Path) -> Findings:
    """Check the addresses that the user gave; the providers' own are checked with --online."""
    for provider in catalogue.PROVIDERS.values():
        if base := user_base_url(settings, provider):
            problem = await probe_address(catalogue.provider_base_url(provider, base))
            text = f"{provider.name}: {mask_value('base', base)} {problem or 'answers'}"
            remedy = f"Check {provider.base_vars[0]}." if problem else ""
            yield Finding("addresses", "error" if problem else "ok", text, remedy)


async def diagnose_logs(settings: Settings, folder: Path) -> Findings:
    logs = folder / LOGS if (folder / LOGS).is_dir() else folder
    try:
        tempfile.TemporaryFile(dir=logs).close()
        yield Finding("logs", "ok", f"{folder / LOGS} can be written to")
    except OSError as error:
        yield Finding("logs", "error", f"{logs} cannot be written to: {error.strerror}.", "Change its permissions.")


async def diagnose_store(settings: Settings, folder: Path) -> Findings:
    from orchestra.journal.database import open_engine, parse_store_url, store_label
    from orchestra.journal.open_store import find_damage

    own = folder / LOGS / DATABASE
    url = parse_store_url(settings.store or own)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        yield Finding("store", "ok", f"{store_label(url)} will be made by the first run")
    elif not settings.store and (damage := find_damage(own)):
        remedy = "The next command renames it, and makes a new one from the logs."
        yield Finding("store", "warning", f"{own} cannot be used: {damage}", remedy)
    else:
        open_engine(url).dispose()
        yield Finding("store", "ok", f"{store_label(url)} answers")


async def diagnose_repository(settings: Settings, folder: Path) -> Findings:
    if ask_git(folder, "rev-parse", "--is-inside-work-tree") != "true":
        yield Finding("repository", "error", f"{folder} is not in a git work tree.", "Run it in one, or give --repo.")
        return
    warnings = {}
    if ask_git(folder, "symbolic-ref", "-q", "HEAD") is None:
        remedy = "Check out a branch, so that it can be moved."
        warnings["HEAD is detached: the result stays on a side branch."] = remedy
    if ask_git(folder, "rev-parse", "--is-shallow-repository") == "true":
        warnings["It is a shallow clone: fine for a run, not for its history."] = ""
    if ask_git(folder, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all"):
        warnings["There are uncommitted changes; agents work on HEAD."] = "Commit what the agents should see."
    for text, remedy in warnings.items():
        yield Finding("repository", "warning", text, remedy)
    if not warnings:
        yield Finding("repository", "ok", f"{folder}, on {ask_git(folder, 'symbolic-ref', '--short', 'HEAD')}")


async def diagnose_sandbox(settings: Settings, folder: Path) -> Findings:
    if settings.sandbox == "off":
        yield Finding("sandbox", "warning", f"It is off: {NO_SANDBOX_RISK}.", "Leave --sandbox off out.")
        return
    with tempfile.TemporaryDirectory(prefix="aider-orchestrator-") as scratch:
        mode = await find_sandbox_mode(Path(scratch))
    if mode == "namespaces":
        yield Finding("sandbox", "ok", "tests and set-up commands run in their own namespaces")
        return
    text = WEAKER_SANDBOX if mode == "landlock" else NO_SANDBOX_HOLDS
    level: Level = "error" if settings.sandbox == "require" else "warning"
    yield Finding("sandbox", level, f"{text[0].upper()}{text[1:]}", ALLOW_NAMESPACES)


async def diagnose_proxies(settings: Settings, folder: Path) -> Findings:
    used = {name: mask_value("proxy", url) for name, url in urllib.request.getproxies().items() if name != "no"}
    text = ", ".join(f"{name} through {url}" for name, url in sorted(used.items()))
    yield Finding("proxies", "ok", f"{text} (never for this machine)" if text else "none")


async def diagnose_cluster(settings: Settings, folder: Path) -> Findings:
    if not settings.cluster:
        return
    ray_cluster.check_ray_installed()
    address = ray_cluster.parse_cluster_address(settings.cluster)
    host = address.rpartition(":")[0]
    await asyncio.to_thread(ray_cluster.check_address, host, os.environ)
    ray_cluster.check_token(os.environ)
    await asyncio.to_thread(ray_cluster.check_answers, address)
    protection = ray_cluster.describe_protection(host, os.environ)
    yield Finding("cluster", "ok", f"{address} answers; {protection}; only you can read its token")


CHECKS: tuple[Callable[[Settings, Path], Findings], ...] = (
    *(diagnose_git, diagnose_aider, diagnose_agents, diagnose_python, diagnose_disk, diagnose_memory),
    *(diagnose_repository, diagnose_logs, diagnose_store, diagnose_models, diagnose_keys, diagnose_addresses),
    *(diagnose_proxies, diagnose_sandbox, diagnose_cluster),
)


async def probe_address(base: str) -> str:
    """Return why nothing listens at this address; empty if something does."""
    try:
        parts = urlsplit(base)
        host, port = parts.hostname, parts.port or PORTS.get(parts.scheme)
    except ValueError:
        host = port = None
    if not host or not port:
        return "is not a server's address"
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return f"did not answer within {CONNECT_TIMEOUT:.0f} s"
    except OSError as error:
        return f"cannot be reached: {error.strerror or error}"
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return ""


async def probe_provider(settings: Settings, provider: Provider) -> tuple[Level, str, str]:
    """Ask the provider for one word from the chosen model, or from its cheap one."""
    import httpx

    model = model_to_probe(settings, provider)
    if model is None:
        return "warning", "not asked: no model of this provider is chosen", "Give --model to ask it."
    base = catalogue.provider_base_url(provider, user_base_url(settings, provider))
    dialect = DIALECTS[provider.dialect]
    path, body = dialect.compose_request(model.upstream_name, "", [("user", "Say ok.")])
    body = dialect.with_cap(provider.name, body, LONGEST_ANSWER)
    key = settings.strongest_variable(provider.key_vars)[0]
    headers = dialects.upstream_headers(dialect, key, dict(dialect.fixed_headers))
    try:
        async with httpx.AsyncClient(timeout=ANSWER_TIMEOUT, mounts=dict.fromkeys(LOOPBACK_ADDRESSES)) as client:
            url = dialects.upstream_url(dialect, base, path)
            answer = await client.post(url, headers=headers, json=body)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeEncodeError) as error:
        words = str(error) or type(error).__name__
        return "error", f"{model.name} cannot be asked: {words}", REMEDIES["unreachable"]
    if answer.status_code == 200 and dialect.is_reply(dialects.parse_json_or_none(answer.content)):
        return "ok", f"{model.name} answers", ""
    failure = dialects.classify_failure(answer.status_code, answer.content)
    problem = f"{model.name}: {failure} ({answer.status_code}): {dialects.error_message(answer.content)}"
    return ("warning" if failure == "rate_limit" else "error"), problem, REMEDIES.get(failure, "Try again later.")


def model_to_probe(settings: Settings, provider: Provider) -> Model | None:
    with suppress(SettingsError):
        if (chosen := chosen_model(settings)).provider is provider:
            return chosen
    if provider.name == "gemini":
        return catalogue.resolve_model(settings.gemini_name)
    known = catalogue.WEAK_MODELS.get(provider.name)
    return catalogue.resolve_model(known) if known else None
