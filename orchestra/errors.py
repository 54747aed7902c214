"""Everything that may stop a run. Each class carries its exit code; its docstring is its message without details."""


class OrchestraError(Exception):
    """Something went wrong."""

    exit_code = 3

    def __init__(self, detail: str = "", *, hint: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint

    def __str__(self) -> str:
        message = self.detail or (self.__doc__ or "").strip()
        return f"{message} {self.hint}".strip()


class UsageError(OrchestraError):
    """The command cannot be carried out as it was given."""

    exit_code = 2


class SettingsError(UsageError):
    """A setting is wrong."""


class MissingKey(SettingsError):
    """A key is needed that nobody has given."""


class RepositoryError(UsageError):
    """The repository cannot be worked on."""


class PlanError(UsageError):
    """The work cannot be planned."""


class TapeError(UsageError):
    """The tape cannot be used."""


class AiderMissing(UsageError):
    """No Python with aider-chat was found."""


class ProviderError(OrchestraError):
    """A model provider could not be used."""

    exit_code = 4


class LimitReached(OrchestraError):
    """A limit of the run was reached."""

    exit_code = 6


class GitFailed(OrchestraError):
    """A git command failed."""

    exit_code = 1


class HandOverFailed(OrchestraError):
    """The result could not be handed over."""

    exit_code = 1


class SetUpFailed(OrchestraError):
    """The set-up command failed."""

    exit_code = 1

    def __init__(self, detail: str, output: str) -> None:
        super().__init__(detail)
        self.output = output


class NeedsApproval(OrchestraError):
    """A plan waits for a person's yes."""

    exit_code = 5

    def __init__(self, name: str) -> None:
        how = f"`plan show {name}`, `plan approve {name}`, and then `execute {name}`"
        super().__init__(f"The plan {name} waits for your yes: {how}.")


class Stopped(OrchestraError):
    """The run was stopped by a signal."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by signal {signum}")
        self.exit_code = 128 + signum
