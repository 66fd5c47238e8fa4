"""Errors that the command line and the web layer know how to say in one line."""


class UserError(Exception):
    """A mistake of whoever runs the command: shown as one line, exit code 4, no traceback."""


class DatabaseUnavailableError(Exception):
    """The database did not answer within the retry budget; nothing is known to have been stored."""


class UnknownOutcomeError(DatabaseUnavailableError):
    """The connection was lost at commit and the work carries no idempotency key to ask again with."""


class SchemaBehindError(Exception):
    """The database schema is older than this release needs."""
