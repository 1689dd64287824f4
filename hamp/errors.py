"""The one error that is shown to a user without a traceback."""


class UserError(Exception):
    """A mistake that the user can mend.

    The message is one line: the file, key or column; the value; what is allowed; what to do.
    """
