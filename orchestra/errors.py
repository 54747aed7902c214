"""Everything that may stop a run. Each class has an exit code; its docstring is its message without details."""

import errno


class OrchestraError(Exception):
    """Something went wrong."""

    exit_code = 3

    def __init_subclass__(cls, *, code: int = 0) -> None:
        cls.exit_code = code or cls.exit_code

    def __init__(self, detail: str = "", *, hint: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint

    def __str__(self) -> str:
        message = self.detail or (self.__doc__ or "").strip()
        return f"{message} {self.hint}".strip()


class UsageError(OrchestraError, code=2):
    """The command cannot be carried out as it was given."""


class SettingsError(UsageError):
    """A setting is wrong."""


class MissingKey(SettingsError):
    """A key is missing."""


class RepositoryError(UsageError):
    """The repository cannot be worked on."""


class PlanError(UsageError):
    """The work cannot be planned."""


class RecordingError(UsageError):
    """The recording cannot be used."""


class AiderMissing(UsageError):
    """No Python with aider-chat was found."""


class AgentMissing(UsageError):
    """The program of an agent is not installed."""


class ProviderError(OrchestraError, code=4):
    """A model provider could not be used."""


class LimitReached(OrchestraError, code=6):
    """A limit of the run was reached."""


class GitFailed(OrchestraError, code=1):
    """A git command failed."""


class HandoverFailed(OrchestraError, code=1):
    """The result could not be handed over."""


class SetUpFailed(OrchestraError, code=1):
    """The set-up command failed."""

    def __init__(self, detail: str, output: str) -> None:
        super().__init__(detail)
        self.output = output


class HostLost(OrchestraError, code=1):
    """The machine on which an attempt ran was lost."""


class ClusterGone(OrchestraError, code=6):
    """No machine of the cluster is left."""


class ClusterUnavailable(UsageError):
    """The cluster cannot be used. Nothing was begun."""


class RequestRefused(OrchestraError, code=1):
    """The request of another terminal was refused."""


class OwnerGone(UsageError):
    """No process works on the run, or it ended before it took a command."""


class MachineTrouble(UsageError):
    """The machine does not let the program work."""


# Errors that are no bug, and what a person may do about them.
ERRNO_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Free some space there, or set TMPDIR to a larger disk."),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "Change its permissions, or work elsewhere."),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "Raise the limit of open files: `ulimit -n 4096`."),
    **dict.fromkeys((errno.EAGAIN, errno.ENOMEM), "Close other programs, or use a smaller --max-agents."),
    errno.EIO: "Look at the disk, or at the terminal.",
}


def as_machine_trouble(error: BaseException | None) -> MachineTrouble | None:
    """Return the sentence for a system error that is no bug; None for any other error."""
    if not isinstance(error, OSError) or error.errno not in ERRNO_REMEDIES:
        return None
    prefix = f"{error.filename}: " if error.filename else ""
    return MachineTrouble(f"{prefix}{error.strerror}.", hint=ERRNO_REMEDIES[error.errno])


class NeedsApproval(OrchestraError, code=5):
    """A plan waits for approval."""

    def __init__(self, name: str) -> None:
        how = ", ".join(f"`aider-orchestrator {words} {name}`" for words in ("plan show", "plan approve", "execute"))
        super().__init__(f"The plan {name} waits for your approval: {how}.")


HANGUP, INTERRUPT, TERMINATE = 1, 2, 15
SIGNALS = {HANGUP: "SIGHUP (the terminal was closed)", INTERRUPT: "Ctrl-C", TERMINATE: "SIGTERM"}


class StoppedBySignal(OrchestraError):
    """The run was stopped by a signal."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {SIGNALS.get(signum, f'signal {signum}')}")
        self.exit_code = signal_exit_code(signum)


def signal_exit_code(signum: int) -> int:
    """Return 128 + signal; a closed terminal ends a run as SIGTERM does."""
    return 128 + (TERMINATE if signum == HANGUP else signum)


class AmbiguousRun(UsageError):
    """Several runs have a name like this."""


class StoreError(UsageError):
    """The store cannot be used."""
