"""The store's tables, made step by step, and the upgrade of a database."""

import sqlalchemy as sa

from orchestra.errors import StoreError
from orchestra.journal.store import RUN_MARKS

# The index and the query must have the same text, otherwise the index is not used.
MARKS_CONDITION = f"kind IN ({', '.join(repr(kind) for kind in RUN_MARKS)})"

# A released step never changes: a change is a new step. Every statement may run twice, because MySQL cannot roll back
# half a step.
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
    (
        """CREATE TABLE IF NOT EXISTS gate_runs (
            repository VARCHAR(190) NOT NULL, digest VARCHAR(64) NOT NULL, id VARCHAR(32) NOT NULL,
            run VARCHAR(190) NOT NULL, time BIGINT NOT NULL, gate VARCHAR(190) NOT NULL, passed INTEGER NOT NULL,
            failing {text} NOT NULL, data {text} NOT NULL, PRIMARY KEY (repository, digest, id)) {options}""",
    ),
)

PARTIAL_INDEX = f"CREATE INDEX IF NOT EXISTS events_ends ON events (repository, run, seq) WHERE {MARKS_CONDITION}"
# MySQL's default collation ignores case.
BINARY_TEXT = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
USUAL_WORDS = {"text": "TEXT", "kinds": "", "ends": PARTIAL_INDEX, "options": ""}
DIALECT_WORDS = {
    "sqlite": USUAL_WORDS | {"serial": "INTEGER PRIMARY KEY AUTOINCREMENT"},
    "postgresql": USUAL_WORDS | {"serial": "BIGSERIAL PRIMARY KEY"},
    "mysql": {
        "text": "MEDIUMTEXT",
        "serial": "BIGINT AUTO_INCREMENT PRIMARY KEY",
        "kinds": ", INDEX events_kinds (repository, kind)",
        "ends": "",
        "options": BINARY_TEXT,
    },
}

# One upgrade at a time. On SQLite the transaction itself is exclusive.
LOCK_STATEMENT = {
    "sqlite": "SELECT 1",
    "postgresql": "SELECT pg_advisory_xact_lock(7308332046)",
    "mysql": "SELECT GET_LOCK('aider-orchestrator schema', 30)",
}
# Other locks end with the transaction or the connection.
UNLOCK_STATEMENTS = {"mysql": ("COMMIT", "SELECT RELEASE_LOCK('aider-orchestrator schema')")}


def declare_table(name: str, columns: str) -> sa.TableClause:
    return sa.table(name, *(sa.column(column) for column in columns.split()))


schema_version = declare_table("schema_version", "version")
events = declare_table("events", "repository run seq time kind task attempt data")
commands = declare_table("commands", "id repository run time kind task data taken")
owners = declare_table("owners", "repository run owner host pid expires")
leases = declare_table("leases", "repository path run expires")
gate_runs = declare_table("gate_runs", "repository digest id run time gate passed failing data")
RUN_TABLES = (events, commands, owners, leases, gate_runs)


def is_current(connection: sa.Connection) -> bool:
    return "schema_version" in table_names(connection) and read_schema_version(connection) == len(SCHEMA_STEPS)


def upgrade_schema(connection: sa.Connection, migrate: bool = False, target: int = len(SCHEMA_STEPS)) -> None:
    """Apply the missing steps. Another process may have applied them while we waited for the lock."""
    dialect = connection.dialect.name
    connection.exec_driver_sql(LOCK_STATEMENT[dialect])
    check_may_upgrade(connection, migrate)
    connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
    for number in range(read_schema_version(connection) + 1, target + 1):
        for statement in SCHEMA_STEPS[number - 1]:
            if sql := statement.format(**DIALECT_WORDS[dialect]):
                connection.exec_driver_sql(sql)
        connection.execute(sa.delete(schema_version))
        connection.execute(sa.insert(schema_version).values(version=number))
    for statement in UNLOCK_STATEMENTS.get(dialect, ()):
        connection.exec_driver_sql(statement)


def check_may_upgrade(connection: sa.Connection, migrate: bool) -> None:
    """Raise if the database must not change: it is another program's, newer, or on a server without `migrate`."""
    tables = table_names(connection)
    ours = "schema_version" in tables
    version = read_schema_version(connection) if ours else 0
    strangers = sorted(tables & {table.name for table in RUN_TABLES})
    # An unfinished store, whose set-up was killed: MySQL cannot roll back half of it.
    is_empty = version == 0 or not connection.scalar(sa.select(sa.exists().select_from(events)))
    is_unfinished = tables <= {table.name for table in (schema_version, *RUN_TABLES)} and is_empty
    may_change = migrate or is_unfinished or connection.dialect.name == "sqlite"
    if version > len(SCHEMA_STEPS):
        raise StoreError(
            f"The store has schema {version}, and this program knows only {len(SCHEMA_STEPS)}: use a newer one."
        )
    if strangers and not ours:
        raise StoreError(f"The database has tables of another program ({', '.join(strangers)}): use one of its own.")
    if not ours and not may_change:
        raise StoreError("This database has other tables: run `store migrate` to create the store's beside them.")
    if version < len(SCHEMA_STEPS) and not may_change:
        raise StoreError(
            f"The store has schema {version}, and this program needs {len(SCHEMA_STEPS)}: run `store migrate`."
        )


def table_names(connection: sa.Connection) -> set[str]:
    return set(sa.inspect(connection).get_table_names())


def read_schema_version(connection: sa.Connection) -> int:
    return connection.scalar(sa.select(sa.func.max(schema_version.c.version))) or 0
