"""The variables of other orchestrators: those that name our store, and those that have no effect here."""

from collections.abc import Iterator, Mapping

from orchestra.errors import SettingsError

Variables = Mapping[str, tuple[str, str]]

# Words for --store, and the variables with the URL.
STORE_VARIABLES = {
    **dict.fromkeys(("postgres", "postgresql"), "POSTGRES_URI"),
    **dict.fromkeys(("mysql", "mariadb"), "MYSQL_URI"),
}
STORE_WORDS = {"sqlite": "", "memory": "memory://"}
UNUSED_VARIABLES = {
    "CRON_SECRET": "nothing is started by a clock",
    "LANGSMITH_API_KEY": "`logs` and `show` have the conversations, --events - prints every event",
    "LANGSMITH_PROJECT": "`logs` and `show` have the conversations, --events - prints every event",
    "USE_API_MODE": "agents always ask the model's API; --model and the provider's key choose it",
}


def resolve_store(store: str, variables: Variables) -> str:
    """Return the URL of a store that is named by a word: postgres, mysql, sqlite, memory."""
    if name := STORE_VARIABLES.get(store):
        if name not in variables:
            raise SettingsError(f"the store is {store!r}, and {name} is not set.", hint="Set it, or give --store URL.")
        return variables[name][0]
    return STORE_WORDS.get(store, store)


def unused_variables(variables: Variables) -> Iterator[tuple[str, str, str]]:
    """Yield each variable without an effect here, its source, and why it has none."""
    for name, reason in UNUSED_VARIABLES.items():
        if name in variables:
            yield name, variables[name][1], reason
