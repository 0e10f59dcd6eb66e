"""The dashboard's files: all that the page needs is served, and nothing else can run in it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from stream_api.web.routes import CHART_ASSETS, OUR_ASSETS, router

TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}


@pytest.fixture
def client() -> AsyncClient:
    app = FastAPI()
    app.include_router(router)
    return AsyncClient(transport=ASGITransport(app), base_url="http://analytics")


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: set[str] = set()
        self.inline: list[str] = []
        self.ids: list[str] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self._in_script = tag in {"script", "style"}
        for name, value in attrs:
            if name.startswith("on") or name == "style":
                self.inline.append(f"{tag} {name}")
            if name == "id":
                self.ids.append(str(value))
        address = values.get("src") or (values.get("href") if tag == "link" else None)
        if address:
            self.loaded.add(address)

    def handle_data(self, data: str) -> None:
        if self._in_script and data.strip():
            self.inline.append(data.strip()[:40])
        self._in_script = False


async def test_the_page_is_html_and_strict_about_what_may_run(client: AsyncClient) -> None:
    answer = await client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "*" not in policy


async def test_nothing_in_the_page_is_inline_and_no_id_stands_twice(client: AsyncClient) -> None:
    page = _Page((await client.get("/")).text)
    assert page.inline == []
    assert len(page.ids) == len(set(page.ids))


async def test_every_file_that_page_and_scripts_load_is_served(client: AsyncClient) -> None:
    wanted = _Page((await client.get("/")).text).loaded
    assert wanted, "the page loads nothing"
    reached: set[str] = set()
    while wanted:
        address = wanted.pop()
        # Relative, so that the page works behind a path prefix too.
        assert address.startswith("assets/"), address
        answer = await client.get(f"/{address}")
        assert answer.status_code == 200, address
        reached.add(address.removeprefix("assets/"))
        if address.endswith(".js"):
            imports = re.findall(r'from "\./([^"]+)"', answer.text)
            wanted |= {f"assets/{name}" for name in imports if name not in reached}
    assert reached == OUR_ASSETS | CHART_ASSETS


@pytest.mark.parametrize("name", sorted(OUR_ASSETS | CHART_ASSETS))
async def test_an_asset_has_its_type_and_is_not_sent_twice(client: AsyncClient, name: str) -> None:
    answer = await client.get(f"/assets/{name}")
    assert answer.headers["content-type"].startswith(TYPES[name.rpartition(".")[2]])
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    etag = answer.headers["etag"]
    for header in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = await client.get(f"/assets/{name}", headers={"If-None-Match": header})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == etag
    other = await client.get(f"/assets/{name}", headers={"If-None-Match": '"other"'})
    assert other.content == answer.content


@pytest.mark.parametrize(
    "name", ["routes.py", "index.html", "nothing.js", "..%2froutes.py", "x" * 900]
)
async def test_what_is_not_listed_is_not_served(client: AsyncClient, name: str) -> None:
    assert (await client.get(f"/assets/{name}")).status_code == 404


async def test_a_head_request_has_the_same_head(client: AsyncClient) -> None:
    assert (await client.head("/")).headers["etag"] == (await client.get("/")).headers["etag"]
