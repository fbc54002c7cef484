"""Templates as customers keep them (R8): made, given versions, published, previewed, checked, deleted.

A version never changes and never goes while an accepted request may need it again: who helps a request renders the
version that its claim names. So a deletion hides at once, and removes when the time of idempotency keys is over.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from chassis.clock import Clock
from chassis.ids import new_id
from chassis.table import ANSWER_AFTER
from schemas.envelope import to_timestamp
from schemas.templates import Template, TemplateVersion
from services.ingest.domain.access import Caller
from services.ingest.domain.faults import Fault, Refused, invalid
from services.ingest.domain.pages import PageRequest
from services.ingest.domain.template_requests import (
    TemplateContent,
    read_new_template,
    read_new_version,
    read_preview,
    read_to_validate,
    read_version_number,
)
from services.ingest.domain.templates import (
    Part,
    failed,
    faults_shown,
    parts_of,
    rendered_faults,
    template_shown,
    version_shown,
)
from services.ingest.ports import Render, TemplateStore

Shown = dict[str, Any]

# All versions lie in the memory of each replica: room for hundreds of templates, not for an archive.
MAX_TEMPLATES = 1000
MAX_PROJECT_OCTETS = 32 * 1024 * 1024
MAX_VERSIONS = 50  # of one template; the oldest goes when one comes, unless it is published


@dataclass(frozen=True, slots=True)
class ManageTemplates:
    clock: Clock
    templates: TemplateStore
    render: Render
    keep: timedelta  # twice the window of idempotency keys: how long a version stays that no new mail can use

    async def create(self, caller: Caller, body: Mapping[str, Any]) -> Shown:
        """The version first, then the head that names it. Raises Refused, LogUnavailable."""
        new = read_new_template(body)
        await self._check(new.content)
        await self._sweep(caller.project_id)
        if self.templates.find(caller.project_id, new.name) is not None:
            raise _name_taken(new.name)
        if self.templates.count(caller.project_id) >= MAX_TEMPLATES:
            raise invalid([Fault("name", "too_many", f"A project has at most {MAX_TEMPLATES} templates.")])
        self._check_room(caller.project_id)
        now_ms = self.clock.now_ms()
        template = Template(
            id=new_id("tpl", now_ms),
            project_id=caller.project_id,
            name=new.name,
            published_version=1 if new.publish else None,
            created_at=to_timestamp(now_ms),
            updated_at=to_timestamp(now_ms),
            deleted_at=None,
        )
        version = self._version(template, 1, new.content)
        await self.templates.put_version(version)
        await self.templates.put(template)
        if self._held_by_another(template):
            await self.templates.remove(template)
            raise _name_taken(new.name)
        await self.clock.sleep(ANSWER_AFTER)  # by then every replica knows it
        return self._shown(template, version)

    def page(self, caller: Caller, page: PageRequest) -> tuple[list[Shown], str | None]:
        found, cursor = self.templates.page(caller.project_id, page)
        return [template_shown(template, self._latest(template)) for template in found], cursor

    def show(self, caller: Caller, name_or_id: str, number: int | None) -> Shown:
        """With the content of the latest version, or of that number."""
        template = self._own(caller, name_or_id)
        return self._shown(template, self._numbered(template, number))

    async def add_version(self, caller: Caller, name_or_id: str, body: Mapping[str, Any]) -> Shown:
        """A new version; mail goes on with the published one, unless `publish` says otherwise."""
        template = self._own(caller, name_or_id)
        new = read_new_version(body, template.name)
        await self._check(new.content)
        await self._sweep(caller.project_id)
        self._check_room(caller.project_id)
        version = await self._added(template, new.content)
        await self._prune(template)
        if new.publish:
            return await self._publish(template, version)
        await self.clock.sleep(ANSWER_AFTER)
        return self._shown(template, version)

    async def publish(self, caller: Caller, name_or_id: str, body: Mapping[str, Any]) -> Shown:
        """From the answer on, mail is made from this version, at every replica."""
        template = self._own(caller, name_or_id)
        return await self._publish(template, self._numbered(template, read_version_number(body)))

    async def delete(self, caller: Caller, name_or_id: str) -> Shown:
        """From the answer on, mail that names it is refused, at every replica."""
        template = self._own(caller, name_or_id)
        await self.templates.put(template.model_copy(update={"deleted_at": to_timestamp(self.clock.now_ms())}))
        await self.clock.sleep(ANSWER_AFTER)
        return {"object": "template", "id": template.id, "name": template.name, "deleted": True}

    async def preview(self, caller: Caller, name_or_id: str, body: Mapping[str, Any]) -> Shown:
        """What a mail would say. Raises Refused (422) where it would be refused."""
        template = self._own(caller, name_or_id)
        asked = read_preview(body)
        version = self._numbered(template, asked.version)
        rendered = await self.render.render(parts_of(version), asked.data)
        if faults := rendered_faults(rendered):
            raise failed(faults)
        made = {"subject": rendered.subject, "text": rendered.text, "html": rendered.html, "from": version.from_}
        return {"id": template.id, "name": template.name, "version": version.version, **made}

    async def validate(self, caller: Caller, name_or_id: str, body: Mapping[str, Any]) -> Shown:
        """Whether content that is given, or a stored version, is a template, and which variables it uses."""
        asked = read_to_validate(body)
        template = self._own(caller, name_or_id)
        parts = _parts(asked) if isinstance(asked, TemplateContent) else parts_of(self._numbered(template, asked))
        try:
            variables = await self.render.variables(parts)
        except Refused as refused:
            if refused.code != "template_error":
                raise
            return {"valid": False, "variables": [], "errors": faults_shown(refused.faults)}
        return {"valid": True, "variables": variables, "errors": []}

    async def _check(self, content: TemplateContent) -> None:
        """Raises Refused (422) for what is no template."""
        await self.render.variables(_parts(content))

    async def _added(self, template: Template, content: TemplateContent) -> TemplateVersion:
        """The next number; where another writer took it first, the one after it."""
        while True:
            version = self._version(template, self._latest(template) + 1, content)
            await self.templates.put_version(version)
            if self.templates.version(template.id, version.version) == version:
                return version
            await self.templates.remove_version(version)

    async def _publish(self, template: Template, version: TemplateVersion) -> Shown:
        updated_at = to_timestamp(self.clock.now_ms())
        published = template.model_copy(update={"published_version": version.version, "updated_at": updated_at})
        await self.templates.put(published)
        await self.clock.sleep(ANSWER_AFTER)
        return self._shown(published, version)

    async def _prune(self, template: Template) -> None:
        """The oldest versions beyond the limit, where none of them can have made a mail lately."""
        if template.updated_at > self._keep_since():
            return
        for number in self.templates.numbers(template.id)[:-MAX_VERSIONS]:
            version = self.templates.version(template.id, number)
            if version is not None and number != template.published_version:
                await self.templates.remove_version(version)

    async def _sweep(self, project_id: str) -> None:
        for template in self.templates.deleted(project_id):
            if template.deleted_at is not None and template.deleted_at < self._keep_since():
                await self.templates.remove(template)

    def _keep_since(self) -> str:
        return to_timestamp(self.clock.now_ms() - round(self.keep.total_seconds() * 1000))

    def _check_room(self, project_id: str) -> None:
        """Raises Refused (422)."""
        if self.templates.octets(project_id) >= MAX_PROJECT_OCTETS:
            message = f"A project's templates have at most {MAX_PROJECT_OCTETS} bytes, old versions and deleted ones of the last days included."
            raise invalid([Fault("html", "too_large", message)])

    def _version(self, template: Template, number: int, content: TemplateContent) -> TemplateVersion:
        now_ms = self.clock.now_ms()
        return TemplateVersion(
            id=template.id,
            project_id=template.project_id,
            name=template.name,
            version=number,
            token=new_id("ver", now_ms),
            subject=content.subject,
            text=content.text,
            html=content.html,
            from_=content.from_,
            created_at=to_timestamp(now_ms),
        )

    def _held_by_another(self, template: Template) -> bool:
        holder = self.templates.find(template.project_id, template.name)
        return holder is not None and holder.id != template.id

    def _own(self, caller: Caller, name_or_id: str) -> Template:
        template = self.templates.find(caller.project_id, name_or_id)
        if template is None:
            raise Refused("not_found", "There is no such template.")
        return template

    def _numbered(self, template: Template, number: int | None) -> TemplateVersion:
        version = self.templates.version(template.id, number or self._latest(template))
        if version is None:
            raise Refused("not_found", "There is no such version of this template.")
        return version

    def _latest(self, template: Template) -> int:
        return max(self.templates.numbers(template.id), default=0)

    def _shown(self, template: Template, version: TemplateVersion) -> Shown:
        return {**template_shown(template, self._latest(template)), **version_shown(version)}


def _parts(content: TemplateContent) -> dict[Part, str]:
    given: dict[Part, str | None] = {"subject": content.subject, "text": content.text, "html": content.html}
    return {part: source for part, source in given.items() if source}


def _name_taken(name: str) -> Refused:
    return Refused(
        "conflict", f"There is a template `{name}` already: PUT /v1/templates/{name} gives it a new version."
    )
