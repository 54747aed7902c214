"""Fold events into the report, which therefore exists for a run that died as well as for one that ended."""

from collections.abc import Iterable
from dataclasses import replace

from orchestra import events
from orchestra.events import Event, EventLog, Json, Payload
from orchestra.model import Task, TaskState, Usage, Verdict
from orchestra.report.state import (
    CandidateReport,
    DecisionMade,
    Report,
    Review,
    TaskGate,
    TaskReport,
    gate_with_judgement,
)

LIMIT_OPTIONS = ("budget", "task_budget", "max_tokens", "deadline")
# The fields of an attempt's end that become those of its task.
OUTCOME_FIELDS = (
    *("verdict", "cause", "remedy", "commit", "seconds", "round", "changed", "foreign", "refused", "protected"),
    *("notable", "left_out", "proposed", "answered", "nothing_to_do", "said", "patch"),
)


def report_from_log(log: EventLog) -> Report:
    """The report of a log, with a count of the lines that are no events."""
    report = fold_events(log.events)
    report.unreadable += log.torn_lines
    return report


def fold_events(events: Iterable[Event], report: Report | None = None) -> Report:
    report = report or Report()
    for event in events:
        fold_event(report, event)
    return report


def fold_event(report: Report, event: Event) -> None:
    """Apply an event, live or from files. Never raises. Events of other kinds than those below change nothing."""
    report.run = report.run or event.run
    report.started = report.started or event.time
    if isinstance(event.payload, events.RunResumed):  # no session ran before it
        report.paused_ms += event.time - (report.last_event_time or event.time)
    report.last_event_time = event.time
    report.seconds = (event.time - report.started - report.paused_ms) / 1000
    report.unreadable += bool(event.read_problem)
    fold_requests(event.payload, report, event)  # the most frequent; each group hands on what it does not know


def fold_run(payload: Payload, report: Report, event: Event) -> None:
    match payload:
        case events.RunStarted():
            report.change, report.repository = payload.change, payload.repository
            report.branch, report.base = payload.branch, payload.base
            report.model, report.provider = payload.model, payload.provider
            set_limit_options(report, payload.options)
        case events.RunResumed():
            report.exit_code, report.error, report.cancelled = None, "", False
            report.running_attempts.clear()
            report.asking_since = 0
            report.gates, report.judged = [], {}
            report.refused = {}
            report.limit_that_stopped, report.is_paused = "", False
            set_limit_options(report, payload.options)
            count_lost_requests(report)
        case events.RunEnded():
            report.exit_code, report.error, report.signal = payload.exit_code, payload.error, payload.signal
        case events.CommandAnswered():
            report.cancelled |= payload.name == "cancel" and event.task is None and not payload.refused
        case events.Note():
            report.notes.append(payload.text)
        case events.LimitReached():
            report.limit_that_stopped = payload.limit
        case events.RunPaused():
            report.is_paused = payload.paused
        case events.BudgetChanged():
            report.limits = report.limits | {"budget": payload.dollars}
        case events.ReplayEnded():
            report.replayed, report.unused = True, payload.unused
        case _:
            fold_result(payload, report, event)


def set_limit_options(report: Report, options: Json) -> None:
    if not options:  # a session without options keeps those of the session before
        return
    known = {name: options.get(name) for name in LIMIT_OPTIONS}
    report.limits = {name: value for name, value in known.items() if isinstance(value, int | float) and value}
    report.shard = str(options.get("shard") or "")
    report.strict, report.require_tests = bool(options.get("strict")), bool(options.get("require_tests"))


def fold_requests(payload: Payload, report: Report, event: Event) -> None:
    match payload:
        case events.MoneyReserved():
            report.pending_reservations.setdefault(payload.number, []).append((event.task, payload))
        case events.RequestEnded():
            report.pending_reservations.pop(payload.number, None)
            add_usage(report, payload.role, event.task, payload.usage)
            report.replayed |= payload.replayed
            if payload.failure == "drift" or payload.drifted:
                actor = f"agent{event.task}" if event.task is not None else payload.role
                report.drift[actor] = report.drift.get(actor, 0) + 1
        case events.AgentWaiting() if event.task is not None:
            fold_wait(payload, report, event)
        case events.AssistantResponse():
            task_report(report, event.task).iterations += 1
        case _:
            fold_tasks(payload, report, event)


def fold_wait(wait: events.AgentWaiting, report: Report, event: Event) -> None:
    record = task_report(report, event.task)
    if report.asking_since and report.asking_task == event.task:
        report.waited_ms += max(0, event.time - report.asking_since)
        report.asking_since = 0
    record.waits = f"{wait.on} ({wait.why})" if wait.on else ""
    if wait.on == events.PERSON:
        report.asking_since, report.asking_task = event.time, event.task


def count_lost_requests(report: Report) -> None:
    """Count the requests that the last session left without a reply as paid, because they may be billed."""
    for task, reservation in [each for pending in report.pending_reservations.values() for each in pending]:
        usage = Usage(assumed=reservation.dollars, assumed_tokens=reservation.tokens)
        add_usage(report, reservation.role, task, usage)
    report.pending_reservations.clear()


def add_usage(report: Report, role: str, task: int | None, used: Usage) -> None:
    report.roles[role] = report.roles.get(role, Usage()) + used
    if task is not None:
        task_report(report, task).usage += used


def fold_plan(payload: Payload, report: Report, event: Event) -> None:
    match payload:
        case events.PrdWritten():
            report.prd = payload
        case events.PlanMade():
            report.agents, report.skipped, report.plan_file = payload.agents, payload.skipped, payload.file
            report.user_files, report.change_is_literal = payload.named, payload.words
            report.tasks |= {task.id: task_report_from_plan(task) for task in payload.tasks}
            report.estimate = payload.estimate or report.estimate
            for expected in payload.estimate.tasks if payload.estimate else ():
                if expected.task in report.tasks:
                    report.tasks[expected.task].estimate = expected
        case events.PlanDrafted():
            report.plan_file, report.drafted_tasks = payload.file, payload.tasks
        case events.PlanChanged():  # a person changed a task, or replaced it with another
            for task in payload.tasks:
                known = report.tasks.setdefault(task.id, task_report_from_plan(task))
                known.title, known.files = task.title, task.paths
                known.needs, known.priority, known.brief = task.needs, task.priority, task.brief
            if payload.replaces in report.tasks:
                report.tasks[payload.replaces].replaced = payload.by
        case events.TasksProposed():
            report.proposals[event.task or 0] = payload.tasks
        case _:
            fold_run(payload, report, event)


def task_report_from_plan(task: Task) -> TaskReport:
    record = TaskReport(task.id, task.title, task.paths, task.requirements, role=task.role)
    record.needs, record.priority, record.brief = task.needs, task.priority, task.brief
    return record


def note_question(record: TaskReport, event: Event) -> None:
    """A failure, and the question that comes from it, are one thing to decide about."""
    if record.asked_at <= record.decided_at:
        record.asked_at = event.seq


def fold_tasks(payload: Payload, report: Report, event: Event) -> None:
    match payload:
        case events.TaskMoved():
            record = task_report(report, event.task)
            record.state = payload.state
            if record.state != TaskState.WAITING_HUMAN:
                record.asks = ""
            if record.state == TaskState.FAILED:
                note_question(record, event)
        case events.AttemptStarted():
            task_report(report, event.task).asked_at = 0
            fold_attempt_started(payload, report, event)
        case events.AiderReady():
            # The time before does not count as work: attempts only prepared worktrees.
            report.working_since = max(report.working_since, event.time - round(1000 * payload.ago))
        case events.AttemptEnded():
            fold_attempt_ended(payload, report, event)
        case events.AttemptChosen():
            fold_chosen(payload, task_report(report, event.task), event.attempt)
        case events.BranchKept():
            task_report(report, event.task).branch = payload.branch
        case events.HumanNeeded():
            record = task_report(report, event.task)
            record.asks = payload.why
            note_question(record, event)
        case events.TaskResolved():
            record = task_report(report, event.task)
            question = record.asks or record.held or record.cause
            record.decisions.append(DecisionMade(question, payload.action, payload.text, payload.source))
            record.decided_at = event.seq
            report.decision_texts += [payload.text] if payload.text else []
        case events.WorktreeLent():
            task_report(report, event.task).lent = payload
        case _:
            fold_gates(payload, report, event)


def fold_attempt_started(started: events.AttemptStarted, report: Report, event: Event) -> None:
    if not report.running_attempts:
        report.working_since = event.time
    report.running_attempts.add((event.task, event.attempt))
    record = task_report(report, event.task)
    record.attempts = max(record.attempts, event.attempt or 1)
    record.round, record.by_hand, record.kind = started.round, started.by_hand, started.agent_kind
    record.verdict = record.cause = record.remedy = record.held = record.said = ""
    record.answered, record.nothing_to_do, record.proposed = False, False, ()
    record.integrated = False
    record.gates = [gate for gate in record.gates if record.round and (gate.attempt or 0) >= record.round]


def fold_attempt_ended(ended: events.AttemptEnded, report: Report, event: Event) -> None:
    record = task_report(report, event.task)
    record.waits = ""
    if report.running_attempts == {(event.task, event.attempt)}:
        report.worked_ms += event.time - report.working_since
    report.running_attempts.discard((event.task, event.attempt))
    if ended.round is not None:
        fields = {name: getattr(ended, name) for name in OUTCOME_FIELDS}
        fields |= {"branch": ended.branch or "", "patch": ended.patch or "", "size": ended.size or 0}
        record.candidates.append(CandidateReport(attempt=event.attempt, review=ended.review, **fields))
    if ended.round is None or ended.verdict == Verdict.CANCELLED:
        copy_outcome(record, ended)
        record.branch = record.branch if ended.branch is None else ended.branch


def copy_outcome(record: TaskReport, source: events.AttemptEnded | CandidateReport) -> None:
    for name in OUTCOME_FIELDS:
        if (value := getattr(source, name)) is not None:
            setattr(record, name, value)


def fold_chosen(chosen: events.AttemptChosen, record: TaskReport, attempt: int | None) -> None:
    """The outcome of the chosen attempt becomes that of the task."""
    for n, candidate in enumerate(record.candidates):
        if candidate.attempt == attempt:
            copy_outcome(record, candidate)
            record.candidates[n] = replace(candidate, chosen=True, why=chosen.why, branch="")
            break
    record.gates = [gate for gate in record.gates if gate.attempt == attempt]


def fold_gates(payload: Payload, report: Report, event: Event) -> None:
    match payload:
        case events.GatesFound():
            report.unusable = {gate.name: gate for gate in payload.unusable}
        case events.GateUnable(named=False):
            report.unusable[payload.name] = events.GateUnusable(payload.name, payload.about, payload.why)
        case events.GateEnded() if event.task is None:
            report.gates += [payload] if payload.tree == events.COMBINED_TREE else []
        case events.GateEnded():
            record = task_report(report, event.task)
            record.gates.append(TaskGate(event.attempt, payload))
            if payload.is_review:
                review = Review(event.attempt, payload.command, payload.ok, payload.reasons, payload.missing)
                record.reviews.append(review)
        case events.FlakyTests():
            report.flaky[payload.name] = payload.tests
        case events.TestsJudged():
            report.judged[payload.name] = payload
            report.gates = [gate_with_judgement(gate, payload) for gate in report.gates]
        case _:
            fold_plan(payload, report, event)


def fold_result(payload: Payload, report: Report, event: Event) -> None:
    match payload:
        case events.TaskExcluded():
            record = task_report(report, event.task)
            record.held, record.integrated = payload.reason, False
        case events.ConflictDecided():
            record = task_report(report, event.task)
            record.conflicts += [payload] if payload not in record.conflicts else []
        case events.TaskIntegrated():
            record = task_report(report, event.task)
            record.commit, record.integrated, record.held = payload.commit, True, ""
        case events.WorkCombined():
            # The gates of an earlier combination do not count. The new one may have a newer base.
            report.gates, report.judged = [], {}
            report.base = payload.base or report.base
        case events.ResultDelivered():
            report.delivery = payload
            for task in report.tasks.values():
                # The branches of integrated tasks are removed.
                task.branch = "" if task.integrated else task.branch
        case events.ResultBranched():
            report.handovers[payload.kind] = payload
            if report.delivery:
                take = f"git merge {payload.branch}"
                report.delivery = replace(report.delivery, side_branch=payload.branch, take=take)
        case events.PatchWritten() | events.BranchPushed() | events.PrOpened():
            report.handovers[payload.kind] = payload
        case events.NotHandedOver():
            report.refused[payload.what] = payload


def task_report(report: Report, task: int | None) -> TaskReport:
    """The task of an event whose kind has one; a record without title if the plan's event was lost."""
    return report.tasks.setdefault(task or 0, TaskReport(task or 0, "", ()))
