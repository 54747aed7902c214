"""Which protected files the user asked to change: by the settings before there is a plan, by the journal afterwards."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from orchestra.conduct.core.context import Run
from orchestra.judge.permit import Permit
from orchestra.settings import Settings
from orchestra.workspace.tracked import may_be_tracked


def permit_from_settings(settings: Settings, entries: Mapping[str, object], paths: Iterable[str] = ()) -> Permit:
    """Return the permit that the settings give; a committed settings file gives none. `paths` were named one by one."""
    return Permit(frozenset(paths), (settings.change,) if settings.is_set_by_user("change") else (), entries)


def permit_of_run(run: Run) -> Permit:
    """Return the permit of a planned run, including what persons have said about its tasks since."""
    return Permit(frozenset(run.state.report.user_files), user_words(run), run.context.entries)


def user_words(run: Run) -> tuple[str, ...]:
    """Return the user's own words: the change, if the user gave it, and later decisions."""
    report = run.state.report
    return (*((run.context.settings.change,) if report.change_is_literal else ()), *report.decision_texts)


def is_users_plan(root: Path, path: Path) -> bool:
    """Whether a plan's file is the user's own: a tracked one came with the repository, and is not approved here."""
    real_path, root = path.parent.resolve() / path.name, root.resolve()
    return not (real_path.is_relative_to(root) and may_be_tracked(root, str(real_path.relative_to(root))))
