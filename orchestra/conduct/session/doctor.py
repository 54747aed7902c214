"""What a run needs, looked at one by one before there is a run: a finding each, with a remedy where one is needed."""

import os
import re
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from orchestra.agents.seat import AIDER_VERSION, check_version, find_aider_python
from orchestra.conduct.core.locations import DATABASE, LOGS
from orchestra.conduct.core.machine import measure_machine
from orchestra.conduct.core.models import chosen_model, user_base_url
from orchestra.conduct.core.secrets import Secrets
from orchestra.conduct.planning.prd import gemini_notice
from orchestra.conduct.session.provider_check import probe_address, probe_provider
from orchestra.errors import OrchestraError, SettingsError
from orchestra.hosts.isolation import NO_SANDBOX_HOLDS, NO_SANDBOX_RISK, WEAKER_SANDBOX, find_sandbox_mode
from orchestra.plan.sizing import MEMORY_PER_AGENT
from orchestra.providers import catalogue
from orchestra.settings import Settings, mask_value
from orchestra.workspace.git import ask_git

OLDEST_GIT = (2, 34)
OLDEST_PYTHON = (3, 11)
REMEDIES = {
    "models": "`models` lists those that are known.",
    "store": "Check --store, or leave it out.",
    "aider": "Install it beside this program, or set AIDER_BIN.",
    "disk": "Check --repo and TMPDIR.",
}
ALLOW_NAMESPACES = "Allow user namespaces (sysctl, AppArmor, or the container's seccomp profile)."
MB, GB = 1 << 20, 1 << 30


@dataclass(frozen=True)
class Finding:
    """`level` is what it means for a run: it will do, it may not do, it cannot do."""

    name: str
    level: Literal["ok", "warning", "error"]
    text: str
    remedy: str = ""


def ok_finding(name: str, text: str) -> Finding:
    return Finding(name, "ok", text)


async def run_checkup(settings: Settings, folder: Path, *, online: bool) -> AsyncIterator[Finding]:
    """In the order in which a run would come to need these things. No finding holds a key."""
    secrets = Secrets.from_settings(settings)
    for name, check in CHECKS.items():
        try:
            found = await check(settings, folder)
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


async def diagnose_git(settings: Settings, folder: Path) -> list[Finding]:
    said = ask_git(Path("/"), "--version")
    number = re.search(r"(\d+)\.(\d+)", said or "")
    if said is None or number is None:
        return [Finding("git", "error", "git was not found.", "Install it, 2.34 or newer.")]
    if tuple(map(int, number.groups())) < OLDEST_GIT:
        return [Finding("git", "error", f"{said} is too old.", "Install 2.34 or newer.")]
    return [ok_finding("git", said)]


async def diagnose_aider(settings: Settings, folder: Path) -> list[Finding]:
    python = find_aider_python(os.environ)
    await check_version(python)
    return [ok_finding("aider", f"aider-chat {AIDER_VERSION}, run by {python}")]


async def diagnose_python(settings: Settings, folder: Path) -> list[Finding]:
    version = sys.version.split()[0]
    old = sys.version_info[:2] < OLDEST_PYTHON
    return [Finding("python", "error" if old else "ok", version, "Use Python 3.11 or newer." if old else "")]


async def diagnose_disk(settings: Settings, folder: Path) -> list[Finding]:
    """A worktree for each agent lies in the temporary folder, the result in the repository."""
    found = []
    for place in dict.fromkeys((folder, Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(place).free
        level: Literal["ok", "warning", "error"] = "error" if free < 100 * MB else "warning" if free < GB else "ok"
        remedy = "" if level == "ok" else "Make room, or set TMPDIR to a larger disk."
        found.append(Finding("disk", level, f"{free / GB:.1f} GB free in {place}", remedy))
    return found


async def diagnose_memory(settings: Settings, folder: Path) -> list[Finding]:
    cores, free = measure_machine()
    room = free // MEMORY_PER_AGENT
    wanted = settings.agents or settings.max_agents or 4
    text = f"{free / GB:.1f} GB free and {cores} cores: room for about {room} agents at once"
    if room < wanted:
        return [Finding("memory", "warning", text, "Close other programs, or give a smaller --max-agents.")]
    return [ok_finding("memory", text)]


async def diagnose_keys(settings: Settings, folder: Path) -> list[Finding]:
    """Which there are and where each comes from, never what it is."""
    found = []
    for provider in catalogue.PROVIDERS.values():
        value, source = settings.strongest_variable(provider.key_vars)
        if value:
            found.append(ok_finding("keys", f"{provider.name}: a key from the {source}"))
    try:
        model = chosen_model(settings)
    except SettingsError:
        return found  # that is said of the models
    names = " or ".join(model.provider.key_vars)
    if (
        names
        and not settings.strongest_variable(model.provider.key_vars)[0]
        and not user_base_url(settings, model.provider)
    ):
        remedy = f"Set {names}, or choose another --model; `doctor --fix` writes a .env."
        found.append(Finding("keys", "error", f"{model.provider.name}: no key for {model.name}", remedy))
    if (
        settings.use_prd
        and not settings.prd
        and not settings.strongest_variable(catalogue.PROVIDERS["gemini"].key_vars)[0]
    ):
        remedy = "Set GOOGLE_API_KEY, or work with --prd FILE or --no-prd."
        found.append(Finding("keys", "warning", "gemini: no key for writing the PRD", remedy))
    return found


async def diagnose_models(settings: Settings, folder: Path) -> list[Finding]:
    """A retired one may still be served at the user's own address."""
    model, found = chosen_model(settings), []
    notices = {model.provider.name: catalogue.retirement_notice(model, date.today())}
    if settings.use_prd and not settings.prd:
        notices = {"gemini": gemini_notice(settings)} | notices
    for name, notice in notices.items():
        if notice is not None:
            gone = notice.severity == "retired" and not user_base_url(settings, catalogue.PROVIDERS[name])
            remedy = REMEDIES["models"]
            found.append(Finding("models", "error" if gone else "warning", notice.sentence, remedy))
    if model.price_in is None:
        found.append(Finding("models", "warning", f"no price is known for {model.name}: its cost cannot be said"))
    return found or [ok_finding("models", f"{model.name} for the agents")]


async def diagnose_addresses(settings: Settings, folder: Path) -> list[Finding]:
    """Only those that the user gave; the providers' own are asked with --online."""
    found = []
    for provider in catalogue.PROVIDERS.values():
        if base := user_base_url(settings, provider):
            problem = await probe_address(catalogue.provider_base_url(provider, base))
            text, remedy = f"{provider.name}: {mask_value('base', base)} {problem or 'answers'}", provider.base_vars[0]
            found.append(
                Finding("addresses", "error", text, f"Check {remedy}.") if problem else ok_finding("addresses", text)
            )
    return found


async def diagnose_logs(settings: Settings, folder: Path) -> list[Finding]:
    place = folder / LOGS if (folder / LOGS).is_dir() else folder
    try:
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        return [Finding("logs", "error", f"{place} cannot be written to: {error.strerror}.", "Change its permissions.")]
    return [ok_finding("logs", f"{folder / LOGS} can be written to")]


async def diagnose_store(settings: Settings, folder: Path) -> list[Finding]:
    from orchestra.journal.database import open_engine, parse_store_url, store_label
    from orchestra.journal.store_repair import find_damage

    url = parse_store_url(settings.store or folder / LOGS / DATABASE)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        return [ok_finding("store", f"{store_label(url)} will be made by the first run")]
    own = folder / LOGS / DATABASE
    if not settings.store and (damage := find_damage(own)):
        remedy = "The next command sets it aside, and makes a new one from the logs."
        return [Finding("store", "warning", f"{own} cannot be used: {damage}", remedy)]
    open_engine(url).dispose()
    return [ok_finding("store", f"{store_label(url)} answers")]


async def diagnose_repository(settings: Settings, folder: Path) -> list[Finding]:
    if ask_git(folder, "rev-parse", "--is-inside-work-tree") != "true":
        return [
            Finding("repository", "error", f"{folder} is in no work tree of git.", "Run it in one, or give --repo.")
        ]
    found = []
    if ask_git(folder, "symbolic-ref", "-q", "HEAD") is None:
        remedy = "Check out a branch to have it moved."
        found.append(Finding("repository", "warning", "HEAD is detached: the result stays on a side branch.", remedy))
    if ask_git(folder, "rev-parse", "--is-shallow-repository") == "true":
        found.append(Finding("repository", "warning", "It is a shallow clone: fine for a run, not for its history."))
    if ask_git(folder, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all"):
        remedy = "Commit what the agents should see."
        found.append(Finding("repository", "warning", "There are uncommitted changes; agents work on HEAD.", remedy))
    return found or [ok_finding("repository", f"{folder}, on {ask_git(folder, 'symbolic-ref', '--short', 'HEAD')}")]


async def diagnose_sandbox(settings: Settings, folder: Path) -> list[Finding]:
    if settings.sandbox == "off":
        return [Finding("sandbox", "warning", f"It is off: {NO_SANDBOX_RISK}.", "Leave --sandbox off out.")]
    with tempfile.TemporaryDirectory(prefix="aider-orchestrator-") as place:
        mode = await find_sandbox_mode(Path(place))
    if mode == "namespaces":
        return [ok_finding("sandbox", "tests and set-up commands run in namespaces of their own")]
    level: Literal["warning", "error"] = "error" if settings.sandbox == "require" else "warning"
    text = WEAKER_SANDBOX if mode == "landlock" else NO_SANDBOX_HOLDS
    return [Finding("sandbox", level, f"{text[0].upper()}{text[1:]}", ALLOW_NAMESPACES)]


async def diagnose_proxies(settings: Settings, folder: Path) -> list[Finding]:
    used = {name: mask_value("proxy", url) for name, url in urllib.request.getproxies().items() if name != "no"}
    text = ", ".join(f"{name} through {url}" for name, url in sorted(used.items()))
    return [ok_finding("proxies", f"{text} (never for this machine)" if text else "none")]


CHECKS: dict[str, Callable[[Settings, Path], Awaitable[list[Finding]]]] = {
    "git": diagnose_git,
    "aider": diagnose_aider,
    "python": diagnose_python,
    "disk": diagnose_disk,
    "memory": diagnose_memory,
    "repository": diagnose_repository,
    "logs": diagnose_logs,
    "store": diagnose_store,
    "models": diagnose_models,
    "keys": diagnose_keys,
    "addresses": diagnose_addresses,
    "proxies": diagnose_proxies,
    "sandbox": diagnose_sandbox,
}
