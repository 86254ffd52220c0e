"""The one exception that reaches the user as a single line."""


class UserError(Exception):
    """A mistake the user can mend: the message names the thing, the place and the remedy."""


class OutputError(UserError):
    """Nothing can be written there: no use in trying the next file."""
