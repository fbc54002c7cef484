"""Events of an account, for other teams: the public topic."""

from chassis.log import Log, outgoing
from schemas.envelope import Payload, seal
from schemas.topics import TOPICS

_TOPIC = TOPICS["account-events"]
_WITHIN = 2.5  # seconds: as for every request


class LogAccountEvents:
    def __init__(self, log: Log) -> None:
        self._log = log

    async def publish(self, project_id: str, event_id: str, subject: str, change: Payload, time_ms: int) -> None:
        envelope = seal(
            change, record_id=event_id, source="ingest", subject=subject, time_ms=time_ms, project_id=project_id
        )
        await self._log.append([outgoing(_TOPIC, envelope, key=project_id)], within=_WITHIN)
