"""What a new stack holds: one project, its verified domain, API keys, and the template of the documentation's example.

Seeding again writes the same records.
"""

from collections.abc import Iterator

from chassis.ids import derived_id
from chassis.log import Log, Outgoing, outgoing
from deploy.local.credentials import Credentials
from schemas.envelope import Payload, seal, to_ms
from schemas.tables import ApiKey, Domain, Project
from schemas.templates import Template, TemplateVersion, version_key
from schemas.topics import TOPICS
from services.ingest.domain.domains import RETURN_PATH, records_of
from services.ingest.domain.keys import hash_of
from services.ingest.domain.projects import STANDARD_REQUESTS_PER_MINUTE

DOMAIN = "example.com"
DEFAULT_FROM = "Sendarix <hello@example.com>"
OTP_TEMPLATE = "otp-code"
_OTP_HTML = """\
<p>Your verification code is <strong>{{ code }}</strong>.</p>
<p>It is valid for {{ expires_in }}. If you did not ask for it, do nothing.</p>
"""
_MAIL_DOMAIN = "localhost"  # as ingest's setting has it where nothing else is set
_REQUESTS_PER_MINUTE = 1_000_000  # nobody who tries things out, or measures, shall meet the limit
_WITHIN = 30.0  # seconds


async def seed(log: Log, credentials: Credentials) -> None:
    """Append the records. Raises chassis.log.LogUnavailable."""
    await log.append(list(records(credentials)), within=_WITHIN)


def records(credentials: Credentials) -> Iterator[Outgoing]:
    """The same records for the same credentials, byte for byte."""
    project = credentials.project_id
    yield _record(credentials, "projects", project, _project(credentials))
    yield _record(credentials, "domains", f"{project}:{DOMAIN}", _domain(credentials))
    for name in credentials.keys:
        yield _record(credentials, "api-keys", credentials.keys[name].id, _api_key(credentials, name))
    version = _otp_version(credentials)
    yield _record(credentials, "templates", version_key(version), version)
    yield _record(credentials, "templates", version.id, _otp_template(credentials))


def _project(credentials: Credentials) -> Project:
    return Project(
        id=credentials.project_id, name="Local", default_from=DEFAULT_FROM, created_at=credentials.created_at
    )


def _domain(credentials: Credentials) -> Domain:
    """Verified because we say so: DNS was never asked, and its records show what a real domain would publish."""
    keys = [] if credentials.dkim_key is None else [credentials.dkim_key]
    return Domain(
        id=credentials.domain_id,
        project_id=credentials.project_id,
        domain=DOMAIN,
        verified_at=credentials.created_at,
        created_at=credentials.created_at,
        return_path=f"{RETURN_PATH}.{DOMAIN}",
        dkim_keys=keys,
        records=records_of(DOMAIN, keys, _MAIL_DOMAIN),
    )


def _api_key(credentials: Credentials, name: str) -> ApiKey:
    credential = credentials.keys[name]
    return ApiKey(
        id=credential.id,
        project_id=credentials.project_id,
        name=f"local {name}",
        environment=credential.environment,
        sha256=hash_of(credential.key),
        scopes=["*"],
        requests_per_minute=STANDARD_REQUESTS_PER_MINUTE if name == "standard" else _REQUESTS_PER_MINUTE,
        created_at=credentials.created_at,
        revoked_at=None,
    )


def _otp_template(credentials: Credentials) -> Template:
    return Template(
        id=derived_id("tpl", credentials.project_id, OTP_TEMPLATE),
        project_id=credentials.project_id,
        name=OTP_TEMPLATE,
        published_version=1,
        created_at=credentials.created_at,
        updated_at=credentials.created_at,
        deleted_at=None,
    )


def _otp_version(credentials: Credentials) -> TemplateVersion:
    """For the documentation's example; it gives its own subject, and the project the sender."""
    return TemplateVersion(
        id=derived_id("tpl", credentials.project_id, OTP_TEMPLATE),
        project_id=credentials.project_id,
        name=OTP_TEMPLATE,
        version=1,
        token="seed",  # noqa: S106  # it tells writers apart, nothing else
        subject="Your verification code is {{ code }}",
        text=None,
        html=_OTP_HTML,
        from_=None,
        created_at=credentials.created_at,
    )


def _record(credentials: Credentials, entry: str, key: str, data: Payload) -> Outgoing:
    envelope = seal(
        data,
        record_id=f"seed_{key}",
        source="local",
        subject=key,
        time_ms=to_ms(credentials.created_at),
        project_id=credentials.project_id,
    )
    return outgoing(TOPICS[entry], envelope, key=key)
