"""What templates make of data (R8): the engine as the worker sets it up, and what its mistakes are to a client."""

from typing import Any

import pytest

from services.ingest.adapters.render_worker import answer
from services.ingest.domain.faults import Refused
from services.ingest.domain.templates import Mistake, Rendered, Stopped, mistaken, rendered_faults, stopped

DATA: dict[str, Any] = {
    "name": "Ada",
    "evil": "<script>alert(\"1\")</script> & 'co'",
    "items": [{"title": "Tea", "price": 4.5}, {"title": "Cake", "price": 3}],
    "user": {"first": "Ada", "address": {"city": "London"}},
    "nobody": [],
    "self": "a name that the engine knows, too",
}


def made(data: dict[str, Any] = DATA, **parts: str) -> dict[str, str]:
    found: dict[str, str] = answer({"parts": parts, "data": data, "limit": 100_000})["made"]
    return found


def refusal(data: dict[str, Any] = DATA, **parts: str) -> Refused:
    reply = answer({"parts": parts, "data": data, "limit": 100_000})
    return mistaken([Mistake(**fault) for fault in reply["faults"]], "template.")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("Hello {{ name }}!", "Hello Ada!"),
        ("{{ user.address.city }} {{ user['first'] }}", "London Ada"),
        ("{% for item in items %}{{ loop.index }}. {{ item.title }}\n{% endfor %}", "1. Tea\n2. Cake\n"),
        ("{% if items|length > 1 %}many{% else %}few{% endif %}", "many"),
        ("{% for x in nobody %}{{ x }}{% else %}none{% endfor %}", "none"),
        ("{{ missing|default('guest') }}", "guest"),
        ("{% if missing is defined %}x{% else %}y{% endif %}", "y"),
        ("{{ name|upper }} {{ items|map(attribute='price')|sum }} {{ 4.26|round(1) }}", "ADA 7.5 4.3"),
        ("{% macro line(t) %}* {{ t }}{% endmacro %}{{ line('a') }}", "* a"),
        ("{% set x = 1 %}{{ x + 1 }}", "2"),
        ("{# nothing #}{% raw %}{{ name }}{% endraw %}", "{{ name }}"),
        ("{{ evil }}", DATA["evil"]),
        ("{{ self }}", DATA["self"]),
        ("no braces { } %", "no braces { } %"),
    ],
)
def test_a_table_of_texts(source: str, text: str) -> None:
    assert made(text=source) == {"text": text}


@pytest.mark.parametrize(
    ("source", "html"),
    [
        ("<p>{{ evil }}</p>", "<p>&lt;script&gt;alert(&quot;1&quot;)&lt;&#x2f;script&gt; &amp; &#x27;co&#x27;</p>"),
        ('<a title="{{ evil }}">', '<a title="&lt;script&gt;alert(&quot;1&quot;)&lt;&#x2f;script&gt; &amp; &#x27;co&#x27;">'),
        ("{{ '<b>' ~ name }}", "&lt;b&gt;Ada"),
        ("{{ items|map(attribute='title')|join('<br>') }}", "Tea&lt;br&gt;Cake"),
        ("{% set x %}<b>{{ evil[:1] }}</b>{% endset %}{{ x }}", "<b>&lt;</b>"),
        ("{% macro m(x) %}<i>{{ x }}</i>{% endmacro %}{{ m('<') }}", "<i>&lt;</i>"),
        ("{{ '<b>'|safe }}", "<b>"),
    ],
)  # fmt: skip
def test_html_is_escaped_wherever_data_stands(source: str, html: str) -> None:
    assert made(html=source)["html"] == html


def test_subject_and_text_are_not_escaped_and_text_is_made_of_html() -> None:
    parts = made(subject="{{ evil }}", html="<h1>Hi {{ name }}</h1><p>{{ evil }}</p>")
    assert parts["subject"] == DATA["evil"]
    assert parts["text"] == f"Hi Ada\n\n{DATA['evil']}\n"
    assert made(text="mine", html="<p>x</p>")["text"] == "mine"


@pytest.mark.parametrize(
    ("source", "line", "variable"),
    [
        ("{{ code }}", 1, "code"),
        ("a\n\n{{ name }} {{ code }}", 3, "code"),
        ("{{ user.last }}", 1, "user.last"),
        ("{{ user.phone.number }}", 1, "user.phone"),
        ("{% for x in lines %}{% endfor %}", 1, "lines"),
        ("{% if code %}{% endif %}", 1, "code"),
        ("{% for item in items %}\n{{ item.weight }}{% endfor %}", 2, "item.weight"),
        ("{{ code|upper }}", 1, "code"),
        ("{{ name ~ code }}", 1, "code"),
    ],
)
def test_a_missing_variable_is_named(source: str, line: int, variable: str) -> None:
    refused = refusal(html=source)
    assert (refused.status, refused.code) == (422, "template_error")
    (fault,) = refused.faults
    assert (fault.field, fault.code, fault.line, fault.variable) == (
        "template_data", "missing_variable", line, variable,
    )  # fmt: skip
    assert "template.html" in fault.message


@pytest.mark.parametrize(
    ("source", "code", "line"),
    [
        ("{{ name", "syntax_error", 1),
        ("a\n{% for x %}", "syntax_error", 2),
        ("{% if name %}", "syntax_error", 1),
        ("{% nonsense %}", "syntax_error", 1),
        ("\n{{ name|nonsense }}", "rendering_failed", 2),
        ("{{ nonsense() }}", "rendering_failed", 1),
        ("{{ debug() }}", "rendering_failed", 1),
        ("{{ 1 / 0 }}", "rendering_failed", 1),
        ("{% include 'html' %}", "rendering_failed", 1),
        ("{% include 'other' %}", "rendering_failed", 1),
        ("{% extends 'other' %}", "rendering_failed", 1),
        ("{{ name.__class__.__mro__ }}", "missing_variable", 1),
    ],
)
def test_a_mistake_is_named(source: str, code: str, line: int) -> None:
    (fault,) = refusal(html=source).faults
    assert (fault.code, fault.line) == (code, line)
    assert fault.field == ("template_data" if code == "missing_variable" else "template.html")


def test_what_it_makes_is_bounded() -> None:
    reply = answer({"parts": {"text": "{{ name * 100 }}"}, "data": DATA, "limit": 299})
    assert reply == {"stopped": "size"}
    assert [fault.code for fault in stopped(Stopped("size")).faults] == ["too_large"]


def test_a_check_finds_every_parts_error_and_else_the_variables() -> None:
    parts = {"subject": "{{ a", "text": "{{ b }}", "html": "\n{% x %}"}
    found = answer({"parts": parts, "data": None, "limit": 0})["faults"]
    assert [(fault["part"], fault["line"]) for fault in found] == [("subject", 1), ("html", 2)]
    parts = {"subject": "{{ code }}", "html": "{{ user.name }}{% for x in items %}{{ x }}{% endfor %}"}
    assert answer({"parts": parts, "data": None, "limit": 0}) == {"variables": ["code", "items", "user.name"]}


@pytest.mark.parametrize(
    ("rendered", "faults"),
    [
        (Rendered("Hi", "text", None), []),
        (Rendered(None, None, "<p>"), []),
        (Rendered("Hi\r\nBcc: x@y.example", "text"), [("template.subject", "forbidden_characters")]),
        (Rendered("Hi\nthere", "text"), [("template.subject", "forbidden_characters")]),
        (Rendered("x" * 999, "text"), [("template.subject", "too_long")]),
        (Rendered(" ", "text"), [("template.subject", "empty")]),
        (Rendered("Hi", "a\x00b"), [("template.text", "forbidden_characters")]),
        (Rendered("Hi", " ", "\n"), [("template", "empty")]),
    ],
)
def test_what_may_not_stand_in_a_mail(rendered: Rendered, faults: list[tuple[str, str]]) -> None:
    """A customer's data can not forge a header: CR and LF in a rendered subject are refused."""
    assert [(fault.field, fault.code) for fault in rendered_faults(rendered)] == faults
