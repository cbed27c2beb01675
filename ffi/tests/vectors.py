"""The UniFFI face in Python: the cases of `tests/vectors/api`, and what they do not reach: leases, events, cancelling."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import unittest
from pathlib import Path
from typing import Any

import mcp_registry_gateway as face
from expected import missing

VECTORS = Path(__file__).resolve().parents[2] / "tests" / "vectors"
DEAD = "http://127.0.0.1:9/mcp"
QUIET = {"auto_discover": False, "health_check": {"enabled": False}}


async def perform(gateway: face.Gateway, verb: str, members: Any) -> Any:
    return json.loads(await getattr(gateway, verb)(json.dumps(members)))


def note(case: str, outcome: str) -> None:
    """Notes for `tests/vectors/table` what became of a case."""
    if folder := os.environ.get("VECTORS_TABLE"):
        with Path(folder, "uniffi").open("a") as table:
            table.write(f"{case}\t{outcome}\n")


class Vectors(unittest.IsolatedAsyncioTestCase):
    fake: str

    @classmethod
    def setUpClass(cls) -> None:
        cls.program = subprocess.Popen([os.environ["FAKE_MCP_SERVER"], "--http"], stdout=subprocess.PIPE, text=True)
        cls.fake = cls.program.stdout.readline().strip()
        for name in UNSAID:
            note(name, "none")

    @classmethod
    def tearDownClass(cls) -> None:
        cls.program.kill()
        cls.program.wait()
        cls.program.stdout.close()

    async def case(self, case: dict[str, Any]) -> None:
        gateway = face.Gateway.open(json.dumps(case.get("open", {})))
        for name, server in case.get("servers", {}).items():
            dead = server.get("dead", False)
            url = DEAD if dead else self.fake
            await perform(gateway, "register", {"name": name, "endpoint_url": url, "service": server.get("service"), **QUIET})
            if not dead:
                await perform(gateway, "discover", {"server": name})
        for number, step in enumerate(case["steps"]):
            try:
                expected, found = "gives", await perform(gateway, step["verb"], step["input"])
            except face.GatewayError.Failed as error:
                expected, found = "fails", json.loads(error.document)
                self.assertEqual((error.kind, error.retryable), (found["kind"], found["retryable"]))
            at = f"step {number}, {step['verb']}"
            self.assertIn(expected, step, f"{at}: {found}")
            self.assertIsNone(missing(at, step[expected], found))
        await gateway.shutdown()
        note(case["name"], "ok")

    async def test_the_same_key_reaches_the_same_server_as_from_rust(self) -> None:
        golden = json.loads((VECTORS / "decisions" / "consistent_hash.json").read_text())
        for case in (case for case in golden["cases"] if len(case["servers"]) < 10):
            configuration = {"algorithm": "consistent_hash"}
            servers = [{**server, "endpoint_url": DEAD, "service": "s", "configuration": configuration, **QUIET} for server in case["servers"]]
            gateway = face.Gateway.open(json.dumps({"servers": servers}))
            for key in case["keys"]:
                lease = gateway.pick("s", key["key"])
                self.assertEqual(lease.name(), key["servers"][0])
                lease.succeeded()
            await gateway.shutdown()

    async def test_a_listener_hears_of_changes_until_it_is_ended(self) -> None:
        heard: asyncio.Queue[Any] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        class Listener(face.Listener):
            def changed(self, document: str) -> None:
                loop.call_soon_threadsafe(heard.put_nowait, json.loads(document))

        gateway = face.Gateway.open("{}")
        watching = gateway.watch(Listener())
        await perform(gateway, "register", {"name": "far", "endpoint_url": DEAD, **QUIET})
        self.assertEqual((await heard.get())["type"], "server.registered")
        watching.end()
        await gateway.shutdown()

    async def test_a_call_that_nobody_awaits_any_more_is_cancelled(self) -> None:
        gateway = face.Gateway.open("{}")
        await perform(gateway, "register", {"name": "one", "endpoint_url": self.fake, **QUIET})
        await perform(gateway, "discover", {"server": "one"})
        call = asyncio.create_task(perform(gateway, "call_tool", {"name": "one__sleep", "arguments": {"ms": 60_000}}))
        async with asyncio.timeout(30):
            while not (await perform(gateway, "active_requests", {}))["requests"]:
                await asyncio.sleep(0.01)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            while (await perform(gateway, "active_requests", {}))["requests"]:
                await asyncio.sleep(0.01)
        await gateway.shutdown()


def test_of(case: dict[str, Any]) -> Any:
    async def test(self: Vectors) -> None:
        await self.case(case)

    return test


UNSAID = []
for file in sorted((VECTORS / "api").glob("*.json")):
    for case in json.loads(file.read_text())["cases"]:
        # A verb that there is none of is no method here.
        if not all(hasattr(face.Gateway, step["verb"]) for step in case["steps"]):
            UNSAID.append(case["name"])
            continue
        name = "test_" + f"{file.stem}_{case['name']}".replace(" ", "_")
        setattr(Vectors, name, test_of(case))


if __name__ == "__main__":
    if folder := os.environ.get("VECTORS_TABLE"):
        Path(folder, "uniffi").write_text("")
    unittest.main()
