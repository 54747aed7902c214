"""The store's tables: how they came to be, step by step, and how a database is brought up to date."""

import sqlalchemy as sa

from orchestra.errors import StoreError
from orchestra.journal.store import RUN_MARKS

# The same words stand in the index and in the query: only so is the index found.
MARKS_CONDITION = f"kind IN ({', '.join(repr(kind) for kind in RUN_MARKS)})"

# A step is never changed once it is released: what is to change is a new step. Every statement may run twice, for
# MySQL cannot take back half a step.
SCHEMA_STEPS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE IF NOT EXISTS events (
            repository VARCHAR(190) NOT NULL, run VARCHAR(190) NOT NULL, seq INTEGER NOT NULL, time BIGINT NOT NULL,
            kind VARCHAR(190) NOT NULL, task INTEGER, attempt INTEGER, data {text} NOT NULL,
            PRIMARY KEY (repository, run, seq){kinds}) {options}""",
        "{ends}",
    ),
    (
        """CREATE TABLE IF NOT EXISTS commands (
            id {serial}, repository VARCHAR(190) NOT NULL, run VARCHAR(190) NOT NULL, time BIGINT NOT NULL,
            kind VARCHAR(190) NOT NULL, task INTEGER, data {text} NOT NULL, taken BIGINT) {options}""",
        """CREATE TABLE IF NOT EXISTS owners (
            repository VARCHAR(190) NOT NULL, run VARCHAR(190) NOT NULL, owner VARCHAR(190) NOT NULL,
            host VARCHAR(255) NOT NULL, pid INTEGER NOT NULL, expires BIGINT NOT NULL,
            PRIMARY KEY (repository, run)) {options}""",
        """CREATE TABLE IF NOT EXISTS leases (
            repository VARCHAR(190) NOT NULL, path VARCHAR(190) NOT NULL, run VARCHAR(190) NOT NULL,
            expires BIGINT NOT NULL, PRIMARY KEY (repository, path)) {options}""",
    ),
)

PARTIAL_INDEX = f"CREATE INDEX IF NOT EXISTS events_ends ON events (repository, run, seq) WHERE {MARKS_CONDITION}"
# MySQL's own way of comparing text takes a for A.
BINARY_TEXT = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
DIALECT_WORDS = {
    "sqlite": {
        "text": "TEXT",
        "serial": "INTEGER PRIMARY KEY AUTOINCREMENT",
        "kinds": "",
        "ends": PARTIAL_INDEX,
        "options": "",
    },
    "postgresql": {
        "text": "TEXT",
        "serial": "BIGSERIAL PRIMARY KEY",
        "kinds": "",
        "ends": PARTIAL_INDEX,
        "options": "",
    },
    "mysql": {
        "text": "MEDIUMTEXT",
        "serial": "BIGINT AUTO_INCREMENT PRIMARY KEY",
        "kinds": ", INDEX events_kinds (repository, kind)",
        "ends": "",
        "options": BINARY_TEXT,
    },
}

# One at a time: on SQLite the transaction itself sees to it.
LOCK_STATEMENT = {
    "sqlite": "SELECT 1",
    "postgresql": "SELECT pg_advisory_xact_lock(7308332046)",
    "mysql": "SELECT GET_LOCK('aider-orchestrator schema', 30)",
}
# Else a lock ends with the transaction, or with the connection.
UNLOCK_STATEMENTS = {"mysql": ("COMMIT", "SELECT RELEASE_LOCK('aider-orchestrator schema')")}


def declare_table(name: str, columns: str) -> sa.TableClause:
    return sa.table(name, *(sa.column(column) for column in columns.split()))


schema_version = declare_table("schema_version", "version")
events = declare_table("events", "repository run seq time kind task attempt data")
commands = declare_table("commands", "id repository run time kind task data taken")
owners = declare_table("owners", "repository run owner host pid expires")
leases = declare_table("leases", "repository path run expires")
RUN_TABLES = (events, commands, owners, leases)


def is_current(connection: sa.Connection) -> bool:
    return "schema_version" in table_names(connection) and read_schema_version(connection) == len(SCHEMA_STEPS)


def upgrade_schema(connection: sa.Connection, migrate: bool = False, target: int = len(SCHEMA_STEPS)) -> None:
    """Take the steps that are missing. Somebody else may have taken them while we waited for the lock."""
    dialect = connection.dialect.name
    connection.exec_driver_sql(LOCK_STATEMENT[dialect])
    check_may_upgrade(connection, migrate)
    connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
    for number in range(read_schema_version(connection) + 1, target + 1):
        for statement in SCHEMA_STEPS[number - 1]:
            if said := statement.format(**DIALECT_WORDS[dialect]):
                connection.exec_driver_sql(said)
        connection.execute(sa.delete(schema_version))
        connection.execute(sa.insert(schema_version).values(version=number))
    for statement in UNLOCK_STATEMENTS.get(dialect, ()):
        connection.exec_driver_sql(statement)


def check_may_upgrade(connection: sa.Connection, migrate: bool) -> None:
    """Raises when the database must not be changed: it is another's, newer, or on a server and nobody asked."""
    tables = table_names(connection)
    ours = "schema_version" in tables
    version = read_schema_version(connection) if ours else 0
    strangers = sorted(tables & {table.name for table in RUN_TABLES})
    # Nothing but the beginning of a store: whoever was setting it up was killed, for MySQL cannot take back half of it.
    begun = tables <= {table.name for table in (schema_version, *RUN_TABLES)} and is_empty(connection, version)
    asked = migrate or begun or connection.dialect.name == "sqlite"
    if version > len(SCHEMA_STEPS):
        raise StoreError(
            f"The store has schema {version}, and this program knows only {len(SCHEMA_STEPS)}: use a newer one."
        )
    if strangers and not ours:
        raise StoreError(f"The database has tables of another program ({', '.join(strangers)}): use one of its own.")
    if not ours and not asked:
        raise StoreError("The database holds other tables and no store yet: run `store migrate` to add one to them.")
    if version < len(SCHEMA_STEPS) and not asked:
        raise StoreError(
            f"The store has schema {version}, and this program needs {len(SCHEMA_STEPS)}: run `store migrate`."
        )


def is_empty(connection: sa.Connection, version: int) -> bool:
    return version == 0 or not connection.scalar(sa.select(sa.exists().select_from(events)))


def table_names(connection: sa.Connection) -> set[str]:
    return set(sa.inspect(connection).get_table_names())


def read_schema_version(connection: sa.Connection) -> int:
    return connection.scalar(sa.select(sa.func.max(schema_version.c.version))) or 0
