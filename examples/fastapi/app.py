"""A FastAPI application with a gateway beside its own routes: MCP clients connect to /mcp, your routes call tools."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, FastAPI
from fastmcp import FastMCP

from mcp_registry_gateway import Gateway

numbers = FastMCP("numbers")


@numbers.tool
def double(n: int) -> int:
    """Doubles a number."""
    return 2 * n


# A server of this process. Others are Http("http://127.0.0.1:9000/mcp") or Stdio("npx", "-y", "@acme/server").
gateway = Gateway(servers={"numbers": numbers})
app = FastAPI(lifespan=gateway.lifespan)
gateway.attach(app, "/mcp")


@app.get("/double/{n}")
async def doubled(n: int, gateway: Annotated[Gateway, Depends(gateway)]) -> dict[str, Any]:
    result = await gateway.call_tool("numbers__double", {"n": n}, timeout=5)
    return {"n": n, "doubled": result.data}
