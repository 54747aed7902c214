"""Search the web for a task whose result is an answer, if the user has named a search server."""

from orchestra import events
from orchestra.answers.search_results import make_query, parse_results, quote_results
from orchestra.conduct.core.context import Run
from orchestra.errors import ProviderError
from orchestra.gateway.billing import ClientPass
from orchestra.gateway.search import NAME, TAVILY, SearchServer, search_web
from orchestra.model import Task
from orchestra.settings import Settings

KEYS = ("SEARCH_API_KEY", "TAVILY_API_KEY")


def find_search_server(settings: Settings) -> SearchServer | None:
    """Return the server in SEARCH_URL, or Tavily's if only its key is given."""
    key, source = settings.strongest_variable(KEYS)
    url = settings.base_url(("SEARCH_URL",), source) or (TAVILY if key else "")
    return SearchServer(url, key) if url else None


async def quote_search(run: Run, task: Task, number: int) -> str:
    """Return quotations of what a search for the task finds; empty if there is no search."""
    server = find_search_server(run.context.settings)
    if server is None or not run.context.role_of(task).only_answers:
        return ""
    query = run.context.secrets.scrub(make_query(task.title, task.brief))
    try:
        raw = await search_web(run.services.gateway, server, ClientPass(NAME, task.id, number), query)
    except ProviderError as error:
        run.emit(events.Note(f"{task.agent} works without a web search: {error}"))
        return ""
    return run.context.secrets.scrub(quote_results(parse_results(raw)))
