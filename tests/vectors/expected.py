"""What the tests of a face in Python share: whether an answer is what a case of `tests/vectors/api` expects."""

from __future__ import annotations

from typing import Any


def missing(at: str, expected: Any, found: Any) -> str | None:
    """What of `expected` the answer does not have."""
    match expected, found:
        case "*", _:
            return None
        case dict(), dict():
            parts = ((f"{at}/{key}", value, found.get(key)) for key, value in expected.items())
        case list(), list() if len(expected) == len(found):
            parts = ((f"{at}/{i}", *pair) for i, pair in enumerate(zip(expected, found, strict=True)))
        case _:
            return None if expected == found else f"{at}: expected {expected!r}, found {found!r}"
    return next((wrong for part in parts if (wrong := missing(*part))), None)
