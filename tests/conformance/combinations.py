"""Which combinations of fixture, upstream and revision are judged, and which of them wait for a part of the gateway.

A name is LAYOUT/FIXTURE/REVISION/ERA: how the fixture stands behind the gateway, which fixture, the
requirements that the suite holds the gateway to, and the era that the fixture is held to. In a pure
pair that is `both`; in a mixed pair it is the one that the suite does not speak.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass

LEGACY, MODERN = "2025-11-25", "2026-07-28"
REVISIONS = (LEGACY, MODERN)
FIXTURES = ("python", "node")
# One server over HTTP; one over stdio; two replicas of one service; one server seen through /mcp.
LAYOUTS = ("http", "stdio", "replicas", "aggregate")
# The suite's own servers before the gateway, and the official TypeScript client behind it.
CLIENT = "client"

# What is not built yet: patterns of names, and what they wait for. The output names each combination
# that one of them keeps from running. Remove a line when what it waits for lands.
NOT_BUILT: dict[str, str] = {}
# The same for single scenarios.
NOT_BUILT_SCENARIOS = {
    # Extensions, which no revision requires: the gateway logs in as a person does, and shows bearer tokens.
    "auth/client-credentials-*": "an extension of OAuth: the grant of client credentials",
    "auth/enterprise-managed-authorization": "an extension of OAuth: authorization managed by an enterprise",
    "auth/wif-jwt-bearer": "an extension of OAuth: workload identities",
    "auth/dpop*": "an extension of OAuth: tokens bound to a key (RFC 9449)",
}

# Checks that need not succeed through the gateway although the fixture alone passes them, with the reason.
FREE = {
    # Transports, "Sending Messages": the server MUST either return text/event-stream or application/json.
    # The gateway decides with the first message, since only JSON can carry the status that an error must have in the modern
    # era. The suite says of it "SSE streaming is optional", and only that (INFO) is let pass.
    "server-sse-streams-functional": "the gateway answers with JSON where the fixture opens a stream for one message",
}

# Checks of a scenario that the gateway never comes to, since it refuses earlier than the client alone, with the reason.
REFUSED_EARLIER = {
    # RFC 9728 section 3.3: if `resource` is not the server's, "the data contained in the response MUST NOT be used".
    ("auth/resource-mismatch", "authorization-server-metadata"): "the gateway does not ask whom that data names",
}

# The aggregated route puts the service's name before tools and prompts. These scenarios call none by name.
AGGREGATE = {
    LEGACY: (
        "server-initialize",
        "logging-set-level",
        "ping",
        "tools-list",
        "server-sse-multiple-streams",
        "resources-list",
        "resources-read-text",
        "resources-read-binary",
        "resources-templates-read",
        "resources-subscribe",
        "resources-unsubscribe",
        "prompts-list",
        "dns-rebinding-protection",
        "server-session-lifecycle",
    ),
    MODERN: (
        "server-stateless",
        "tools-list",
        "server-sse-multiple-streams",
        "resources-list",
        "resources-read-text",
        "resources-read-binary",
        "resources-templates-read",
        "sep-2164-resource-not-found",
        "prompts-list",
        "dns-rebinding-protection",
        "caching",
        "input-required-result-unsupported-methods",
        "http-header-validation",
        "http-custom-header-server-validation",
    ),
}
# Checks of these scenarios that do call a tool by its bare name.
BARE_NAMED = frozenset(
    {
        "sep-2575-server-rejects-undeclared-capability",
        "sep-2575-missing-capability-http-400",
        "sep-2575-http-server-no-independent-requests-on-stream",
        "sep-2575-server-no-log-without-loglevel",
        "sep-2575-server-tags-subscription-id",
        "sep-2575-server-sends-prompts-list-changed-on-subscription",
        "sep-2575-server-sends-tools-list-changed-on-subscription",
    }
)
# Checks of streams that end before their call and are taken up again. Over stdio a server has none, and the gateway ends a
# client's stream only where the server ends its own.
RESUMED = frozenset({"server-sse-priming-event", "server-sse-retry-field", "server-sse-disconnect-resume"})


@dataclass(frozen=True)
class Combination:
    layout: str
    fixture: str
    revision: str
    era: str

    @property
    def name(self) -> str:
        return f"{self.layout}/{self.fixture}/{self.revision}/{self.era}"

    @property
    def waits_for(self) -> str | None:
        """The part of the gateway without which this cannot pass."""
        return next((what for pattern, what in NOT_BUILT.items() if fnmatch.fnmatch(self.name, pattern)), None)


def every() -> list[Combination]:
    found = []
    for layout in LAYOUTS:
        for revision, other in ((LEGACY, "modern"), (MODERN, "legacy")):
            for era in ("both", other):
                found += [Combination(layout, fixture, revision, era) for fixture in FIXTURES]
    found += [Combination(CLIENT, "typescript", revision, "both") for revision in REVISIONS]
    return found


def waiting_scenario(scenario: str) -> str | None:
    return next((why for name, why in NOT_BUILT_SCENARIOS.items() if fnmatch.fnmatch(scenario, name)), None)
