"""How the dashboard's files are given out: nothing but they, under a policy that keeps everything else away (R33, R50)."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from chassis.http import create_app
from services.ingest.api.dashboard import Dashboard


@pytest.fixture
def built(tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("the page")
    (folder / "mail.html").write_text("a frame")
    (folder / "assets" / "index-1a2b.js").write_text("the script")
    (tmp_path / "secret.txt").write_text("not to be seen")
    (folder / "assets" / "way-out").symlink_to(tmp_path / "secret.txt")
    return folder


@pytest.fixture
async def browser(built: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app("ingest", list)
    app.mount("/dashboard", Dashboard(built))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ingest") as client:
        yield client


@pytest.mark.parametrize("path", ["/dashboard/", "/dashboard/messages", "/dashboard/messages/msg_06H2"])
async def test_each_address_within_the_dashboard_is_its_page(browser: httpx.AsyncClient, path: str) -> None:
    answer = await browser.get(path)
    assert (answer.status_code, answer.text) == (200, "the page")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_what_has_its_hash_in_its_name_is_kept_and_the_page_is_asked_for_again(
    browser: httpx.AsyncClient,
) -> None:
    asset = await browser.get("/dashboard/assets/index-1a2b.js")
    assert asset.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    page = await browser.get("/dashboard/")
    same = await browser.get("/dashboard/", headers={"If-None-Match": page.headers["ETag"]})
    assert same.status_code == 304


async def test_the_frame_of_a_mail_runs_and_fetches_nothing_and_only_we_may_show_it(browser: httpx.AsyncClient) -> None:
    policy = (await browser.get("/dashboard/mail.html")).headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "img-src data:", "form-action 'none'", "frame-ancestors 'self'"} <= set(policy)
    assert not any(rule.startswith(("script-src", "connect-src", "frame-src")) for rule in policy)


@pytest.mark.parametrize(
    "path",
    [
        "/dashboard/../secret.txt",
        "/dashboard/%2e%2e/secret.txt",
        "/dashboard/..%2fsecret.txt",
        "/dashboard/assets/../../secret.txt",
        "/dashboard/%2fetc/passwd",
        "/dashboard/..%5csecret.txt",
        "/dashboard/assets/way-out",
        "/dashboard/assets/missing.js",
        "/dashboard/%00",
    ],
)
async def test_nothing_outside_of_its_folder_is_given_out(browser: httpx.AsyncClient, path: str) -> None:
    answer = await browser.get(httpx.URL("http://ingest", raw_path=path.encode()))
    assert "not to be seen" not in answer.text
    assert "root:" not in answer.text
    assert (answer.status_code, answer.text) == (200, "the page") or answer.status_code == 404


async def test_it_is_read_only(browser: httpx.AsyncClient) -> None:
    assert (await browser.post("/dashboard/")).status_code == 405


async def test_what_was_not_built_says_how_to_build_it(browser: httpx.AsyncClient, built: Path) -> None:
    (built / "index.html").unlink()
    answer = await browser.get("/dashboard/")
    assert answer.status_code == 404
    assert "make dashboard" in answer.json()["error"]["hint"]
