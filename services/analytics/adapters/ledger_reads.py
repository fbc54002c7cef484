"""What the ledger asks ClickHouse: how many messages of an hour stand where, and how far up the log that reaches.

Counts and reach come from one statement, so from one moment of one table. It must never be told what the log says.
"""

from collections import defaultdict

from chassis.ids import message_id_of
from schemas.topics import Topic
from services.analytics.adapters.questions import Conditions, Questions, Values, select
from services.analytics.domain.ledger import QUEUED, Account, Counts, Hours, state_of
from services.analytics.ports import Counted

# Each message once, merged or not. `latest` is read whole: m0001_tables says why.
_MESSAGE = """
    project_id, message_id, toUnixTimestamp64Milli(any(created_at)) AS created, max(latest) AS last,
    max(mail_from) != '' AS queued, max(_partition) AS partition, max(_offset) AS offset
"""
_ONE_EACH = "GROUP BY project_id, message_id"
_COUNTED = """
    SELECT project_id, intDiv(created, 3600000) * 3600000, last.status, last.reason, queued, partition, count(), max(offset)
    FROM ({messages}) GROUP BY ALL
"""


class ClickHouseLedger:
    """The port `LedgerTables` on ClickHouse; `events` is the topic that its rows come from."""

    def __init__(self, questions: Questions, events: Topic) -> None:
        self._questions = questions
        self._events = events

    async def counted(self, hours: Hours, project_id: str | None) -> Counted:
        conditions: Conditions = ["message_id >= {first:String}", "message_id < {end:String}"]
        values: Values = {"first": _first_id(hours.first_ms), "end": _first_id(hours.end_ms)}
        if project_id is None:  # for the metric alone: whoever asks over HTTP is given one project
            messages = f"SELECT {_MESSAGE} FROM messages WHERE {' AND '.join(conditions)} {_ONE_EACH}"  # noqa: S608 — words of this module
        else:
            messages = select(_MESSAGE, "messages", conditions, _ONE_EACH)
        statement = _COUNTED.format(messages=messages)
        rows = await self._questions.ask("ledger", statement, project_id or "", values)
        accounts: defaultdict[Account, Counts] = defaultdict(Counts)
        reach: dict[tuple[str, int], int] = {}
        for project, hour_ms, status, reason, queued, partition, number, offset in rows:
            counts = accounts[Account(hour_ms, project)]
            counts[state_of(status, reason)] += number
            counts[QUEUED] += number if queued else 0
            place = (self._events.name, partition)
            reach[place] = max(reach.get(place, 0), offset + 1)
        return Counted(accounts, reach)


def _first_id(ms: int) -> str:
    """Below every id of that moment: ids begin with their time."""
    return message_id_of((ms << 112).to_bytes(20))
