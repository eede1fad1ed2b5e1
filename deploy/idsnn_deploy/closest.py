"""What a name that is not known was probably meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(given: str, known: Iterable[str], least: float = 0.6) -> str | None:
    """The most similar of the known names, or None where difflib's ratio is below `least`; case does not count."""
    names = {each.lower(): each for each in known}
    near = difflib.get_close_matches(given.lower(), sorted(names), 1, least)
    return names[near[0]] if near else None


def known_are(given: str, known: Iterable[str]) -> str:
    """ "did you mean mnist? known are ..." for the end of an error about `given`."""
    names = tuple(known)
    meant = closest(given, names)
    return f"{f'did you mean {meant}? ' if meant else ''}known are {', '.join(names)}"
