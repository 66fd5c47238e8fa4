"""The schema: its rules, its lease, and that model and migrations agree."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from app_support import rows
from sqlalchemy import Column, Engine, ForeignKey, Integer, MetaData, Table, text

from yiyun_app.database import connect
from yiyun_app.errors import DatabaseUnavailableError
from yiyun_app.migrate import LeaseLostError, head_revision, migrate, offline_sql, serves, take_lease
from yiyun_app.migration_linter import EXPLANATIONS, Finding, lint_metadata, lint_sql
from yiyun_app.schema import Base
from yiyun_app.settings import DatabaseSettings


def test_the_shipped_migrations_break_no_rule() -> None:
    sql = offline_sql()
    assert sql.count("CREATE TABLE") >= 10
    assert lint_sql(sql) == []


def test_every_rule_says_why_and_what_instead() -> None:
    for rule in EXPLANATIONS:
        assert str(Finding(rule, "t")).startswith(f"t: {rule}: ")
        assert ":" in EXPLANATIONS[rule]


def test_the_declared_tables_break_no_rule() -> None:
    assert len(Base.metadata.tables) >= 10
    assert lint_metadata(Base.metadata) == []


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("CREATE TABLE t (a INT)", "missing-primary-key"),
        ("create table if not exists `t` (a int) engine=InnoDB", "missing-primary-key"),
        ("CREATE TABLE t (a INT /* PRIMARY KEY */)", "missing-primary-key"),
        ("CREATE TABLE t (a INT COMMENT 'PRIMARY KEY')", "missing-primary-key"),
        ("ALTER TABLE t DROP PRIMARY KEY", "missing-primary-key"),
        ("CREATE TABLE t (a INT PRIMARY KEY) ENGINE = MyISAM", "not-innodb"),
        ("ALTER TABLE t ENGINE=MEMORY", "not-innodb"),
        ("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u (a) ON DELETE CASCADE", "cascading-foreign-key"),
        ("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u (a) ON UPDATE SET\n NULL", "cascading-foreign-key"),
        ("SELECT GET_LOCK('x', 1)", "named-or-table-lock"),
        ("LOCK TABLES t WRITE", "named-or-table-lock"),
        ("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE", "serializable"),
        ("SET @@SESSION.transaction_isolation = 'SERIALIZABLE'", "serializable"),
    ],
)
def test_a_planted_fault_is_found(sql: str, rule: str) -> None:
    assert [finding.rule for finding in lint_sql(f"CREATE TABLE ok (a INT PRIMARY KEY);\n{sql};")] == [rule]


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE t (a INT, CONSTRAINT p PRIMARY KEY (a)) ENGINE=InnoDB",
        "CREATE TABLE t LIKE u",
        "ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (b)",
        "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u (a) ON DELETE RESTRICT",
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "INSERT INTO t VALUES ('transaction isolation level serializable')",
        "INSERT INTO t VALUES ('ON DELETE CASCADE; CREATE TABLE x (a INT)') -- GET_LOCK(",
    ],
)
def test_what_is_allowed_is_not_found(sql: str) -> None:
    assert lint_sql(sql) == []


def test_faults_in_declared_tables_are_found() -> None:
    metadata = MetaData()
    Table("parent", metadata, Column("id", Integer, primary_key=True), mysql_engine="InnoDB")
    Table(
        "child",
        metadata,
        Column("id", Integer, ForeignKey("parent.id", ondelete="CASCADE")),
        mysql_engine="MyISAM",
    )
    assert set(lint_metadata(metadata)) == {
        Finding("missing-primary-key", "child"),
        Finding("not-innodb", "child"),
        Finding("cascading-foreign-key", "child"),
    }


def test_an_older_release_serves_on_a_newer_schema_and_not_the_reverse() -> None:
    assert serves("0002", "0001")
    assert serves("0001", "0001")
    assert not serves("0001", "0002")
    assert not serves(None, "0001")


def test_a_second_migration_changes_nothing(empty_database: DatabaseSettings) -> None:
    engine = connect(empty_database)
    assert [migrate(engine), migrate(engine)] == [True, False]
    assert rows(engine, "SELECT version_num FROM alembic_version") == [(head_revision(),)]
    engine.dispose()


def test_a_migration_cut_short_is_completed_by_the_next(empty_database: DatabaseSettings) -> None:
    engine = connect(empty_database)
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE record_access, idempotency_key"))
        connection.execute(text("DELETE FROM alembic_version"))
    assert migrate(engine)
    assert rows(engine, "SELECT COUNT(*) FROM record_access") == [(0,)]
    engine.dispose()


def test_two_hosts_starting_together_migrate_once(empty_database: DatabaseSettings) -> None:
    together = threading.Barrier(4)

    def host(number: int) -> bool:
        engine = connect(empty_database)
        together.wait(20)
        try:
            return migrate(engine, wait_seconds=60, holder=f"host-{number}")
        finally:
            engine.dispose()

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(host, range(4))) == [False, False, False, True]


def test_a_lease_held_elsewhere_is_waited_for_and_then_given_up(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yiyun_app.migrate.head_revision", lambda: "9999")
    with engine.connect() as connection:
        assert take_lease(connection, "other")
        assert take_lease(connection, "other")
        assert not take_lease(connection, "me")
    with pytest.raises(DatabaseUnavailableError, match="lease"):
        migrate(engine, wait_seconds=0.3)


def test_a_lease_does_not_survive_a_switch_of_the_writer(engine: Engine) -> None:
    with engine.connect() as connection:
        assert take_lease(connection, "me")
        connection.execute(text("UPDATE migration_lease SET server_uuid = 'another-member'"))
        connection.commit()
        assert not take_lease(connection, "me")


def test_a_migration_stops_when_its_lease_is_lost(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([True, False])
    monkeypatch.setattr("yiyun_app.migrate.head_revision", lambda: "9999")
    monkeypatch.setattr("yiyun_app.migrate.take_lease", lambda *_: next(answers))
    with pytest.raises(LeaseLostError):
        migrate(engine)


def test_an_outdated_lease_is_taken_over(engine: Engine) -> None:
    with engine.connect() as connection:
        assert take_lease(connection, "dead", seconds=-1)
        assert take_lease(connection, "me")


def test_migrations_and_model_describe_the_same_tables(engine: Engine) -> None:
    with engine.connect() as connection, warnings.catch_warnings():
        warnings.simplefilter("error")
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
