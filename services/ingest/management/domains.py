"""Sender domains (R26): added with keys of their own, verified in DNS, looked at again each day, removed.

Several projects may add one domain; each sends from it only while the DNS shows the keys of that very project. What was
verified by whoever runs the installation, without a look at DNS, is looked at only when its project asks for it.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chassis.clock import Clock
from chassis.ids import new_id
from chassis.log import LogUnavailable
from chassis.sealing import WrongSealingKey
from chassis.table import ANSWER_AFTER
from chassis.telemetry import logger
from schemas.envelope import to_timestamp
from schemas.tables import DkimKey, Domain
from services.ingest import metrics
from services.ingest.domain.access import Caller
from services.ingest.domain.domains import (
    MAX_DOMAINS,
    RETURN_PATH,
    checked,
    domain_shown,
    judged,
    read_domain,
    records_of,
    selector_of,
)
from services.ingest.domain.faults import Refused
from services.ingest.domain.pages import PageRequest
from services.ingest.ports import Algorithm, Dns, DomainEntities, KeyPairs, RenewableSeals

Shown = dict[str, Any]

_CHECK_AGAIN_MS = 24 * 60 * 60 * 1000

_log = logger("domains")


@dataclass(frozen=True, slots=True)
class ManageDomains:
    clock: Clock
    domains: DomainEntities
    key_pairs: KeyPairs
    seals: RenewableSeals
    dns: Dns
    mail_domain: str  # where this installation publishes who sends for it

    async def create(self, caller: Caller, body: Mapping[str, Any]) -> Shown:
        """The domain, with the records to publish. Raises Refused, LogUnavailable."""
        new = read_domain(body)
        key = f"{caller.project_id}:{new.domain}"
        self._check_free(caller, key)
        now_ms = self.clock.now_ms()
        domain_id = new_id("dom", now_ms)
        keys = [await self._new_key(domain_id, "rsa")]
        if new.ed25519:
            keys.append(await self._new_key(domain_id, "ed25519"))
        domain = Domain(
            id=domain_id,
            project_id=caller.project_id,
            domain=new.domain,
            verified_at=None,
            created_at=to_timestamp(now_ms),
            return_path=f"{RETURN_PATH}.{new.domain}",
            dkim_keys=keys,
            records=records_of(new.domain, keys, self.mail_domain),
        )
        self._check_free(caller, key)  # another request may have taken it meanwhile
        await self.domains.put(key, domain)
        return domain_shown(domain)

    def page(self, caller: Caller, page: PageRequest) -> tuple[list[Shown], str | None]:
        found, cursor = self.domains.page(caller.project_id, page)
        return [domain_shown(domain) for domain in found], cursor

    def show(self, caller: Caller, domain_id: str) -> Shown:
        return domain_shown(self._own(caller, domain_id))

    async def verify(self, caller: Caller, domain_id: str) -> Shown:
        """Look each record up now; answered when the outcome holds everywhere. Raises Refused, LogUnavailable."""
        domain = await self._check(self._own(caller, domain_id))
        await self.clock.sleep(ANSWER_AFTER)
        return domain_shown(domain)

    async def delete(self, caller: Caller, domain_id: str) -> Shown:
        """Answered when no mail from it is accepted any more."""
        domain = self._own(caller, domain_id)
        await self.domains.remove(_key_of(domain))
        await self.clock.sleep(ANSWER_AFTER)
        return {"object": "domain", "id": domain.id, "deleted": True}

    async def check_due(self) -> None:
        """The daily look at each domain that DNS was asked for before; what can not be written waits for the next round."""
        before = to_timestamp(self.clock.now_ms() - _CHECK_AGAIN_MS)
        due = [domain for domain in self.domains.all() if domain.checked_at is not None and domain.checked_at < before]
        for domain in due:
            if self.domains.by_id(domain.project_id, domain.id) is not domain:
                continue  # changed since: another replica has looked, or it is gone
            try:
                now = await self._check(domain)
            except (LogUnavailable, Refused) as error:
                _log.warning("domain_not_checked", domain=domain.domain, reason=str(error))
                continue
            if domain.verified_at is not None and now.verified_at is None:
                metrics.lapsed_domains.inc()
                _log.warning("domain_lapsed", domain=domain.domain, project_id=domain.project_id)

    async def _check(self, domain: Domain) -> Domain:
        looked = await asyncio.gather(*(self.dns.look(record) for record in domain.records))
        records = [judged(record, found) for record, found in zip(domain.records, looked, strict=True)]
        current = self.domains.by_id(domain.project_id, domain.id)
        if current is None:  # removed while we looked: it must not come back
            raise _no_such_domain()
        found = checked(current, records, to_timestamp(self.clock.now_ms()))
        found = found.model_copy(update={"dkim_keys": [self._renewed(key) for key in current.dkim_keys]})
        await self.domains.put(_key_of(found), found)
        return found

    def _renewed(self, key: DkimKey) -> DkimKey:
        """Under the newest sealing key, so that an old one can be retired after a day."""
        try:
            return key.model_copy(update={"sealed_private_key": self.seals.renew(key.sealed_private_key)})
        except WrongSealingKey as error:
            _log.error("signing_key_unusable", selector=key.selector, reason=str(error))
            return key

    async def _new_key(self, domain_id: str, algorithm: Algorithm) -> DkimKey:
        pair = await self.key_pairs.make(algorithm)
        return DkimKey(
            selector=selector_of(domain_id, algorithm),
            algorithm=algorithm,
            public_key=pair.public,
            sealed_private_key=self.seals.seal(pair.private),
        )

    def _check_free(self, caller: Caller, key: str) -> None:
        if self.domains.get(caller.project_id, key) is not None:
            raise Refused("conflict", "This project has that domain already.")
        if self.domains.count(caller.project_id) >= MAX_DOMAINS:
            raise Refused("conflict", f"A project has at most {MAX_DOMAINS} domains.")

    def _own(self, caller: Caller, domain_id: str) -> Domain:
        domain = self.domains.by_id(caller.project_id, domain_id)
        if domain is None:
            raise _no_such_domain()
        return domain


def _key_of(domain: Domain) -> str:
    return f"{domain.project_id}:{domain.domain}"


def _no_such_domain() -> Refused:
    return Refused("not_found", "There is no such domain.")
