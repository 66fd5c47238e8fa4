"""Rules of multi-primary Group Replication for a schema, checked before a server sees it.

The server itself refuses only the first INSERT into an offending table, long after the migration.
"""

import re
from dataclasses import dataclass

from sqlalchemy import MetaData

_COMMENT = re.compile(r"/\*(?!!).*?\*/|--[ \t][^\n]*|--$|#[^\n]*", re.DOTALL | re.MULTILINE)
_STRING = re.compile(r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"", re.DOTALL)
_CREATE_TABLE = re.compile(
    r"\bCREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?([\w.`]+)(.*)", re.IGNORECASE | re.DOTALL
)
_ALTER_TABLE = re.compile(r"\bALTER\s+TABLE\s+([\w.`]+)(.*)", re.IGNORECASE | re.DOTALL)
_CASCADE = re.compile(r"\bON\s+(?:DELETE|UPDATE)\s+(CASCADE|SET\s+NULL|SET\s+DEFAULT)\b", re.IGNORECASE)
_ENGINE = re.compile(r"\bENGINE\s*=?\s*(\w+)", re.IGNORECASE)
_LOCK_FUNCTION = re.compile(r"\b(GET_LOCK|RELEASE_LOCK)\s*\(|\bLOCK\s+TABLES\b", re.IGNORECASE)
_SERIALIZABLE = re.compile(
    r"\bISOLATION\s+LEVEL\s+SERIALIZABLE\b|\btransaction_isolation\s*=\s*SERIALIZABLE\b", re.IGNORECASE
)
_QUOTED_ISOLATION = re.compile(r"(?<=transaction_isolation)\s*:?=\s*(['\"])SERIALIZABLE\1", re.IGNORECASE)
_DROP_PRIMARY_KEY = re.compile(r"\bDROP\s+PRIMARY\s+KEY\b", re.IGNORECASE)


EXPLANATIONS = {
    "missing-primary-key": "the group tells rows apart by primary key only: declare one",
    "not-innodb": "the group refuses the first insert into any other engine (error 3098): ENGINE=InnoDB",
    "cascading-foreign-key": (
        "rows that a cascade changes escape the group's conflict check, so it refuses the first insert"
        " (error 3098): RESTRICT, and change the children in the same transaction"
    ),
    "named-or-table-lock": "a lock of one member is unknown to the others: a row with a lease, or FOR UPDATE",
    "serializable": "the group refuses writes at SERIALIZABLE (error 3098): READ COMMITTED, and FOR UPDATE",
}
"""Rule → why, and what to do instead (figures: MySQL 9.7 error reference)."""


@dataclass(frozen=True)
class Finding:
    """One broken rule: its name and the table (or statement) it is broken in."""

    rule: str
    table: str

    def __str__(self) -> str:
        return f"{self.table}: {self.rule}: {EXPLANATIONS[self.rule]}"


def lint_sql(sql: str) -> list[Finding]:
    """Check DDL text, statement by statement; comments and string literals are not read as SQL."""
    unquoted = _QUOTED_ISOLATION.sub("= SERIALIZABLE", _COMMENT.sub(" ", sql))
    text = _STRING.sub("''", unquoted)
    return [finding for statement in text.split(";") for finding in _lint_statement(statement)]


def lint_metadata(metadata: MetaData) -> list[Finding]:
    """Check declared tables by the same rules."""
    findings: list[Finding] = []
    for table in metadata.sorted_tables:
        if not table.primary_key.columns:
            findings.append(Finding("missing-primary-key", table.name))
        if str(table.dialect_options["mysql"].get("engine", "")).lower() != "innodb":
            findings.append(Finding("not-innodb", table.name))
        findings += [
            Finding("cascading-foreign-key", table.name)
            for key in table.foreign_key_constraints
            if {str(key.ondelete).upper(), str(key.onupdate).upper()} & {"CASCADE", "SET NULL", "SET DEFAULT"}
        ]
    return findings


def _lint_statement(statement: str) -> list[Finding]:
    findings: list[Finding] = []
    create, alter = _CREATE_TABLE.search(statement), _ALTER_TABLE.search(statement)
    match = create or alter
    table = match[1].replace("`", "") if match else statement.strip()[:40]
    if _CASCADE.search(statement):
        findings.append(Finding("cascading-foreign-key", table))
    if _LOCK_FUNCTION.search(statement):
        findings.append(Finding("named-or-table-lock", table))
    if _SERIALIZABLE.search(statement):
        findings.append(Finding("serializable", table))
    if create and not re.search(r"\bPRIMARY\s+KEY\b", create[2], re.IGNORECASE) and not _is_copy(create[2]):
        findings.append(Finding("missing-primary-key", table))
    if (
        alter
        and _DROP_PRIMARY_KEY.search(alter[2])
        and not re.search(r"\bADD\s+(?:CONSTRAINT\s+\S+\s+)?PRIMARY\s+KEY\b", alter[2], re.IGNORECASE)
    ):
        findings.append(Finding("missing-primary-key", table))
    if match and (engine := _ENGINE.search(match[2])) and engine[1].lower() != "innodb":
        findings.append(Finding("not-innodb", table))
    return findings


def _is_copy(rest: str) -> bool:
    return re.match(r"\s*\(?\s*LIKE\b", rest, re.IGNORECASE) is not None
