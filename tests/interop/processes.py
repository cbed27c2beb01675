"""Starts processes in groups of their own, waits for them with a limit, and stops all of them by id."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

STOP_SECONDS = 15


class NotReady(Exception):
    """A process did not get as far as it had to; the message ends with what it logged last."""


class Group:
    """Processes that end when the `with` block ends, whatever ends it."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.running: list[subprocess.Popen[bytes]] = []
        self.named: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Group:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.running[::-1]:
            self.stop(process)

    def start(self, name: str, command: list[str], **env: str) -> subprocess.Popen[bytes]:
        with open(self.logs / f"{name}.log", "wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env},
                start_new_session=True,
            )
        self.running.append(process)
        self.named[name] = process
        return process

    def output(self, name: str, command: list[str], seconds: float) -> bytes:
        """Runs a command to its end and returns what it printed; TimeoutError if it takes longer."""
        with open(self.logs / f"{name}.log", "wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        self.running.append(process)
        try:
            return process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
        finally:
            self.running.remove(process)
            kill(process)

    def kill(self) -> None:
        """Kills everything, at once."""
        for process in list(self.running):
            kill(process)

    def abort(self, code: int) -> None:
        """Kills everything and ends this program."""
        self.kill()
        shutil.rmtree(self.logs, ignore_errors=True)
        os._exit(code)

    def wait_for(self, name: str, what: str, seconds: float, ready: Callable[[], bool]) -> None:
        """Polls until `ready`; NotReady when the process has ended or the time is over."""
        process = self.named[name]
        deadline = time.monotonic() + seconds
        while not ready():
            ended = process.poll()
            if ended is not None or time.monotonic() > deadline:
                why = f"not within {seconds} s" if ended is None else f"it ended with {ended}"
                raise NotReady(f"{name} {what}: {why}\n{self.log(name)[-2000:]}")
            time.sleep(0.05)

    def log(self, name: str) -> str:
        return (self.logs / f"{name}.log").read_text(errors="replace")

    def stop(self, process: subprocess.Popen[bytes]) -> int | None:
        """Asks the process to end, then kills its group; returns its exit code, or None if it had to be killed."""
        asked = process.poll()
        if asked is None:
            process.terminate()
            try:
                asked = process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                pass
        kill(process)
        self.running.remove(process)
        return asked


def kill(process: subprocess.Popen[bytes]) -> None:
    """Ends the process and what it started in its group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def read(url: str) -> str:
    """The body of a successful answer, or nothing."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.read().decode()
    except OSError:
        return ""


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def descendants(ancestor: int) -> dict[int, str]:
    """The running processes below `ancestor`, and their command lines."""
    listed = subprocess.run(["ps", "-axo", "pid=,ppid=,args="], stdout=subprocess.PIPE, text=True, check=True)
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
    family, found = {ancestor}, {}
    while grown := [row for row in rows if int(row[1]) in family and int(row[0]) not in family]:
        for pid, _, *arguments in grown:
            family.add(int(pid))
            found[int(pid)] = " ".join(arguments)
    return found


def gateway_url(group: Group, name: str, upstreams: list[str]) -> str:
    """The URL that the gateway `name` prints, once it is ready; the log may name its upstreams, too."""

    def printed() -> list[str]:
        urls = re.findall(r"http://127\.0\.0\.1:\d+/mcp", group.log(name))
        return [url for url in urls if url not in upstreams]

    group.wait_for(name, "prints its URL", 30, lambda: printed() != [])
    url = printed()[0]
    group.wait_for(name, "is ready", 30, lambda: read(f"{url.removesuffix('/mcp')}/ready") != "")
    return url


def local_token(data: Path) -> str:
    """By what a process of this machine proves to the gateway on the folder `data` that it is one."""
    return (data / "local.token").read_text().strip()


def alive(family: dict[int, str]) -> list[int]:
    """Those of `family` that still run under the same command line."""
    listed = subprocess.run(["ps", "-axo", "pid=,args="], stdout=subprocess.PIPE, text=True, check=True)
    running = {
        int(pid): " ".join(rest)
        for pid, *rest in (line.split(None, 1) for line in listed.stdout.splitlines())
    }
    return [pid for pid, arguments in family.items() if running.get(pid) == arguments]
