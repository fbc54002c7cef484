"""What may be asked of an upstream (R20, R54), and that its password stays where it was given for."""

from typing import Any

import pytest

from schemas.routing import Upstream
from services.ingest.domain.faults import Refused
from services.ingest.domain.upstreams import (
    NEW,
    PRESETS,
    UpstreamSettings,
    read_upstream,
    settings_of,
    upstream_shown,
)

RELAY = {"name": "relay", "host": "smtp.example.net"}
ACCOUNT = {**RELAY, "username": "shop", "password": "s3cret-word"}
STORED = Upstream(
    id="ups_1",
    project_id="prj_1",
    name="relay",
    version=1,
    created_at="2026-01-01T00:00:00.000Z",
    updated_at="2026-01-01T00:00:00.000Z",
    updated_by="key_1",
    host="smtp.example.net",
    port=587,
    username="shop",
    sealed_password="sealed-word",
)
KEPT = settings_of(STORED)


def read(body: dict[str, Any], before: UpstreamSettings = NEW, *, allow_private: bool = False) -> UpstreamSettings:
    return read_upstream(body, before, allow_private=allow_private)


def faults_of(body: dict[str, Any], before: UpstreamSettings = NEW) -> set[tuple[str, str]]:
    with pytest.raises(Refused) as refused:
        read(body, before)
    return {(fault.field, fault.code) for fault in refused.value.faults}


def test_a_host_is_enough() -> None:
    found = read(RELAY)
    assert (found.host, found.port, found.tls, found.pool) == ("smtp.example.net", 587, "required", "main")
    assert (found.username, found.password_set, found.per_second) == (None, False, None)


@pytest.mark.parametrize("name", ["gmail", "outlook", "office365", "yahoo", "sendgrid"])
def test_a_preset_says_host_port_tls_and_limits(name: str) -> None:
    preset = PRESETS[name]
    found = read({"preset": name, "username": "shop", "password": "x"})
    assert (found.name, found.preset, found.host, found.tls) == (name, name, preset.host, "required")
    assert (found.port, found.connections, found.per_second) == (preset.port, preset.connections, preset.per_second)
    assert found.messages_per_connection == preset.messages_per_connection


def test_what_is_said_beside_a_preset_counts() -> None:
    found = read({"preset": "sendgrid", "password": "x", "connections": 2, "port": 2525})
    assert (found.username, found.connections, found.port, found.host) == ("apikey", 2, 2525, "smtp.sendgrid.net")


def test_all_faults_at_once() -> None:
    body = {
        "name": "",
        "preset": "aol",
        "host": "127.0.0.1",
        "port": 0,
        "tls": "never",
        "username": "a\r\nb",
        "password": 5,
        "pool": "elsewhere",
        "connections": 0,
        "messages_per_connection": "many",
        "per_second": 0,
        "color": 1,
    }
    values = {"preset", "host", "port", "tls", "username", "password", "pool", "connections"}
    values |= {"messages_per_connection", "per_second"}
    assert faults_of(body) == {
        *((name, "invalid_value") for name in values),
        ("name", "required"),
        ("color", "unknown_field"),
    }


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "relay",
        "10.0.0.5",
        "127.1",
        "169.254.169.254",
        "::1",
        "fe80::1",
        "::ffff:10.0.0.5",
        "mail.internal",
        "a b",
        "smtp.example.net:587",
        "http://smtp.example.net",
        "[::1]",
        "0x7f000001",
    ],
)
def test_hosts_that_nothing_is_sent_to(host: str) -> None:
    """No way into our own network, unless whoever runs the installation opens it."""
    assert faults_of(RELAY | {"host": host}) == {("host", "invalid_value")}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "10.0.0.5", "relay", "mail.internal"])
def test_relays_next_door_where_the_installation_allows_them(host: str) -> None:
    assert read(RELAY | {"host": host}, allow_private=True).host == host


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1", "127.1", "a b"]
)
def test_what_is_no_relay_anywhere(host: str) -> None:
    """A cloud machine's own secrets are served from a link-local address."""
    with pytest.raises(Refused):
        read(RELAY | {"host": host}, allow_private=True)


def test_a_password_and_its_user_go_together_and_over_verified_tls() -> None:
    assert faults_of(RELAY | {"username": "shop"}) == {("password", "required")}
    assert faults_of(RELAY | {"password": "x"}) == {("username", "required")}
    assert faults_of(ACCOUNT | {"tls": "opportunistic"}) == {("tls", "conflict")}
    assert read(RELAY | {"tls": "opportunistic"}).tls == "opportunistic"


def test_a_password_does_not_move_to_another_host() -> None:
    """Else whoever may change upstreams reads all passwords, by pointing them at a host of his own."""
    assert faults_of({"host": "smtp.evil.example"}, KEPT) == {("password", "required")}
    assert faults_of({"preset": "gmail"}, KEPT) == {("password", "required")}
    assert read({"host": "smtp.other.example", "password": "again"}, KEPT).password == "again"
    assert read({"host": "SMTP.example.net."}, KEPT).password_set  # the same host
    without = read({"host": "smtp.other.example", "username": None, "password": None}, KEPT)
    assert (without.password_set, without.username) == (False, None)


def test_a_change_leaves_the_rest() -> None:
    assert read({}, KEPT) == KEPT
    assert read({"connections": 3}, KEPT).password_set
    assert read({"preset": None}, settings_of(STORED.model_copy(update={"preset": "gmail"}))).preset is None


def test_no_answer_and_no_log_line_has_the_password() -> None:
    shown = upstream_shown(STORED)
    assert shown["password_set"] is True
    assert "sealed-word" not in repr(shown)
    assert "s3cret-word" not in repr(read(ACCOUNT))
    assert "s3cret-word" not in repr(read(ACCOUNT).content())
