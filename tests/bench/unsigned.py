"""A second sender domain for the stack under measurement, verified and without a DKIM key: its mail goes out unsigned."""

from chassis.ids import new_id
from chassis.log import Log, outgoing
from chassis.settings import KafkaSettings
from deploy.local.credentials import Credentials
from schemas.envelope import seal
from schemas.tables import Domain
from schemas.topics import TOPICS
from tests.bench.mails import UNSIGNED_DOMAIN


async def add_unsigned_domain(credentials: bytes, bootstrap_servers: str) -> None:
    """As the seed writes its own domain, but for the keys; `credentials` is the stack's file of them."""
    known = Credentials.model_validate_json(credentials)
    domain = Domain(
        id=new_id("dom", 0),
        project_id=known.project_id,
        domain=UNSIGNED_DOMAIN,
        verified_at=known.created_at,
    )
    key = f"{known.project_id}:{UNSIGNED_DOMAIN}"
    envelope = seal(
        domain, record_id=f"bench_{key}", source="local", subject=key, time_ms=0, project_id=known.project_id
    )
    log = Log(KafkaSettings(bootstrap_servers=bootstrap_servers), client_id="bench")
    await log.start()
    await log.append([outgoing(TOPICS["domains"], envelope, key=key)], within=10)
    await log.stop()
