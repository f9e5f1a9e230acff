"""The API described in OpenAPI 3.1, made of the same tables that the API works by."""

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from config.schema import Settings
from control.actions import ACTIONS, SWITCH
from control.settings import LIVE

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def document(version: str, server: str) -> dict[str, Any]:
    """The whole document. ``server``: e.g. "http://127.0.0.1:8000"."""
    paths: dict[str, Any] = {
        "/status": _get("How the run stands", _json("Status")),
        "/metrics": _get("Rates, frame age and stage times in milliseconds", _json("Metrics")),
        "/settings": _get("All settings, and which of them change live", _json("Settings"))
        | {
            "patch": {
                "summary": "Change settings, all or none",
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {"type": "object"},
                            "examples": {
                                "dotted": {"value": {"label.size": 0.1}},
                                "groups": {"value": {"label": {"size": 0.1}}},
                            },
                        }
                    },
                },
                "responses": _responses(_json("Settings"), "400", "409", "413"),
            }
        },
        "/snapshot.png": _get("The newest picture that went out", _picture("image/png"), "503"),
        "/snapshot.jpg": _get("The newest picture that went out", _picture("image/jpeg"), "503"),
        "/openapi.json": _get("This document", {"application/json": {}}),
        "/stream": {
            "get": {
                "summary": "WebSocket: {status, metrics} as JSON text, four times a second; "
                "a client that is slow gets the newest only",
                "responses": {
                    "101": {"description": "The stream follows"},
                    **_errors("400", "401", "403"),
                },
            }
        },
    }
    for name, action in ACTIONS.items():
        operation: dict[str, Any] = {
            "summary": action.help,
            "operationId": name,
            "responses": _responses(_json("Status"), "400", "409", "413", "503"),
        }
        if action.value:
            schema: dict[str, Any] = {"type": ["string", "number", "boolean"]}
            operation["requestBody"] = {
                "required": action.value != SWITCH,
                "description": action.value,
                "content": {
                    "application/json": {
                        "schema": {"type": "object", "properties": {"value": schema}}
                    }
                },
            }
        paths[f"/actions/{name}"] = {"post": operation}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "puppetcam",
            "version": version,
            "description": "Controls a run. No way leads to the camera's picture.",
        },
        "servers": [{"url": server}],
        "security": [{"bearer": []}, {"query": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "query": {"type": "apiKey", "in": "query", "name": "token"},
            },
            "schemas": _schemas(),
        },
    }


def _schemas() -> dict[str, Any]:
    number, text, switch = {"type": "number"}, {"type": "string"}, {"type": "boolean"}
    spread = {"type": "object", "additionalProperties": number}
    avatar = {"type": "object", "properties": {"number": {"type": "integer"}, "name": text}}
    groups = get_type_hints(Settings)
    return {
        "Error": {
            "type": "object",
            "required": ["error"],
            "properties": {"error": {"type": "string", "description": "one line"}},
        },
        "Status": {
            "type": "object",
            "properties": {
                "status": text,
                "avatar": avatar,
                "avatars": {"type": "array", "items": text},
                "panic": switch,
                "mirror_output": switch,
                "mirror_camera": switch,
                "zoom": number,
                "label": {"type": ["string", "null"]},
                "fps": number,
                "frame_age_ms": number,
                "frame": {"type": ["integer", "null"]},
                "source": text,
                "sinks": {"type": "array", "items": text},
                "profile": {"type": ["string", "null"]},
            },
        },
        "Metrics": {
            "type": "object",
            "properties": {
                "age": spread,
                "stages": {"type": "object", "additionalProperties": spread},
            },
            "additionalProperties": number,
        },
        "Settings": {
            "type": "object",
            "properties": {
                "settings": {
                    "type": "object",
                    "properties": {name: _group(name, hint) for name, hint in groups.items()},
                },
                "live": {"type": "array", "items": {"enum": sorted(LIVE)}},
            },
        },
    }


def _group(name: str, cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {
        "type": "object",
        "properties": {
            field.name: _property(hints[field.name])
            for field in dataclasses.fields(cls)
            if (name, field.name) != ("api", "token")
        },
    }


def _property(hint: Any) -> dict[str, Any]:
    if get_origin(hint) is Literal:
        return {"enum": list(get_args(hint))}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _property(get_args(hint)[0])}
    if isinstance(hint, types.UnionType):
        return {"anyOf": [_property(one) for one in get_args(hint)]}
    if hint is type(None):
        return {"type": "null"}
    return {"type": _TYPES[hint]} if hint in _TYPES else {}


def _get(summary: str, content: Mapping[str, Any], *errors: str) -> dict[str, Any]:
    return {"get": {"summary": summary, "responses": _responses(content, *errors)}}


def _responses(content: Mapping[str, Any], *errors: str) -> dict[str, Any]:
    done = {"200": {"description": "Done", "content": dict(content)}}
    return done | _errors("401", "403", *errors)


def _errors(*codes: str) -> dict[str, Any]:
    meanings = {
        "400": "What was asked cannot be done; the error says why",
        "401": "No token, or a wrong one",
        "403": "Asked by the page of another site, or under a foreign name",
        "409": "That setting needs a restart",
        "413": "The body is too large",
        "503": "The run has no picture yet, or does not answer",
    }
    return {code: {"description": meanings[code], "content": _json("Error")} for code in codes}


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _picture(kind: str) -> dict[str, Any]:
    return {kind: {}}
