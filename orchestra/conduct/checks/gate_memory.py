"""Remember the outcomes of gates over runs, and answer from memory when nothing that can change one has changed.

An outcome is found by a digest of the tree, the command and the environment. The digest is keyed with a secret of the
user, and the outcome is sealed with it: what comes with a repository is never taken for a memory.
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import secrets
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from orchestra import events
from orchestra.conduct.checks.flaky import find_flaky_tests, is_flaky
from orchestra.conduct.core.context import Run
from orchestra.errors import GitFailed, StoreError
from orchestra.gates.environment import GateEnvironment
from orchestra.gates.impurity import PATHSPECS, why_command_impure
from orchestra.gates.outcome_codec import decode_outcome, encode_outcome, is_memorable, pack, unpack
from orchestra.gates.run import GateOutcome
from orchestra.hosts.base import GateOrder
from orchestra.journal.store import GateRun
from orchestra.model import Gate
from orchestra.process import read_tail, replace_file
from orchestra.settings.folder import config_folder
from orchestra.wording import join_some
from orchestra.workspace.code_search import find_matching_change, find_matching_file
from orchestra.workspace.tracked import is_from_repository

FORMAT = 1  # of what is remembered
DAY_MS = 24 * 3600 * 1000
MOST_AGE_MS, MOST_HISTORY_MS = DAY_MS, 90 * DAY_MS
MOST_NAMES = 500  # of failures of one run
LONGEST_OUTPUT = 24_000  # bytes
# A file that is changed while a gate runs gets a new ctime, so the old digest never comes again. Only one that is there
# for a moment could be missed, and a short run has no time for it.
RECHECK_SECONDS = 5.0
RECENT_SECONDS = 5.0
SECRET_FILE = "gate-memory.key"
NO_CODE_RUN = ("syntax", "lint", "types")  # detected gates of these kinds read files and run none of them


@dataclass(frozen=True)
class GateKey:
    """How a gate's outcome on a tree is found: `digest` is empty if there is none, and `why_run` tells why an outcome
    from memory is not used (a clause)."""

    digest: str = ""
    why_run: str = ""


class GateMemory:
    """The outcomes of this run and of earlier ones. A store that fails costs the memory, and never the run."""

    def __init__(self, run: Run, gates: Sequence[Gate]) -> None:
        self.run = run
        self.store, self.repository = run.services.hold.store, run.services.hold.repository
        self.impure_files = dict[tuple[str, str], str]()  # by commit and pattern
        self.switches = read_switches(run.context.settings.gate_cache)
        self.flaky_emitted: Mapping[str, tuple[events.FlakyTest, ...]] = {}
        self.gates, self.names = tuple(gates), [gate.name for gate in gates]
        self.is_expired = False
        self.environment, self.environment_since = GateEnvironment(), 0.0

    @cached_property
    def secret(self) -> bytes:
        """The user's secret, made at its first use; empty if it cannot be kept, or came with the repository."""
        path = config_folder() / SECRET_FILE
        if self.switches.get("") is False or not path.parent.parent.parent.is_dir():
            return b""
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with contextlib.suppress(FileExistsError):
                # A link puts the whole file in its place, and never replaces another process's.
                part = path.with_name(f"{SECRET_FILE}.{secrets.token_hex(8)}")
                replace_file(part, secrets.token_bytes(32), private=True)
                try:
                    os.link(part, path)
                finally:
                    part.unlink()
            content = path.read_bytes()
            if len(content) == 32 and not is_from_repository(self.run.context.repository.root, path):
                return content
        return b""

    def control_word(self, *about: str) -> str:
        """Return a word that the code under test cannot guess, the same whenever the same is asked."""
        return self.sign("control", *about)[:12] if self.secret else secrets.token_hex(6)

    def sign(self, *parts: object) -> str:
        text = json.dumps([FORMAT, *parts], default=str)
        return hmac.new(self.secret, text.encode(), hashlib.sha256).hexdigest()

    # --- keys

    async def find_keys(self, order: GateOrder) -> dict[Gate, GateKey]:
        """Return the keys of the order's gates. A gate without one is neither remembered nor answered from memory."""
        asked = [gate for gate in order.gates if self.switches.get(gate.name, self.switches.get("")) is not False]
        if not asked:
            return {}
        found = await self.find_environment(order)
        if not found.digest:
            return {gate: GateKey(why_run=found.why_not) for gate in asked}
        if not self.secret:
            return {}
        tree = await self.run.context.git.text("rev-parse", f"{order.commit}^{{tree}}")
        return {
            gate: GateKey(self.digest(order, gate, tree, found.digest), await self.find_impurity(order, gate))
            for gate in asked
        }

    async def find_environment(self, order: GateOrder) -> GateEnvironment:
        """Return the digest of the surroundings. Detected gates of single files, of which there is one for each task,
        see next to nothing of them, so they get one of the last moments."""
        is_recent = time.monotonic() - self.environment_since < RECENT_SECONDS
        may_be_old = not self.environment.digest or all(gate.endings and not gate.named for gate in order.gates)
        if self.environment_since == 0.0 or not (may_be_old and (is_recent or self.environment.why_not)):
            # The programs of all gates count, so that a digest is the same whichever of them run.
            every = replace(order, gates=self.gates)
            try:
                self.environment = await self.run.services.host.describe_environment(every)
            except GitFailed as failed:
                self.environment = GateEnvironment(why_not=f"git could not list what is around it: {failed}")
            self.environment_since = time.monotonic()
        return self.environment

    def digest(self, order: GateOrder, gate: Gate, tree: str, environment: str) -> str:
        files = {path: hashlib.sha256(content).hexdigest() for path, content in order.choice.files.items()}
        choice = (sorted(order.choice.only), order.choice.control, sorted(files.items()), order.choice.bare)
        paths = order.paths if gate.endings else ()
        how = (gate.kind, gate.command, gate.endings, order.timeout)
        return self.sign("gate", tree, how, paths, sorted(order.planned), choice, environment)

    async def find_impurity(self, order: GateOrder, gate: Gate) -> str:
        """Return why the outcome may change although tree and environment do not; empty if the user vouches for it."""
        if self.switches.get(gate.name, self.switches.get("")) or not (gate.named or gate.kind not in NO_CODE_RUN):
            return ""
        if order.set_up.command:
            return "the set-up command may bring other things each time"
        if why := why_command_impure(gate.command):
            return why
        try:
            found = [await self.find_impure_file(order.commit, pattern) for pattern in PATHSPECS]
        except GitFailed as failed:
            return f"its code could not be searched for the use of the clock: {failed}"
        path = next(filter(None, found), "")
        return f"{path} reads the clock, draws random numbers, asks git, or calls what works elsewhere" if path else ""

    async def find_impure_file(self, commit: str, pattern: str) -> str:
        """Return a file of the base that is impure, or one that became so since. Only the base is read as a whole."""
        git, base = self.run.context.git, self.run.context.repository.base
        for each in (base, commit):
            if (each, pattern) in self.impure_files:
                continue
            words = (pattern, PATHSPECS[pattern])
            search = find_matching_file(git, base, *words) if each == base else None
            found = await (search or find_matching_change(git, base, commit, *words))
            self.impure_files[each, pattern] = found
        return self.impure_files[base, pattern] or self.impure_files[commit, pattern]

    # --- outcomes

    async def recall(self, order: GateOrder, keys: Mapping[Gate, GateKey], *, again: bool) -> dict[Gate, GateOutcome]:
        """Return the outcomes in memory. `again`: those of the second run of each gate on this tree."""
        found = dict[Gate, GateOutcome]()
        for gate, key in keys.items():
            known = await self.find_known_run(key, again=again) if key.digest and not key.why_run else None
            outcome = await self.restore(order, gate, key, known) if known else None
            found |= {gate: outcome} if outcome else {}
        return found

    async def find_known_run(self, key: GateKey, *, again: bool) -> GateRun | None:
        try:
            runs = await asyncio.to_thread(self.store.find_gate_runs, self.repository, key.digest)
        except StoreError:
            return None
        usable = [each for each in runs if each.data and 0 <= each.age < MOST_AGE_MS]
        if is_flaky(runs) or len(usable) <= again:
            return None
        return usable[int(again)]

    async def restore(self, order: GateOrder, gate: Gate, key: GateKey, known: GateRun) -> GateOutcome | None:
        """Return a sealed outcome, with its output in a file of this run; None if it was not sealed by this user."""
        seal, _, packed = known.data.partition(":")
        own = self.sign("seal", key.digest, known.run, packed)
        if not hmac.compare_digest(seal.encode("utf-8", "surrogatepass"), own.encode()):
            return None
        output = self.run.context.logs / order.output_name(gate)
        files = await self.run.context.git.paths("ls-tree", "-r", "-z", "--name-only", order.commit)
        try:
            outcome, printed = decode_outcome(unpack(packed), gate, output, files)
            note = f"(Remembered from run {known.run}: it was not run again.)\n"
            await asyncio.to_thread(output.write_text, note + printed, encoding="utf-8")
        except (ValueError, LookupError, TypeError, zlib.error, OSError):
            return None
        return replace(outcome, remembered=known.run)

    async def remember(self, order: GateOrder, key: GateKey | None, outcome: GateOutcome) -> None:
        """Remember an outcome, unless something else than tree and environment took part in it."""
        if key is None or not key.digest or not is_memorable(outcome):
            return
        if outcome.ended.seconds > RECHECK_SECONDS and (await self.find_keys(order)).get(outcome.gate) != key:
            return  # the environment has changed while it ran
        stamp, reading = self.run.context.stamp, outcome.reading
        printed = await asyncio.to_thread(read_if_there, outcome.output)
        text = encode_outcome(outcome, printed)
        if self.run.context.secrets.scrub(text) != text:
            return
        packed = pack(text) if text else ""
        data = f"{self.sign('seal', key.digest, stamp, packed)}:{packed}" if packed else ""
        failing = tuple(sorted(reading.failing)[:MOST_NAMES]) if reading.by_name else ()
        gate_run = GateRun(key.digest, stamp, outcome.gate.name, outcome.passed, failing, data=data)
        with contextlib.suppress(StoreError):
            if not self.is_expired:
                self.is_expired = True
                await asyncio.to_thread(self.store.expire_gate_runs, self.repository, MOST_AGE_MS, MOST_HISTORY_MS)
            await asyncio.to_thread(self.store.add_gate_run, self.repository, gate_run)

    # --- for the user

    async def emit_flaky_tests(self) -> None:
        """Emit the flaky tests of all runs, if these are others than before."""
        try:
            runs = await asyncio.to_thread(self.store.list_gate_runs, self.repository)
        except StoreError:
            return
        flaky = {name: tests for name, tests in find_flaky_tests(runs).items() if name in self.names}
        for name, tests in flaky.items():
            if self.flaky_emitted.get(name) != tests:
                self.run.emit(events.FlakyTests(name, tests))
        self.flaky_emitted = flaky

    def flaky_names(self, gate: Gate) -> frozenset[str]:
        return frozenset(test.name for test in self.flaky_emitted.get(gate.name, ()))

    def emit_unknown_names(self) -> None:
        if unknown := sorted(self.switches.keys() - {"", *self.names}):
            text = f"gate-cache names {join_some(unknown)}, which this run does not have as a check."
            self.run.emit(events.Note(text))


def read_switches(entries: Sequence[str]) -> dict[str, bool]:
    """Read `gate-cache`: whether a gate's outcome may be used again, by its name, under "" that of all others."""
    pairs = (entry.rpartition("=") for entry in entries)
    return {name.strip(): value.strip() == "on" for name, _, value in pairs}


def read_if_there(path: Path) -> str:
    try:
        return read_tail(path, LONGEST_OUTPUT)
    except OSError:
        return ""
