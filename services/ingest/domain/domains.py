"""Sender domains: what a customer may ask for, the DNS records to publish, and what the look-ups say of them (R26).

Pure. Who publishes the DKIM keys, whose selectors are this project's alone, has shown that the domain is his: that is
what verifies it. The other records are judged as strictly, and told, but a mail can do without them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, assert_never

from schemas.tables import DkimKey, Domain, DomainRecord, RecordStatus
from services.ingest.domain.addresses import InvalidAddress, parse_domain
from services.ingest.domain.faults import Fault, invalid
from services.ingest.domain.fields import faults_of_names

FIELDS = frozenset({"domain", "ed25519"})
MAX_DOMAINS = 1000  # of a project: each is looked up every day
MAX_FOUND = 5  # texts that are kept and shown of what stands in a record's place
MAX_FOUND_CHARACTERS = 600  # of each: a DKIM record of RSA-4096 has 750, ours 400
RETURN_PATH = "bounces"  # the label below the domain that bounces go to
REQUIRED = frozenset({"dkim"})  # purposes without which a domain is not verified

_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class NewDomain:
    domain: str  # A-label
    ed25519: bool  # a second signature beside RSA's


@dataclass(frozen=True, slots=True)
class Looked:
    """What DNS says of a name. `texts` None: it did not answer."""

    texts: Sequence[str] | None


def read_domain(body: Mapping[str, Any]) -> NewDomain:
    """Raises Refused (422) with every fault."""
    faults = faults_of_names(body, FIELDS, frozenset())
    domain = _domain(body.get("domain"), faults)
    ed25519 = body.get("ed25519")
    if ed25519 is not None and not isinstance(ed25519, bool):
        faults.append(Fault("ed25519", "invalid_type", "`ed25519` is true or false."))
    if faults:
        raise invalid(faults)
    return NewDomain(domain, ed25519 is True)


def _domain(value: Any, faults: list[Fault]) -> str:
    if value is None:
        faults.append(Fault("domain", "required", "Give the domain to send from."))
    elif not isinstance(value, str):
        faults.append(Fault("domain", "invalid_type", "`domain` is a string."))
    else:
        try:
            return parse_domain(value)
        except InvalidAddress:
            faults.append(Fault("domain", "invalid_value", "A domain is written as in an address: `example.com`."))
    return ""


def selector_of(domain_id: str, algorithm: str) -> str:
    """No other project, nor a later entry of the same domain, has this one."""
    return f"sx{sha256(domain_id.encode()).hexdigest()[:10]}{algorithm[0]}"


def records_of(domain: str, keys: Sequence[DkimKey], mail_domain: str) -> list[DomainRecord]:
    """What to publish. `mail_domain`: where this installation publishes who sends for it, and takes bounces."""
    dkim = [
        DomainRecord(
            purpose="dkim",
            type="TXT",
            name=f"{key.selector}._domainkey.{domain}",
            value=f"v=DKIM1; k={key.algorithm}; p={key.public_key}",
        )
        for key in keys
    ]
    return [
        *dkim,
        DomainRecord(purpose="spf", type="TXT", name=domain, value=f"v=spf1 include:spf.{mail_domain} ~all"),
        DomainRecord(
            purpose="return_path", type="CNAME", name=f"{RETURN_PATH}.{domain}", value=f"bounces.{mail_domain}"
        ),
        DomainRecord(purpose="dmarc", type="TXT", name=f"_dmarc.{domain}", value="v=DMARC1; p=none"),
    ]


def judged(record: DomainRecord, looked: Looked) -> DomainRecord:
    """The record with its status, and with what stands in its place."""
    if looked.texts is None:
        return record.model_copy(update={"status": "unknown", "found": []})
    relevant = [text for text in looked.texts if _is_meant(record, text)]
    found = [text[:MAX_FOUND_CHARACTERS] for text in relevant[:MAX_FOUND]]
    return record.model_copy(update={"status": _status(record, relevant), "found": found})


def _is_meant(record: DomainRecord, text: str) -> bool:
    """Whether it is of this kind at all: a domain has other TXT records, too."""
    match record.purpose:
        case "spf":
            return text.lower().split(" ")[0] == "v=spf1"
        case "dmarc":
            return _tags(text).get("v") == "DMARC1"
        case "dkim" | "return_path":
            return True
        case _:
            assert_never(record.purpose)


def _status(record: DomainRecord, found: Sequence[str]) -> RecordStatus:
    if not found:
        return "missing"
    return "found" if _fits(record, found) else "wrong"


def _fits(record: DomainRecord, found: Sequence[str]) -> bool:
    """Two SPF or DMARC records count as none (RFC 7208, 4.5; RFC 9989)."""
    match record.purpose:
        case "dkim":
            return any(_same_key(record.value, text) for text in found)
        case "spf":
            wanted = record.value.split(" ")[1]
            return len(found) == 1 and wanted in [term.lstrip("+") for term in found[0].lower().split()]
        case "return_path":
            return any(text.rstrip(".").lower() == record.value for text in found)
        case "dmarc":
            return len(found) == 1 and _tags(found[0]).get("p", "").lower() in {"none", "quarantine", "reject"}
        case _:
            assert_never(record.purpose)


def _same_key(wanted: str, text: str) -> bool:
    ours, theirs = _tags(wanted), _tags(text)
    return (theirs.get("v", "DKIM1"), theirs.get("k", "rsa"), theirs.get("p")) == (ours["v"], ours["k"], ours["p"])


def _tags(text: str) -> dict[str, str]:
    """`a=b; c=d` (RFC 6376, 3.2); white space within a value is none."""
    parts = (part.partition("=") for part in text.split(";"))
    return {name.strip().lower(): _SPACE.sub("", value) for name, equals, value in parts if equals}


def checked(domain: Domain, records: Sequence[DomainRecord], now: str) -> Domain:
    """The domain after a look at all its records: verified, or not any more. Silence of DNS changes neither."""
    required = [record.status for record in records if record.purpose in REQUIRED]
    if not required or "unknown" in required:
        verified_at = domain.verified_at
    elif set(required) == {"found"}:
        verified_at = domain.verified_at or now
    else:
        verified_at = None
    return domain.model_copy(update={"records": list(records), "verified_at": verified_at, "checked_at": now})


def domain_shown(domain: Domain) -> dict[str, Any]:
    """A domain as the API shows it: never a private key."""
    return {
        "id": domain.id,
        "domain": domain.domain,
        "status": "verified" if domain.verified_at is not None else "unverified",
        "verified_at": domain.verified_at,
        "checked_at": domain.checked_at,
        "return_path": domain.return_path,
        "records": [_record_shown(record) for record in domain.records],
        "created_at": domain.created_at,
    }


def _record_shown(record: DomainRecord) -> dict[str, Any]:
    return {
        "purpose": record.purpose,
        "type": record.type,
        "name": record.name,
        "value": record.value,
        "required": record.purpose in REQUIRED,
        "status": record.status,
        "found": record.found,
    }
