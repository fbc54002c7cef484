"""The questions about dead letters. `last` is read whole, merged by the query itself (m0006_dead_letters.py says why)."""

from typing import Any

from services.analytics.adapters.questions import Conditions, Questions, Values, select, tuple_parts
from services.analytics.domain.dead_letters import MAX_GROUPS, DeadLetter, Group, LetterFilters, LettersQuery

_MERGED = """
    message_id, max(recipient) AS recipient_, max(recipient_domain) AS domain_, max(environment) AS environment_,
    groupUniqArrayArray(tags) AS tags_, max(last) AS last_, arraySort(groupUniqArrayArray(redriven_as)) AS redriven_
"""
_GROUPED = """
    last_.category AS category, last_.enhanced_code AS enhanced_code, domain_, count() AS messages,
    min(last_.time), max(last_.time), argMax(tuple(message_id, last_.reply), (last_.time, message_id))
"""
_DEAD = "last_.status IN ('bounced', 'expired')"


class ClickHouseDeadLetters:
    """The port `DeadLetterReads` on ClickHouse."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    async def letters(self, project_id: str, query: LettersQuery, *, count: int) -> list[DeadLetter]:
        merged, values = _merged(query.filters, query.after)
        statement = f"{merged} ORDER BY message_id DESC LIMIT {{count:UInt32}}"
        rows = await self._questions.ask("dead_letters", statement, project_id, values | {"count": count})
        known = await self._known(project_id, [row[0] for row in rows])
        return [_letter(row, *known.get(row[0], (0, ""))) for row in rows]

    async def groups(self, project_id: str, filters: LetterFilters) -> list[Group]:
        merged, values = _merged(filters, None)
        statement = f"""
            SELECT {_GROUPED} FROM ({merged}) GROUP BY category, enhanced_code, domain_
            ORDER BY messages DESC, category, enhanced_code, domain_ LIMIT {{count:UInt32}}
        """  # noqa: S608  # words of this module: values are bound
        rows = await self._questions.ask("dead_letter_groups", statement, project_id, values | {"count": MAX_GROUPS})
        return [Group(*row[:6], *tuple_parts(row[6])) for row in rows]

    async def _known(self, project_id: str, message_ids: list[str]) -> dict[str, tuple[int, str]]:
        """Of each, its attempts, and the template it was made from."""
        if not message_ids:
            return {}
        conditions = ["subject IN {ids:Array(String)}"]
        statement = select("subject, max(attempt), max(template)", "events_raw", conditions, "GROUP BY subject")
        rows = await self._questions.ask("dead_letters_known", statement, project_id, {"ids": message_ids})
        return {message_id: (attempts, template) for message_id, attempts, template in rows}


def _merged(filters: LetterFilters, after: str | None) -> tuple[str, Values]:
    """One row per dead letter that fits. What is asked of a part of a row is asked once its parts are together."""
    bounds, values = Conditions(), Values()
    if after is not None:
        bounds.append("message_id < {after:String}")
        values["after"] = after
    if filters.message_ids is not None:
        bounds.append("message_id IN {ids:Array(String)}")
        values["ids"] = list(filters.message_ids)
    if filters.template is not None:
        made = ["template = {template:String}", f"subject IN ({select('message_id', 'dead_letters', bounds)})"]
        bounds = [*bounds, f"message_id IN ({select('subject', 'events_raw', made)})"]
        values["template"] = filters.template
    having = [_DEAD]
    for name, condition, value in (
        ("category", "last_.category = {category:String}", filters.category),
        ("domain", "domain_ = {domain:String}", filters.recipient_domain),
        ("tag", "has(tags_, {tag:String})", filters.tag),
        ("path", "last_.path = {path:String}", filters.path),
        ("environment", "environment_ = {environment:String}", filters.environment),
        ("redriven", "notEmpty(redriven_) = {redriven:Bool}", filters.redriven),
        ("since", "last_.time >= {since:Int64}", filters.since_ms),
        ("until", "last_.time < {until:Int64}", filters.until_ms),
    ):
        if value is not None:
            having.append(condition)
            values[name] = value
    tail = f"GROUP BY message_id HAVING {' AND '.join(having)}"
    return select(_MERGED, "dead_letters", bounds, tail), values


def _letter(row: tuple[Any, ...], attempts: int, template: str) -> DeadLetter:
    message_id, recipient, _, environment, tags, last, redriven_as = row
    _, _, time, cause, category, code, enhanced_code, reply, path, mx_host = tuple_parts(last)
    return DeadLetter(
        message_id=message_id,
        recipient=recipient,
        environment=environment,
        tags=tags,
        failed_at=time,
        cause=cause,
        category=category,
        code=code,
        enhanced_code=enhanced_code,
        reply=reply,
        path=path,
        mx_host=mx_host,
        redriven_as=redriven_as,
        attempts=attempts,
        template=template,
    )
