"""An MCP server on standard input and output with one tool. Yours is more likely one that is there already."""

import json
import sys

TOOLS = [{"name": "double", "description": "Doubles a number", "inputSchema": {"type": "object"}}]

for line in sys.stdin:
    message = json.loads(line)
    match message.get("method"):
        case "initialize":
            information = {"name": "numbers", "version": "1"}
            result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": information}
        case "tools/list":
            result = {"tools": TOOLS}
        case "tools/call" if message["params"]["name"] == "double":
            result = {"content": [{"type": "text", "text": str(2 * message["params"]["arguments"]["n"])}]}
        case "ping":
            result = {}
        case _:
            result = None
    if "id" in message:
        answer = {"result": result} if result is not None else {"error": {"code": -32601, "message": "unknown"}}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}), flush=True)
