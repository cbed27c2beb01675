"""Who meets whom in the interop run, what is tried, and what waits for a part of the gateway."""

from __future__ import annotations

LEGACY, MODERN = "2025-11-25 and before", "2026-07-28"
BOTH = (LEGACY, MODERN)
# Every client: its flags, and the eras that it speaks.
CLIENTS: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "python": ([], BOTH),
    "python-legacy": (["--legacy"], (LEGACY,)),
    "python-modern": (["--modern"], (MODERN,)),
    "python-bare": (["--bare"], BOTH),
    "python-v1": ([], (LEGACY,)),
    "fastmcp": ([], BOTH),
    "fastmcp-legacy": (["--legacy"], (LEGACY,)),
    "fastmcp-modern": (["--modern"], (MODERN,)),
    "typescript-v1": ([], (LEGACY,)),
    "typescript-v2": ([], (LEGACY,)),
    "typescript-v2-auto": (["--auto"], BOTH),
    "typescript-v2-modern": (["--modern"], (MODERN,)),
    "rmcp": ([], (LEGACY,)),
    "rmcp-discover": (["--discover"], (MODERN,)),
}
# What the gateway does not speak yet. These clients and servers meet without it only, unless --unbuilt is
# given; the output names them. Remove a line when its era lands.
NOT_BUILT: dict[str, str] = {}
# Declares no capability, so it shares a stdio server with its like, and no server may ask it anything.
BARE, UNASKED = "python-bare", ("sampling", "elicitation", "roots")
# Every server: its profile, and the eras that it speaks.
UPSTREAMS = {
    "everything-http": ("everything", (LEGACY,)),
    "everything-stdio": ("everything", (LEGACY,)),
    "files": ("filesystem", (LEGACY,)),
    "fast": ("fastmcp", BOTH),
    "modern-http": ("fixture", (MODERN,)),
    "modern-stdio": ("fixture", (MODERN,)),
}
# The server logs on a timer, outside of any request. What a client of 2026-07-28 hears on the answer to a request
# "MUST relate to the originating client request" (Streamable HTTP, Receiving Messages), and nothing else carries logs.
UNTOLD = ("everything", "logs")
ROUTES = ("direct", "service", "aggregate")
# What a client reports, its column, and the key of profiles.json that says what to do.
FEATURES = {
    "tools/list": ("t.list", "tools"),
    "tools/call": ("t.call", "call"),
    "resources/list": ("r.list", "resource"),
    "resources/read": ("r.read", "resource"),
    "templates": ("r.tmpl", "template"),
    "prompts/list": ("p.list", "prompt"),
    "prompts/get": ("p.get", "prompt"),
    "complete prompt": ("c.prom", "complete_prompt"),
    "complete resource": ("c.res", "complete_resource"),
    "progress": ("progr", "progress"),
    "logs": ("logs", "logs"),
    "cancel": ("cancel", "cancel"),
    "sampling": ("sampl", "sampling"),
    "elicitation": ("elicit", "elicitation"),
    "roots": ("roots", "roots"),
}


def is_untold(client: str, upstream: str, route: str, key: str) -> bool:
    """Whether the client cannot hear it, since the gateway serves it in the era that it prefers."""
    modern = MODERN in CLIENTS[client][1] and route != "direct"
    return modern and (UPSTREAMS[upstream][0], key) == UNTOLD


def program_of(client: str, programs: dict[str, list[str]]) -> str:
    """The program of a client, which is named after it."""
    return max((name for name in programs if client.startswith(name)), key=len)


def meet(client: str, upstream: str, route: str, waiting: dict[str, str]) -> bool:
    """Whether the two can speak at all: without a gateway only if they have an era in common."""
    if route == "direct":
        return bool(set(CLIENTS[client][1]) & set(UPSTREAMS[upstream][1]))
    return client not in waiting and upstream not in waiting
