"""Which messages a page has: their ids, newest first, at a cost that does not grow with the table (R30, docs/adr/0010).

What lasts is exact in a row of `message_index`. What changes may be out of date in it (a message was `queued` once, in a row
that is not merged yet): such rows are candidates only, and all rows of a message together decide.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from chassis.ids import encode_base32
from services.analytics.adapters.questions import Conditions, Questions, Values, select
from services.analytics.domain.message_filters import MessageFilters, MessagesQuery

# From the newest end of each part, a few blocks of it: unless it is told, ClickHouse reads 65,536 rows of each ahead.
_NEWEST = """
    ORDER BY project_id, message_id DESC LIMIT 1 BY message_id LIMIT {count:UInt32}
    SETTINGS max_threads = 1, max_block_size = 2048, read_in_order_use_buffering = 0
"""
# A row with a gap among its events, or with more of them than it has bits for: others of its message lie elsewhere.
_ONE_OF_SEVERAL = "(bitAnd(events, events + 1) != 0 OR bitTest(events, 63))"
# Candidates of the first look for each message that is wanted: mostly nearly all of them are answers.
_FIRST_LOOK = 2
_EACH_LOOK, _LONGEST_LOOK = 30, 1500  # times as many as the one before; and at most so many: their ids go to and fro
_WILD = re.compile(r"([\\%_])")  # in a pattern of LIKE


@dataclass(frozen=True, slots=True)
class _Changing:
    """What changes: of one row, where an index serves it, and of all rows of a message."""

    of_a_row: str
    of_the_message: str


class MessageSearch:
    """Asks for ids only."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    async def ids(self, project_id: str, query: MessagesQuery, *, count: int) -> list[str]:
        """At most `count`. Raises StoreUnavailable."""
        values: Values = {}
        if query.after is not None:
            values["before"] = query.after
        span, lasting = _span(query.filters, values), _lasting(query.filters, values)
        changing = _changing(query.filters, values)
        if changing:
            return await self._decided(project_id, span, lasting, changing, values, wanted=count)
        return await self._newest("messages_by_facts", [*span, *lasting], project_id, values, count)

    async def _decided(
        self,
        project_id: str,
        span: Conditions,
        lasting: Conditions,
        changing: Sequence[_Changing],
        values: Values,
        *,
        wanted: int,
    ) -> list[str]:
        """Look through the candidates, more of them each time.

        A message of which all is true has a row that says all of it, or rows of which none has all its events; the one
        with the latest word on a condition then has a gap. (`message.queued` comes first: what is whole has the facts.)
        """
        conditions = [*lasting, *(condition.of_a_row for condition in changing)]
        ways = [[*span, *conditions]]
        if len(conditions) > 1:
            any_of_them = " OR ".join(condition.of_a_row for condition in changing)
            ways.append([*span, _ONE_OF_SEVERAL, f"({any_of_them})"])
        decision = _decision(lasting, changing)
        found: list[str] = []
        waiting: list[list[str]] = [[] for _ in ways]  # candidates of each that have not been decided yet
        unfinished = set(range(len(ways)))
        look = wanted * _FIRST_LOOK
        while True:
            for way in list(unfinished):
                waiting[way] = await self._newest("messages_candidates", ways[way], project_id, values, look)
                if len(waiting[way]) < look:
                    unfinished.remove(way)
            oldest = max((waiting[way][-1] for way in unfinished), default="")
            candidates = {message_id for ids in waiting for message_id in ids if message_id >= oldest}
            waiting = [[message_id for message_id in ids if message_id < oldest] for ids in waiting]
            if candidates:
                chosen = {**values, "candidates": sorted(candidates), "count": wanted - len(found)}
                found += await self._ids("messages_decided", decision, project_id, chosen)
            if len(found) == wanted or not unfinished:
                return found
            look = min(look * _EACH_LOOK, _LONGEST_LOOK)
            values["before"] = oldest

    async def _newest(
        self, name: str, conditions: Conditions, project_id: str, values: Values, count: int
    ) -> list[str]:
        bounds = ["message_id < {before:String}"] if "before" in values else []
        statement = select("message_id", "message_index", [*bounds, *conditions], _NEWEST)
        return await self._ids(name, statement, project_id, {**values, "count": count})

    async def _ids(self, name: str, statement: str, project_id: str, values: Values) -> list[str]:
        return [message_id for (message_id,) in await self._questions.ask(name, statement, project_id, values)]


def _decision(lasting: Conditions, changing: Sequence[_Changing]) -> str:
    """Those candidates that are what is asked for. Grouped, not FINAL: no index of single rows has a say in it."""
    chosen = "message_id IN {candidates:Array(String)}"
    if lasting:  # by their index, before what changes is read
        chosen = f"message_id IN ({select('message_id', 'message_index', [chosen, *lasting])})"
    merged = " AND ".join(condition.of_the_message for condition in changing)
    tail = f"""
        GROUP BY message_id HAVING {merged} ORDER BY message_id DESC LIMIT {{count:UInt32}}
        SETTINGS max_threads = 1
    """
    return select("message_id", "message_index", [chosen], tail)


def _span(filters: MessageFilters, values: Values) -> Conditions:
    """Times as a range of ids: ids begin with their time."""
    found: Conditions = []
    for name, operator, ms in (("since", ">=", filters.since_ms), ("until", "<", filters.until_ms)):
        if ms is not None:
            found.append(f"message_id {operator} {{{name}:String}}")
            values[name] = f"msg_{encode_base32(ms << 112, 32)}"
    return found


def _lasting(filters: MessageFilters, values: Values) -> Conditions:
    """Terms are made as m0008_one_index.py makes them; lower case is ClickHouse's on both sides."""
    found: Conditions = []
    if filters.recipient is not None:
        found.append("has(facts, concat('recipient=', lowerUTF8({recipient:String})))")
        values["recipient"] = filters.recipient
    for name, value in (
        ("recipient_domain", filters.recipient_domain),
        ("from", filters.sender),
        ("tag", filters.tag),
        ("template", filters.template),
        ("channel", filters.channel),
    ):
        if value is not None:
            found.append(f"has(facts, {{{name}:String}})")
            values[name] = f"{name}={value}"
    for number, (key, value) in enumerate(sorted(filters.metadata.items())):
        found.append(f"has(facts, {{metadata{number}:String}})")
        values[f"metadata{number}"] = f"metadata {len(key.encode())} {key}={value}"
    if filters.subject is not None:
        found.append("lowered_subject LIKE lowerUTF8({subject:String})")
        values["subject"] = "%" + _WILD.sub(r"\\\1", filters.subject) + "%"
    return found


def _changing(filters: MessageFilters, values: Values) -> Sequence[_Changing]:
    found: list[_Changing] = []
    for name, value in (("status", filters.status), ("category", filters.error_category), ("path", filters.path)):
        if value is not None:
            found.append(_Changing(f"has({name}, {{{name}:String}})", f"max({name})[2] = {{{name}:String}}"))
            values[name] = value
    return found
