"""`/u/{token}`: the link of a `List-Unsubscribe` header (RFC 8058). POST unsubscribes; GET, which scanners do, asks.

Mail providers and browsers call it, not customers: no key, HTML answers. It must never show whose account or address it is.
"""

from fastapi import APIRouter, Request, Response

from services.ingest.api.bodies import read_body
from services.ingest.api.edge import Gate
from services.ingest.domain.unsubscribe import UnsubscribeLinks
from services.ingest.management.unsubscribe import Unsubscribe

_MAX_BODY_OCTETS = 4096
# Nothing is loaded, the page can not be framed for a click by trickery, and the link is not passed on.
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
}
_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem}}
button{{font:inherit;padding:.6rem 1.2rem}}</style></head>
<body><h1>{title}</h1>{body}</body>
</html>
"""
_ASKS = (
    "<p>You will get no more mail of this kind at this address.</p>"
    '<form method="post"><input type="hidden" name="List-Unsubscribe" value="One-Click">'
    "<button>Unsubscribe</button></form>"
)


def unsubscribe_router(gate: Gate, links: UnsubscribeLinks, unsubscribe: Unsubscribe) -> APIRouter:
    router = APIRouter()

    async def ask(request: Request) -> Response:
        gate.admit_recipient(request)
        if links.read(request.path_params["token"]) is None:
            return _unknown()
        return _page(200, "Unsubscribe?", _ASKS)

    async def carry_out(request: Request) -> Response:
        gate.admit_recipient(request)
        asked = links.read(request.path_params["token"])
        if asked is None:
            return _unknown()
        if not _says_one_click(await read_body(request, _MAX_BODY_OCTETS)):
            return _page(400, "Nothing was changed", "<p>The request does not say List-Unsubscribe=One-Click.</p>")
        await unsubscribe(asked)
        return _page(200, "You are unsubscribed", "<p>It holds from now on. You can close this page.</p>")

    router.add_api_route("/u/{token}", ask, methods=["GET", "HEAD"])
    router.add_api_route("/u/{token}", carry_out, methods=["POST"])
    return router


def _says_one_click(body: bytes) -> bool:
    """As a form of either encoding: RFC 8058 allows both, and names one pair."""
    return b"List-Unsubscribe" in body and b"One-Click" in body


def _unknown() -> Response:
    return _page(404, "This link is not valid", "<p>It may have been cut off. Try the one in the mail again.</p>")


def _page(status: int, title: str, body: str) -> Response:
    return Response(_PAGE.format(title=title, body=body), status, _HEADERS, "text/html; charset=utf-8")
