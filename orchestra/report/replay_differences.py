"""The differences between a replayed run and its recording."""

from orchestra.report.state import Report


def has_differences(report: Report) -> bool:
    return bool(report.drift or report.unused)


def replay_lines(report: Report) -> list[str]:
    """A sentence for each agent that differs, or one for an exact replay."""
    if not report.replayed:
        return []
    lines = [
        f"{actor}: {'1 request differs' if count == 1 else f'{count} requests differ'} from the recording's"
        for actor, count in sorted(report.drift.items())
    ]
    lines += [
        f"{actor}: {'1 recorded reply was' if count == 1 else f'{count} recorded replies were'} not used"
        for actor, count in sorted(report.unused.items())
    ]
    return lines or ["Replayed exactly."]


def replay_record(report: Report) -> dict[str, object] | None:
    """For the summary; None for a run that is no replay."""
    return {"drift": report.drift, "unused": dict(report.unused)} if report.replayed else None
