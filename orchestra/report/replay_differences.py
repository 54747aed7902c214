"""What a replayed run has to say: whether it asked for just what is on its tape."""

from orchestra.report.state import Report


def has_differences(report: Report) -> bool:
    return bool(report.drift or report.unused)


def replay_lines(report: Report) -> list[str]:
    """A sentence for each agent that differs, or one that says that none does."""
    if not report.replayed:
        return []
    found = [f"{who}: {differing_requests(count)} from the tape's" for who, count in sorted(report.drift.items())]
    found += [f"{who}: {unused_replies(count)} not asked for" for who, count in sorted(report.unused.items())]
    return found or ["every request is as on the tape"]


def differing_requests(count: int) -> str:
    return "1 request differs" if count == 1 else f"{count} requests differ"


def unused_replies(count: int) -> str:
    return "1 reply of the tape's was" if count == 1 else f"{count} replies of the tape's were"


def replay_record(report: Report) -> dict[str, object] | None:
    """For the summary; nothing where nothing was replayed."""
    return {"drift": report.drift, "unused": dict(report.unused)} if report.replayed else None
