"""The command `sendarix` (R55): what it asks, what it prints for people and for programs, and how it ends."""

import json
from pathlib import Path
from typing import Any

import pytest
from sendarix.cli.app import app
from sendarix.cli.desk import Desk
from typer.testing import CliRunner, Result

from tests.unit.client.servers import KEY, Recorded, Server, page, refuses, says

SENT = {"message_id": "msg_1", "status": "queued", "recipient": "a@example.org", "created_at": "2027-01-15T08:00:00Z"}
EVENT = {
    "id": "evt_1",
    "type": "message.deferred",
    "subject": "msg_1",
    "time": "2027-01-15T08:00:01.000Z",
    "sequence": 3,
    "data": {
        "recipient": "a@example.org",
        "attempt": {"number": 1, "reply": "450 4.2.1 [bold]busy[/bold]\x1b[31m"},
        "reason": "retry_ladder",
        "next_attempt_at": "2027-01-15T08:00:31.000Z",
    },
}

LONG_VALUE = "v=spf1 include:spf.mail.example " + "ip4:192.0.2.1 " * 40 + "~all"
RECORD = {
    "purpose": "spf",
    "type": "TXT",
    "name": "a.example",
    "value": LONG_VALUE,
    "required": False,
    "status": "wrong",
    "found": ["v=spf1 -all\x1b[31m"],
}
LETTER = {"message_id": "msg_1", "redrive_of": "msg_0", "cause": "refused"}
LETTER_GROUP = {"cause": {"category": "ip_blocked"}, "messages": 3, "sample": {"reply": "550"}}
ALERT = {"id": "alr_1", "state": "raised", "filters": {"tag": "otp", "path": None}}
DOMAIN = {"id": "dom_1", "domain": "a.example", "status": "verified", "records": [RECORD]}


def run(server: Server, *arguments: str) -> Result:
    return CliRunner(env={"SENDARIX_URL": ""}).invoke(
        app,
        arguments,
        obj=Desk(connect=lambda url: server.client(url or "http://server.example")),
        prog_name="sendarix",
    )


def ran(answers: list[Recorded], *arguments: str) -> tuple[Result, Server]:
    server = Server(answers)
    result = run(server, *arguments)
    assert result.exit_code == 0, result.output + result.stderr
    return result, server


def test_a_mail_of_options(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("Your code is 1.")
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    result, server = ran(
        [says(202, SENT)],
        *("send", "--to", "a@example.org", "--to", "b@example.org", "--from", "c@example.com", "--subject", "Code"),
        *("--text-file", str(tmp_path / "text.txt"), "--attach", str(tmp_path / "a.pdf"), "--tag", "otp"),
        *("--metadata", "order=10=42", "--priority", "critical", "--at", "2027-01-15T08:00:00Z", "--key", "k-1"),
        *("--template", "otp-code", "--data", '{"code": 1}'),
    )
    assert result.stdout == "msg_1 is queued for a@example.org.\n"
    assert server.asked[0].headers["Idempotency-Key"] == "k-1"
    assert server.bodies() == [
        {
            "recipient": ["a@example.org", "b@example.org"],
            "from": "c@example.com",
            "subject": "Code",
            "text": "Your code is 1.",
            "template": "otp-code",
            "template_data": {"code": 1},
            "attachments": [{"filename": "a.pdf", "content": "JVBERg==", "content_type": "application/pdf"}],
            "tags": ["otp"],
            "metadata": {"order": "10=42"},
            "priority": "critical",
            "scheduled_time": "2027-01-15T08:00:00Z",
        }
    ]


@pytest.mark.parametrize(
    ("answers", "arguments", "printed"),
    [
        ([says(202, SENT)], ["send", "--to", "a@example.org", "--text", "Hi"], [SENT]),
        ([says(200, {"message_id": "msg_1", "timeline": [EVENT]})], ["get", "msg_1"], [{"message_id": "msg_1", "timeline": [EVENT]}]),
        ([says(200, {"message_id": "msg_1", "timeline": [EVENT]})], ["trace", "msg_1"], [EVENT]),
        ([page(SENT, after="c"), page(SENT)], ["list", "--limit", "0"], [SENT, SENT]),
        ([page(SENT, SENT, SENT)], ["list", "--limit", "2", "--status", "queued"], [SENT, SENT]),
        ([says(200, SENT)], ["cancel", "msg_1"], [SENT]),
        ([says(200, SENT)], ["reschedule", "msg_1", "2027-01-15T08:00:00Z"], [SENT]),
        ([says(200, {"decisions": []})], ["explain", "msg_1"], [{"decisions": []}]),
        ([says(200, {"timeline": [EVENT]})], ["trace", "msg_1", "--as-of", "2027-01-15T08:00:00Z"], [EVENT]),
        ([page(EVENT, EVENT, after="c")], ["tail", "--from", "start", "--count", "2"], [EVENT, EVENT]),
        ([page({"name": "t"})], ["templates", "list"], [{"name": "t"}]),
        ([says(200, {"name": "t"})], ["templates", "get", "t"], [{"name": "t"}]),
        ([says(201, {"name": "t"})], ["templates", "create", "t", "--subject", "S"], [{"name": "t"}]),
        ([says(200, {"name": "t"})], ["templates", "create", "t", "--subject", "S", "--update"], [{"name": "t"}]),
        ([says(200, {"published_version": 2})], ["templates", "publish", "t"], [{"published_version": 2}]),
        ([says(200, {"subject": "S"})], ["templates", "render", "t", "--data", "{}"], [{"subject": "S"}]),
        ([says(200, {"valid": True})], ["templates", "validate", "t"], [{"valid": True}]),
        ([page({"recipient": "a@b.example"})], ["suppressions", "list"], [{"recipient": "a@b.example"}]),
        ([says(201, {"recipient": "a@b.example"})], ["suppressions", "add", "a@b.example"], [{"recipient": "a@b.example"}]),
        ([says(200, {"deleted": True})], ["suppressions", "remove", "a@b.example"], [{"deleted": True}]),
        ([page({"name": "b.example"})], ["queues", "list", "--kind", "path"], [{"name": "b.example"}]),
        ([says(200, {"paused": True})], ["queues", "pause", "b.example", "--reason", "x"], [{"paused": True}]),
        ([says(200, {"paused": False})], ["queues", "resume", "b.example"], [{"paused": False}]),
        ([says(200, {"paused": False})], ["queues", "flush", "google", "--kind", "provider_group"], [{"paused": False}]),
        ([page(LETTER)], ["dead-letters", "list", "--where", "tag=otp"], [LETTER]),
        ([page(LETTER_GROUP)], ["dead-letters", "groups", "--since", "2027-01-15T08:00:00Z"], [LETTER_GROUP]),
        ([says(200, LETTER)], ["dead-letters", "show", "msg_1"], [LETTER]),
        ([says(202, {"data": [LETTER]})], ["dead-letters", "redrive", "msg_1", "--key", "k"], [LETTER]),
        ([says(202, {"data": [LETTER]})], ["dead-letters", "redrive", "--where", "category=ip_blocked"], [LETTER]),
        ([page(ALERT)], ["alerts", "list"], [ALERT]),
        ([says(201, ALERT)], ["alerts", "create", "x", "--measure", "queued", "--times", "5", "--where", "tag=otp"], [ALERT]),
        ([says(200, ALERT)], ["alerts", "enable", "alr_1"], [ALERT]),
        ([says(200, ALERT)], ["alerts", "disable", "alr_1"], [ALERT]),
        ([says(200, {"deleted": True})], ["alerts", "delete", "alr_1"], [{"deleted": True}]),
        ([page(DOMAIN)], ["domains", "list"], [DOMAIN]),
        ([says(201, DOMAIN)], ["domains", "create", "a.example", "--ed25519"], [DOMAIN]),
        ([says(200, DOMAIN)], ["domains", "get", "dom_1"], [DOMAIN]),
        ([says(200, DOMAIN)], ["domains", "verify", "dom_1"], [DOMAIN]),
        ([says(200, {"deleted": True})], ["domains", "delete", "dom_1"], [{"deleted": True}]),
        ([page({"id": "whk_1"})], ["webhooks", "list"], [{"id": "whk_1"}]),
        ([says(201, {"id": "whk_1"})], ["webhooks", "create", "https://a.example"], [{"id": "whk_1"}]),
        ([says(202, {"event_id": "evt_1"})], ["webhooks", "test", "whk_1"], [{"event_id": "evt_1"}]),
        ([says(200, {"id": "whk_1"})], ["webhooks", "rotate", "whk_1", "--overlap", "0"], [{"id": "whk_1"}]),
        ([says(202, {"id": "rpl_1"})], ["webhooks", "replay", "whk_1", "--event", "evt_1"], [{"id": "rpl_1"}]),
        ([page({"id": "rpl_2"}, {"id": "rpl_1"})], ["webhooks", "replays", "whk_1", "--limit", "1"], [{"id": "rpl_2"}]),
        ([page({"id": "wha_2"}, {"id": "wha_1"})], ["webhooks", "attempts", "whk_1", "--limit", "1"], [{"id": "wha_2"}]),
        ([says(200, {"deleted": True})], ["webhooks", "delete", "whk_1"], [{"deleted": True}]),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) and isinstance(value[0], str) else "",
)  # fmt: skip
def test_every_command_speaks_to_programs(answers: list[Recorded], arguments: list[str], printed: list[Any]) -> None:
    result, _ = ran(answers, *arguments, "--json")
    assert [json.loads(line) for line in result.stdout.splitlines()] == printed
    assert result.stderr == ""


def test_a_replay_says_what_it_is_asked_and_attempts_are_filtered() -> None:
    window = ["--since", "2027-01-15T08:00:00Z", "--type", "message.*", "--failed"]
    _, server = ran([says(202, {"id": "rpl_1"})], "webhooks", "replay", "whk_1", *window)
    assert json.loads(server.asked[0].content) == {
        "since": "2027-01-15T08:00:00Z",
        "event_types": ["message.*"],
        "only_failed": True,
    }
    _, server = ran([page()], "webhooks", "attempts", "whk_1", "--status", "failed", "--event", "evt_1")
    assert dict(server.asked[0].url.params) == {"status": "failed", "event_id": "evt_1"}
    assert run(Server([]), "webhooks", "attempts", "whk_1", "--status", "open").exit_code == 2


def test_a_timeline_for_people_in_which_a_mail_servers_reply_does_nothing() -> None:
    result, _ = ran([says(200, {"message_id": "msg_1", "timeline": [EVENT]})], "trace", "msg_1")
    (line,) = [line for line in result.stdout.splitlines() if "message.deferred" in line]
    assert line.split("  ")[0] == "2027-01-15T08:00:01.000Z"
    assert "a@example.org; attempt 1; 450 4.2.1 [bold]busy[/bold]�[31m; retry_ladder; next at 2027-01-15T08" in line
    assert "\x1b" not in result.stdout


def test_an_explanation_for_people() -> None:
    at, text = "2027-01-15T08:00:00Z", "Attempt 2 of 6 follows."
    decision = {"at": at, "kind": "retry", "rule": "pol_1", "version": 2, "text": text, "details": {}}
    waiting = {"reason": "retry_ladder", "next_attempt_at": at, "text": "At its time."}
    answer = says(200, {"waiting": waiting, "decisions": [decision]})
    result, server = ran([answer], "explain", "msg_1", "--as-of", at)
    *_, line, last = result.stdout.splitlines()
    assert line.split() == [at, "retry", "pol_1", "2", *text.split()]
    assert last == f"Waits (retry_ladder, {at}): At its time."
    assert server.asked[0].url.params["as_of"] == at


def test_the_records_of_a_domain_for_people() -> None:
    """R26: what to publish, whole, and what stands there instead."""
    result, _ = ran([says(201, DOMAIN)], "domains", "create", "a.example")
    first, head, row, _, name, value, found = result.stdout.splitlines()
    assert first == "a.example (dom_1) is verified. Records to publish:"
    assert head.split() == ["purpose", "status", "type", "name"]
    assert row.split() == ["spf", "wrong", "TXT", "a.example"]
    assert (name, value) == ("a.example TXT", f"  {LONG_VALUE}")
    assert found == "  stands there: v=spf1 -all\N{REPLACEMENT CHARACTER}[31m"


def test_a_look_that_does_not_verify_is_no_success() -> None:
    result = run(Server([says(200, {**DOMAIN, "status": "unverified"})]), "domains", "verify", "dom_1")
    assert result.exit_code == 1
    assert "is unverified" in result.stdout


def test_a_tail_for_people_is_a_line_an_event() -> None:
    result, _ = ran([page(EVENT, after="c")], "tail", "--from", "start", "--count", "1", "--types", "message.deferred")
    assert result.stdout.startswith("msg_1  2027-01-15T08:00:01.000Z  message.deferred  a@example.org; attempt 1")
    assert "\x1b" not in result.stdout


def test_lists_for_people() -> None:
    result, server = ran([page({**SENT, "subject": "[red]S"})], "list", "--tag", "otp", "--from", "c@example.com")
    assert "msg_1" in result.stdout
    assert "[red]S" in result.stdout
    assert dict(server.asked[0].url.params) == {"tag": "otp", "from": "c@example.com", "limit": "25"}
    assert "Nothing there." in ran([page()], "list")[0].stdout


def test_a_refusal_says_what_to_do_and_ends_with_1() -> None:
    faults = [{"field": "recipient", "code": "invalid_address", "message": "This is not a mail address."}]
    answers = [refuses(422, "validation_error", "One field is wrong.", errors=faults) for _ in range(2)]
    server = Server(answers)
    told = run(server, "send", "--to", "x", "--text", "Hi")
    assert (told.exit_code, told.stdout) == (1, "")
    assert told.stderr == (
        "Error: One field is wrong. Do this. (code validation_error, request req_1)\n"
        "  recipient: This is not a mail address. (invalid_address)\n"
    )
    told = run(server, "send", "--to", "x", "--text", "Hi", "--json")
    assert (told.exit_code, told.stdout) == (1, "")
    assert json.loads(told.stderr) == {
        "error": {"code": "validation_error", "message": "One field is wrong.", "hint": "Do this."},
        "errors": faults,
        "request_id": "req_1",
    }


def test_after_an_outage_the_key_for_the_repeat_is_told() -> None:
    told = run(Server([says(503) for _ in range(5)]), "send", "--to", "a@example.org", "--text", "Hi", "--json")
    assert told.exit_code == 1
    assert json.loads(told.stderr)["outcome_unknown"] is True
    assert json.loads(told.stderr)["idempotency_key"] == "key-1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["send"], "--to"),
        (["send", "--to", "a@example.org", "--data", "{"], "--data is not JSON"),
        (["send", "--to", "a@example.org", "--data", "[]"], "--data is a JSON object"),
        (["send", "--to", "a@example.org", "--metadata", "x"], "NAME=VALUE"),
        (["send", "--to", "a@example.org", "--batch", __file__], "leave the other options out"),
        (["send", "--batch", __file__], "line 1 is not JSON"),
        (["get", ".."], "is no id"),
        (["get"], "Missing argument"),
        (["list", "--limit", "-1"], "--limit"),
        (["no-such-command"], "No such command"),
    ],
)
def test_wrong_use_ends_with_2_and_asks_nothing(arguments: list[str], said: str) -> None:
    server = Server([])
    told = run(server, *arguments)
    assert (told.exit_code, server.asked) == (2, [])
    assert said in " ".join(told.stderr.replace("│", " ").split())


def test_without_a_key_it_ends_with_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SENDARIX_API_KEY", raising=False)
    told = CliRunner().invoke(app, ["list"], obj=Desk())
    assert told.exit_code == 2
    assert "Set SENDARIX_API_KEY" in told.stderr


def batch_of(count: int, folder: Path) -> str:
    file = folder / "mails.jsonl"
    file.write_text(
        "\n".join(json.dumps({"recipient": f"{n}@example.org", "text": "Hi"}) for n in range(count)) + "\n\n"
    )
    return str(file)


def accepted(count: int) -> Recorded:
    data = [{"index": n, "message_id": f"msg_{n}", "status": "queued", "recipient": "x"} for n in range(count)]
    return says(202, {"object": "list", "batch_id": "bat_1", "data": data})


def test_a_batch_goes_out_in_thousands_each_with_its_own_key(tmp_path: Path) -> None:
    result, server = ran([accepted(1000), accepted(5)], "send", "--batch", batch_of(1005, tmp_path), "--key", "run")
    assert result.stdout == "1005 accepted, 0 refused.\n"
    assert [len(body["messages"]) for body in server.bodies()] == [1000, 5]
    assert [request.headers["Idempotency-Key"] for request in server.asked] == ["run-0", "run-1"]


def test_a_refused_mail_of_a_batch_is_named_by_its_line_and_ends_with_1(tmp_path: Path) -> None:
    refused = {
        "index": 1,
        "error": {"code": "validation_error", "message": "One field is wrong."},
        "errors": [{"field": "recipient", "code": "invalid_address", "message": "No address."}],
    }
    answer = says(202, {"object": "list", "batch_id": "bat_1", "data": [{"index": 0, "message_id": "msg_0"}, refused]})
    told = run(Server([answer]), "send", "--batch", batch_of(2, tmp_path))
    assert (told.exit_code, told.stdout) == (1, "1 accepted, 1 refused.\n")
    assert told.stderr == "Mail 2 is refused: recipient: No address.\n"


def test_a_batch_that_broke_off_says_how_to_go_on(tmp_path: Path) -> None:
    server = Server([accepted(1000), *(says(503) for _ in range(5))])
    told = run(server, "send", "--batch", batch_of(1001, tmp_path), "--key", "run", "--json")
    assert told.exit_code == 1
    assert [json.loads(line)["index"] for line in told.stdout.splitlines()] == list(range(1000))
    assert "The first 1000 mails are handed over. Go on with the same file and --key run" in told.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["send", "--help"], ["webhooks", "create", "--help"]])
def test_help_never_shows_a_key(arguments: list[str]) -> None:
    told = CliRunner(env={"SENDARIX_API_KEY": KEY}).invoke(app, arguments, obj=Desk())
    assert told.exit_code == 0
    assert KEY not in told.output


def test_a_shell_is_told_how_to_complete() -> None:
    told = CliRunner(env={"_SENDARIX_COMPLETE": "source_bash"}).invoke(app, [], obj=Desk(), prog_name="sendarix")
    assert "complete -o default -F" in told.output


NOTHING_OPEN = {"scheduled": 0, "waiting": 0, "held": 0, "in_flight": 0}
SIDE = {"queued": 2, "delivered": 1, "bounced": 0, "suppressed": 0, "cancelled": 0, "expired": 0}
HOUR = {"hour": "2027-01-15T08:00Z", **SIDE, "open": {**NOTHING_OPEN, "held": 1}, "log": {}, "missing": 0, "drift": 0}


@pytest.mark.parametrize(("wrong", "status"), [({}, 0), ({"drift": 1}, 1), ({"missing": 1}, 1)])
def test_the_ledger_is_a_row_per_hour_and_its_exit_status_says_whether_it_is_even(
    wrong: dict[str, int], status: int
) -> None:
    hour = {**HOUR, **wrong}
    server = Server([says(200, {"object": "ledger", "data": [hour]})] * 2)
    shown = run(server, "ledger", "--since", "2027-01-15T08:00:00Z")
    assert [request.url.params["since"] for request in server.asked] == ["2027-01-15T08:00:00Z"]
    words = ["queued", "delivered", "bounced", "suppressed", "cancelled", "expired", "open", "missing", "drift", "hour"]
    row = ["2", "1", "0", "0", "0", "0", "1", str(hour["missing"]), str(hour["drift"]), "2027-01-15T08:00Z"]
    assert (shown.exit_code, shown.stdout.split()) == (status, [*words, *row])
    assert json.loads(run(server, "ledger", "--json").stdout) == hour


def test_metrics_are_a_row_per_interval_and_group() -> None:
    latency = {"p50": 310, "p95": 900, "p99": 2100}
    counts = dict.fromkeys(("queued", "delivered", "deferred", "bounced", "complained"), 7)
    row = {"time": "2027-01-15T08:00:00.000Z", "group": {"tag": "otp"}, **counts, "delivery_rate": 0.985,
           "first_attempt_ms": latency}  # fmt: skip
    empty = {**row, "group": {"tag": None}, "delivery_rate": None, "first_attempt_ms": dict.fromkeys(latency)}
    server = Server([says(200, {"object": "metrics", "data": [row, empty]})] * 2)
    shown = run(server, "metrics", "--by", "tag", "--where", "channel=api", "--interval", "total")
    assert shown.exit_code == 0
    assert "98.5%" in shown.stdout
    assert "310 ms, 2100 ms" in shown.stdout
    assert dict(server.asked[0].url.params) == {"interval": "total", "group_by": "tag", "channel": "api"}
    assert [json.loads(line) for line in run(server, "metrics", "--json").stdout.splitlines()] == [row, empty]
