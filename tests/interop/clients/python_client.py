"""The official Python client against one server; prints {feature: "ok" | "absent" | "FAIL: why"}.

Usage: python_client.py [--legacy | --bare] TARGET PREFIX PROFILE.json
TARGET is an URL, or `stdio:` and a JSON array with a command. PREFIX stands before tool and prompt
names. PROFILE names what the server offers; what it does not name is reported as absent.
--legacy opens with `initialize` at once; without it the client first asks with `server/discover`
which era the server speaks, as is its default. --bare declares that it cannot be asked anything,
and holds the server to not asking.
"""

from __future__ import annotations

import itertools
import json
import sys
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import mcp_types as types
from mcp import Client, MCPError, StdioServerParameters

FEATURE_SECONDS = 15
ANSWER = "forty-two, says the python client"

warnings.simplefilter("ignore")


class Checks:
    def __init__(self, target: str, prefix: str, profile: dict[str, Any], flags: list[str]) -> None:
        self.prefix, self.profile = prefix, profile
        self.asked: list[str] = []
        self.logs: list[str] = []
        server: Any = target
        if target.startswith("stdio:"):
            command, *args = json.loads(target.removeprefix("stdio:"))
            server = StdioServerParameters(command=command, args=args)
        self.bare = "--bare" in flags
        callbacks: dict[str, Any] = {
            "sampling_callback": self.sample,
            "elicitation_callback": self.elicit,
            "list_roots_callback": self.roots,
        }
        self.client = Client(
            server,
            mode="legacy" if "--legacy" in flags else "auto",
            logging_callback=self.log,
            log_level="debug",
            **({} if self.bare else callbacks),
        )

    async def sample(self, _: Any, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
        self.asked.append(params.messages[0].content.text)
        content = types.TextContent(type="text", text=ANSWER)
        return types.CreateMessageResult(role="assistant", content=content, model="interop")

    async def elicit(self, _: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        self.asked.append(params.message)
        return types.ElicitResult(action="accept", content={"name": ANSWER})

    async def roots(self, _: Any) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root(uri=f"file://{self.profile['root']}", name="interop")])

    async def log(self, params: types.LoggingMessageNotificationParams) -> None:
        self.logs.append(str(params.data))

    async def call(self, spec: dict[str, Any], **options: Any) -> str:
        result = await self.client.call_tool(self.prefix + spec["tool"], spec["arguments"], **options)
        text = "\n".join(block.text for block in result.content if block.type == "text")
        assert not result.is_error, f"{spec['tool']} answered an error: {text}"
        return text

    async def every(self, method: Callable[..., Awaitable[Any]], member: str) -> list[Any]:
        items, cursor = [], None
        while True:
            page = await method(cursor=cursor)
            items += getattr(page, member)
            cursor = page.next_cursor
            if cursor is None:
                return items

    def named(self, items: list[Any]) -> set[str]:
        names = {item.name for item in items}
        assert len(names) == len(items), "a name is listed twice"
        assert all(("__" in name) == bool(self.prefix) for name in names), (
            f"prefixes are wrong: {sorted(names)}"
        )
        return {name.removeprefix(self.prefix) for name in names if name.startswith(self.prefix)}

    async def tools_list(self, wanted: list[str]) -> None:
        missing = set(wanted) - self.named(await self.every(self.client.list_tools, "tools"))
        assert not missing, f"not listed: {sorted(missing)}"

    async def tools_call(self, spec: dict[str, Any]) -> None:
        text = await self.call(spec)
        assert spec["text"] in text, text

    async def resources_list(self, spec: dict[str, Any]) -> None:
        uris = [str(item.uri) for item in await self.every(self.client.list_resources, "resources")]
        assert spec["uri"] in uris, f"{spec['uri']} is not among {uris}"

    async def resources_read(self, spec: dict[str, Any]) -> None:
        contents = (await self.client.read_resource(spec["uri"])).contents
        assert spec["uri"] == str(contents[0].uri) and spec["text"] in contents[0].text, contents

    async def templates(self, spec: dict[str, Any]) -> None:
        listed = await self.every(self.client.list_resource_templates, "resource_templates")
        templates = [item.uri_template for item in listed]
        assert spec["uriTemplate"] in templates, f"{spec['uriTemplate']} is not among {templates}"
        await self.resources_read(spec)

    async def prompts_list(self, spec: dict[str, Any]) -> None:
        names = self.named(await self.every(self.client.list_prompts, "prompts"))
        assert spec["name"] in names, f"{spec['name']} is not among {sorted(names)}"

    async def prompts_get(self, spec: dict[str, Any]) -> None:
        result = await self.client.get_prompt(self.prefix + spec["name"], spec["arguments"])
        assert spec["text"] == result.messages[0].content.text, result.messages

    async def complete_prompt(self, spec: dict[str, Any]) -> None:
        ref = types.PromptReference(name=self.prefix + spec["name"])
        await self.complete(ref, spec)

    async def complete_resource(self, spec: dict[str, Any]) -> None:
        await self.complete(types.ResourceTemplateReference(uri=spec["uri"]), spec)

    async def complete(self, ref: Any, spec: dict[str, Any]) -> None:
        result = await self.client.complete(ref, {"name": spec["argument"], "value": spec["value"]})
        assert result.completion.values == spec["values"], result.completion.values

    async def progress(self, spec: dict[str, Any]) -> None:
        seen: list[tuple[float, float | None]] = []

        async def note(progress: float, total: float | None, _: str | None) -> None:
            seen.append((progress, total))

        text = await self.call(spec, progress_callback=note)
        steps = [step for step, _ in seen]
        assert spec["text"] in text, text
        assert len(steps) >= 2 and all(a < b for a, b in itertools.pairwise(steps)), f"progress was {seen}"
        assert all(total == spec["total"] for _, total in seen), f"progress was {seen}"

    async def log_messages(self, spec: dict[str, Any]) -> None:
        if self.client.protocol_version < "2026":
            await self.client.set_logging_level("debug")
        self.logs.clear()
        if spec.get("toggled_off", "\0") in await self.call(spec):
            await self.call(spec)
        while not any(spec["text"] in line for line in self.logs):
            await anyio.sleep(0.05)

    async def cancel(self, spec: dict[str, Any]) -> None:
        started = anyio.Event()
        ended: list[str] = []

        async def note(*_: Any) -> None:
            started.set()

        async with anyio.create_task_group() as group:

            async def run() -> None:
                with anyio.CancelScope() as scope:
                    group.start_soon(stop, scope)
                    ended.append(await self.call(spec, progress_callback=note))

            async def stop(scope: anyio.CancelScope) -> None:
                await started.wait()
                scope.cancel()

            group.start_soon(run)
        assert not ended, f"the cancelled call answered {ended}"
        await self.tools_call(self.profile["call"])
        if proof := spec.get("proof"):
            while proof["text"] not in await self.call(proof):
                await anyio.sleep(0.05)

    async def sampling(self, spec: dict[str, Any]) -> None:
        await self.ask(spec)

    async def elicitation(self, spec: dict[str, Any]) -> None:
        await self.ask(spec)

    async def ask(self, spec: dict[str, Any]) -> None:
        self.asked.clear()
        text = await self.call(spec)
        assert ANSWER in text, text
        assert len(self.asked) == 1 and spec["asked"] in self.asked[0], f"asked: {self.asked}"

    async def roots_asked(self, spec: dict[str, Any]) -> None:
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
            "sampling": ("sampling", self.sampling),
            "elicitation": ("elicitation", self.elicitation),
            "roots": ("roots", self.roots_asked),
        }
        outcome = {}
        async with self.client:
            for feature, (key, check) in features.items():
                outcome[feature] = await self.outcome(key, check)
        return outcome

    async def outcome(self, key: str, check: Callable[[Any], Awaitable[None]]) -> str:
        if key not in self.profile:
            return await self.absence(key)
        if self.bare and key in ("sampling", "elicitation", "roots"):
            return "absent" if key == "roots" else await self.refusal(self.profile[key])
        try:
            with anyio.fail_after(FEATURE_SECONDS):
                await check(self.profile[key])
            return "ok"
        except TimeoutError:
            return f"FAIL: nothing after {FEATURE_SECONDS} s"
        except Exception as error:  # one broken feature must not hide the others
            return f"FAIL: {type(error).__name__}: {error}"[:400]

    async def refusal(self, spec: dict[str, Any]) -> str:
        """A server that needs to ask a client which cannot answer says so at once."""
        try:
            with anyio.fail_after(FEATURE_SECONDS):
                result = await self.client.call_tool(self.prefix + spec["tool"], spec["arguments"])
            return "absent" if result.is_error else f"FAIL: answered without asking: {result.content}"[:400]
        except MCPError:
            return "absent"
        except TimeoutError:
            return f"FAIL: no refusal after {FEATURE_SECONDS} s"

    async def absence(self, key: str) -> str:
        """Holds the profile to what it leaves out: where one server is asked alone, its list is empty or refused."""
        lists = {
            "resource": (self.client.list_resources, "resources"),
            "template": (self.client.list_resource_templates, "resource_templates"),
            "prompt": (self.client.list_prompts, "prompts"),
        }
        if key in lists and not self.prefix:
            try:
                with anyio.fail_after(FEATURE_SECONDS):
                    if found := await self.every(*lists[key]):
                        return f"FAIL: the profile leaves out what the server has: {found}"[:400]
            except MCPError:
                pass
            except TimeoutError:
                return f"FAIL: no refusal after {FEATURE_SECONDS} s"
        return "absent"


async def main() -> None:
    *flags, target, prefix, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        profile = json.load(file)
    print(json.dumps(await Checks(target, prefix, profile, flags).run()))


anyio.run(main)
