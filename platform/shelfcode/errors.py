"""The one exception whose message is written for the person who ran the command."""


class ShelfcodeError(Exception):
    """Something the user can mend: the message names the row, field or flag and says what to do.

    Jobs print it without a traceback and exit with 2. Anything else is a bug and keeps its traceback.
    """
