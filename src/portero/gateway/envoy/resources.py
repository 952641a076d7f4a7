"""Small pieces of Envoy configuration (the JSON form of its v3 API) that several modules write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

Json = dict[str, Any]

JWT: Final = "envoy.filters.http.jwt_authn"
"""Also the namespace of its dynamic metadata; filters are called so in per-route configuration."""
RULES: Final = "portero.rules"
ORDINARY: Final = "portero.ordinary"
AUTHORIZE: Final = "portero.authorize"
UNKNOWN_KEY: Final = "portero.unknown_key"
NORMALIZE: Final = "portero.normalize"
BUFFER: Final = "envoy.filters.http.buffer"
CORS: Final = "envoy.filters.http.cors"
CLIENT_RATE: Final = "portero.rate.client"
SUBJECT_RATE: Final = "portero.rate.subject"
SUBJECT_HEADER: Final = "x-portero-subject"
SCOPE_HEADER: Final = "x-portero-scope"
ROUTE_METADATA: Final = "portero"


def typed(kind: str, members: Mapping[str, Any] | None = None) -> Json:
    """A message in an Any."""
    return {"@type": f"type.googleapis.com/{kind}", **(members or {})}


def left_out() -> Json:
    """Per-route configuration of a filter that is not even made for the route: the cheapest way to be without it.

    A request whose path is written anew has the filters of the route that looked at it, and this says nothing to
    them: each goes by its own configuration then.
    """
    return typed("envoy.config.route.v3.FilterConfig", {"disabled": True})


def seconds(value: float) -> str:
    """A protobuf duration."""
    return f"{value:.3f}s" if value != int(value) else f"{int(value)}s"


def file_source(delivered: str, name: str) -> Json:
    """Configuration delivered by a file that is replaced by renaming.

    Each has a folder of its own: Envoy reads every file of a watched folder again when one of them changes.
    """
    folder = f"{delivered}/{name}"
    return {
        "path_config_source": {"path": f"{folder}/{name}", "watched_directory": {"path": folder}},
        "resource_api_version": "V3",
        "initial_fetch_timeout": "0s",
    }


def regex(pattern: str) -> Json:
    """A whole match (RE2)."""
    return {"safe_regex": {"regex": pattern}}


def header(name: str, match: Mapping[str, Any], *, invert: bool = False) -> Json:
    """A header matcher on its value."""
    return {"name": name, "string_match": dict(match), **({"invert_match": True} if invert else {})}


def has_header(name: str) -> Json:
    """A header matcher on its presence."""
    return {"name": name, "present_match": True}


def any_id(ids: Sequence[Json]) -> Json:
    """One of several RBAC principals."""
    return ids[0] if len(ids) == 1 else {"or_ids": {"ids": list(ids)}}


def all_ids(ids: Sequence[Json]) -> Json:
    """All of several RBAC principals."""
    return ids[0] if len(ids) == 1 else {"and_ids": {"ids": list(ids)}}


def not_id(one: Json) -> Json:
    """The other RBAC principals."""
    return {"not_id": one}


def metadata_id(path: Iterable[str], value: Mapping[str, Any]) -> Json:
    """An RBAC principal by what `jwt_authn` learned."""
    matcher = {"filter": JWT, "path": [{"key": key} for key in path], "value": dict(value)}
    return {"sourced_metadata": {"metadata_matcher": matcher, "metadata_source": "DYNAMIC"}}


def set_header(name: str, value: str) -> Json:
    """A header that replaces every other of its name."""
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def percent(text: str) -> str:
    """A text in which Envoy formats nothing."""
    return text.replace("%", "%%")
