"""`/v1/templates`: named content in versions; what is sent is the version that is published."""

from collections.abc import Mapping
from typing import Any

from sendarix.binding import AsyncResource, Resource, ask, ask_async, walk, walk_async
from sendarix.exchange import Call, Listing, Request, body_of, path_of, query_of
from sendarix.shapes import NewTemplate, Rendered, Template, Validity


def create(template: NewTemplate) -> Call[Template]:
    """A new template; it is published at once, unless `publish` is False.

    After an outage, Conflict may mean that an earlier attempt of the same call made it: a name is taken once.
    """
    return Call(Request("POST", path_of("templates"), body=body_of(template)))


def listed() -> Listing[Template]:
    """Newest first, without their content."""
    return Listing(Request("GET", path_of("templates")))


def get(name: str, *, version: int | None = None) -> Call[Template]:
    """By name or id; the latest version, where none is named."""
    return Call(Request("GET", path_of("templates", name), query=query_of({"version": version})))


def update(name: str, template: NewTemplate) -> Call[Template]:
    """A new version with this content; it is not sent before it is published, unless `publish` is True."""
    return Call(Request("PUT", path_of("templates", name), body=body_of(template)))


def publish(name: str, *, version: int | None = None) -> Call[Template]:
    """From now on this version is sent; the latest, where none is named."""
    return Call(Request("POST", path_of("templates", name, "publish"), body=_body(version)))


def render(name: str, data: Mapping[str, Any], *, version: int | None = None) -> Call[Rendered]:
    """What a mail with these data would say; nothing is sent."""
    body = _body(version, template_data=data)
    return Call(Request("POST", path_of("templates", name, "render"), body=body))


def validate(name: str, content: NewTemplate | None = None, *, version: int | None = None) -> Call[Validity]:
    """Whether a version, or content that is not stored yet, is well formed."""
    return Call(Request("POST", path_of("templates", name, "validate"), body=_body(version, **(content or {}))))


def _body(version: int | None, **rest: Any) -> bytes:
    return body_of(rest if version is None else {**rest, "version": version})


def delete(name: str) -> Call[dict[str, Any] | None]:
    return Call(Request("DELETE", path_of("templates", name)))


class Templates(Resource):
    """`client.templates`."""

    create = ask(create)
    list = walk(listed)
    get = ask(get)
    update = ask(update)
    publish = ask(publish)
    render = ask(render)
    validate = ask(validate)
    delete = ask(delete)


class AsyncTemplates(AsyncResource):
    """`client.templates`, awaited."""

    create = ask_async(create)
    list = walk_async(listed)
    get = ask_async(get)
    update = ask_async(update)
    publish = ask_async(publish)
    render = ask_async(render)
    validate = ask_async(validate)
    delete = ask_async(delete)
