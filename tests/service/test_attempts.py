"""Guesses at the token are slowed down; whoever knows it is let in."""

from __future__ import annotations

import time

from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from clipsearch.service.attempts import (
    BURST,
    EVERY,
    REMEMBERED,
    TRUSTED,
    Attempts,
    network,
)
from clipsearch.service.errors import RequestError
from clipsearch.service.sessions import LASTS, Sessions
from tests.service.conftest import TOKEN

BEARER = {"Authorization": f"Bearer {TOKEN}"}
ATTACKER, HONEST = "192.0.2.66", "192.0.2.7"


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def outcome(counted: Attempts, address: str, is_right: bool = False) -> int:
    """Show one token as the guard does; return the status of the answer."""
    try:
        counted.require(address)
        if is_right:
            counted.right(address)
            return 200
        counted.wrong(address)
    except RequestError as error:
        return error.status if error.wait else 500
    return 401


def test_address_that_guesses_has_to_wait_and_others_have_not() -> None:
    clock = Clock()
    counted = Attempts(clock)
    assert [outcome(counted, ATTACKER) for _ in range(BURST + 2)] == [401] * BURST + [429] * 2
    # What it shows now is not even looked at: that is what makes guessing slow.
    assert outcome(counted, ATTACKER, is_right=True) == 429
    assert outcome(counted, HONEST, is_right=True) == 200
    clock.now += EVERY
    assert [outcome(counted, ATTACKER) for _ in range(2)] == [401, 429]
    clock.now += BURST * EVERY
    assert outcome(counted, ATTACKER, is_right=True) == 200


def test_address_that_has_shown_the_token_is_heard_whatever_else_comes_from_it() -> None:
    clock = Clock()
    counted = Attempts(clock)
    assert outcome(counted, HONEST, is_right=True) == 200
    for _ in range(500):
        outcome(counted, HONEST)
    assert outcome(counted, HONEST) == 429
    assert outcome(counted, HONEST, is_right=True) == 200
    clock.now += TRUSTED + 1
    assert outcome(counted, HONEST) == 401  # all has run out by then


def test_many_addresses_together_do_not_keep_out_who_never_guessed() -> None:
    counted = Attempts(Clock())
    seen = [outcome(counted, f"198.51.{number // 250}.{number % 250}") for number in range(1000)]
    assert set(seen) == {401}  # the first guess of each
    again = [outcome(counted, f"198.51.{number // 250}.{number % 250}") for number in range(1000)]
    assert set(again) == {429}  # and no second one
    assert outcome(counted, HONEST, is_right=True) == 200


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 30)), max_size=200))
@settings(max_examples=60, deadline=None)
def test_guesses_of_an_address_are_never_more_than_its_bucket_allows(
    steps: list[tuple[int, float]],
) -> None:
    clock = Clock()
    counted, looked_at, begun = Attempts(clock), [0, 0, 0, 0], clock.now
    for who, later in steps:
        clock.now += later
        looked_at[who] += outcome(counted, f"192.0.2.{who}") == 401
        assert max(looked_at) <= BURST + (clock.now - begun) / EVERY + 1e-6


def test_memory_has_an_end() -> None:
    counted = Attempts(Clock())
    for number in range(3 * REMEMBERED):
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        outcome(counted, address)
        outcome(counted, address[::-1].strip("."), is_right=True)
    assert len(counted) <= 2 * REMEMBERED


def test_household_counts_as_one_address() -> None:
    assert network("2001:db8:1:2:aaaa::1") == network("2001:db8:1:2:bbbb::2")
    assert network("2001:db8:1:2::1") != network("2001:db8:1:3::1")
    assert network("::ffff:192.0.2.1") == network("192.0.2.1") == "192.0.2.1"
    assert network("fe80::1%eth0") == network("fe80::2%eth1")
    assert network(None) == network("\n") == "unknown"


def from_(client: FlaskClient, address: str, way: str, token: str) -> TestResponse:
    """Show a token in one of the ways that there are."""
    environ = {"REMOTE_ADDR": address}
    if way == "bearer":
        shown = {"Authorization": f"Bearer {token}"}
        return client.get("/api/status", headers=shown, environ_overrides=environ)
    if way == "login":
        return client.post("/login", data={"token": token}, environ_overrides=environ)
    if way == "address":
        return client.get(f"/?token={token}", environ_overrides=environ)
    body = {"text": "red", **({"api_key": token} if way == "body" else {})}
    query = {"api_key": token} if way == "query" else {}
    return client.post("/clip/embed_text", json=body, query_string=query, environ_overrides=environ)


def test_wrong_tokens_count_whichever_way_they_come(locked: FlaskClient) -> None:
    ways = ("bearer", "login", "address", "query", "body")
    for turn in range(BURST):
        answer = from_(locked, ATTACKER, ways[turn % len(ways)], f"wrong-{turn}-wrong-wrong")
        assert answer.status_code == 401
    for way in ways:
        answer = from_(locked, ATTACKER, way, TOKEN)
        assert answer.status_code == 429, way
        assert int(answer.headers["Retry-After"]) >= 1
        assert "Set-Cookie" not in answer.headers
        if way in ("login", "address"):
            assert "Too many wrong tokens" in answer.get_data(as_text=True)
        else:
            body = answer.get_json()
            assert (body["ok"], body["status"]) == (False, 429)
            assert "too many wrong tokens" in body["error"]
        assert from_(locked, HONEST, way, TOKEN).status_code in (200, 303)
        locked.delete_cookie("clipsearch")


def test_each_token_of_a_request_counts(locked: FlaskClient) -> None:
    def shown(number: int) -> int:
        wrong = [f"wrong-wrong-{number}-{place}" for place in range(3)]
        answer = locked.post(
            f"/clip/embed_text?api_key={wrong[0]}",
            json={"text": "red", "api_key": wrong[1]},
            headers={"Authorization": f"Bearer {wrong[2]}"},
            environ_overrides={"REMOTE_ADDR": ATTACKER},
        )
        return answer.status_code

    seen = [shown(number) for number in range(BURST)]
    assert seen.count(401) <= BURST // 3
    assert set(seen[BURST // 3 :]) == {429}


def test_page_of_another_site_cannot_use_up_the_attempts_of_a_visitor(locked: FlaskClient) -> None:
    picture = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}
    for _ in range(2 * BURST):
        answer = locked.get("/?token=wrong-wrong-wrong-wrong", headers=picture)
        assert answer.status_code == 403
    assert locked.post("/login", data={"token": TOKEN}).status_code == 303


def test_who_is_logged_in_stays_so_beside_an_attack_from_the_same_address(
    locked: FlaskClient,
) -> None:
    assert from_(locked, HONEST, "login", TOKEN).status_code == 303
    attacker = locked.application.test_client()
    for _ in range(5 * BURST):
        from_(attacker, HONEST, "bearer", "wrong-wrong-wrong-wrong")
        from_(attacker, ATTACKER, "bearer", "wrong-wrong-wrong-wrong")
    # By the cookie, whatever its address has become since; and by the token where it was shown.
    for address in (HONEST, ATTACKER):
        answer = locked.get("/api/status", environ_overrides={"REMOTE_ADDR": address})
        assert answer.status_code == 200
    assert from_(attacker, HONEST, "bearer", TOKEN).status_code == 200
    assert from_(attacker, HONEST, "bearer", "wrong-wrong-wrong-wrong").status_code == 429
    assert from_(attacker, ATTACKER, "bearer", TOKEN).status_code == 429


def test_asking_without_a_token_does_not_count(locked: FlaskClient) -> None:
    for _ in range(5 * BURST):
        assert locked.get("/api/status").status_code == 401
        assert locked.get("/api/status", headers={"Authorization": "Bearer "}).status_code == 401
        assert locked.post("/clip/embed_text", json={"text": "red"}).status_code == 401
        locked.set_cookie("clipsearch", f"1.{'0' * 32}.{'0' * 64}")
        assert locked.get("/api/status").status_code == 401
    assert locked.get("/api/status", headers=BEARER).status_code == 200


def test_interface_says_so(locked: FlaskClient) -> None:
    document = locked.get("/openapi.json", headers=BEARER).get_json()
    for path in document["paths"].values():
        for operation in path.values():
            assert operation["responses"]["429"]["headers"]["Retry-After"]["schema"]


def test_cookie_ends_by_itself() -> None:
    clock = Clock()
    sessions = Sessions(TOKEN, clock)
    cookie = sessions.cookie()
    assert sessions.is_open(cookie)
    assert not sessions.is_ageing(cookie)
    clock.now += LASTS * 0.75
    assert sessions.is_ageing(cookie)
    clock.now += LASTS * 0.25
    assert not sessions.is_open(cookie)
    assert not sessions.is_ageing(cookie)
    clock.now -= 3 * LASTS  # made while the clock was wrong
    assert not sessions.is_open(cookie)


def test_cookie_cannot_be_made_or_prolonged_by_others() -> None:
    sessions = Sessions(TOKEN)
    cookie = sessions.cookie()
    end, number, mac = cookie.split(".")
    assert TOKEN not in cookie
    assert sessions.cookie() != cookie
    for forged in (
        f"{int(end) + 1}.{number}.{mac}",
        f"{end}.{number[::-1]}.{mac}",
        f"{end}.{number}.{mac[::-1]}",
        *(
            "",
            "..",
            f"{cookie}.",
            f" {cookie}",
            f"{cookie}\n",
            cookie.replace(end, "１" * len(end)),
        ),
    ):
        assert not sessions.is_open(forged), forged
    assert Sessions(TOKEN).is_open(cookie)  # a restart
    assert not Sessions(TOKEN + "x").is_open(cookie)  # a new token


def test_logging_out_ends_the_cookie_for_whoever_has_a_copy(locked: FlaskClient) -> None:
    locked.post("/login", data={"token": TOKEN})
    found = locked.get_cookie("clipsearch")
    assert found is not None
    thief = locked.application.test_client()
    thief.set_cookie("clipsearch", found.value)
    assert thief.get("/api/status").status_code == 200
    assert "Log out" in locked.get("/login").get_data(as_text=True)
    elsewhere = locked.post("/logout", headers={"Sec-Fetch-Site": "cross-site"})
    assert elsewhere.status_code == 403
    assert locked.get("/api/status").status_code == 200
    answer = locked.post("/logout")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/login")
    assert locked.get_cookie("clipsearch") is None
    assert thief.get("/api/status").status_code == 401
    assert locked.post("/logout").status_code == 303  # twice does no harm


def test_page_renews_the_cookie_of_who_comes_often(
    locked: FlaskClient,
) -> None:
    locked.post("/login", data={"token": TOKEN})
    assert "Set-Cookie" not in locked.get("/", buffered=True).headers
    old = Sessions(TOKEN, clock=lambda: time.time() - LASTS * 0.6).cookie()
    locked.set_cookie("clipsearch", old)
    renewed = locked.get("/", buffered=True).headers["Set-Cookie"]
    assert renewed.startswith("clipsearch=")
    assert old not in renewed
    assert "HttpOnly" in renewed
    thief = locked.application.test_client()
    thief.set_cookie("clipsearch", old)
    assert thief.get("/api/status").status_code == 200
    locked.post("/logout")
    assert thief.get("/api/status").status_code == 401  # the one before the renewal ends, too
