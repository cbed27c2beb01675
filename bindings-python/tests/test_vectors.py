"""One behaviour over all faces: the cases of `tests/vectors/api`, over this one."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from expected import missing

from mcp_registry_gateway import Gateway, GatewayError

VECTORS = Path(__file__).resolve().parent.parent.parent / "tests" / "vectors"
DEAD = "http://127.0.0.1:9/mcp"
CASES = [
    pytest.param(case, id=f"{file.stem}: {case['name']}")
    for file in sorted((VECTORS / "api").glob("*.json"))
    for case in json.loads(file.read_text())["cases"]
]


@pytest.fixture(scope="session")
def fake() -> Iterator[str]:
    program = subprocess.Popen([os.environ["FAKE_MCP_SERVER"], "--http"], stdout=subprocess.PIPE, text=True)
    with program:
        assert program.stdout is not None
        note(None)
        yield program.stdout.readline().strip()
        program.kill()


def note(case: str | None) -> None:
    """Notes for `tests/vectors/table` that a case holds, or that none was run yet."""
    if folder := os.environ.get("VECTORS_TABLE"):
        with Path(folder, "python").open("a" if case else "w") as table:
            table.write(f"{case}\tok\n" if case else "")


async def perform(gateway: Gateway, verb: str, members: dict[str, Any]) -> tuple[bool, Any]:
    try:
        return True, await gateway._perform(verb, members)
    except GatewayError as error:
        context = {"kind": error.kind, "retryable": error.retryable, "context": error.context}
        return False, context


@pytest.mark.parametrize("case", CASES)
async def test_case(case: dict[str, Any], fake: str) -> None:
    async with Gateway.open(**case.get("open", {})) as gateway:
        for name, server in case.get("servers", {}).items():
            dead = server.get("dead", False)
            await gateway.register(
                name,
                endpoint_url=DEAD if dead else fake,
                service=server.get("service"),
                auto_discover=False,
                health_check={"enabled": False},
            )
            if not dead:
                await gateway.discover(name)
        for number, step in enumerate(case["steps"]):
            succeeded, outcome = await perform(gateway, step["verb"], step["input"])
            expected = step["gives"] if succeeded and "gives" in step else step.get("fails")
            assert succeeded == ("gives" in step), f"step {number}, {step['verb']}: {outcome}"
            assert missing("", expected, outcome) is None, missing("", expected, outcome)
    note(case["name"])


async def test_the_same_key_reaches_the_same_server_as_from_rust() -> None:
    golden = json.loads((VECTORS / "decisions" / "consistent_hash.json").read_text())
    # The larger ones take long to register, and are shown in Rust.
    for case in (case for case in golden["cases"] if len(case["servers"]) <= 200):
        async with Gateway.open() as gateway:
            for server in case["servers"]:
                await gateway.register(
                    server["name"],
                    endpoint_url=DEAD,
                    service="s",
                    weight=server.get("weight", 1),
                    auto_discover=False,
                    health_check={"enabled": False},
                    configuration={"algorithm": "consistent_hash"},
                )
            for key in case["keys"]:
                with gateway.pick("s", key["key"]) as lease:
                    assert lease.name == key["servers"][0], key
