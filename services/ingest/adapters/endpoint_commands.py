"""What is asked of a webhook endpoint, into the log: the service webhooks carries it out."""

from chassis.log import Log, outgoing
from schemas.envelope import seal
from schemas.topics import TOPICS
from schemas.webhooks import WebhookReplay, WebhookTest

_COMMANDS = TOPICS["webhook-commands"]
_WITHIN = 2.5  # seconds, as for every change that a caller waits for


class LogEndpointCommands:
    """See `services.ingest.ports.EndpointCommands`."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def send(self, project_id: str, record_id: str, command: WebhookTest | WebhookReplay, time_ms: int) -> None:
        endpoint_id = command.webhook_id
        envelope = seal(
            command, record_id=record_id, source="ingest", subject=endpoint_id, time_ms=time_ms, project_id=project_id
        )
        await self._log.append([outgoing(_COMMANDS, envelope, key=endpoint_id)], within=_WITHIN)
