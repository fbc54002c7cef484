"""Whom a provider wants to be left alone with for a while: one recipient, or all mail of one From domain (R21).

Pure: time comes in as a number. It must never hold up the provider's other mail. Nor, for a busy recipient, critical mail,
for a code that comes an hour late is of no use to anybody; nor a mail that is tried again, for that goes by its ladder (R22).
"""

from collections import OrderedDict

from services.sender.domain.classification import Pace
from services.sender.domain.queue import Candidate

_MOST = 1_000  # of one provider; the one that was said first is forgotten first


class Holds:
    def __init__(self) -> None:
        self._until_ms: OrderedDict[tuple[str, str], int] = OrderedDict()

    def learn(self, pace: Pace, mail: Candidate, now_ms: int) -> None:
        match pace.scope:
            case "recipient":
                self._hold("recipient", mail.recipient, now_ms + pace.seconds * 1000)
            case "sender_domain":
                self._hold("sender_domain", mail.sender_domain, now_ms + pace.seconds * 1000)
            case "source" | "connection":
                pass

    def until_ms(self, mail: Candidate) -> int:
        """When it may go, as far as this says."""
        if not self._until_ms:
            return 0
        goes = mail.priority == "critical" or mail.is_retry
        recipient_ms = 0 if goes else self._until_ms.get(("recipient", mail.recipient), 0)
        return max(recipient_ms, self._until_ms.get(("sender_domain", mail.sender_domain), 0))

    def last_ms(self) -> int:
        """When nobody is held any more."""
        return max(self._until_ms.values(), default=0)

    def _hold(self, scope: str, name: str, until_ms: int) -> None:
        self._until_ms[scope, name] = until_ms
        self._until_ms.move_to_end((scope, name))
        while len(self._until_ms) > _MOST:
            self._until_ms.popitem(last=False)
