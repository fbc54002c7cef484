"""Which messages a page has, newest first, at a cost that does not grow with the table (R30, docs/adr/0010).

What lasts is exact in a row of `message_index`. What changes may be out of date in it (a message was `queued` once, in a row
that is not merged yet): such rows are candidates only, and all rows of a message together decide.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from chassis.ids import encode_base32, parse_message_id
from services.analytics.adapters.questions import Conditions, Questions, Values, select
from services.analytics.domain.message_filters import MessageFilters, MessagesQuery

# From the newest end of each part, a few blocks of it: unless it is told, ClickHouse reads 65,536 rows of each ahead.
_NEWEST = """
    ORDER BY project_id, message_id DESC LIMIT 1 BY message_id LIMIT {count:UInt32}
    SETTINGS max_threads = 1, max_block_size = 2048, read_in_order_use_buffering = 0
"""
# A row without `message.queued`, by its index; and one that lacks any event, or has more of them than it has bits for.
_APART = "has(apart, 'apart')"
_WITH_A_GAP = "(bitAnd(events, events + 1) != 0 OR bitTest(events, 63))"
# Mostly nearly all candidates are answers: of the first look one of so many may be none.
_FEW_FAIL = 4
_EACH_LOOK, _LONGEST_LOOK = 30, 1500  # times as many as the one before; and at most so many: their ids go to and fro
# Of messages whose ids are known (`made_when`): months in which none was made are not opened.
MADE_THEN = [
    f"created_at {operator} fromUnixTimestamp64Milli({{{name}:Int64}}, 'UTC')"
    for name, operator in (("oldest_ms", ">="), ("newest_ms", "<="))
]
# What only the index says of a message, of all its rows; and that, as it is read.
FOUND_BY = "max(template), max(channel), max(environment), max(path)[2]"
FoundBy = tuple[str, str, str, str]
_WILD = re.compile(r"([\\%_])")  # in a pattern of LIKE


@dataclass(frozen=True, slots=True)
class _Changing:
    """What changes: of one row, where an index serves it, and of all rows of a message."""

    of_a_row: str
    of_the_message: str


class MessageSearch:
    """Asks the index only."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    async def found(self, project_id: str, query: MessagesQuery, *, count: int) -> Mapping[str, FoundBy | None]:
        """At most `count` ids, newest first; where the search has read what they are found by, with that.

        Raises StoreUnavailable.
        """
        values: Values = {}
        if query.after is not None:
            values["before"] = query.after
        changing = _changing(query.filters, values)
        if changing:
            return await self._decided(project_id, query.filters, changing, values, wanted=count)
        conditions = [*_span(query.filters, values), *_lasting(query.filters, values)]
        return dict.fromkeys(await self._newest("messages_by_facts", conditions, project_id, values, count))

    async def _decided(
        self,
        project_id: str,
        filters: MessageFilters,
        changing: Sequence[_Changing],
        values: Values,
        *,
        wanted: int,
    ) -> Mapping[str, FoundBy]:
        """A message of which all is true has a row that says all of it, or others that lack some of its events.

        One of those has the latest word on what is asked for, and does not know the rest. They are few, and are looked for
        no further back than the page reaches.
        """
        span, lasting = _span(filters, values), _lasting(filters, values)
        together = [*lasting, *(condition.of_a_row for condition in changing)]
        first_look = wanted + wanted // _FEW_FAIL
        found = await self._proven([*span, *together], _decision([], changing), project_id, values, wanted, first_look)
        if len(together) == 1:
            return found
        if len(found) == wanted:
            span.append("message_id > {reached:String}")
            values["reached"] = min(found)
        # Every event says the status: the row with the latest says the latest word on it.
        latest = changing[:1] if filters.status is not None else changing
        apart = [
            *span,
            f"({' OR '.join(condition.of_a_row for condition in latest)})",
            _APART if len(changing) == 1 else _WITH_A_GAP,
        ]
        decision = _decision(lasting, changing)
        found |= await self._proven(apart, decision, project_id, values, wanted, _LONGEST_LOOK)
        return dict(sorted(found.items(), reverse=True)[:wanted])

    async def _proven(
        self, conditions: Conditions, decision: str, project_id: str, values: Values, wanted: int, look: int
    ) -> dict[str, FoundBy]:
        """Look through the candidates, more of them each time, until enough of them are what is asked for."""
        found: dict[str, FoundBy] = {}
        values = dict(values)
        while True:
            candidates = await self._newest("messages_candidates", conditions, project_id, values, look)
            if candidates:
                chosen = {**values, **made_when(candidates), "candidates": candidates, "count": wanted - len(found)}
                proven = await self._questions.ask("messages_decided", decision, project_id, chosen)
                found |= {message_id: cast("FoundBy", tuple(found_by)) for message_id, *found_by in proven}
            if len(found) == wanted or len(candidates) < look:
                return found
            look = min(look * _EACH_LOOK, _LONGEST_LOOK)
            values["before"] = candidates[-1]

    async def _newest(
        self, name: str, conditions: Conditions, project_id: str, values: Values, count: int
    ) -> list[str]:
        bounds = ["message_id < {before:String}"] if "before" in values else []
        statement = select("message_id", "message_index", [*bounds, *conditions], _NEWEST)
        rows = await self._questions.ask(name, statement, project_id, {**values, "count": count})
        return [message_id for (message_id,) in rows]


def _decision(lasting: Conditions, changing: Sequence[_Changing]) -> str:
    """Those candidates that are what is asked for. Grouped, not FINAL: no index of single rows has a say in it."""
    chosen = ["message_id IN {candidates:Array(String)}", *MADE_THEN]
    if lasting:  # by their index, before what changes is read
        chosen = [f"message_id IN ({select('message_id', 'message_index', [*chosen, *lasting])})", *MADE_THEN]
    merged = " AND ".join(condition.of_the_message for condition in changing)
    tail = f"""
        GROUP BY message_id HAVING {merged} ORDER BY message_id DESC LIMIT {{count:UInt32}}
        SETTINGS max_threads = 1
    """
    return select(f"message_id, {FOUND_BY}", "message_index", chosen, tail)


def made_when(ids: Sequence[str]) -> Values:
    """Ids begin with the time that `created_at` holds."""
    times = [message_id.created_at_ms for message_id in map(parse_message_id, (min(ids), max(ids))) if message_id]
    return dict(zip(("oldest_ms", "newest_ms"), times, strict=True))


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
