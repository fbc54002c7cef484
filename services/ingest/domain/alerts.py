"""Rules of alerts (R34): what is measured, over how long, and what is too much or too little. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from schemas.alerts import (
    AlertCondition,
    AlertFilters,
    AlertRule,
    AlertState,
    CountMeasure,
    Measure,
    RateMeasure,
)
from schemas.mail import Channel, Environment, Priority
from services.ingest.domain import paths
from services.ingest.domain.characters import FORBIDDEN_IN_HEADERS
from services.ingest.domain.faults import Fault, invalid
from services.ingest.domain.fields import domain_name, faults_of_names
from services.ingest.domain.versions import frame_shown

FIELDS = frozenset({"name", "measure", "filters", "window_seconds", "condition", "minimum", "enabled"})
CONDITION_FIELDS = frozenset(AlertCondition.model_fields)
COUNTS, RATES = get_args(CountMeasure), get_args(RateMeasure)
MEASURES: tuple[str, ...] = (*COUNTS, *RATES)
MAX_RULES = 100  # of a project: each is looked at every few seconds
SHORTEST_WINDOW, LONGEST_WINDOW = 10, 3600  # seconds
LONGEST_BASELINE = 24 * 3600
DEFAULT_WINDOW, DEFAULT_BASELINE = 300, 3600
# A share of three messages says nothing, and five times one is five.
DEFAULT_MINIMUM = 20
MAX_MINIMUM = MAX_COUNT = 1_000_000_000
MAX_TIMES = 1000
MAX_TEMPLATE = 100
EVERYTHING, NO_CONDITION = AlertFilters(), AlertCondition()
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """Everything about a rule that can be changed. `minimum` None: as its kind has it."""

    name: str = ""
    measure: Measure = "queued"
    filters: AlertFilters = EVERYTHING
    window_seconds: int = DEFAULT_WINDOW
    condition: AlertCondition = NO_CONDITION
    minimum: int | None = None
    enabled: bool = True

    def content(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "measure": self.measure,
            "filters": self.filters.model_dump(),
            "window_seconds": self.window_seconds,
            "condition": self.condition.model_dump(),
            "minimum": self._minimum(),
            "enabled": self.enabled,
        }

    def _minimum(self) -> int:
        """A number of messages that is named in the condition needs none."""
        if self.minimum is not None:
            return self.minimum
        plain = self.measure in COUNTS and self.condition.times is None
        return 0 if plain else DEFAULT_MINIMUM


NEW = AlertSettings()


def settings_of(rule: AlertRule) -> AlertSettings:
    return AlertSettings(
        rule.name, rule.measure, rule.filters, rule.window_seconds, rule.condition, rule.minimum, rule.enabled
    )


def read_alert(body: Mapping[str, Any], before: AlertSettings) -> AlertSettings:
    """`before` with the members of `body`; those that are not there stay. Raises Refused (422) with every fault."""
    faults = faults_of_names(body, FIELDS, _NOTHING)
    window = before.window_seconds
    if "window_seconds" in body:
        window = _whole(body["window_seconds"], "window_seconds", SHORTEST_WINDOW, LONGEST_WINDOW, faults) or window
    if "measure" not in body and before is NEW:
        faults.append(Fault("measure", "required", f"Say what is measured: {', '.join(MEASURES)}."))
    measure = _one_of(body.get("measure", before.measure), "measure", MEASURES, faults) or before.measure
    condition = _condition(body["condition"], measure, faults) if "condition" in body else before.condition
    if condition == NO_CONDITION and not any(fault.field.startswith("condition") for fault in faults):
        faults.append(Fault("condition", "required", 'Give one: `{"above": x}`, `{"below": x}` or `{"times": x}`.'))
    if condition.baseline_seconds is not None and condition.baseline_seconds < window:
        faults.append(Fault("condition.baseline_seconds", "invalid_value", "It is as long as the window, or longer."))
    minimum = before.minimum
    if body.get("minimum") is not None:
        minimum = _whole(body["minimum"], "minimum", 0, MAX_MINIMUM, faults)
    if minimum and condition.below is not None and measure in COUNTS:
        faults.append(Fault("minimum", "conflict", "A rule that tells of too few messages can not ask for many."))
    enabled = body.get("enabled", before.enabled)
    if not isinstance(enabled, bool):
        faults.append(Fault("enabled", "invalid_type", "`enabled` is true or false."))
    found = AlertSettings(
        paths.read_name(body.get("name", before.name), faults),
        measure,
        _filters(body["filters"], faults) if "filters" in body else before.filters,
        window,
        condition,
        minimum,
        enabled is True,
    )
    if faults:
        raise invalid(faults)
    return found


def rule_shown(rule: AlertRule) -> dict[str, Any]:
    """The rule alone; of the condition, what was given."""
    content = settings_of(rule).content()
    return frame_shown(rule) | content | {"condition": rule.condition.model_dump(exclude_none=True)}


def alert_shown(rule: dict[str, Any], state: AlertState | None) -> dict[str, Any]:
    """A rule as it is shown, with how it stands; nobody has looked at a new one yet."""
    if state is None or not rule["enabled"]:
        return rule | {"state": "unknown", "since": None, "value": None, "evaluated_at": None}
    return rule | {
        "state": state.state,
        "since": state.since,
        "value": state.value,
        "evaluated_at": state.evaluated_at,
    }


def _condition(value: Any, measure: Measure, faults: list[Fault]) -> AlertCondition:
    if not isinstance(value, Mapping):
        faults.append(Fault("condition", "invalid_type", "`condition` is an object."))
        return NO_CONDITION
    given = {name: item for name, item in value.items() if item is not None}
    faults += [
        Fault(f"condition.{fault.field}", fault.code, fault.message)
        for fault in faults_of_names(given, CONDITION_FIELDS, _NOTHING)
    ]
    kinds = [name for name in ("above", "below", "times") if name in given]
    if len(kinds) != 1:
        message = "A condition has one of `above`, `below` and `times`."
        faults.append(Fault("condition", "conflict" if kinds else "required", message))
        return NO_CONDITION
    if kinds != ["times"]:
        if "baseline_seconds" in given:
            faults.append(Fault("condition.baseline_seconds", "conflict", "It goes with `times`."))
        most = 1 if measure in RATES else MAX_COUNT
        return AlertCondition(**{kinds[0]: _number(given[kinds[0]], f"condition.{kinds[0]}", 0, most, faults)})
    times = _number(given["times"], "condition.times", 1, MAX_TIMES, faults)
    length = given.get("baseline_seconds", DEFAULT_BASELINE)
    baseline = _whole(length, "condition.baseline_seconds", SHORTEST_WINDOW, LONGEST_BASELINE, faults)
    return AlertCondition(times=times, baseline_seconds=baseline)


def _filters(value: Any, faults: list[Fault]) -> AlertFilters:
    """Null, and an empty object, fit all mail."""
    if value is None:
        return EVERYTHING
    if not isinstance(value, Mapping):
        faults.append(Fault("filters", "invalid_type", "`filters` is an object."))
        return EVERYTHING
    given = {name: item for name, item in value.items() if item is not None}
    wrong = faults_of_names(given, frozenset(_FILTERS), _NOTHING)
    found = {}
    for name, item in given.items():
        if name in _FILTERS:
            try:
                found[name] = _FILTERS[name](item if isinstance(item, str) else "")
            except ValueError as error:
                wrong.append(Fault(name, "invalid_value", str(error)))
    faults += [Fault(f"filters.{fault.field}", fault.code, fault.message) for fault in wrong]
    return EVERYTHING if wrong else AlertFilters.model_validate(found)


def _known(text: str, known: Sequence[str]) -> str:
    if text not in known:
        raise ValueError(f"One of {', '.join(known)}.")
    return text


def _template(text: str) -> str:
    if not 0 < len(text) <= MAX_TEMPLATE or FORBIDDEN_IN_HEADERS.search(text):
        raise ValueError("The name of a template.")
    return text


_FILTERS: Mapping[str, Callable[[str], str]] = {
    "tag": paths.tag,
    "template": _template,
    "recipient_domain": domain_name,
    "provider_group": paths.provider_group,
    "channel": lambda text: _known(text, get_args(Channel)),
    "path": paths.path,
    "priority": lambda text: _known(text, get_args(Priority)),
    "environment": lambda text: _known(text, get_args(Environment)),
}


def _one_of(value: Any, field: str, known: Sequence[str], faults: list[Fault]) -> Any:
    if isinstance(value, str) and value in known:
        return value
    faults.append(Fault(field, "invalid_value", f"One of {', '.join(known)}."))
    return None


def _whole(value: Any, field: str, least: int, most: int, faults: list[Fault]) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    faults.append(Fault(field, "invalid_value", f"It is a whole number from {least} to {most}."))
    return None


def _number(value: Any, field: str, least: float, most: float, faults: list[Fault]) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most:
        return float(value)
    faults.append(Fault(field, "invalid_value", f"It is a number from {least:g} to {most:g}."))
    return None
