"""The rules of alerts as ingest has them; believed while the table is known to be up to date."""

from collections.abc import Mapping

from chassis.table import Table, Tables
from schemas.alerts import AlertRule

_FRESH_WITHIN = 2.0  # seconds: a rule that was deleted since is looked at once more, no harm is done


class TableAlertRules:
    """The port `AlertRules`."""

    def __init__(self, tables: Tables, table: Table[AlertRule]) -> None:
        self._tables = tables
        self._table = table

    def known(self) -> Mapping[str, AlertRule] | None:
        return self._table if self._tables.fresh_within(_FRESH_WITHIN) else None
