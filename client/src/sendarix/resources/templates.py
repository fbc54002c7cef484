"""`/v1/templates`: named content in versions; what is sent is the version that is published."""

from collections.abc import Mapping
from typing import Any

from sendarix.binding import AsyncResource, Resource, ask, ask_async, walk, walk_async
from sendarix.exchange import Call, Listing, Request, body_of, path_of
from sendarix.shapes import NewTemplate, Rendered, Template


def create(template: NewTemplate) -> Call[Template]:
    """A new template, as version 1."""
    return Call(Request("POST", path_of("templates"), body=body_of(template), repeatable=False))


def listed() -> Listing[Template]:
    return Listing(Request("GET", path_of("templates")))


def get(name: str) -> Call[Template]:
    """By name or id."""
    return Call(Request("GET", path_of("templates", name)))


def update(name: str, template: NewTemplate) -> Call[Template]:
    """A new version with this content; it is not sent before it is published."""
    return Call(Request("PUT", path_of("templates", name), body=body_of(template), repeatable=False))


def publish(name: str) -> Call[Template]:
    """From now on the newest version is sent."""
    return Call(Request("POST", path_of("templates", name, "publish"), body=b"{}"))


def render(name: str, data: Mapping[str, Any]) -> Call[Rendered]:
    """What a mail with these data would say; nothing is sent."""
    return Call(Request("POST", path_of("templates", name, "render"), body=body_of({"template_data": data})))


def validate(name: str, data: Mapping[str, Any] | None = None) -> Call[dict[str, Any]]:
    """Whether it can be rendered (with these data)."""
    body = body_of({} if data is None else {"template_data": data})
    return Call(Request("POST", path_of("templates", name, "validate"), body=body))


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
