"""Documents for the core: JSON of what Python programs pass as arguments."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

__all__ = ["document"]

_DEEPEST = 128


def document(members: Mapping[str, Any]) -> bytes:
    """The members as UTF-8 JSON.

    pydantic models, dataclasses, dates, ``Decimal``, ``UUID``, ``Enum``, paths, bytes (Base64) and numbers of numpy are written as
    pydantic writes them. Raises :class:`TypeError` or :class:`ValueError` that names the place of a value that JSON cannot have.
    """
    try:
        text = json.dumps(members, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        text = json.dumps(_plain(members, "", 0), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"a text has a lone surrogate, which UTF-8 cannot have: {error.object[error.start]!r}") from None


def _plain(value: Any, place: str, depth: int) -> Any:
    """The value as JSON has it; ``place`` is where it stands, such as ``arguments.v``."""
    if depth > _DEEPEST:
        raise ValueError(f"`{_outer(place)}` nests deeper than {_DEEPEST} levels, or contains itself")
    if isinstance(value, Enum):
        return _plain(value.value, place, depth)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"`{place}`: {value} is not JSON")
        return value
    if isinstance(value, Mapping):
        return {_key(key, place): _plain(item, _below(place, key), depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, f"{place}[{number}]", depth + 1) for number, item in enumerate(value)]
    return _plain(_special(value, place), place, depth + 1)


def _special(value: Any, place: str) -> Any:
    if callable(dump := getattr(value, "model_dump", None)) and not isinstance(value, type):
        return dump(mode="json", by_alias=True)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (Decimal, UUID, PurePath)):
        return str(value)
    if isinstance(value, timedelta):
        return _duration(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return b64encode(value).decode()
    # Numbers and arrays of numpy, without importing it.
    if "numpy" in sys.modules and type(value).__module__ == "numpy":
        return value.tolist()
    if isinstance(value, Iterable) and not isinstance(value, type):
        return list(value)
    raise TypeError(f"`{place}`: a value of type `{type(value).__name__}` is not JSON; pass text, numbers, lists, dictionaries or a pydantic model")


def _key(key: Any, place: str) -> str:
    if isinstance(key, Enum):
        key = key.value
    if isinstance(key, str):
        return key
    if isinstance(key, (int, UUID, date)) and not isinstance(key, bool):
        return str(key)
    raise TypeError(f"`{place or 'the document'}` has a key of type `{type(key).__name__}`; keys are texts")


def _duration(value: timedelta) -> str:
    """ISO 8601, as pydantic writes it: ``PT90S`` is ``PT1M30S``."""
    sign, seconds = ("-", -value) if value < timedelta(0) else ("", value)
    days, rest = seconds.days, seconds.seconds
    hours, minutes, left = rest // 3600, rest // 60 % 60, rest % 60
    fraction = f".{seconds.microseconds:06}".rstrip("0") if seconds.microseconds else ""
    clock = (f"{hours}H" if hours else "") + (f"{minutes}M" if minutes else "")
    clock += f"{left}{fraction}S" if left or fraction or not (days or clock) else ""
    return f"{sign}P{f'{days}D' if days else ''}{f'T{clock}' if clock else ''}"


def _below(place: str, key: Any) -> str:
    if not place:
        return str(key)
    return f"{place}.{key}" if str(key).isidentifier() else f"{place}[{key!r}]"


def _outer(place: str) -> str:
    return place.split(".")[0].split("[")[0] or "the document"
