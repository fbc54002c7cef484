"""Debian's Chromium, driven by Playwright, and what must hold of every page whatever it shows.

It must never fetch a browser: where none is installed, tests that need one are left out, and say so.
"""

import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

from playwright.async_api import Browser, Page, async_playwright

Scheme = Literal["light", "dark"]
CHROMIUM = shutil.which("chromium")
_AXE = Path(__file__).parents[2] / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
_AUDIT = "axe.run(document, {resultTypes: ['violations'], iframes: false}).then((found) => found.violations)"


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        # Tests run as root, where Chromium has no sandbox of its own.
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()


async def inaccessible(page: Page) -> list[str]:
    """What axe finds serious or critical: the rule and where."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(_AXE.read_text())
    violations: list[dict[str, Any]] = await page.evaluate(_AUDIT)
    return [
        f"{violation['id']}: {node['target']}"
        for violation in violations
        if violation["impact"] in {"serious", "critical"}
        for node in violation["nodes"]
    ]


async def too_wide(page: Page) -> int:
    """By how many pixels the page has to be scrolled to the side."""
    pixels: int = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return pixels
