"""The records that the gateway answers with: read-only, typed by attribute, and a mapping of the members as they came."""

from __future__ import annotations

import functools
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar

__all__ = ["Record"]


class Record(Mapping[str, Any]):
    """An answer of the gateway.

    Attributes are typed and named as in Python: times are :class:`datetime.datetime` with a time zone, nested records are records.
    As a mapping the record has the members as they came, byte for byte in meaning: ``server["created_at"]`` is the text of the answer,
    ``server.created_at`` a time. :meth:`to_dict` returns the plain dictionary.
    """

    __slots__ = ("_members",)
    _camel: ClassVar[bool] = False

    def __init__(self, members: Mapping[str, Any]) -> None:
        self._members: dict[str, Any] = members if isinstance(members, dict) else dict(members)

    def __init_subclass__(cls, camel: bool | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if camel is not None:
            cls._camel = camel
        for name, hint in cls.__dict__.get("__annotations__", {}).items():
            if not name.startswith("_") and "ClassVar" not in str(hint):
                setattr(cls, name, _Field(name, _member(name) if cls._camel else name))

    def to_dict(self) -> dict[str, Any]:
        """The members as a plain dictionary, as they came; changing it changes nothing here."""
        return dict(self._members)

    def __getitem__(self, key: str) -> Any:
        return self._members[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __repr__(self) -> str:
        shown = ", ".join(f"{key}={_short(value)}" for key, value in list(self._members.items())[:4])
        return f"<{type(self).__name__} {shown}>"


class _Field:
    """An attribute of a record: a member, in the type of its annotation."""

    __slots__ = ("_name", "_member")

    def __init__(self, name: str, member: str) -> None:
        self._name = name
        self._member = member

    def __get__(self, record: Record | None, owner: type[Record]) -> Any:
        if record is None:
            return self
        read, optional = _reader(owner, self._name)
        value = record._members.get(self._member)
        if value is None:
            if optional or self._member in record._members:
                return None
            raise AttributeError(f"this {owner.__name__} has no `{self._name}`; it has {', '.join(record._members) or 'no member'}")
        return read(value)


def _member(name: str) -> str:
    """The member's name in the protocol: ``input_schema`` is ``inputSchema``, ``meta`` is ``_meta``."""
    if name == "meta":
        return "_meta"
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


@functools.cache
def _hints(owner: type[Record]) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    for kind in reversed(owner.__mro__):
        scope = {**vars(sys.modules[kind.__module__]), "Record": Record}
        for name, hint in kind.__dict__.get("__annotations__", {}).items():
            hints[name] = eval(hint, scope) if isinstance(hint, str) and not name.startswith("_") else hint  # noqa: S307 - our own text
    return hints


@functools.cache
def _reader(owner: type[Record], name: str) -> tuple[Callable[[Any], Any], bool]:
    return _read(_hints(owner)[name])


def _read(hint: Any) -> tuple[Callable[[Any], Any], bool]:
    """How a member becomes a value of this type, and whether it may be absent."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        (one, *_others) = [argument for argument in arguments if argument is not type(None)]
        return _read(one)[0], type(None) in arguments
    if hint is datetime:
        return _time, False
    if isinstance(hint, type) and issubclass(hint, Record):
        return hint, False
    if origin is list and isinstance(arguments[0], type) and issubclass(arguments[0], Record):
        item = arguments[0]
        return lambda values: [item(value) for value in values], False
    return lambda value: value, False


def _time(text: str) -> datetime:
    # Python 3.10 reads no `Z`, and at most six digits of a second.
    head, _, rest = text.replace("Z", "+00:00").partition(".")
    if rest:
        digits = len(rest) - len(rest.lstrip("0123456789"))
        head += f".{rest[:digits][:6].ljust(6, '0')}{rest[digits:]}"
    return datetime.fromisoformat(head)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
