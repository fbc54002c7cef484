"""A second database beside the live one: filled from the log, it takes the place of the live tables, and is dropped.

What was begun stands in a table of its own, so that whoever dies is gone on with. It must never drop what has not been
replaced.
"""

from collections.abc import Mapping
from datetime import timedelta

import orjson

from chassis.clock import Clock
from services.analytics.adapters.clickhouse import ClickHouse
from services.analytics.adapters.projection import ClickHouseProjection
from services.analytics.domain.cursors import Positions
from services.analytics.ports import Projection, Run

_WITHIN = 30.0  # seconds for one question
_NOTES = "rebuild_notes"  # the run, then the tables that take the live ones' places
_NOTED = f"""
    CREATE TABLE IF NOT EXISTS {_NOTES} (step UInt8, run String, instance String, begun_at Int64, tables String)
    ENGINE = MergeTree ORDER BY step
"""
_BEGUN, _EXCHANGING = 1, 2
_OF_ITS_OWN = {"schema_migrations", _NOTES}  # not made of the log: each database has, or had, its own
# Of the tables that are fed, what a row's age is counted from; all others are made of these.
_FED = {"events_raw": "event_time", "webhook_attempts": "at", "sandbox_mails": "taken_at"}


class ClickHouseShadow:
    """The port `Shadow` on ClickHouse. `kept`: how long rows of the tables that are fed are sure to be in the log."""

    def __init__(self, live: ClickHouse, clock: Clock, kept: Mapping[str, timedelta]) -> None:
        self._live = live
        self._shadow = live.beside(f"{live.database}_rebuild")
        self._kept = kept
        self.projection: Projection = ClickHouseProjection(self._shadow, clock)

    async def left(self) -> Run | None:
        """A database in which nothing is noted yet was left half made: it is dropped."""
        if _NOTES not in await self._tables(self._shadow.database):
            await self.drop()
            return None
        statement = f"SELECT run, instance, begun_at FROM {self._shadow.database}.{_NOTES} ORDER BY step LIMIT 1"  # noqa: S608 — our own name
        rows = await self._live.query(statement, {}, within=_WITHIN)
        if not rows:
            await self.drop()
            return None
        return Run(*rows[0])

    async def open(self, run: Run) -> None:
        await self._shadow.start()
        await self._shadow.command(_NOTED)
        if not await self._shadow.query(f"SELECT 1 FROM {_NOTES}", {}, within=_WITHIN):  # noqa: S608 — our own name
            await self._note(_BEGUN, run, {})

    async def exchange(self, run: Run) -> None:
        """Each table that was noted takes the live one's place, once, however often this is begun."""
        noted = await self._shadow.query(
            f"SELECT tables FROM {_NOTES} WHERE step = {_EXCHANGING}",  # noqa: S608 — our own names
            {},
            within=_WITHIN,
        )
        if noted:
            tables: Mapping[str, str] = orjson.loads(noted[0][0])
        else:
            found = await self._tables(self._shadow.database)
            tables = {name: uuid for name, uuid in found.items() if name not in _OF_ITS_OWN}
            await self._note(_EXCHANGING, run, tables)
        there = await self._tables(self._live.database)
        for name, successor in tables.items():
            if there[name] != successor:
                await self._live.command(
                    f"EXCHANGE TABLES {self._live.database}.{name} AND {self._shadow.database}.{name}"
                )

    async def drop(self) -> None:
        await self._live.command(f"DROP DATABASE IF EXISTS {self._shadow.database} SYNC")

    async def lost(self, beginnings: Positions) -> int:
        """Rows that the log, which begins there, could not bring back."""
        first: dict[str, dict[int, int]] = {}
        for (topic, partition), offset in beginnings.items():
            first.setdefault(topic, {})[partition] = offset
        values: dict[str, object] = {"topics": list(first)}
        values["first"] = [[own[partition] for partition in range(len(own))] for own in first.values()]
        lost = 0
        for table, age in _FED.items():
            statement = f"""
                SELECT count() FROM {table}
                WHERE {age} > now() - toIntervalSecond({int(self._kept[table].total_seconds())})
                    AND (NOT has({{topics:Array(String)}}, _topic)
                        OR _offset < {{first:Array(Array(UInt64))}}[indexOf({{topics:Array(String)}}, _topic)][_partition + 1])
            """  # noqa: S608 — words of this module
            ((found,),) = await self._live.query(statement, values, within=_WITHIN)
            lost += found
        return lost

    async def _note(self, step: int, run: Run, tables: Mapping[str, str]) -> None:
        values = {"step": step, **run._asdict(), "tables": orjson.dumps(tables).decode()}
        await self._shadow.command(
            f"INSERT INTO {_NOTES} SELECT {{step:UInt8}}, {{run:String}}, {{instance:String}}, {{begun_at:Int64}}, {{tables:String}}",
            values,
        )

    async def _tables(self, database: str) -> Mapping[str, str]:
        """By name, with what tells each from its successor."""
        statement = """
            SELECT name, toString(uuid) FROM system.tables
            WHERE database = {database:String} AND engine != 'MaterializedView'
        """
        return dict(await self._live.query(statement, {"database": database}, within=_WITHIN))
