"""Fold events into the report, which therefore exists for a run that died as well as for one that ended."""

from collections.abc import Iterable
from dataclasses import replace
from functools import singledispatch

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
    is_review,
)

LIMIT_OPTIONS = ("budget", "task_budget", "max_tokens", "deadline")
# The fields of an attempt's end that become those of its task.
OUTCOME_FIELDS = (
    *("verdict", "cause", "remedy", "commit", "seconds", "round", "changed", "foreign", "refused", "protected"),
    *("notable", "left_out", "proposed", "answered", "said", "patch"),
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
    """Apply an event, live or from files. Never raises."""
    report.run = report.run or event.run
    report.started = report.started or event.time
    if isinstance(event.payload, events.RunResumed):  # no session ran before it
        report.paused_ms += event.time - (report.last_event_time or event.time)
    report.last_event_time = event.time
    report.seconds = (event.time - report.started - report.paused_ms) / 1000
    report.unreadable += bool(event.read_problem)
    fold_payload(event.payload, report, event)


@singledispatch
def fold_payload(payload: Payload, report: Report, event: Event) -> None:
    """Apply a payload. Kinds without a registered function change nothing."""


# --- the run --------------------------------------------------------------------------------------------------------


@fold_payload.register
def fold_run_started(started: events.RunStarted, report: Report, event: Event) -> None:
    report.change, report.repository = started.change, started.repository
    report.branch, report.base = started.branch, started.base
    report.model, report.provider = started.model, started.provider
    set_limit_options(report, started.options)


def set_limit_options(report: Report, options: Json) -> None:
    if not options:  # a session without options keeps those of the session before
        return
    known = {name: options.get(name) for name in LIMIT_OPTIONS}
    report.limits = {name: value for name, value in known.items() if isinstance(value, int | float) and value}
    report.strict, report.require_tests = bool(options.get("strict")), bool(options.get("require_tests"))


@fold_payload.register
def fold_run_resumed(resumed: events.RunResumed, report: Report, event: Event) -> None:
    report.exit_code, report.error, report.cancelled = None, "", False
    report.running_attempts.clear()
    report.gates, report.judged = [], {}
    report.refused = {}
    report.limit_that_stopped = ""
    set_limit_options(report, resumed.options)
    count_lost_requests(report)


@fold_payload.register
def fold_run_ended(ended: events.RunEnded, report: Report, event: Event) -> None:
    report.exit_code, report.error, report.signal = ended.exit_code, ended.error, ended.signal


@fold_payload.register
def fold_command_answered(answered: events.CommandAnswered, report: Report, event: Event) -> None:
    report.cancelled |= answered.name == "cancel" and event.task is None and not answered.refused


@fold_payload.register
def fold_note(note: events.Note, report: Report, event: Event) -> None:
    report.notes.append(note.text)


@fold_payload.register
def fold_limit_reached(reached: events.LimitReached, report: Report, event: Event) -> None:
    report.limit_that_stopped = reached.limit


@fold_payload.register
def fold_replayed(replayed: events.ReplayEnded, report: Report, event: Event) -> None:
    report.replayed, report.unused = True, replayed.unused


# --- requests -------------------------------------------------------------------------------------------------------


@fold_payload.register
def fold_reservation(reservation: events.MoneyReserved, report: Report, event: Event) -> None:
    report.pending_reservations.setdefault(reservation.number, []).append((event.task, reservation))


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


@fold_payload.register
def fold_request(request: events.RequestEnded, report: Report, event: Event) -> None:
    report.pending_reservations.pop(request.number, None)
    add_usage(report, request.role, event.task, request.usage)
    report.replayed |= request.replayed
    if request.failure == "drift" or request.drifted:
        actor = f"agent{event.task}" if event.task is not None else request.role
        report.drift[actor] = report.drift.get(actor, 0) + 1


@fold_payload.register
def fold_waiting(waiting: events.AgentWaiting, report: Report, event: Event) -> None:
    if event.task is not None:
        event_task_report(report, event).waits = f"{waiting.on} ({waiting.why})" if waiting.on else ""


@fold_payload.register
def fold_response(response: events.AssistantResponse, report: Report, event: Event) -> None:
    event_task_report(report, event).iterations += 1


# --- the plan -------------------------------------------------------------------------------------------------------


@fold_payload.register
def fold_prd_written(prd: events.PrdWritten, report: Report, event: Event) -> None:
    report.prd = prd


@fold_payload.register
def fold_plan_made(plan: events.PlanMade, report: Report, event: Event) -> None:
    report.agents, report.skipped, report.plan_file = plan.agents, plan.skipped, plan.file
    report.user_files, report.change_is_literal = plan.named, plan.words
    for task in plan.tasks:
        report.tasks[task.id] = task_report_from_plan(task)
    report.estimate = plan.estimate or report.estimate
    for expected in plan.estimate.tasks if plan.estimate else ():
        if expected.task in report.tasks:
            report.tasks[expected.task].estimate = expected


def task_report_from_plan(task: Task) -> TaskReport:
    return TaskReport(
        task.id,
        task.title,
        task.paths,
        task.requirements,
        role=task.role,
        needs=task.needs,
        priority=task.priority,
        brief=task.brief,
    )


@fold_payload.register
def fold_drafted(drafted: events.PlanDrafted, report: Report, event: Event) -> None:
    report.plan_file, report.drafted_tasks = drafted.file, drafted.tasks


@fold_payload.register
def fold_plan_changed(changed: events.PlanChanged, report: Report, event: Event) -> None:
    """A person changed a task, or replaced it with another."""
    for task in changed.tasks:
        known = report.tasks.setdefault(task.id, task_report_from_plan(task))
        known.needs, known.priority, known.brief = task.needs, task.priority, task.brief
    if changed.replaces in report.tasks:
        report.tasks[changed.replaces].replaced = changed.by


# --- tasks ----------------------------------------------------------------------------------------------------------


@fold_payload.register
def fold_task_moved(moved: events.TaskMoved, report: Report, event: Event) -> None:
    record = event_task_report(report, event)
    record.state = moved.state
    if record.state != TaskState.WAITING_HUMAN:
        record.asks = ""


@fold_payload.register
def fold_attempt_started(started: events.AttemptStarted, report: Report, event: Event) -> None:
    if not report.running_attempts:
        report.working_since = event.time
    report.running_attempts.add((event.task, event.attempt))
    record = event_task_report(report, event)
    record.attempts = max(record.attempts, event.attempt or 1)
    record.round, record.by_hand = started.round, started.by_hand
    record.verdict = record.cause = record.remedy = record.held = record.said = ""
    record.answered, record.proposed = False, ()
    record.integrated = False
    record.gates = [gate for gate in record.gates if record.round and (gate.attempt or 0) >= record.round]


@fold_payload.register
def fold_aider_ready(ready: events.AiderReady, report: Report, event: Event) -> None:
    """The time before does not count as work: attempts only prepared worktrees."""
    report.working_since = max(report.working_since, event.time - round(1000 * ready.ago))


@fold_payload.register
def fold_attempt_ended(ended: events.AttemptEnded, report: Report, event: Event) -> None:
    record = event_task_report(report, event)
    record.waits = ""
    if report.running_attempts == {(event.task, event.attempt)}:
        report.worked_ms += event.time - report.working_since
    report.running_attempts.discard((event.task, event.attempt))
    if ended.round is not None:
        record.candidates.append(candidate_from_event(ended, event.attempt, ended.round))
    if ended.round is None or ended.verdict == Verdict.CANCELLED:
        copy_outcome(record, ended)
        record.branch = record.branch if ended.branch is None else ended.branch


def candidate_from_event(ended: events.AttemptEnded, attempt: int | None, number: int) -> CandidateReport:
    fields = {name: getattr(ended, name) for name in OUTCOME_FIELDS}
    fields |= {"branch": ended.branch or "", "patch": ended.patch or "", "size": ended.size or 0, "round": number}
    return CandidateReport(attempt=attempt, review=ended.review, **fields)


def copy_outcome(record: TaskReport, source: events.AttemptEnded | CandidateReport) -> None:
    for name in OUTCOME_FIELDS:
        if (value := getattr(source, name)) is not None:
            setattr(record, name, value)


@fold_payload.register
def fold_chosen(chosen: events.AttemptChosen, report: Report, event: Event) -> None:
    """The outcome of the chosen attempt becomes that of the task."""
    record = event_task_report(report, event)
    for n, candidate in enumerate(record.candidates):
        if candidate.attempt == event.attempt:
            copy_outcome(record, candidate)
            record.candidates[n] = replace(candidate, chosen=True, why=chosen.why, branch="")
            break
    record.gates = [gate for gate in record.gates if gate.attempt == event.attempt]


@fold_payload.register
def fold_branch_kept(kept: events.BranchKept, report: Report, event: Event) -> None:
    event_task_report(report, event).branch = kept.branch


@fold_payload.register
def fold_human_needed(needed: events.HumanNeeded, report: Report, event: Event) -> None:
    event_task_report(report, event).asks = needed.why


@fold_payload.register
def fold_resolved(resolved: events.TaskResolved, report: Report, event: Event) -> None:
    record = event_task_report(report, event)
    question = record.asks or record.held or record.cause
    record.decisions.append(DecisionMade(question, resolved.action, resolved.text))
    report.decision_texts += [resolved.text] if resolved.text else []


@fold_payload.register
def fold_lent(lent: events.WorktreeLent, report: Report, event: Event) -> None:
    event_task_report(report, event).lent = lent


@fold_payload.register
def fold_tasks_proposed(proposed: events.TasksProposed, report: Report, event: Event) -> None:
    report.proposals[event.task or 0] = proposed.tasks


# --- gates ----------------------------------------------------------------------------------------------------------


@fold_payload.register
def fold_gates_found(found: events.GatesFound, report: Report, event: Event) -> None:
    report.unusable = {gate.name: gate for gate in found.unusable}


@fold_payload.register
def fold_gate_unable(unable: events.GateUnable, report: Report, event: Event) -> None:
    if not unable.named:
        report.unusable[unable.name] = events.GateUnusable(unable.name, unable.about, unable.why)


@fold_payload.register
def fold_gate_ended(gate: events.GateEnded, report: Report, event: Event) -> None:
    if event.task is None:
        report.gates += [gate] if gate.tree == events.COMBINED_TREE else []
        return
    record = event_task_report(report, event)
    record.gates.append(TaskGate(event.attempt, gate))
    if is_review(gate):
        record.reviews.append(Review(event.attempt, gate.command, gate.ok, gate.reasons, gate.missing))


@fold_payload.register
def fold_tests_judged(judged: events.TestsJudged, report: Report, event: Event) -> None:
    report.judged[judged.name] = judged
    report.gates = [gate_with_judgement(gate, judged) for gate in report.gates]


# --- the result -----------------------------------------------------------------------------------------------------


@fold_payload.register
def fold_task_held(held: events.TaskExcluded, report: Report, event: Event) -> None:
    record = event_task_report(report, event)
    record.held, record.integrated = held.reason, False


@fold_payload.register
def fold_task_integrated(integrated: events.TaskIntegrated, report: Report, event: Event) -> None:
    record = event_task_report(report, event)
    record.commit, record.integrated, record.held = integrated.commit, True, ""


@fold_payload.register
def fold_combined(combined: events.WorkCombined, report: Report, event: Event) -> None:
    """Drop the gates of an earlier combination. The new one may have a newer base."""
    report.gates, report.judged = [], {}
    report.base = combined.base or report.base


@fold_payload.register
def fold_delivered(delivered: events.ResultDelivered, report: Report, event: Event) -> None:
    report.delivery = delivered
    for task in report.tasks.values():
        # The branches of integrated tasks are removed.
        task.branch = "" if task.integrated else task.branch


@fold_payload.register
def fold_branched(branched: events.ResultBranched, report: Report, event: Event) -> None:
    report.handovers[branched.kind] = branched
    if report.delivery:
        take = f"git merge {branched.branch}"
        report.delivery = replace(report.delivery, side_branch=branched.branch, take=take)


@fold_payload.register(events.PatchWritten)
@fold_payload.register(events.BranchPushed)
@fold_payload.register(events.PrOpened)
def fold_handed_over(
    handed: events.PatchWritten | events.BranchPushed | events.PrOpened, report: Report, event: Event
) -> None:
    report.handovers[handed.kind] = handed


@fold_payload.register
def fold_not_handed_over(failed: events.NotHandedOver, report: Report, event: Event) -> None:
    report.refused[failed.what] = failed


def event_task_report(report: Report, event: Event) -> TaskReport:
    """The event's task. Reading ensures that its kind has one."""
    return task_report(report, event.task or 0)


def task_report(report: Report, task: int) -> TaskReport:
    """The task; one without title if the plan's event was lost."""
    return report.tasks.setdefault(task, TaskReport(task, "", ()))
