"""Everything that can be done on the dashboard, by the mouse and by keys alone, to a real run; and doing it twice."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from orchestra import events
from orchestra.journal.open_store import OWN_REPOSITORY, open_store
from tests.support.browser import chromium
from tests.support.dashboard import Keyboard, Mouse, has_text, opened, served
from tests.support.edits import appends
from tests.support.modelserver import ModelServer, Reply, Request
from tests.support.reset_story import HINT, OLD_FILES, ResetModel, write_plan
from tests.support.runs import Place, Running, make_place

__all__ = ["chromium"]
pytestmark = pytest.mark.thorough
BRIEF = "## Your part\nThe page of the reset: write shop/pages.py."
JOB = ("--change", "Add more", "--agents", "4", "--no-prd", "--ask", "always", "--retries", "0", "--files")
WAYS = {"mouse": Mouse, "keyboard": Keyboard}
# Commands to the run as its owner answers them. Each has its word in a terminal too.
COMMANDS = ["pause", "budget", "edit", "edit", "edit", "edit", "add", "abandon"]
COMMANDS += ["replan", "unpause", "interrupt", "cancel"]


@contextmanager
def running_story(folder: Any, *words: str) -> Iterator[tuple[Place, ResetModel, Running, str]]:
    """A run of the reset story, and the dashboard's address. Task 7 needs a person. Tasks 6 and 9 are held, so that the
    run does not end while it waits for one."""
    place, model = make_place(folder, OLD_FILES), ResetModel("shop/pages.py", "docs/reset.md")
    write_plan(place)
    with ModelServer(model) as provider, served(place, 0, provider) as (_, address):
        running = place.start("execute", "reset", "--ask", "always", "--max-agents", "3", *words, server=provider)
        try:
            yield place, model, running, address
        finally:
            model.release = True
            running.child.terminate()
            running.child.wait()


def task_row(page: Any, number: int) -> Any:
    return page.locator(f'[data-task="{number}"]')


def is_in_state(page: Any, number: int, words: str) -> None:
    task_row(page, number).get_by_text(words).first.wait_for()


@pytest.mark.parametrize("way", WAYS)
def test_everything_is_done_to_a_run(tmp_path: Any, chromium: Any, way: str) -> None:
    with running_story(tmp_path) as (place, _, running, address), opened(chromium, address) as page:
        hand = WAYS[way](page)
        page.locator("[data-row]").first.wait_for()
        hand.use(page.locator("[data-row]").first)
        is_in_state(page, 7, "waiting for you")
        is_in_state(page, 6, "asking")

        hand.press("Pause")
        has_text(page, "The run is paused: no attempt begins")
        hand.press("Budget")
        hand.fill("Dollars in all", "3")
        hand.confirm()
        page.get_by_text("of $3.00").first.wait_for()

        # Link mode: a new need, the same again takes it away, and a circle is refused with its tasks.
        for needs in ("needs 8, 6", "needs 8"):
            link(page, hand, way, 9, 6)
            task_row(page, 9).get_by_text(needs, exact=True).wait_for()
        link(page, hand, way, 8, 9)
        has_text(page, "Task 8 cannot need task 9, because that is a circle: 8 needs 9 needs 8.")

        hand.use(task_row(page, 9).get_by_role("button"))
        hand.press("Edit", page.locator("aside"))
        hand.fill("Title", "Tell all users of it")
        hand.confirm()
        task_row(page, 9).get_by_text("Tell all users of it").wait_for()
        hand.press("Add a task")
        hand.fill("What it is to do", "Write docs/more.md")
        hand.fill("Its files, with blanks between them", "docs/more.md")
        hand.confirm()
        hand.use(task_row(page, 10).get_by_role("button"))
        hand.press("Abandon", page.locator("aside"))
        has_text(page, "No other task needs it.")
        hand.confirm()
        is_in_state(page, 10, "abandoned")
        hand.press("Replan")
        hand.confirm()
        hand.press("Unpause")

        # Task 7 is tried again with a hint; task 6 is interrupted, and each of the other decisions is made about it.
        hand.use(task_row(page, 7).get_by_role("button"))
        hand.press("Retry with a hint")
        hand.fill("A hint for the agent", HINT)
        hand.confirm()
        is_in_state(page, 7, "accepted")
        hand.use(task_row(page, 6).get_by_role("button"))
        hand.press("Interrupt")
        is_in_state(page, 6, "waiting for you")
        assert page.locator(".toasts", has_text="Task 6 needs you.").count() == 0, "it is open"
        hand.press("Edit the brief")
        hand.fill("Everything that the agent must know and do", BRIEF)
        hand.confirm()
        is_in_state(page, 6, "asking")
        hand.press("Cancel", page.locator("aside"))
        page.locator("aside").get_by_role("button", name="Take it").wait_for()
        hand.press("Cancel the run")
        hand.confirm()
        page.locator(".verdict.bad").wait_for()
        assert running.child.wait() == 143
        stored = read_events(place)
    check_commands(stored)


def check_commands(stored: list[Any]) -> None:
    commands = [each.name for each in stored if isinstance(each, events.CommandAnswered)]
    assert [name for name in commands if name != "resolve"][: len(COMMANDS)] == COMMANDS, commands
    assert [each.action for each in stored if isinstance(each, events.TaskResolved)][:2] == ["retry", "brief"]


def link(page: Any, hand: Mouse, way: str, waits: int, need: int) -> None:
    if way == "mouse":
        hand.press("Link (l)")
    else:
        page.keyboard.press("l")
    hand.use(task_row(page, waits).get_by_role("button"))
    hand.use(task_row(page, need).get_by_role("button"))


def read_events(place: Place) -> list[Any]:
    with closing(open_store(place.repo / ".aider_logs" / "orchestra.db")) as store:
        [run] = store.list_runs(OWN_REPOSITORY)
        return [event.payload for event in store.read_events(OWN_REPOSITORY, run.name)]


def test_double_click_acts_once_and_the_second_of_two_tabs_is_told(tmp_path: Any, chromium: Any) -> None:
    with running_story(tmp_path) as (place, _, _, address), opened(chromium, address) as page:
        page.locator("[data-row]").first.click()
        is_in_state(page, 7, "waiting for you")
        with opened(chromium, address) as other:
            # The list tells how far a run at work is.
            row = other.locator("table.runs tbody tr").first
            row.get_by_text("1 need you").wait_for()
            row.get_by_role("progressbar", name="Tasks done").wait_for()
            other.goto(page.url.replace("/graph", "") + "/graph/7")
            task_row(page, 7).get_by_role("button").click()
            other.get_by_role("button", name="Retry with a hint").click()
            page.get_by_role("button", name="Pause").dblclick()
            page.get_by_role("button", name="Unpause").wait_for()
            page.get_by_role("button", name="Unpause").dblclick()
            page.get_by_role("button", name="Pause", exact=True).wait_for()
            # Both decide: the later one is told, and its decision is not taken.
            page.get_by_role("button", name="Retry with a hint").click()
            page.get_by_label("A hint for the agent").fill(HINT)
            page.get_by_role("button", name="OK").click()
            has_text(page, "Task 7 is tried again.")
            is_in_state(page, 7, "accepted")
            other.get_by_role("button", name="OK").click()
            told = "Task 7 was decided already: a person had it retried, from the browser (owner, tab "
            other.locator("[role=alert]", has_text=told).wait_for()
        stored = read_events(place)
        [decision] = [each for each in stored if isinstance(each, events.TaskResolved)]
        assert decision.action == "retry" and decision.source.startswith("the browser (owner, tab "), decision
        assert [each.paused for each in stored if isinstance(each, events.RunPaused)] == [True, False]


@pytest.mark.parametrize("way", WAYS)
def test_plan_is_changed_approved_and_carried_out(tmp_path: Any, chromium: Any, way: str) -> None:
    """It is edited as cards and as a file. A change of a plan that was changed meanwhile is refused."""
    place, model = make_place(tmp_path, OLD_FILES), ResetModel()
    write_plan(place)
    with ModelServer(model) as provider, served(place, 0, provider) as (_, address), opened(chromium, address) as page:
        hand = WAYS[way](page)
        page.keyboard.press("g")
        page.keyboard.press("p")
        hand.use(page.get_by_role("link", name="reset"))
        has_text(page, "It can be executed.")
        hand.press("↑ Earlier", page.get_by_label("Commands for docs"))
        page.locator(".cards li:nth-child(8)", has_text="Tell users of it").wait_for()
        hand.press("Merge", page.get_by_label("Commands for limits"))
        hand.fill("Its name", "settings")
        hand.confirm()
        page.locator(".cards > li").nth(7).wait_for()
        page.locator("#task-9").wait_for(state="detached")
        hand.press("Split", page.get_by_label("Commands for limits"))
        hand.fill("A short name of the new task", "minutes")
        hand.fill("The files that go to it", "shop/settings.py")
        hand.confirm()
        page.locator("h2", has_text="minutes:").wait_for()
        page.get_by_label("A task that user needs").select_option("minutes")
        hand.press("minutes ×", page.locator("article[aria-label='Task user']"))
        page.locator("article[aria-label='Task user']").get_by_text("needs nothing").wait_for()
        # Somebody else writes the file: the change of this page is refused, and the new plan is shown.
        path = place.repo / ".aider_logs/plans/reset.toml"
        path.write_text(path.read_text().replace("OTP mail", "A mail with the code"))
        hand.press("Remove", page.get_by_label("Commands for pages"))
        page.locator("[role=alert]", has_text="changed since you read it").wait_for()
        page.locator("h2", has_text="mail: A mail with the code").wait_for()
        hand.press("As a file")
        text = page.get_by_label("The file of the plan").input_value()
        hand.fill("The file of the plan", text.replace("Tell users of it", "Tell everybody"))
        hand.press("Save")
        has_text(page, "The plan is saved.")
        hand.press("As a file")
        hand.press("Approve")
        has_text(page, "The plan is approved.")
        hand.press("Execute")
        page.locator('[data-task="9"]').wait_for()
        hand.press("Cancel the run")
        hand.confirm()
        page.locator(".verdict.bad").wait_for()


@pytest.mark.parametrize("way", WAYS)
def test_task_is_taken_replaced_and_abandoned(tmp_path: Any, chromium: Any, way: str) -> None:
    """A person does one task by hand, has another one in place of the second, and gives up the third."""
    files, decided = {f"part{n}.py": "value = 1\n" for n in range(1, 5)}, threading.Event()

    def answer(request: Request) -> Reply:
        return Reply("I cannot do that.", until=decided.is_set if "part4.py" in request.files else None)

    place = make_place(tmp_path, files)
    with ModelServer(answer) as provider, served(place, 0, provider) as (_, address):
        running = place.start(*JOB, *files, server=provider)
        try:
            with opened(chromium, address) as page:
                decide_about_three(page, WAYS[way](page), place)
        finally:
            decided.set()
            running.child.terminate()
            running.child.wait()
    decisions = [each for each in read_events(place) if isinstance(each, events.TaskResolved)]
    assert [each.action for each in decisions] == ["take", "take", "spawn", "abandon"]


def decide_about_three(page: Any, hand: Mouse, place: Place) -> None:
    page.locator("[data-row]").first.wait_for()
    hand.use(page.locator("[data-row]").first)
    for number in (1, 2, 3):
        is_in_state(page, number, "waiting for you")
    # A toast goes when what it leads to is opened, also in another way.
    toast = page.locator(".toasts", has_text="Task 1 needs you.")
    hand.use(task_row(page, 1).get_by_role("button"))
    toast.wait_for(state="hidden")
    hand.press("Take it", page.locator("aside"))
    has_text(page, "A person has taken it.")
    [lent] = (place.repo / ".aider_logs").glob("*/*-agent1/part1.py")
    lent.write_text("value = 1\nmore = True\n")
    hand.press("Take it", page.locator("aside"))
    is_in_state(page, 1, "accepted")
    hand.use(task_row(page, 2).get_by_role("button"))
    hand.press("Another task instead", page.locator("aside"))
    hand.fill("What it is to do with the same files", "Do less")
    hand.confirm()
    is_in_state(page, 2, "abandoned")
    task_row(page, 5).get_by_text("Do less").wait_for()
    # Task 3 from the list of what needs a person: the first decision is undone before it is sent.
    page.keyboard.press("Escape")
    hand.press("Needs you")
    for is_meant in (False, True):
        entry = page.locator("article", has_text="agent3")
        entry.get_by_role("link", name="agent3").focus()
        if isinstance(hand, Keyboard):
            page.keyboard.press("5")
        else:
            hand.press("Abandon", entry)
        has_text(page, "“Abandon” for agent3 is sent at")
        if not is_meant:
            page.keyboard.press("z") if isinstance(hand, Keyboard) else hand.press("Undo (z)")
            page.get_by_role("button", name="Undo (z)").wait_for(state="detached")
    has_text(page, "Task 3 is abandoned")


def test_plan_is_made_before_a_run(tmp_path: Any, chromium: Any) -> None:
    place = make_place(tmp_path, OLD_FILES)
    with ModelServer(ResetModel()) as provider, served(place, 0, provider) as (_, address):
        with opened(chromium, address) as page:
            page.keyboard.press("n")
            page.get_by_label("What to change").fill("Say more")
            page.get_by_label("Files, directories").fill("shop")
            page.get_by_role("button", name="Plan first").click()
            page.get_by_role("button", name="Approve").wait_for()
            has_text(page, "Say more")


@pytest.mark.parametrize("way", WAYS)
def test_run_is_begun_decided_and_continued(tmp_path: Any, chromium: Any, way: str) -> None:
    """The form with its estimate, a run that a decision resumes, and one that starts over."""
    place = make_place(tmp_path, {f"part{n}.py": "value = 1\n" for n in (1, 2)})
    with ModelServer(refuse_at_first) as provider, served(place, 0, provider) as (_, address):
        with opened(chromium, address) as page:
            hand = WAYS[way](page)
            hand.press("Start one")
            hand.fill("What to change", "Add more")
            hand.fill("Files, directories", "part1.py part2.py")
            hand.fill("Model", "openai/gpt-6.1-sol")
            hand.fill("Agents at once", "2")
            hand.fill("Tries again", "0")
            hand.press("Estimate")
            page.get_by_text("agents at once: $").wait_for()
            hand.press("Start")
            page.locator(".verdict.bad").wait_for()
            run = page.url.rsplit("/", 1)[1]

            # A decision resumes the run, because no process works on it.
            hand.use(task_row(page, 1).get_by_role("button"))
            hand.press("Retry with a hint")
            hand.fill("A hint for the agent", "the magic word")
            hand.press("OK")
            page.get_by_role("dialog", name="Resume it").wait_for()
            hand.confirm()
            page.locator(".verdict.good").wait_for()
            page.keyboard.press("Escape")
            hand.press("Start over")
            page.locator(".verdict.bad").wait_for()
            assert run not in page.url

            # The run is played again from its beginning, and stopped.
            assert page.get_by_label("Speed").locator("option").all_inner_texts() == ["1x", "10x", "60x"]
            hand.press("Play")
            page.locator(".pill.past").wait_for()
            slider = page.get_by_label("Moment of the run, by its events")
            shown = int(slider.input_value())
            page.wait_for_function(
                "([each, shown]) => Number(each.value) > shown", arg=[slider.element_handle(), shown]
            )
            hand.press("Stop playing")
            page.get_by_role("button", name="Play", exact=True).wait_for()
            hand.press("Now")
            page.locator(".pill.live").wait_for()
    assert "more = True" in place.git("show", "HEAD")


@pytest.mark.parametrize("way", WAYS)
def test_repository_is_added_below_a_root(tmp_path: Any, chromium: Any, way: str) -> None:
    place = make_place(tmp_path, OLD_FILES)
    with served(place, options=("--root", str(tmp_path))) as (_, address), opened(chromium, address) as page:
        hand = WAYS[way](page)
        page.keyboard.press("n")
        hand.fill("What to change", "A new program")
        hand.press("Add a repository")
        hand.fill("Its folder", str(tmp_path / "new"))
        hand.confirm()
        page.locator("select[name=repository]").wait_for()
        assert page.locator("select[name=repository]").input_value() == str(tmp_path / "new")
        assert page.get_by_label("What to change").input_value() == "A new program"
    assert (tmp_path / "new" / ".git").is_dir()


def refuse_at_first(request: Request) -> Reply:
    """A model that does nothing about the first file before it is told the magic word."""
    is_good = "magic" in request.text or "part2.py" in request.files
    return appends("more = True")(request) if is_good else Reply("I cannot do that.")
