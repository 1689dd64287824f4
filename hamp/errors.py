"""The errors that are shown to a user without a traceback."""


class UserError(Exception):
    """A mistake that the user can mend.

    The message is one line: the file, key or column; the value; what is allowed; what to do.
    """


class Diverged(UserError):
    """The numbers of one network are not finite any more: it is of no use, but others may be."""


def one_line(error: Exception) -> str:
    """What an error of a library or of the user's code says, without its line breaks."""
    return " ".join(str(error).split())
