"""The one exception that reaches the user as a single line, and what its messages share."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake the user can mend: the message names the thing, the place and the remedy."""


class OutputError(UserError):
    """Nothing can be written there: no use in trying the next file."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean A, B? ` with up to three of the `known` names that are most like `name`; empty if none is."""
    similar = difflib.get_close_matches(name, list(known), n=3)
    return f"did you mean {', '.join(similar)}? " if similar else ""


def reason_of(error: BaseException) -> str:
    """What an exception says, in one line; its kind if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
