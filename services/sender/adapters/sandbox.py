"""Where mail of test keys ends: in a topic, from which its owner can read it; no byte of it leaves (R13).

The same gate as in front of a mail server: what is suppressed, too late or no longer ours is not taken here either.
"""

from chassis.ids import derived_id, parse_message_id
from chassis.log import Log, LogUnavailable, outgoing
from schemas.deliveries import Delivery
from schemas.envelope import seal
from schemas.sandbox import SANDBOX_DOMAIN, SandboxMail
from schemas.topics import TOPICS
from services.sender.adapters.inputs import APPEND_WITHIN
from services.sender.domain.mime import Mail
from services.sender.domain.outcome import lost
from services.sender.domain.reports import Hop
from services.sender.domain.sandbox import answer_to, is_taken, mail_of
from services.sender.ports import Carried, Gate

_TOPIC = TOPICS["sandbox-mails"]
_HOP = Hop(mx_host=SANDBOX_DOMAIN)


class LoggedSandbox:
    """See `services.sender.ports.Sandbox`."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def take(self, delivery: Delivery, project_id: str, mail: Mail, gate: Gate) -> Carried:
        await gate.settle()
        if (stop := gate.before_data()) is not None:
            return Carried(stop, _HOP)
        outcome = answer_to(delivery.recipient)
        if is_taken(outcome):
            try:
                await self._keep(mail_of(delivery, mail, outcome, self._log.broker_now_ms()), project_id)
            except LogUnavailable:
                return Carried(lost("body", "the sandbox's log did not answer"), _HOP)
        return Carried(outcome, _HOP)

    async def _keep(self, mail: SandboxMail, project_id: str) -> None:
        place = parse_message_id(mail.message_id)
        assert place is not None, "a delivery's message id was checked when it was taken"
        envelope = seal(
            mail,
            record_id=derived_id("rec", mail.TYPE, mail.message_id, str(mail.attempt)),
            source="sender",
            subject=mail.message_id,
            time_ms=self._log.broker_now_ms(),
            project_id=project_id,
        )
        record = outgoing(_TOPIC, envelope, key=mail.message_id, partition=place.partition)
        await self._log.append([record], within=APPEND_WITHIN)
