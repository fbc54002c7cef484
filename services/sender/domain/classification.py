"""The table of what SMTP replies mean, and which rule of it fits a reply (R25).

Pure: the table is data that ships with the code (classification.toml says how it reads). Texts are looked for as plain
phrases in a bounded piece of the reply, so no server can make a pattern run away. A rule that suppresses must be proof
about the recipient: the table does not load otherwise.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal, get_args

from schemas.mail import DEAD_RECIPIENT, Category, Phase
from services.sender.domain.replies import Reply

Act = Literal["deliver", "retry", "bounce", "unknown"]
Kind = Literal["protocol", "text", "enhanced", "wording", "basic"]
Scope = Literal["connection", "recipient", "sender_domain", "source"]
Slow = Literal["pause", "single", "trickle", "halve"]

SET_UP: frozenset[Phase] = frozenset({"connect", "greeting", "ehlo", "starttls", "auth"})
_ANY: frozenset[Phase] = frozenset(get_args(Phase))
_GROUPS: Mapping[str, frozenset[Phase]] = {
    "any": _ANY,
    "set_up": SET_UP,
    "message": _ANY - SET_UP,
    "recipient": frozenset({"rcpt", "reply"}),
}
# Providers say what they mean early; the rest is links and ids.
_READ_LIMIT = 1000
# RFC 5321, 4.2: each line of a reply begins with the code, RFC 2034: and with the enhanced code.
_LINE_HEAD = re.compile(r"^[2-5]\d\d[ -]?(?:[245]\.\d{1,3}\.\d{1,3} )?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Pace:
    """Who is to slow down, how, and for how long. See classification.toml."""

    scope: Scope
    seconds: int
    act: Slow = "pause"
    per_minute: float | None = None  # mails, of a trickle
    after: int = 1  # such replies in a row
    phrases: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table."""

    id: str
    kind: Kind
    act: Act
    category: Category
    phases: frozenset[Phase]
    code: re.Pattern[str]
    enhanced: re.Pattern[str] | None
    phrases: tuple[tuple[str, ...], ...]
    paces: tuple[Pace, ...]

    @property
    def suppresses(self) -> bool:
        return self.category in DEAD_RECIPIENT

    def concerns(self, phase: Phase, code: str, enhanced: str | None) -> bool:
        """Whether it may fit, its text aside."""
        fits = self.enhanced is None or self.enhanced.fullmatch(enhanced or "-") is not None
        return fits and phase in self.phases and self.code.match(code) is not None


@dataclass(frozen=True, slots=True)
class Table:
    version: int
    rules: tuple[Rule, ...]


def load(raw: Mapping[str, Any]) -> Table:
    """Raises ValueError where a rule would suppress without proof, or an id stands twice."""
    rules = tuple(_rule(kind, row) for kind in get_args(Kind) for row in raw[kind])
    if len({rule.id for rule in rules}) < len(rules):
        raise ValueError("an id stands twice")
    for rule in rules:
        if rule.suppresses and not _is_proof(rule):
            raise ValueError(f"{rule.id}: only a permanent reply to RCPT or to the one mail's dot is proof")
    return Table(raw["version"], rules)


def _rule(kind: Kind, row: Mapping[str, Any]) -> Rule:
    group = row.get("phases", "any")
    return Rule(
        id=row["id"],
        kind=kind,
        act=row["act"],
        category=row["category"],
        phases=_GROUPS[group] if group in _GROUPS else frozenset({group}),
        code=re.compile(row.get("code", "")),
        enhanced=re.compile(row["enhanced"]) if "enhanced" in row else None,
        phrases=_phrases(row),
        paces=tuple(_pace(each) for each in row.get("pace", ())),
    )


def _pace(row: Mapping[str, Any]) -> Pace:
    given = {name: value for name, value in row.items() if name != "text"}
    return Pace(**given, phrases=_phrases(row))


def _phrases(row: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(phrase.split(" … ")) for phrase in row.get("text", ()))


def _is_proof(rule: Rule) -> bool:
    return rule.act == "bounce" and rule.phases <= _GROUPS["recipient"] and rule.code.pattern.startswith("5")


def _in_order(parts: tuple[str, ...], text: str) -> bool:
    at = 0
    for part in parts:
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return True


TABLE = load(tomllib.loads(files(__package__).joinpath("classification.toml").read_text(encoding="utf-8")))

_Candidate = tuple[str, tuple[str, ...], Rule]


# Few replies differ in more than their text: 4,096 is far more than the codes that servers use, and a bound all the same.
@lru_cache(maxsize=4096)
def _candidates(phase: Phase, code: int, enhanced: str | None) -> tuple[_Candidate, ...]:
    """What to look for, in order, one phrase at a time; an empty phrase stands in every text."""
    return tuple(
        (phrase[0], phrase, rule)
        for rule in TABLE.rules
        if rule.concerns(phase, str(code), enhanced)
        for phrase in rule.phrases or (("",),)
    )


def rule_for(phase: Phase, reply: Reply) -> Rule:
    """The first rule that fits."""
    candidates = _candidates(phase, reply.code, reply.enhanced_code)
    if candidates[0][2].kind == "protocol":
        return candidates[0][2]
    text = words(reply.text)
    for first, phrase, rule in candidates:
        if first in text and _in_order(phrase, text):
            return rule
    raise AssertionError(f"no rule for {reply.code} in phase {phase}")


_BY_ID = {rule.id: rule for rule in TABLE.rules}


def pace_of(rule_id: str | None, text: str | None) -> Pace | None:
    """What a reply says of our pace, by the rule that fits it: the first entry of its column that fits, too."""
    if rule_id is None or not (paces := _BY_ID[rule_id].paces):
        return None
    said = words(text or "")
    return next((pace for pace in paces if _says(said, pace.phrases)), None)


def _says(text: str, phrases: tuple[tuple[str, ...], ...]) -> bool:
    return not phrases or any(_in_order(phrase, text) for phrase in phrases)


def words(text: str) -> str:
    """A reply's text as one line in lower case, without the codes that begin each line."""
    return " ".join(_LINE_HEAD.sub("", text[:_READ_LIMIT]).lower().split())
