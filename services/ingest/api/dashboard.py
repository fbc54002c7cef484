"""`/dashboard`: the files that `make dashboard` built, under a policy that lets them reach this service and nothing else.

It must never answer from outside their folder, nor know what is in them.
"""

from pathlib import Path, PurePath

from fastapi import Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from chassis.http import ApiError

_PAGE = "index.html"
_MAIL = "mail.html"  # where the dashboard shows a mail's HTML: styles of its own, no scripts, nothing from elsewhere
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_MAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_FOR_EVER = "public, max-age=31536000, immutable"  # the name of an asset holds a hash of its content
_ASK_FIRST = "no-cache"


class Dashboard(StaticFiles):
    """Mounted at `/dashboard`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder, check_dir=False)
        self._page = folder / _PAGE

    async def get_response(self, path: str, scope: Scope) -> Response:
        if not self._page.is_file():
            raise ApiError(
                404, "not_found", "The dashboard was not built.", "Run `make dashboard`, then load this again."
            )
        response = await self._file(path, scope)
        response.headers["Content-Security-Policy"] = _MAIL_POLICY if path == _MAIL else _PAGE_POLICY
        response.headers["Cache-Control"] = _FOR_EVER if path.startswith("assets/") else _ASK_FIRST
        response.headers.update(_HEADERS)
        return response

    async def _file(self, path: str, scope: Scope) -> Response:
        """The page, too, for an address within it: there it finds its way by itself. Raises HTTPException."""
        try:
            return await super().get_response(path, scope)
        except HTTPException as missing:
            if missing.status_code != 404 or PurePath(path).suffix:
                raise
            return await super().get_response(_PAGE, scope)
