"""What every Python client does against one server; prints {feature: "ok" | "absent" | "FAIL: why"}.

A client is a face: a few calls that give results as JSON, so that each check reads as the wire does.
Arguments: [flags] TARGET PREFIX PROFILE.json. TARGET is an URL, or `stdio:` and a JSON array with a
command. PREFIX stands before tool and prompt names. PROFILE names what the server offers; what it
does not name is reported as absent.
"""

from __future__ import annotations

import itertools
import json
import sys
import warnings
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import anyio

FEATURE_SECONDS = 15
ANSWER = "forty-two, says the python client"
JSON = dict[str, Any]
Progress = Callable[..., Awaitable[None]]
# What a client that cannot be asked is not asked.
ASKING = ("sampling", "elicitation", "roots")

warnings.simplefilter("ignore")


class Refused(Exception):
    """The server answered with a JSON-RPC error."""


class Face(Protocol):
    """A connected client."""

    # Log messages come only after `set_level`; in the modern era each request says what it wants.
    sets_level: bool

    async def page(self, member: str, cursor: str | None) -> JSON: ...
    async def call(self, name: str, arguments: JSON, progress: Progress | None = None) -> JSON: ...
    async def read(self, uri: str) -> JSON: ...
    async def prompt(self, name: str, arguments: dict[str, str]) -> JSON: ...
    async def complete(self, ref: JSON, argument: dict[str, str]) -> JSON: ...
    async def set_level(self, level: str) -> None: ...


class Heard:
    """What the server said without being asked, and the answers to what it asks."""

    def __init__(self, root: str) -> None:
        self.root = f"file://{root}"
        self.asked: list[str] = []
        self.logs: list[str] = []


Connect = Callable[[str, Heard, list[str]], AbstractAsyncContextManager[Face]]


class Checks:
    def __init__(self, face: Face, heard: Heard, prefix: str, profile: JSON, bare: bool) -> None:
        self.face, self.heard, self.prefix, self.profile, self.bare = face, heard, prefix, profile, bare

    async def call(self, spec: JSON, progress: Progress | None = None) -> str:
        result = await self.face.call(self.prefix + spec["tool"], spec["arguments"], progress)
        text = "\n".join(block["text"] for block in result["content"] if block["type"] == "text")
        assert not result.get("isError"), f"{spec['tool']} answered an error: {text}"
        return text

    async def every(self, member: str) -> list[JSON]:
        items, cursor = [], None
        while True:
            page = await self.face.page(member, cursor)
            items += page[member]
            cursor = page.get("nextCursor")
            if cursor is None:
                return items

    def named(self, items: list[JSON]) -> set[str]:
        names = {item["name"] for item in items}
        assert len(names) == len(items), "a name is listed twice"
        assert all(("__" in name) == bool(self.prefix) for name in names), f"prefixes are wrong: {sorted(names)}"
        return {name.removeprefix(self.prefix) for name in names if name.startswith(self.prefix)}

    async def tools_list(self, wanted: list[str]) -> None:
        missing = set(wanted) - self.named(await self.every("tools"))
        assert not missing, f"not listed: {sorted(missing)}"

    async def tools_call(self, spec: JSON) -> None:
        text = await self.call(spec)
        assert spec["text"] in text, text

    async def resources_list(self, spec: JSON) -> None:
        uris = [item["uri"] for item in await self.every("resources")]
        assert spec["uri"] in uris, f"{spec['uri']} is not among {uris}"

    async def resources_read(self, spec: JSON) -> None:
        contents = (await self.face.read(spec["uri"]))["contents"]
        assert spec["uri"] == contents[0]["uri"] and spec["text"] in contents[0]["text"], contents

    async def templates(self, spec: JSON) -> None:
        templates = [item["uriTemplate"] for item in await self.every("resourceTemplates")]
        assert spec["uriTemplate"] in templates, f"{spec['uriTemplate']} is not among {templates}"
        await self.resources_read(spec)

    async def prompts_list(self, spec: JSON) -> None:
        names = self.named(await self.every("prompts"))
        assert spec["name"] in names, f"{spec['name']} is not among {sorted(names)}"

    async def prompts_get(self, spec: JSON) -> None:
        result = await self.face.prompt(self.prefix + spec["name"], spec["arguments"])
        assert spec["text"] == result["messages"][0]["content"]["text"], result["messages"]

    async def complete_prompt(self, spec: JSON) -> None:
        await self.complete({"type": "ref/prompt", "name": self.prefix + spec["name"]}, spec)

    async def complete_resource(self, spec: JSON) -> None:
        await self.complete({"type": "ref/resource", "uri": spec["uri"]}, spec)

    async def complete(self, ref: JSON, spec: JSON) -> None:
        result = await self.face.complete(ref, {"name": spec["argument"], "value": spec["value"]})
        assert result["completion"]["values"] == spec["values"], result["completion"]

    async def progress(self, spec: JSON) -> None:
        seen: list[tuple[float, float | None]] = []

        async def note(progress: float, total: float | None, _: str | None = None) -> None:
            seen.append((progress, total))

        text = await self.call(spec, note)
        steps = [step for step, _ in seen]
        assert spec["text"] in text, text
        assert len(steps) >= 2 and all(a < b for a, b in itertools.pairwise(steps)), f"progress was {seen}"
        assert all(total == spec["total"] for _, total in seen), f"progress was {seen}"

    async def log_messages(self, spec: JSON) -> None:
        if self.face.sets_level:
            await self.face.set_level("debug")
        self.heard.logs.clear()
        if spec.get("toggled_off", "\0") in await self.call(spec):
            await self.call(spec)
        while not any(spec["text"] in line for line in self.heard.logs):
            await anyio.sleep(0.05)

    async def cancel(self, spec: JSON) -> None:
        started = anyio.Event()
        ended: list[str] = []

        async def note(*_: Any) -> None:
            started.set()

        async with anyio.create_task_group() as group:

            async def run() -> None:
                with anyio.CancelScope() as scope:
                    group.start_soon(stop, scope)
                    ended.append(await self.call(spec, note))

            async def stop(scope: anyio.CancelScope) -> None:
                await started.wait()
                scope.cancel()

            group.start_soon(run)
        assert not ended, f"the cancelled call answered {ended}"
        await self.tools_call(self.profile["call"])
        if proof := spec.get("proof"):
            while proof["text"] not in await self.call(proof):
                await anyio.sleep(0.05)

    async def ask(self, spec: JSON) -> None:
        self.heard.asked.clear()
        text = await self.call(spec)
        assert ANSWER in text, text
        asked = self.heard.asked
        assert len(asked) == 1 and spec["asked"] in asked[0], f"asked: {asked}"

    async def roots_asked(self, spec: JSON) -> None:
        # A server asks for roots some time after the handshake.
        while spec["text"] not in await self.call(spec):
            await anyio.sleep(0.1)

    async def run(self) -> dict[str, str]:
        features: dict[str, tuple[str, Callable[[Any], Awaitable[None]]]] = {
            "tools/list": ("tools", self.tools_list),
            "tools/call": ("call", self.tools_call),
            "resources/list": ("resource", self.resources_list),
            "resources/read": ("resource", self.resources_read),
            "templates": ("template", self.templates),
            "prompts/list": ("prompt", self.prompts_list),
            "prompts/get": ("prompt", self.prompts_get),
            "complete prompt": ("complete_prompt", self.complete_prompt),
            "complete resource": ("complete_resource", self.complete_resource),
            "progress": ("progress", self.progress),
            "logs": ("logs", self.log_messages),
            "cancel": ("cancel", self.cancel),
            "sampling": ("sampling", self.ask),
            "elicitation": ("elicitation", self.ask),
            "roots": ("roots", self.roots_asked),
        }
        return {feature: await self.outcome(key, check) for feature, (key, check) in features.items()}

    async def outcome(self, key: str, check: Callable[[Any], Awaitable[None]]) -> str:
        if key not in self.profile:
            return await self.absence(key)
        if self.bare and key in ASKING:
            return "absent" if key == "roots" else await self.refusal(self.profile[key])
        try:
            with anyio.fail_after(FEATURE_SECONDS):
                await check(self.profile[key])
            return "ok"
        except TimeoutError:
            return f"FAIL: nothing after {FEATURE_SECONDS} s"
        except Exception as error:  # one broken feature must not hide the others
            return f"FAIL: {type(error).__name__}: {error}"[:400]

    async def refusal(self, spec: JSON) -> str:
        """A server that needs to ask a client which cannot answer says so at once."""
        try:
            with anyio.fail_after(FEATURE_SECONDS):
                result = await self.face.call(self.prefix + spec["tool"], spec["arguments"])
            return "absent" if result.get("isError") else f"FAIL: answered without asking: {result}"[:400]
        except Refused:
            return "absent"
        except TimeoutError:
            return f"FAIL: no refusal after {FEATURE_SECONDS} s"

    async def absence(self, key: str) -> str:
        """Holds the profile to what it leaves out: where one server is asked alone, its list is empty or refused."""
        lists = {"resource": "resources", "template": "resourceTemplates", "prompt": "prompts"}
        if key in lists and not self.prefix:
            try:
                with anyio.fail_after(FEATURE_SECONDS):
                    if found := await self.every(lists[key]):
                        return f"FAIL: the profile leaves out what the server has: {found}"[:400]
            except Refused:
                pass
            except TimeoutError:
                return f"FAIL: no refusal after {FEATURE_SECONDS} s"
        return "absent"


def main(connect: Connect) -> None:
    """Runs all checks with the client that `connect` opens, and prints what they found."""

    async def run() -> None:
        *flags, target, prefix, path = sys.argv[1:]
        with open(path, encoding="utf-8") as file:
            profile = json.load(file)
        heard = Heard(profile["root"])
        async with connect(target, heard, flags) as face:
            outcome = await Checks(face, heard, prefix, profile, "--bare" in flags).run()
        print(json.dumps(outcome))

    anyio.run(run)
