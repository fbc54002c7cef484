"""Mail with a template (R1, R2, R8): the version is pinned at acceptance, and who helps makes the same mail."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from chassis.ids import MessageIds
from schemas.templates import Template, TemplateVersion
from services.ingest.adapters.render_worker import answer
from services.ingest.domain.access import Caller
from services.ingest.domain.faults import Refused
from services.ingest.domain.submission import read_submission
from services.ingest.domain.template_requests import MAX_DATA_DEPTH, MAX_DATA_OCTETS
from services.ingest.domain.templates import MAX_RENDERED_OCTETS, Mistake, Part, Rendered, mistaken
from services.ingest.handlers import AcceptMessage, Answer, SendRequest
from tests.unit.ingest.stand_ins import LINKS, ClaimLog, Died, Directory, Faults, HandClock, Inputs, Kafka, NoStorage

CALLER = Caller("prj_1", "key_1", "live", ("*",), 1000)
AT = "2026-01-01T00:00:00.000Z"
# The documentation's own example, word for word (R1).
EXAMPLE: dict[str, Any] = {
    "recipient": "user@example.com",
    "subject": "Your verification code",
    "template": "otp-code",
    "template_data": {"code": "847291", "expires_in": "5 minutes"},
    "headers": {"X-Idempotency-Key": "uuid-v4-here"},
}


@dataclass(slots=True)
class Kept:
    """The ports `Templates` and `Render`, with the engine in this process."""

    head: Template | None
    versions: dict[int, TemplateVersion] = field(default_factory=dict)
    looked_up: int = 0

    def find(self, project_id: str, name_or_id: str) -> Template | None:
        self.looked_up += 1
        found = self.head
        return found if found is not None and name_or_id in {found.id, found.name} else None

    def version(self, template_id: str, number: int) -> TemplateVersion | None:
        return self.versions.get(number)

    async def render(self, parts: Mapping[Part, str], data: dict[str, Any]) -> Rendered:
        reply = answer({"parts": parts, "data": data, "limit": MAX_RENDERED_OCTETS})
        if "faults" in reply:
            raise mistaken([Mistake(**fault) for fault in reply["faults"]], "template.")
        return Rendered(**reply["made"])

    async def variables(self, parts: Mapping[Part, str]) -> list[str]:
        raise AssertionError("sending does not check templates")


def template(published: int | None = 1) -> Template:
    return Template(
        id="tpl_1",
        project_id="prj_1",
        name="otp-code",
        published_version=published,
        created_at=AT,
        updated_at=AT,
        deleted_at=None,
    )


def version(number: int = 1, **parts: str | None) -> TemplateVersion:
    given: dict[str, str | None] = {
        "subject": "Code {{ code }}",
        "text": None,
        "html": "<p>{{ code }}</p>",
        "from_": None,
    }
    return TemplateVersion(
        id="tpl_1", project_id="prj_1", name="otp-code", version=number, token="t", created_at=AT, **{**given, **parts}
    )  # fmt: skip


class Replica:
    def __init__(self, kafka: Kafka, kept: Kept, faults: Faults | None = None) -> None:
        faults = faults or Faults()
        ids = MessageIds({1: b"0123456789abcdef"}, 1)
        claims, inputs = ClaimLog(kafka, faults), Inputs(kafka, faults)
        self.accept = AcceptMessage(kafka.clock, ids, Directory(), inputs, claims, LINKS, kept, kept, NoStorage())

    async def send(self, **changes: Any) -> Answer:
        body = {name: value for name, value in {**EXAMPLE, **changes}.items() if value is not ...}
        return await self.accept(SendRequest(CALLER, orjson.dumps(body), []))

    async def refusal(self, **changes: Any) -> Refused:
        with pytest.raises(Refused) as refused:
            await self.send(**changes)
        return refused.value


@pytest.fixture
def kafka() -> Kafka:
    return Kafka(HandClock())


async def test_the_documentations_example(kafka: Kafka) -> None:
    """R1: no `from`, a subject of its own, text made from html."""
    await Replica(kafka, Kept(template(), {1: version()})).send()
    ((_, submit, _),) = kafka.submits
    assert submit.content.subject == "Your verification code"
    assert (submit.content.html, submit.content.text) == ("<p>847291</p>", "847291\n")
    assert submit.content.from_ == "Shop <hello@shop.example>"
    assert (submit.template, submit.template_version) == ("otp-code", 1)
    assert submit.size == len("Your verification code" + "<p>847291</p>" + "847291\n")


async def test_subject_and_sender_of_the_template_where_the_mail_has_none(kafka: Kafka) -> None:
    kept = Kept(template(), {1: version(from_="Codes <codes@shop.example>")})
    await Replica(kafka, kept).send(subject=..., template="tpl_1")
    await Replica(kafka, kept).send(headers=..., **{"from": "me@shop.example"})
    contents = [submit.content for _, submit, _ in kafka.submits]
    assert [content.from_ for content in contents] == ["Codes <codes@shop.example>", "me@shop.example"]
    assert [content.subject for content in contents] == ["Code 847291", "Your verification code"]
    assert {submit.template for _, submit, _ in kafka.submits} == {"otp-code"}


async def test_a_sender_of_the_template_must_be_the_projects(kafka: Kafka) -> None:
    kept = Kept(template(), {1: version(from_="x@elsewhere.example")})
    assert (await Replica(kafka, kept).refusal()).code == "sender_not_allowed"


async def test_the_version_is_pinned_when_it_is_accepted(kafka: Kafka) -> None:
    """R3, R8: the winner dies after its claim; v2 is published, then the template deleted; who helps renders v1."""
    kept = Kept(template(), {1: version()})
    with pytest.raises(Died):
        await Replica(kafka, kept, Faults(strike_at=2)).send()
    assert kafka.submits == []
    kept.versions[2] = version(2, html="<p>new</p>")
    for head in (template(2), None):
        kept.head, kept.looked_up = head, 0
        kafka.holders = {
            key: type(holder)(holder.claim, holder.claimed_at_ms, done=False)
            for key, holder in kafka.holders.items()
        }  # fmt: skip
        # Members in another order are the same request, and so the same mail.
        data = dict(reversed(EXAMPLE["template_data"].items()))
        assert (await Replica(kafka, kept).send(template_data=data)).replayed
        assert kept.looked_up == 0, "a replay asked what is published now"
    first, second = (submit for _, submit, _ in kafka.submits)
    assert first.content.html == "<p>847291</p>"
    assert first.template_version == 1
    assert first.model_copy(update={"valid_until_ms": 0}) == second.model_copy(update={"valid_until_ms": 0})


async def test_new_mail_has_the_published_version(kafka: Kafka) -> None:
    kept = Kept(template(1), {1: version(), 2: version(2, html="<p>new</p>")})
    await Replica(kafka, kept).send(headers=...)
    kept.head = template(2)
    await Replica(kafka, kept).send(headers=...)
    assert [submit.content.html for _, submit, _ in kafka.submits] == ["<p>847291</p>", "<p>new</p>"]


@pytest.mark.parametrize(
    ("kept", "changes", "code", "fault"),
    [
        (Kept(None), {}, "validation_error", ("template", "unknown_template")),
        (Kept(template(None)), {}, "validation_error", ("template", "not_published")),
        (Kept(template(), {1: version()}), {"template_data": {}}, "template_error", ("template_data", "missing_variable")),
        (
            Kept(template(), {1: version()}),
            {"template_data": {"code": None}},
            "template_error",
            ("template_data", "missing_variable"),
        ),
        (
            Kept(template(), {1: version()}),
            {"subject": ..., "template_data": {"code": "1\r\nBcc: eve@example.org"}},
            "template_error",
            ("template.subject", "forbidden_characters"),
        ),
        (Kept(template(), {1: version(subject=None)}), {"subject": ...}, "validation_error", ("subject", "required")),
        (
            Kept(template(), {1: version(html="{{ code|nonsense }}")}),
            {},
            "template_error",
            ("template.html", "rendering_failed"),
        ),
    ],
)  # fmt: skip
async def test_what_is_refused_before_acceptance(
    kafka: Kafka, kept: Kept, changes: dict[str, Any], code: str, fault: tuple[str, str]
) -> None:
    refused = await Replica(kafka, kept).refusal(**changes)
    assert (refused.status, refused.code) == (422, code)
    assert [(found.field, found.code) for found in refused.faults] == [fault]
    assert not kafka.submits
    assert not kafka.holders, "a refusal may not use up the idempotency key"


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({"text": "t"}, [("text", "conflict")]),
        ({"html": "", "text": "t"}, [("text", "conflict"), ("html", "conflict")]),
        ({"template": 1}, [("template", "invalid_value")]),
        ({"template": "a/b"}, [("template", "invalid_value")]),
        ({"template": None}, [("template_data", "conflict"), ("text", "required")]),
        ({"template_data": "x"}, [("template_data", "invalid_type")]),
        ({"template_data": deep(MAX_DATA_DEPTH + 1)}, [("template_data", "too_deep")]),
        ({"template_data": deep(400)}, [("template_data", "too_deep")]),
        ({"template_data": {"a": "x" * MAX_DATA_OCTETS}}, [("template_data", "too_large")]),
        ({"template_data": deep(MAX_DATA_DEPTH)}, []),
        ({"template_data": None}, []),
    ],
)
def test_the_fields(changes: dict[str, Any], faults: list[tuple[str, str]]) -> None:
    body = {**EXAMPLE, "headers": None, **changes}
    if not faults:
        assert read_submission(body).template is not None
        return
    with pytest.raises(Refused) as refused:
        read_submission(body)
    assert sorted((fault.field, fault.code) for fault in refused.value.faults) == sorted(faults)
