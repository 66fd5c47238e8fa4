"""Errors that the command line and the web layer know how to say in one line."""


class UserError(Exception):
    """A mistake of whoever runs the command: shown as one line, exit code 4, no traceback."""


class DatabaseUnavailableError(Exception):
    """The database did not answer within the retry budget; nothing is known to have been stored."""


class UnknownOutcomeError(DatabaseUnavailableError):
    """The connection was lost at commit and the work carries no idempotency key to ask again with."""


class AttachmentsUnavailableError(Exception):
    """The folder of attachments is not mounted, fails, or does not answer in time."""


class AttachmentDamagedError(Exception):
    """A stored file is not the one that was uploaded."""


class SchemaBehindError(Exception):
    """The database schema is older than this release needs."""
