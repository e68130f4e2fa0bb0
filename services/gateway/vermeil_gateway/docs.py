"""The page at /docs, made from the OpenAPI description; plain HTML that loads nothing from elsewhere."""

import html
import json
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from vermeil_gateway.api.shared import AS_A_PAGE
from vermeil_gateway.scopes import OPEN_PATHS

Json = Mapping[str, Any]

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; } summary { cursor: pointer; padding: .35rem 0; }
code, pre { font: 13px/1.45 ui-monospace, monospace; }
pre { background: #8881; padding: .8rem; overflow: auto; }
.method { display: inline-block; width: 3.6rem; font-weight: 600; color: #a33; } p { margin: .4rem 0; }
table { border-collapse: collapse; } td { padding: .15rem .8rem .15rem 0; vertical-align: top; }
"""


_TEXT: Json = {"type": "string"}
_ERROR: Json = {
    "type": "object",
    "title": "Error",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code", "violations"],
            "properties": {
                "message": _TEXT,
                "type": _TEXT,
                "param": {"type": ["string", "null"]},
                "code": _TEXT,
                "violations": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"field": _TEXT, "description": _TEXT}},
                },
            },
        }
    },
}
"""What every status that is not of an answer carries."""

_REFUSAL: Json = {
    "description": "Refused, and why.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}


def install_docs(app: FastAPI, *, needs_keys: bool) -> None:
    """Serve /docs, and say of every route how it refuses and whether it asks for a key."""
    page: list[str] = []

    @app.get("/docs", include_in_schema=False, response_class=HTMLResponse)
    async def docs() -> HTMLResponse:
        if not page:
            page.append(_page(app.openapi()))
        return HTMLResponse(page[0], headers=AS_A_PAGE)

    describe = app.openapi

    def with_keys() -> dict[str, Any]:
        described = describe()
        components = described.setdefault("components", {})
        components.setdefault("schemas", {})["Error"] = _ERROR
        for path, methods in described["paths"].items():
            for operation in methods.values():
                operation["responses"].pop("422", None)
                operation["responses"]["default"] = _REFUSAL
                if path in OPEN_PATHS:
                    operation["security"] = []
        if needs_keys:
            scheme = {"type": "http", "scheme": "bearer", "description": "Of `vermeil keys create`."}
            components["securitySchemes"] = {"key": scheme}
            described["security"] = [{"key": []}]
        return described

    app.openapi = with_keys  # type: ignore[method-assign]


def _page(openapi: Json) -> str:
    groups: dict[str, list[str]] = {}
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["Other"])[0]
            groups.setdefault(tag, []).append("".join(_operation(path, method, operation, openapi)))
    sections = "".join(f"<h2>{html.escape(tag)}</h2>{''.join(parts)}" for tag, parts in groups.items())
    info = openapi["info"]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(info['title'])}</title>"
        f"<style>{_STYLE}</style><h1>{html.escape(info['title'])}</h1><p>{html.escape(info['summary'])} "
        'The machine-readable form is <a href="openapi.json">openapi.json</a>.</p>'
        f"{sections}</html>"
    )


def _operation(path: str, method: str, operation: Json, openapi: Json) -> Iterator[str]:
    text = html.escape(operation.get("description") or operation.get("summary", ""))
    yield f"<details><summary><span class=method>{method.upper()}</span> <code>{html.escape(path)}</code> "
    yield f"— {text}</summary>"
    if parameters := operation.get("parameters"):
        yield "<table>"
        for parameter in parameters:
            about = parameter.get("description") or parameter["in"]
            yield f"<tr><td><code>{html.escape(parameter['name'])}</code><td>{html.escape(about)}"
        yield "</table>"
    if body := operation.get("requestBody"):
        yield "<p>Request</p>" + _schema(body, openapi)
    for status, answer in operation.get("responses", {}).items():
        if status.startswith("2") and answer.get("content"):
            yield f"<p>Answer {status}</p>" + _schema(answer, openapi)
    yield "</details>"


def _schema(content: Json, openapi: Json) -> str:
    schema = next(iter(content["content"].values())).get("schema", {})
    if reference := schema.get("$ref"):
        schema = openapi["components"]["schemas"][reference.rpartition("/")[2]]
    return f"<pre>{html.escape(json.dumps(schema, indent=2, ensure_ascii=False))}</pre>"
