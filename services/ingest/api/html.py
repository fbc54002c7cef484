"""The frame of the pages that ingest serves to be read: light or dark as the reader has it, narrow or wide, and nothing from elsewhere."""

from collections.abc import Iterable
from html import escape

from fastapi import Response

_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}
_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>:root{{color-scheme:light dark}}body{{font:1rem/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}}
table{{border-collapse:collapse;display:block;overflow-x:auto}}td,th{{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;border-top:1px solid #8884}}
pre{{overflow:auto;background:#8881;padding:.75rem}}summary{{cursor:pointer;padding:.25rem 0}}code{{font-size:.9em}}
h1,h2,p code,summary{{overflow-wrap:anywhere}}</style></head>
<body><h1>{title}</h1>{body}</body>
</html>
"""


def page(title: str, body: str) -> str:
    return _PAGE.format(title=escape(title), body=body)


def page_response(text: str) -> Response:
    return Response(text, 200, _HEADERS, "text/html; charset=utf-8")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Of cells that are HTML."""
    lines = [
        "".join(f"<th>{name}</th>" for name in head),
        *("".join(f"<td>{cell}</td>" for cell in row) for row in rows),
    ]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def prose(text: str) -> str:
    """`code` in backquotes, as the tables are written."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))


def folded(title: str, body: str, anchor: str = "") -> str:
    """`title` and `body` are HTML."""
    name = f' id="{escape(anchor)}"' if anchor else ""
    return f"<details{name}><summary>{title}</summary>{body}</details>"


def preformatted(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"
