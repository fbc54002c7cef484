"""Who holds a template's name and number: the first in the log, at every replica and after every start (R8)."""

from typing import Any, cast

import pytest

from chassis.clock import SystemClock
from chassis.log import Incoming, Log
from chassis.settings import KafkaSettings
from chassis.table import Table, Tables
from schemas.envelope import Payload, encode, seal
from schemas.templates import Template, TemplateVersion, version_key
from schemas.topics import TOPICS
from services.ingest.adapters.templates import TableTemplates
from services.ingest.domain.pages import PageRequest

AT = "2026-01-01T00:00:00.000Z"
LATER = "2026-01-02T00:00:00.000Z"
PAGE = PageRequest(25, None)


class Topic:
    """The topic of one broker, read by one replica."""

    def __init__(self) -> None:
        tables = Tables(KafkaSettings(), cast("Log", None), SystemClock(), client_id="test")
        self.table: Table[Payload] = tables.table(TOPICS["templates"], Template, TemplateVersion)
        self.templates = TableTemplates(self.table, SystemClock())

    def apply(self, data: Template | TemplateVersion, *, removed: bool = False) -> None:
        key = version_key(data) if isinstance(data, TemplateVersion) else data.id
        envelope = seal(
            data, record_id="r", source="ingest", subject=data.id, time_ms=0, project_id=data.project_id
        )  # fmt: skip
        self.table.apply(Incoming("t", 0, 0, 0, key, None if removed else encode(envelope), ()))


def head(name: str = "otp", template_id: str = "tpl_1", **changes: Any) -> Template:
    fields = {"project_id": "prj_1", "published_version": 1, "created_at": AT, "updated_at": AT, "deleted_at": None}
    return Template(id=template_id, name=name, **{**fields, **changes})


def version(number: int, token: str = "a", template_id: str = "tpl_1") -> TemplateVersion:
    return TemplateVersion(
        id=template_id,
        project_id="prj_1",
        name="otp",
        version=number,
        token=token,
        subject=None,
        text=token,
        html=None,
        from_=None,
        created_at=AT,
    )


def test_a_template_is_found_by_name_and_id_in_its_project_only() -> None:
    topic = Topic()
    topic.apply(head())
    assert topic.templates.find("prj_1", "otp") == topic.templates.find("prj_1", "tpl_1") == head()
    assert topic.templates.find("prj_2", "otp") is topic.templates.find("prj_2", "tpl_1") is None


def test_the_first_in_the_log_has_the_name() -> None:
    topic = Topic()
    topic.apply(head())
    topic.apply(head(template_id="tpl_2", created_at="2025-01-01T00:00:00.000Z"))
    assert topic.templates.find("prj_1", "otp") == head()
    topic.apply(head(published_version=2))
    assert topic.templates.find("prj_1", "otp") == head(published_version=2)
    topic.apply(head(template_id="tpl_2"), removed=True)
    assert topic.templates.find("prj_1", "otp") == head(published_version=2)
    assert topic.templates.find("prj_1", "tpl_2") is None


def test_the_first_in_the_log_has_the_number_and_never_changes() -> None:
    topic = Topic()
    topic.apply(version(1, "first"))
    topic.apply(version(1, "second"))
    assert topic.templates.version("tpl_1", 1) == version(1, "first")
    topic.apply(version(1, "second"), removed=True)
    topic.apply(version(2, "third"))
    assert topic.templates.version("tpl_1", 1) == version(1, "first")
    assert topic.templates.numbers("tpl_1") == [1, 2]
    assert topic.templates.octets("prj_1") == len("first" + "third")


def test_a_deleted_template_is_hidden_and_its_versions_stay() -> None:
    topic = Topic()
    topic.apply(version(1))
    topic.apply(head())
    topic.apply(head(deleted_at=LATER))
    assert topic.templates.find("prj_1", "otp") is topic.templates.find("prj_1", "tpl_1") is None
    assert topic.templates.page("prj_1", PAGE) == ([], None)
    assert topic.templates.version("tpl_1", 1) == version(1)
    assert topic.templates.deleted("prj_1") == [head(deleted_at=LATER)]
    topic.apply(head(template_id="tpl_2"))
    assert topic.templates.find("prj_1", "otp") == head(template_id="tpl_2")
    topic.apply(version(1), removed=True)
    topic.apply(head(deleted_at=LATER), removed=True)
    assert topic.templates.deleted("prj_1") == []
    assert topic.templates.version("tpl_1", 1) is None
    assert topic.templates.octets("prj_1") == 0


@pytest.mark.parametrize("limit", [1, 2, 3, 10])
def test_pages_newest_first(limit: int) -> None:
    topic = Topic()
    for number in range(5):
        topic.apply(head(f"t{number}", f"tpl_{number}", created_at=f"2026-01-0{number + 1}T00:00:00.000Z"))
    topic.apply(head("t2", "tpl_2", created_at="2026-01-03T00:00:00.000Z", deleted_at=LATER))
    page, cursor = topic.templates.page("prj_1", PageRequest(limit, None))
    assert [template.name for template in page] == ["t4", "t3", "t1", "t0"][:limit]
    assert (cursor is None) == (limit >= 4)
    assert topic.templates.count("prj_1") == 4
