"""What owners do to templates (R8): what is kept, what goes and when, and what a project may hold."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from schemas.envelope import to_timestamp
from schemas.templates import Template, TemplateVersion
from services.ingest.domain.access import Caller
from services.ingest.domain.faults import Refused
from services.ingest.domain.pages import PageRequest
from services.ingest.domain.templates import Part, Rendered
from services.ingest.management import templates as management
from services.ingest.management.templates import MAX_VERSIONS, ManageTemplates
from tests.unit.ingest.stand_ins import HandClock
from tests.unit.ingest.test_template_table import Topic

CALLER = Caller("prj_1", "key_1", "live", ("*",), 1000)
KEEP = timedelta(hours=48)
HOUR_MS = 3_600_000


class Store:
    """The port `TemplateStore`: a topic that takes everything at once. `first` comes before the next record of ours."""

    def __init__(self) -> None:
        self.topic = Topic()
        self.first: list[Template | TemplateVersion] = []
        read = self.topic.templates
        self.find, self.version, self.numbers = read.find, read.version, read.numbers
        self.page, self.count, self.octets, self.deleted = read.page, read.count, read.octets, read.deleted

    async def put(self, template: Template) -> None:
        self._append(template)

    async def put_version(self, version: TemplateVersion) -> None:
        self._append(version)

    async def remove_version(self, version: TemplateVersion) -> None:
        self.topic.apply(version, removed=True)

    async def remove(self, template: Template) -> None:
        for number in self.numbers(template.id):
            version = self.version(template.id, number)
            assert version is not None
            self.topic.apply(version, removed=True)
        self.topic.apply(template, removed=True)

    def _append(self, record: Template | TemplateVersion) -> None:
        for other in [other for other in self.first if type(other) is type(record)]:
            self.first.remove(other)
            self.topic.apply(other)
        self.topic.apply(record)


class AllGood:
    """The port `Render`, where every source is a template."""

    async def render(self, parts: Mapping[Part, str], data: dict[str, Any]) -> Rendered:
        return Rendered(**dict(parts))

    async def variables(self, parts: Mapping[Part, str]) -> list[str]:
        return []


class Desk:
    """A customer's view."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.store = Store()
        self.manage = ManageTemplates(self.clock, self.store, AllGood(), KEEP)

    async def create(self, name: str = "otp", **fields: Any) -> dict[str, Any]:
        return await self.manage.create(CALLER, {"name": name, "text": "t", **fields})

    async def add(self, **fields: Any) -> dict[str, Any]:
        return await self.manage.add_version(CALLER, "otp", {"text": "t", **fields})


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_a_deleted_template_goes_when_no_request_can_need_it_any_more(desk: Desk) -> None:
    made = await desk.create()
    await desk.manage.delete(CALLER, "otp")
    desk.clock.ms += 47 * HOUR_MS
    await desk.create("other")
    assert desk.store.version(made["id"], 1) is not None
    desk.clock.ms += 2 * HOUR_MS
    await desk.create("another")
    assert desk.store.version(made["id"], 1) is None
    assert desk.store.deleted("prj_1") == []


async def test_the_oldest_versions_go_but_not_what_may_be_in_use(desk: Desk) -> None:
    await desk.create()
    for _ in range(MAX_VERSIONS + 5):
        await desk.add()
    template = desk.store.find("prj_1", "otp")
    assert template is not None
    assert len(desk.store.numbers(template.id)) == MAX_VERSIONS + 6, "published an hour ago: mail may be on its way"
    desk.clock.ms += 49 * HOUR_MS
    last = await desk.add()
    numbers = desk.store.numbers(template.id)
    assert numbers == [1, *range(last["version"] - MAX_VERSIONS + 1, last["version"] + 1)], "1 is published"
    assert (await desk.add())["version"] == last["version"] + 1, "a number is never given again"


async def test_another_writer_was_first_with_the_name(desk: Desk) -> None:
    desk.store.first.append(
        Template(
            id="tpl_theirs",
            project_id="prj_1",
            name="otp",
            published_version=1,
            created_at=to_timestamp(desk.clock.ms + HOUR_MS),
            updated_at=to_timestamp(desk.clock.ms),
            deleted_at=None,
        )
    )
    with pytest.raises(Refused) as refused:
        await desk.create()
    assert (refused.value.status, refused.value.code) == (409, "conflict")
    assert [template.id for template in desk.store.page("prj_1", PageRequest(25, None))[0]] == ["tpl_theirs"]
    assert desk.store.octets("prj_1") == 0, "what was written of ours is gone"


async def test_another_writer_was_first_with_the_number(desk: Desk) -> None:
    made = await desk.create()
    theirs = desk.store.version(made["id"], 1)
    assert theirs is not None
    theirs = theirs.model_copy(update={"version": 2, "token": "theirs", "text": "theirs"})
    desk.store.first.append(theirs)
    mine = await desk.add(text="mine")
    assert (mine["version"], mine["text"]) == (3, "mine")
    assert desk.store.version(made["id"], 2) == theirs


async def test_a_project_has_bounds(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(management, "MAX_TEMPLATES", 2)
    await desk.create("a")
    await desk.create("b")
    with pytest.raises(Refused) as refused:
        await desk.create("c")
    assert [fault.code for fault in refused.value.faults] == ["too_many"]
    await desk.manage.delete(CALLER, "a")
    monkeypatch.setattr(management, "MAX_PROJECT_OCTETS", 3)
    await desk.create("otp", text="four")
    with pytest.raises(Refused) as refused:
        await desk.add()
    assert [fault.code for fault in refused.value.faults] == ["too_large"]


async def test_a_new_version_of_a_full_project_is_no_new_template(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    await desk.create()
    monkeypatch.setattr(management, "MAX_TEMPLATES", 1)
    assert (await desk.add())["version"] == 2
