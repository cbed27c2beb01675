"""From the gateway's threads to an event loop, or to a thread that waits.

Whoever begins work does as much of it as can be done at once. What is over by then is the answer; of what is not, a number is, and the
gateway's threads go on with it. They never touch Python: they put what work has come to into a queue and wake the loop through a socket.
All that belongs to Python happens on the loop's own thread.
"""

from __future__ import annotations

import asyncio
import json
import weakref
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeAlias

from . import _native
from .errors import error_of

P = ParamSpec("P")

# Bytes of a document beyond which work is begun on another thread.
_LARGE = 256 * 1024

# A ticket; or whether the work has succeeded, and what it came to.
Begun: TypeAlias = int | tuple[bool, Any]


class Pump:
    """Brings what work has come to to the futures of one event loop."""

    def __init__(self, gateway: _native.Gateway, loop: asyncio.AbstractEventLoop) -> None:
        self._queue = gateway.queue()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        loop.add_reader(self._queue.fileno(), self._drain)

    async def do(self, begin: Callable[Concatenate[_native.Queue, P], Begun], /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Begins work and waits for it. A task that is cancelled cancels it."""
        if any(isinstance(argument, bytes) and len(argument) > _LARGE for argument in args):
            # The core reads the document when work is begun; a large one would hold up the loop.
            ticket = await self._begun_apart(begin, *args, **kwargs)
        else:
            ticket = begin(self._queue, *args, **kwargs)
        if isinstance(ticket, tuple):
            # Over at once. A turn of the loop all the same: or else a task that calls again and again would let no other have one, and
            # could not be cancelled.
            await asyncio.sleep(0)
            return _outcome(*ticket)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[ticket] = future
        try:
            return await future
        except asyncio.CancelledError:
            self._queue.cancel(ticket)
            raise
        finally:
            del self._waiting[ticket]

    async def _begun_apart(
        self, begin: Callable[Concatenate[_native.Queue, P], Begun], /, *args: P.args, **kwargs: P.kwargs
    ) -> Begun:
        begun = asyncio.ensure_future(asyncio.to_thread(begin, self._queue, *args, **kwargs))
        try:
            return await asyncio.shield(begun)
        except asyncio.CancelledError:
            begun.add_done_callback(self._cancel_begun)
            raise

    def _cancel_begun(self, begun: asyncio.Future[Begun]) -> None:
        if not begun.cancelled() and begun.exception() is None and isinstance(ticket := begun.result(), int):
            self._queue.cancel(ticket)

    def in_flight(self) -> int:
        """How much is under way."""
        return len(self._waiting)

    def stop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Lets go of the loop, once everything that is done was taken out."""
        self._drain()
        loop.remove_reader(self._queue.fileno())

    def _drain(self) -> None:
        for ticket, succeeded, value in self._queue.drain():
            future = self._waiting.get(ticket)
            if future is None or future.done():
                continue
            if succeeded:
                future.set_result(value)
            else:
                future.set_exception(error_of(value))


class Pumps:
    """The pumps of one gateway, one for each event loop that it is used on."""

    def __init__(self, gateway: _native.Gateway) -> None:
        self._gateway = gateway
        self._pumps: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Pump] = weakref.WeakKeyDictionary()

    def current(self) -> Pump:
        """The pump of the loop that runs."""
        loop = asyncio.get_running_loop()
        pump = self._pumps.get(loop)
        if pump is None:
            pump = self._pumps[loop] = Pump(self._gateway, loop)
        return pump

    def stop(self) -> None:
        """Lets go of the loop that runs."""
        loop = asyncio.get_running_loop()
        pump = self._pumps.pop(loop, None)
        if pump is not None:
            pump.stop(loop)


class Waiter:
    """Does work for threads that wait for it."""

    def __init__(self, gateway: _native.Gateway) -> None:
        self._queue = gateway.queue()

    def do(self, begin: Callable[Concatenate[_native.Queue, P], Begun], /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Begins work and waits for it."""
        begun = begin(self._queue, *args, **kwargs)
        return _outcome(*(begun if isinstance(begun, tuple) else self._queue.wait(begun)))


def _outcome(succeeded: bool, value: Any) -> Any:
    """What work has come to."""
    if not succeeded:
        raise error_of(value)
    return value
