"""Who is let in, what is refused, and what a browser is told."""

from __future__ import annotations

import os
import urllib.request
from pathlib import Path
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient

from clipsearch.errors import ClipsearchError, WeightsError
from clipsearch.library.serving import ServedLibrary
from clipsearch.service import create_app
from clipsearch.service.security import host_name, is_loopback, require_strong, trusted_name
from clipsearch.service.server import Server, guarded
from tests.service.conftest import TOKEN, Start

EVERYWHERE = "0.0.0.0"  # noqa: S104 - what must not happen without a token
BEARER = {"Authorization": f"Bearer {TOKEN}"}
WRITES: tuple[tuple[str, str, object], ...] = (
    ("POST", "/api/photos/1/tags", {"add": ["x"]}),
    ("POST", "/api/saved", {"name": "x", "query": "red"}),
    ("DELETE", "/api/saved/x", None),
    ("POST", "/api/index", {}),
    ("POST", "/api/tag", {}),
)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8337", "[::1]:1", "LOCALHOST:80"])
def test_names_of_this_machine_are_trusted(client: FlaskClient, host: str) -> None:
    assert client.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8337", "192.168.0.7"),
        *("", "localhost@evil.example", "evil.example:80:127.0.0.1", "[::1", "localhost:x", "a b"),
        *("localhost/x", "127.1", "2130706433", "localhost.", "loc\xe4lhost", "[::1]evil"),
    ],
)
def test_other_names_are_refused_everywhere(client: FlaskClient, host: str) -> None:
    for address in ("/", "/health", "/api/search?q=red", "/static/app.js", "/nowhere"):
        answer = client.get(address, headers={"Host": host})
        assert answer.status_code == 403, (host, address)
        assert answer.get_json()["ok"] is False


def test_configured_names_and_addresses_are_trusted(served: ServedLibrary) -> None:
    client = create_app(served, hosts=["Photos.Example"], addresses=True).test_client()
    for host in ("photos.example:8337", "192.168.0.7:8337", "[fe80::1]:8337"):
        assert client.get("/health", headers={"Host": host}).status_code == 200
    assert client.get("/health", headers={"Host": "evil.example"}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9"},
        {"Origin": "ftp://localhost"},
        {"Origin": "http://[broken"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
    ],
)
def test_other_sites_change_nothing(
    client: FlaskClient, served: ServedLibrary, headers: dict[str, str]
) -> None:
    for method, address, body in WRITES:
        answer = client.open(address, method=method, json=body, headers=headers)
        assert answer.status_code == 403, (method, address)
    assert served.tag_counts() == []
    assert served.saved_searches() == []
    assert client.get("/api/jobs").get_json()["jobs"] == []


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "http://localhost"}, {"Sec-Fetch-Site": "same-origin"}],
)
def test_our_own_page_and_programs_may_write(client: FlaskClient, headers: dict[str, str]) -> None:
    answer = client.post("/api/photos/1/tags", json={"add": ["x"]}, headers=headers)
    assert answer.status_code == 200


def test_form_of_another_site_cannot_pretend_to_be_json(client: FlaskClient) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonp"):
        answer = client.post("/api/photos/1/tags", data='{"add":["x"]}', content_type=kind)
        assert answer.status_code == 415


def test_other_sites_do_not_embed_photos(client: FlaskClient) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert client.get("/api/photos/1/thumbnail", headers=headers).status_code == 403
    assert client.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_every_answer_has_the_headers_that_protect(client: FlaskClient) -> None:
    for address in ("/", "/api/status", "/nowhere", "/api/photos/1/thumbnail", "/health"):
        with client.get(address) as answer:
            headers = answer.headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "*" not in policy
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert not [name for name, _ in headers if name.startswith("Access-Control")]


def test_page_has_no_inline_script_or_style(client: FlaskClient) -> None:
    with client.get("/") as answer:
        page = answer.get_data(as_text=True).lower()
    assert "<script>" not in page
    assert "<style" not in page
    assert " style=" not in page
    assert " onclick=" not in page


def test_token_is_wanted_for_everything_but_the_way_in(locked: FlaskClient) -> None:
    for address in ("/api/status", "/api/photos/1/original", "/v1/models", "/metrics", "/nowhere"):
        answer = locked.get(address)
        assert answer.status_code == 401, address
        assert answer.get_json()["error"].startswith("this server needs its token")
    assert locked.get("/").headers["Location"] == "/login"
    assert locked.get("/login").status_code == 200
    assert locked.get("/health").status_code == 200
    for method, address, body in WRITES:
        assert locked.open(address, method=method, json=body).status_code == 401


@pytest.mark.parametrize("wrong", ["", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "ü" * 20])
def test_wrong_tokens_are_refused(locked: FlaskClient, wrong: str) -> None:
    shown = {"Authorization": f"Bearer {wrong}"}
    assert locked.get("/api/status", headers=shown).status_code == 401
    assert locked.get("/api/status", query_string={"api_key": wrong}).status_code == 401
    assert locked.get("/", query_string={"token": wrong}).status_code == 401
    assert locked.post("/login", data={"token": wrong}).status_code == 401
    locked.set_cookie("clipsearch", TOKEN)
    assert locked.get("/api/status").status_code == 401  # the cookie is not the token itself


def test_token_is_taken_as_bearer_and_as_api_key(locked: FlaskClient) -> None:
    assert locked.get("/api/status", headers=BEARER).status_code == 200
    assert locked.post(f"/clip/embed_text?api_key={TOKEN}", json={"text": "red"}).status_code == 200
    body = {"text": "red", "api_key": TOKEN}
    assert locked.post("/clip/embed_text", json=body).status_code == 200
    assert locked.post("/clip/embed_text", json={"text": "red", "api_key": 7}).status_code == 401
    # Only where Roboflow's clients put it: an address ends up in logs and histories.
    assert locked.get(f"/api/status?api_key={TOKEN}").status_code == 401


@pytest.mark.parametrize("way", ["form", "address"])
def test_browser_gets_a_cookie_and_pictures_load(locked: FlaskClient, way: str) -> None:
    if way == "form":
        answer = locked.post("/login", data={"token": TOKEN})
        assert answer.headers["Location"] == "/"
    else:
        answer = locked.get(f"/?token={TOKEN}&q=red")
        assert answer.headers["Location"] == "/?q=red"
    assert answer.status_code == 303
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    with locked.get("/api/photos/1/thumbnail") as picture:
        assert picture.status_code == 200
    with locked.get("/") as page:
        assert page.status_code == 200


def test_nobody_listens_to_others_without_a_token(served: ServedLibrary) -> None:
    for host in (EVERYWHERE, "192.168.0.7", "::", "photos.example", ""):
        with pytest.raises(ClipsearchError, match="token"):
            guarded(host, None)
        with pytest.raises(ClipsearchError, match="token"):
            Server(served, host=host)
    for host in ("127.0.0.1", "localhost", "::1", "127.8.8.8"):
        guarded(host, None)
    guarded(EVERYWHERE, TOKEN)


def test_weak_tokens_are_refused() -> None:
    assert require_strong(f"  {TOKEN}\n") == TOKEN
    for weak in ("", "short", "a" * 15, "ü" * 20, "with a blank inside it", "tab\tin the middle"):
        with pytest.raises(ClipsearchError, match="token"):
            require_strong(weak)


def test_host_names_are_read_as_browsers_write_them() -> None:
    assert host_name("Photos.Example:80") == "photos.example"
    assert host_name("[::1]:80") == "::1"
    assert host_name("[::1]x") == ""
    assert host_name("a:b") == ""
    assert is_loopback("LocalHost")
    assert not is_loopback("localhost.evil.example")


def test_original_is_sent_with_its_type_and_kept_by_the_browser(
    client: FlaskClient, ids: dict[str, int], photos: Path
) -> None:
    address = f"/api/photos/{ids['red']}/original"
    whole = client.get(address, buffered=True)
    assert whole.data == (photos / "holiday" / "red.png").read_bytes()
    assert whole.mimetype == "image/png"
    assert whole.headers["Content-Disposition"].startswith('inline; filename="red.png"')
    part = client.get(address, headers={"Range": "bytes=4-9"}, buffered=True)
    assert (part.status_code, part.data) == (206, whole.data[4:10])
    assert part.headers["Content-Range"] == f"bytes 4-9/{len(whole.data)}"
    same = client.get(address, headers={"If-None-Match": whole.headers["ETag"]}, buffered=True)
    assert (same.status_code, same.data) == (304, b"")
    beyond = client.get(address, headers={"Range": "bytes=999999-"}, buffered=True)
    assert (beyond.status_code, beyond.get_json()["ok"]) == (416, False)


def test_thumbnail_is_a_webp_that_the_browser_keeps(
    client: FlaskClient, ids: dict[str, int]
) -> None:
    address = f"/api/photos/{ids['red']}/thumbnail?size=160"
    first = client.get(address, buffered=True)
    assert first.data[8:12] == b"WEBP"
    again = client.get(address, headers={"If-None-Match": first.headers["ETag"]}, buffered=True)
    assert again.status_code == 304
    assert client.get(f"{address}0").status_code == 400


@pytest.mark.parametrize("how", ["link", "folder", "gone", "pipe", "page"])
def test_original_that_leads_elsewhere_is_not_sent(
    client: FlaskClient, ids: dict[str, int], photos: Path, tmp_path: Path, how: str
) -> None:
    secret = tmp_path / "secret" / "red.png"
    secret.parent.mkdir()
    secret.write_bytes((photos / "holiday" / "red.png").read_bytes())
    file = photos / "holiday" / "red.png"
    if how == "folder":
        (photos / "holiday").rename(tmp_path / "away")
        (photos / "holiday").symlink_to(secret.parent)
    else:
        file.unlink()
        if how == "link":
            file.symlink_to(secret)
        elif how == "pipe":
            os.mkfifo(file)
        elif how == "page":
            file.write_text("<!doctype html><script>alert(1)</script>")
    answer = client.get(f"/api/photos/{ids['red']}/original", buffered=True)
    assert answer.status_code == 404
    assert answer.get_json()["ok"] is False
    known = client.get(f"/api/photos/{ids['red']}").get_json()
    assert (known["there"], known["inline"]) == (False, False)


def test_link_that_stays_inside_is_followed(
    client: FlaskClient, ids: dict[str, int], photos: Path
) -> None:
    file = photos / "holiday" / "red.png"
    file.rename(photos / "moved.png")
    file.symlink_to(photos / "moved.png")
    assert client.get(f"/api/photos/{ids['red']}/original", buffered=True).status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        *("../../pyproject.toml", "..%2f..%2fpyproject.toml", "%2e%2e/templates/index.html"),
        *("/etc/passwd", "..\\x", "x\0.css", ".css", "a" * 5000 + ".css", "app.py"),
    ],
)
def test_static_files_stay_in_their_folder(client: FlaskClient, name: str) -> None:
    with client.get(f"/static/{name}") as answer:
        assert answer.status_code in (404, 308)


def test_queries_of_clients_name_no_files(client: FlaskClient, photos: Path) -> None:
    path = photos / "holiday" / "red.png"
    for address in ("/api/search?q=", "/api/facets?q=", "/api/read?q=", "/api/explain?id=1&q="):
        answer = client.get(f"{address}{path}")
        assert answer.status_code == 400
        assert "files cannot be named here" in answer.get_json()["error"]
    assert client.get(f"/api/export?to=csv&q={path}").status_code == 400
    for address in ("/api/tag", "/api/tag/preview", "/api/alt-text/propose"):
        assert client.post(address, json={"q": str(path)}).status_code == 400
    body = {"name": "x", "query": f"{path}"}
    assert client.post("/api/saved", json=body).status_code == 400


def test_body_of_a_stranger_is_not_parsed(locked: FlaskClient) -> None:
    for body in (b"{", b"\xff", b"[" * 100_000, b'{"api_key": "\\q"}', b'{"api_key": "x"}', b"[]"):
        answer = locked.post("/clip/embed_text", data=body, content_type="application/json")
        assert answer.status_code == 401, body[:20]
    large = b'{"api_key": "%s", "text": "red", "more": "%s"}' % (TOKEN.encode(), b"x" * 2_000_000)
    answer = locked.post("/clip/embed_text", data=large, content_type="application/json")
    assert answer.status_code == 200
    broken = b'{"api_key": "%s"' % TOKEN.encode()
    answer = locked.post("/clip/embed_text", data=broken, content_type="application/json")
    assert answer.status_code == 400  # whoever shows the token learns what is wrong


def test_bearer_lets_in_whatever_the_body_is(locked: FlaskClient) -> None:
    answer = locked.post(
        "/clip/embed_text", data=b"{", content_type="application/json", headers=BEARER
    )
    assert answer.status_code == 400


@pytest.mark.parametrize("text", ["Nas.Local", "nas.local:8337", " nas.local ", "[::1]:80", "::1"])
def test_trusted_names_are_taken_as_people_write_them(text: str) -> None:
    assert trusted_name(text) == ("::1" if "::1" in text else "nas.local")


@pytest.mark.parametrize("text", ["http://nas.local", "nas.local/", "a b", "[::1", "", "a:b"])
def test_what_is_no_name_of_a_host_is_refused(text: str) -> None:
    with pytest.raises(ClipsearchError, match="trusted-host"):
        trusted_name(text)


def test_server_trusts_the_address_it_listens_at(start: Start) -> None:
    server = start(host="127.0.0.2", hosts=["nas.local:80"])
    assert server.url.startswith("http://127.0.0.2:")
    with urllib.request.urlopen(f"{server.url}health") as answer:  # noqa: S310
        assert answer.status == 200
    named = urllib.request.Request(f"{server.url}health", headers={"Host": "nas.local:1"})  # noqa: S310
    with urllib.request.urlopen(named) as answer:  # noqa: S310
        assert answer.status == 200


@pytest.mark.parametrize(
    ("headers", "secure"),
    [
        ({"Host": "photos.example"}, False),
        ({"Host": "photos.example", "Origin": "http://photos.example"}, False),
        ({"Host": "photos.example", "Origin": "https://photos.example"}, True),
        ({"Host": "photos.example", "X-Forwarded-Proto": "https"}, True),
    ],
)
def test_cookie_stays_with_https_where_the_page_came_by_it(
    locked: FlaskClient, headers: dict[str, str], secure: bool
) -> None:
    answer = locked.post("/login", data={"token": TOKEN}, headers=headers)
    assert answer.status_code == 303
    assert ("; Secure" in answer.headers["Set-Cookie"]) is secure


def test_thumbnail_of_a_link_that_leads_outside_is_not_sent(
    client: FlaskClient, ids: dict[str, int], photos: Path, tmp_path: Path
) -> None:
    file = photos / "holiday" / "red.png"
    file.rename(tmp_path / "secret.png")
    file.symlink_to(tmp_path / "secret.png")
    answer = client.get(f"/api/photos/{ids['red']}/thumbnail")
    assert answer.status_code == 404
    assert "outside the folders" in answer.get_json()["error"]
    file.unlink()
    (tmp_path / "secret.png").rename(photos / "moved.png")
    file.symlink_to(photos / "moved.png")
    assert client.get(f"/api/photos/{ids['red']}/thumbnail").status_code == 200


@pytest.mark.parametrize("name", ["tag:animal/wolf", "/new", "a/new", "new/", "a//b", "x & y?"])
def test_saved_search_is_removed_whatever_its_name(client: FlaskClient, name: str) -> None:
    assert client.post("/api/saved", json={"name": name, "query": "red"}).status_code == 201
    address = f"/api/saved/{quote(name, safe='')}"
    assert client.get(f"{address}/new").get_json()["name"] == name
    assert client.post(f"{address}/new").status_code == 200
    assert client.delete(address).status_code == 200
    assert client.get("/api/saved").get_json()["saved"] == []


def test_lost_catalogue_is_the_fault_of_the_server(
    client: FlaskClient, served: ServedLibrary
) -> None:
    assert client.get("/health").status_code == 200
    (served.folder / "catalog.db").rename(served.folder / "lost.db")
    answer = client.get("/health")
    assert answer.status_code == 503
    assert "catalogue" in answer.get_json()["error"]


def test_lost_weights_are_the_fault_of_the_server(
    served: ServedLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(name: str, **_: object) -> None:
        raise WeightsError(f"{name}: the weights are missing; install them again")

    monkeypatch.setattr("clipsearch.models.registry.load", load)
    with ServedLibrary(served.folder) as library:
        client = create_app(library).test_client()
        answer = client.get("/api/search?q=a%20purple%20cow")
        document = client.get("/openapi.json").get_json()
    assert (answer.status_code, answer.get_json()["status"]) == (503, 503)
    assert "weights are missing" in answer.get_json()["error"]
    assert "503" in document["paths"]["/api/search"]["get"]["responses"]
