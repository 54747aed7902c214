"""What of protected files the user has asked for: from the settings before there is a plan, from the journal after."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from orchestra.conduct.core.context import Run
from orchestra.judge.permit import Permit
from orchestra.plan.targets import PROTECTED as ACT
from orchestra.settings import Settings
from orchestra.workspace.tracked import may_be_tracked

MOST = 8  # paths in one note


def permit_from_settings(settings: Settings, entries: Mapping[str, object], paths: Iterable[str] = ()) -> Permit:
    """`paths` were named one by one. What a settings file of the repository says, no user has said."""
    return Permit(frozenset(paths), (settings.change,) if settings.is_set_by_user("change") else (), entries)


def permit_of_run(run: Run) -> Permit:
    """That of a planned run: with what persons have said of its tasks since."""
    return Permit(frozenset(run.state.report.user_files), user_words(run), run.context.entries)


def user_words(run: Run) -> tuple[str, ...]:
    """Those of the change if the user has said it, and those that persons have said since."""
    report = run.state.report
    return (*((run.context.settings.change,) if report.change_is_literal else ()), *report.decision_texts)


def is_users_plan(root: Path, path: Path) -> bool:
    """A plan's file that git tracks came with the repository: what it says, nobody here has approved."""
    place, root = path.parent.resolve() / path.name, root.resolve()
    return not (place.is_relative_to(root) and may_be_tracked(root, str(place.relative_to(root))))


def protected_note(paths: Sequence[str], remedy: str) -> str:
    more = f" and {len(paths) - MOST} more" if len(paths) > MOST else ""
    return f"Left out, because nobody has named them and they {ACT}: {', '.join(paths[:MOST])}{more}. {remedy}"


NAME_FILES_HINT = "To have one changed, name it in --change or --files."
