"""Start a run: its settings, the event loop, and signals."""

from orchestra.cli.load import settings_of
from orchestra.settings import Settings


def settings_to_run(argv: list[str]) -> Settings:
    """The settings of a command that starts work: what a committed file has set is said, or asked about."""
    settings = settings_of(argv)
    if settings.committed is None:
        return settings
    from orchestra.cli.consent import settle_committed

    return settle_committed(settings, settings.committed, argv)
