"""The answers of MCP servers: results of calls, and the definitions in lists."""

from __future__ import annotations

from typing import Any

from ._records import Record

__all__ = [
    "Completion",
    "Content",
    "Prompt",
    "PromptArgument",
    "PromptList",
    "PromptMessage",
    "PromptResult",
    "Resource",
    "ResourceContents",
    "ResourceList",
    "ResourceResult",
    "ResourceTemplate",
    "ResourceTemplateList",
    "Tool",
    "ToolAnnotations",
    "ToolList",
    "ToolResult",
]


class Content(Record, camel=True):
    """One block of content: ``type`` says which of the members it has."""

    type: str
    text: str | None
    data: str | None
    """Base64, of ``image`` and ``audio``."""
    mime_type: str | None
    uri: str | None
    name: str | None
    resource: ResourceContents | None
    annotations: dict[str, Any] | None
    meta: dict[str, Any] | None


class ToolResult(Record, camel=True):
    """The result of a tool."""

    content: list[Content]
    structured_content: dict[str, Any] | None
    meta: dict[str, Any] | None

    @property
    def is_error(self) -> bool:
        """Whether the tool itself reported an error."""
        return bool(self._members.get("isError"))

    @property
    def structured(self) -> dict[str, Any] | None:
        """The structured content, if the tool has any."""
        return self._members.get("structuredContent")

    @property
    def text(self) -> str:
        """The text of all text blocks, joined by line ends; empty if there is none."""
        blocks = self._members.get("content") or []
        return "\n".join(block["text"] for block in blocks if block.get("type") == "text")

    @property
    def data(self) -> Any:
        """The value that the tool returned: its structured content, or else its text.

        FastMCP puts a value that is no object into ``{"result": value}`` and marks it in ``_meta``; it is taken out again.
        """
        structured = self.structured
        if structured is None:
            return self.text
        marked = ((self._members.get("_meta") or {}).get("fastmcp") or {}).get("wrap_result")
        return structured.get("result") if marked and set(structured) == {"result"} else structured


class ResourceContents(Record, camel=True):
    """The contents of a resource: ``text`` or, as Base64, ``blob``."""

    uri: str
    mime_type: str | None
    text: str | None
    blob: str | None
    meta: dict[str, Any] | None


class ResourceResult(Record, camel=True):
    """The result of reading a resource."""

    contents: list[ResourceContents]
    meta: dict[str, Any] | None

    @property
    def text(self) -> str:
        """The text of all contents, joined by line ends."""
        return "\n".join(part["text"] for part in self._members.get("contents") or [] if "text" in part)


class PromptMessage(Record, camel=True):
    """One message of a prompt."""

    role: str
    content: Content


class PromptResult(Record, camel=True):
    """The result of getting a prompt."""

    description: str | None
    messages: list[PromptMessage]
    meta: dict[str, Any] | None


class Completion(Record, camel=True):
    """Proposals for an argument."""

    meta: dict[str, Any] | None

    @property
    def proposals(self) -> list[str]:
        """The proposals, at most 100."""
        return list((self._members.get("completion") or {}).get("values") or [])


class ToolAnnotations(Record, camel=True):
    """Hints of a server about a tool; a server that is not trusted may say anything."""

    title: str | None
    read_only_hint: bool | None
    destructive_hint: bool | None
    idempotent_hint: bool | None
    open_world_hint: bool | None


class Tool(Record, camel=True):
    """The definition of a tool."""

    name: str
    title: str | None
    description: str | None
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None
    annotations: ToolAnnotations | None
    meta: dict[str, Any] | None


class Resource(Record, camel=True):
    """The definition of a resource."""

    uri: str
    name: str
    title: str | None
    description: str | None
    mime_type: str | None
    size: int | None
    meta: dict[str, Any] | None


class ResourceTemplate(Record, camel=True):
    """The definition of a resource template (RFC 6570)."""

    uri_template: str
    name: str
    title: str | None
    description: str | None
    mime_type: str | None
    meta: dict[str, Any] | None


class PromptArgument(Record, camel=True):
    """An argument of a prompt; its value is a text."""

    name: str
    description: str | None
    required: bool | None


class Prompt(Record, camel=True):
    """The definition of a prompt."""

    name: str
    title: str | None
    description: str | None
    arguments: list[PromptArgument] | None
    meta: dict[str, Any] | None


class ToolList(Record, camel=True):
    """A page of tools; ``next_cursor`` asks for the next one."""

    tools: list[Tool]
    next_cursor: str | None
    meta: dict[str, Any] | None


class ResourceList(Record, camel=True):
    """A page of resources; ``next_cursor`` asks for the next one."""

    resources: list[Resource]
    next_cursor: str | None
    meta: dict[str, Any] | None


class ResourceTemplateList(Record, camel=True):
    """A page of resource templates; ``next_cursor`` asks for the next one."""

    resource_templates: list[ResourceTemplate]
    next_cursor: str | None
    meta: dict[str, Any] | None


class PromptList(Record, camel=True):
    """A page of prompts; ``next_cursor`` asks for the next one."""

    prompts: list[Prompt]
    next_cursor: str | None
    meta: dict[str, Any] | None
