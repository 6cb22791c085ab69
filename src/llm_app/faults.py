"""What a command may end with, so that no user ever sees a traceback for a mistake of their own."""

from __future__ import annotations


class Failure(Exception):
    """The command could not be done (exit code 1): one readable line."""


class WrongInput(Exception):
    """The user's input is wrong (exit code 2): one readable line per fault."""
