"""Which messages a page has: their ids, newest first, at a cost that does not grow with the table (R30, docs/adr/0010).

What lasts is exact in `message_facts`. What changes is looked for in rows that may be out of date (a message was `queued`
once, in a row that is not merged yet): those are candidates only, and `message_states` merged decides.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from chassis.ids import encode_base32
from services.analytics.adapters.questions import Conditions, Questions, Values, select
from services.analytics.domain.message_filters import MessageFilters, MessagesQuery

_NEWEST = "ORDER BY project_id, message_id DESC LIMIT 1 BY message_id LIMIT"
# Candidates of the first look for each message that is wanted: mostly nearly all of them are answers.
_FIRST_LOOK = 4
_EACH_LOOK = 8  # times as many as the one before
_WILD = re.compile(r"([\\%_])")  # in a pattern of LIKE


@dataclass(frozen=True, slots=True)
class _Changing:
    """A column of `message_states`, behind the ten digits of its sequence, and the value that is asked for by its name."""

    column: str
    name: str

    @property
    def of_a_row(self) -> str:
        return f"substring({self.column}, 11) = {{{self.name}:String}}"

    @property
    def of_the_message(self) -> str:
        return f"substring(max({self.column}), 11) = {{{self.name}:String}}"


@dataclass(frozen=True, slots=True)
class _Side:
    """One way to find candidates."""

    source: str
    conditions: Conditions


class MessageSearch:
    """Asks for ids only."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    async def ids(self, project_id: str, query: MessagesQuery, *, count: int) -> list[str]:
        """At most `count`. Raises StoreUnavailable."""
        values: Values = {"count": count}
        if query.after is not None:
            values["before"] = query.after
        span, lasting = _span(query.filters, values), _lasting(query.filters, values)
        changing = _changing(query.filters, values)
        if changing:
            return await self._decided(project_id, span, lasting, changing, values, wanted=count)
        conditions = [*_bounds(span, values), *lasting]
        source = "message_facts" if lasting else "messages"
        statement = select("message_id", source, conditions, f"{_NEWEST} {{count:UInt32}}")
        return await self._ids("messages_by_facts", statement, project_id, values)

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
        """Look through the candidates of the condition that fewest messages meet, more of them each time."""
        sides = [_Side("message_states", [condition.of_a_row]) for condition in changing]
        if lasting:
            sides.append(_Side("message_facts", lasting))
        found: list[str] = []
        look = wanted * _FIRST_LOOK
        while True:
            values |= {"look": look, "count": wanted - len(found)}
            bounds = _bounds(span, values)
            candidates, oldest, number = await self._rarest(project_id, sides, bounds, values)
            if candidates:
                values["oldest"] = oldest
                statement = _decision(sides[number], bounds, lasting, changing)
                found += await self._ids("messages_decided", statement, project_id, values)
            if len(found) >= wanted or candidates < look:
                return found
            look *= _EACH_LOOK
            values["before"] = oldest

    async def _rarest(
        self, project_id: str, sides: Sequence[_Side], bounds: Conditions, values: Values
    ) -> tuple[int, str, int]:
        """The side with the fewest candidates, or that reaches furthest back for as many: their number, the oldest, which."""
        looks = (
            select("message_id", side.source, [*bounds, *side.conditions], f"{_NEWEST} {{look:UInt32}}")
            for side in sides
        )
        statement = " UNION ALL ".join(
            f"SELECT count(), min(message_id), {number} FROM ({look})"  # noqa: S608  # words of this module
            for number, look in enumerate(looks)
        )
        candidates, oldest, number = min(
            await self._questions.ask("messages_candidates", statement, project_id, values)
        )
        return candidates, oldest, number

    async def _ids(self, name: str, statement: str, project_id: str, values: Values) -> list[str]:
        return [message_id for (message_id,) in await self._questions.ask(name, statement, project_id, values)]


def _decision(side: _Side, bounds: Conditions, lasting: Conditions, changing: Sequence[_Changing]) -> str:
    """Those candidates that are what is asked for. Grouped, not FINAL: no index of single rows has a say in it."""
    chosen = select("message_id", side.source, [*bounds, "message_id >= {oldest:String}", *side.conditions])
    if lasting and side.source != "message_facts":
        chosen = select("message_id", "message_facts", [f"message_id IN ({chosen})", *lasting])
    merged = " AND ".join(condition.of_the_message for condition in changing)
    tail = f"GROUP BY message_id HAVING {merged} ORDER BY message_id DESC LIMIT {{count:UInt32}}"
    return select("message_id", "message_states", [f"message_id IN ({chosen})"], tail)


def _span(filters: MessageFilters, values: Values) -> Conditions:
    """Times as a range of ids: ids begin with their time."""
    found: Conditions = []
    for name, operator, ms in (("since", ">=", filters.since_ms), ("until", "<", filters.until_ms)):
        if ms is not None:
            found.append(f"message_id {operator} {{{name}:String}}")
            values[name] = f"msg_{encode_base32(ms << 112, 32)}"
    return found


def _bounds(span: Conditions, values: Values) -> Conditions:
    return [*span, "message_id < {before:String}"] if "before" in values else span


def _lasting(filters: MessageFilters, values: Values) -> Conditions:
    """Terms are made as m0003_search.py makes them; lower case is ClickHouse's on both sides."""
    found: Conditions = []
    if filters.recipient is not None:
        found.append("has(terms, concat('recipient=', lowerUTF8({recipient:String})))")
        values["recipient"] = filters.recipient
    for name, value in (
        ("recipient_domain", filters.recipient_domain),
        ("from", filters.sender),
        ("tag", filters.tag),
        ("template", filters.template),
        ("channel", filters.channel),
    ):
        if value is not None:
            found.append(f"has(terms, {{{name}:String}})")
            values[name] = f"{name}={value}"
    for number, (key, value) in enumerate(sorted(filters.metadata.items())):
        found.append(f"has(terms, {{metadata{number}:String}})")
        values[f"metadata{number}"] = f"metadata {len(key.encode())} {key}={value}"
    if filters.subject is not None:
        found.append("lowered_subject LIKE lowerUTF8({subject:String})")
        values["subject"] = "%" + _WILD.sub(r"\\\1", filters.subject) + "%"
    return found


def _changing(filters: MessageFilters, values: Values) -> Sequence[_Changing]:
    found: list[_Changing] = []
    for column, name, value in (
        ("status_at", "status", filters.status),
        ("category_at", "category", filters.error_category),
        ("path_at", "path", filters.path),
    ):
        if value is not None:
            found.append(_Changing(column, name))
            values[name] = value
    return found
