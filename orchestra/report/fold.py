"""From events to the report: a fold, so that a run that died can be reported as well as one that ended."""

from collections.abc import Iterable
from dataclasses import replace
from functools import singledispatch

from orchestra.events import (
    COMBINED,
    AiderReady,
    AssistantResponse,
    AttemptEnded,
    AttemptStarted,
    Branched,
    BranchKept,
    Chosen,
    Combined,
    CommandAnswered,
    Delivered,
    Drafted,
    Event,
    GateEnded,
    GatesFound,
    GateUnable,
    GateUnusable,
    HumanNeeded,
    Json,
    Lent,
    LimitReached,
    Log,
    Note,
    NotHandedOver,
    PatchWritten,
    Payload,
    PlanChanged,
    PlanMade,
    PlanRange,
    PrdWritten,
    PrOpened,
    Pushed,
    Replayed,
    Request,
    Resolved,
    RunEnded,
    RunResumed,
    RunStarted,
    SetAside,
    TaskHeld,
    TaskIntegrated,
    TaskMoved,
    TasksProposed,
    TestsJudged,
    Waiting,
)
from orchestra.model import Task, TaskState, Usage, Verdict
from orchestra.report.state import (
    CandidateReport,
    DecisionMade,
    Report,
    Review,
    TaskGate,
    TaskReport,
    is_review,
    judged_gate,
)

LIMITS = ("budget", "task_budget", "max_tokens", "deadline")
# What an attempt's end says of its task.
TAKEN = (
    *("verdict", "cause", "remedy", "commit", "seconds", "round", "changed", "foreign", "refused", "protected"),
    *("notable", "left_out", "proposed", "answered", "said", "patch"),
)


def report_of(log: Log) -> Report:
    """The report of a log, with the lines that are no events counted."""
    report = fold(log.events)
    report.unreadable += log.torn
    return report


def fold(events: Iterable[Event], report: Report | None = None) -> Report:
    report = report or Report()
    for event in events:
        step(report, event)
    return report


def step(report: Report, event: Event) -> None:
    """Live or from files: every event passes here, and none can raise."""
    report.run = report.run or event.run
    report.started = report.started or event.time
    if isinstance(event.payload, RunResumed):  # until then no session was at it
        report.paused += event.time - (report.heard or event.time)
    report.heard = event.time
    report.seconds = (event.time - report.started - report.paused) / 1000
    report.unreadable += bool(event.unread)
    apply(event.payload, report, event)


@singledispatch
def apply(payload: Payload, report: Report, event: Event) -> None:
    """Change the report by an event. Kinds without a function of their own change nothing."""


# --- the run --------------------------------------------------------------------------------------------------------


@apply.register
def start_run(started: RunStarted, report: Report, event: Event) -> None:
    report.change, report.repository = started.change, started.repository
    report.branch, report.base = started.branch, started.base
    report.model, report.provider = started.model, started.provider
    take_options(report, started.options)


def take_options(report: Report, options: Json) -> None:
    """A session that tells no options has those of the one before."""
    if not options:
        return
    known = {name: options.get(name) for name in LIMITS}
    report.limits = {name: value for name, value in known.items() if isinstance(value, int | float) and value}
    report.strict, report.require_tests = bool(options.get("strict")), bool(options.get("require_tests"))


@apply.register
def resume_run(resumed: RunResumed, report: Report, event: Event) -> None:
    report.exit_code, report.error, report.cancelled = None, "", False
    report.at_work.clear()
    report.gates, report.judged = [], {}
    report.refused = {}
    report.stopped = ""
    take_options(report, resumed.options)
    count_lost(report)


@apply.register
def end_run(ended: RunEnded, report: Report, event: Event) -> None:
    report.exit_code, report.error, report.signal = ended.exit_code, ended.error, ended.signal


@apply.register
def take_command(answered: CommandAnswered, report: Report, event: Event) -> None:
    report.cancelled |= answered.name == "cancel" and event.task is None and not answered.refused


@apply.register
def add_note(note: Note, report: Report, event: Event) -> None:
    report.notes.append(note.text)


@apply.register
def reach_limit(reached: LimitReached, report: Report, event: Event) -> None:
    report.stopped = reached.limit


@apply.register
def end_replay(replayed: Replayed, report: Report, event: Event) -> None:
    report.replayed, report.unused = True, replayed.unused


# --- requests -------------------------------------------------------------------------------------------------------


@apply.register
def reserve(aside: SetAside, report: Report, event: Event) -> None:
    report.on_way.setdefault(aside.number, []).append((event.task, aside))


def count_lost(report: Report) -> None:
    """The last session's process died with these on their way: they may be billed, so they count as paid."""
    for task, aside in [each for pending in report.on_way.values() for each in pending]:
        add_usage(report, aside.role, task, Usage(assumed=aside.dollars, assumed_tokens=aside.tokens))
    report.on_way.clear()


def add_usage(report: Report, role: str, task: int | None, used: Usage) -> None:
    report.roles[role] = report.roles.get(role, Usage()) + used
    if task is not None:
        task_report(report, task).usage += used


@apply.register
def count_request(request: Request, report: Report, event: Event) -> None:
    report.on_way.pop(request.number, None)
    add_usage(report, request.role, event.task, request.usage)
    report.replayed |= request.replayed
    if request.failure == "drift" or request.drifted:
        who = f"agent{event.task}" if event.task is not None else request.role
        report.drift[who] = report.drift.get(who, 0) + 1


@apply.register
def wait(waiting: Waiting, report: Report, event: Event) -> None:
    if event.task is not None:
        own(report, event).waits = f"{waiting.on} ({waiting.why})" if waiting.on else ""


@apply.register
def count_iteration(response: AssistantResponse, report: Report, event: Event) -> None:
    own(report, event).iterations += 1


# --- the plan -------------------------------------------------------------------------------------------------------


@apply.register
def take_prd(prd: PrdWritten, report: Report, event: Event) -> None:
    report.prd = prd


@apply.register
def take_plan(plan: PlanMade, report: Report, event: Event) -> None:
    report.agents, report.skipped, report.plan_file = plan.agents, plan.skipped, plan.file
    report.named, report.words_count = plan.named, plan.words
    for task in plan.tasks:
        report.tasks[task.id] = planned_task(task)
    if plan.estimate:
        take_estimate(report, plan.estimate)


def planned_task(task: Task) -> TaskReport:
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


def take_estimate(report: Report, expected: PlanRange) -> None:
    report.estimate = expected
    for each in expected.tasks:
        if each.task in report.tasks:
            report.tasks[each.task].estimate = each


@apply.register
def take_draft(drafted: Drafted, report: Report, event: Event) -> None:
    report.plan_file, report.drafted = drafted.file, drafted.tasks


@apply.register
def change_plan(changed: PlanChanged, report: Report, event: Event) -> None:
    """By a person: what a task is to do, or a task that takes the place of another one."""
    for task in changed.tasks:
        known = report.tasks.setdefault(task.id, planned_task(task))
        known.needs, known.priority, known.brief = task.needs, task.priority, task.brief
    if changed.replaces in report.tasks:
        report.tasks[changed.replaces].replaced = changed.by


# --- tasks ----------------------------------------------------------------------------------------------------------


@apply.register
def move_task(moved: TaskMoved, report: Report, event: Event) -> None:
    record = own(report, event)
    record.state = moved.state
    if record.state != TaskState.WAITING_HUMAN:
        record.asks = ""


@apply.register
def start_attempt(started: AttemptStarted, report: Report, event: Event) -> None:
    if not report.at_work:
        report.since = event.time
    report.at_work.add((event.task, event.attempt))
    record = own(report, event)
    record.attempts = max(record.attempts, event.attempt or 1)
    record.round, record.by_hand = started.round, started.by_hand
    record.verdict = record.cause = record.remedy = record.held = record.said = ""
    record.answered, record.proposed = False, ()
    record.integrated = False
    record.gates = [gate for gate in record.gates if record.round and (gate.attempt or 0) >= record.round]


@apply.register
def count_from_ready(ready: AiderReady, report: Report, event: Event) -> None:
    """Attempts that began before had only a worktree made."""
    report.since = max(report.since, event.time - round(1000 * ready.ago))


@apply.register
def end_attempt(ended: AttemptEnded, report: Report, event: Event) -> None:
    record = own(report, event)
    record.waits = ""
    if report.at_work == {(event.task, event.attempt)}:
        report.worked += event.time - report.since
    report.at_work.discard((event.task, event.attempt))
    if ended.round is not None:
        record.candidates.append(candidate_of(ended, event.attempt, ended.round))
    if ended.round is None or ended.verdict == Verdict.CANCELLED:
        take(record, ended)
        record.branch = record.branch if ended.branch is None else ended.branch


def candidate_of(ended: AttemptEnded, attempt: int | None, number: int) -> CandidateReport:
    told = {name: getattr(ended, name) for name in TAKEN}
    told |= {"branch": ended.branch or "", "patch": ended.patch or "", "size": ended.size or 0, "round": number}
    return CandidateReport(attempt=attempt, review=ended.review, **told)


def take(record: TaskReport, source: AttemptEnded | CandidateReport) -> None:
    for name in TAKEN:
        if (value := getattr(source, name)) is not None:
            setattr(record, name, value)


@apply.register
def choose_attempt(chosen: Chosen, report: Report, event: Event) -> None:
    """Of several attempts side by side this one is what the task has come to."""
    record = own(report, event)
    for n, each in enumerate(record.candidates):
        if each.attempt == event.attempt:
            take(record, each)
            record.candidates[n] = replace(each, chosen=True, why=chosen.why, branch="")
            break
    record.gates = [gate for gate in record.gates if gate.attempt == event.attempt]


@apply.register
def keep_branch(kept: BranchKept, report: Report, event: Event) -> None:
    own(report, event).branch = kept.branch


@apply.register
def ask_person(needed: HumanNeeded, report: Report, event: Event) -> None:
    own(report, event).asks = needed.why


@apply.register
def resolve_task(resolved: Resolved, report: Report, event: Event) -> None:
    record = own(report, event)
    asked = record.asks or record.held or record.cause
    record.decisions.append(DecisionMade(asked, resolved.action, resolved.text))
    report.said += [resolved.text] if resolved.text else []


@apply.register
def lend_task(lent: Lent, report: Report, event: Event) -> None:
    own(report, event).lent = lent


@apply.register
def take_proposals(proposed: TasksProposed, report: Report, event: Event) -> None:
    report.proposals[event.task or 0] = proposed.tasks


# --- gates ----------------------------------------------------------------------------------------------------------


@apply.register
def find_gates(found: GatesFound, report: Report, event: Event) -> None:
    report.unusable = {one.name: one for one in found.unusable}


@apply.register
def drop_gate(unable: GateUnable, report: Report, event: Event) -> None:
    if not unable.named:
        report.unusable[unable.name] = GateUnusable(unable.name, unable.about, unable.why)


@apply.register
def end_gate(gate: GateEnded, report: Report, event: Event) -> None:
    if event.task is None:
        report.gates += [gate] if gate.tree == COMBINED else []
        return
    record = own(report, event)
    record.gates.append(TaskGate(event.attempt, gate))
    if is_review(gate):
        record.reviews.append(Review(event.attempt, gate.command, gate.ok, gate.reasons, gate.missing))


@apply.register
def judge_tests(judged: TestsJudged, report: Report, event: Event) -> None:
    report.judged[judged.name] = judged
    report.gates = [judged_gate(gate, judged) for gate in report.gates]


# --- the result -----------------------------------------------------------------------------------------------------


@apply.register
def hold_task(held: TaskHeld, report: Report, event: Event) -> None:
    own(report, event).held, own(report, event).integrated = held.reason, False


@apply.register
def integrate_task(integrated: TaskIntegrated, report: Report, event: Event) -> None:
    record = own(report, event)
    record.commit, record.integrated, record.held = integrated.commit, True, ""


@apply.register
def combine(combined: Combined, report: Report, event: Event) -> None:
    """What was said of an earlier combination is not said of this one, which may stand on newer commits."""
    report.gates, report.judged = [], {}
    report.base = combined.base or report.base


@apply.register
def deliver(delivered: Delivered, report: Report, event: Event) -> None:
    report.delivery = delivered
    for task in report.tasks.values():
        # What the result holds needs no branch of its own any more.
        task.branch = "" if task.integrated else task.branch


@apply.register
def take_branched(branched: Branched, report: Report, event: Event) -> None:
    report.handed[branched.kind] = branched
    if report.delivery:
        take = f"git merge {branched.branch}"
        report.delivery = replace(report.delivery, side_branch=branched.branch, take=take)


@apply.register(PatchWritten)
@apply.register(Pushed)
@apply.register(PrOpened)
def hand_over(handed: PatchWritten | Pushed | PrOpened, report: Report, event: Event) -> None:
    report.handed[handed.kind] = handed


@apply.register
def fail_hand_over(failed: NotHandedOver, report: Report, event: Event) -> None:
    report.refused[failed.what] = failed


def own(report: Report, event: Event) -> TaskReport:
    """The event's task. Its kind has one: reading sees to that."""
    return task_report(report, event.task or 0)


def task_report(report: Report, task: int) -> TaskReport:
    """A task that no plan names has no title: the plan's event was lost."""
    return report.tasks.setdefault(task, TaskReport(task, "", ()))
