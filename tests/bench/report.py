"""From figures to the table that is kept: the worst of all runs, beside the bars they are held against. Values only."""

from collections.abc import Sequence
from typing import Literal

Figures = dict[str, float]  # by the name that the report shows


def percentiles(name: str, seconds: Sequence[float], of: Sequence[int] = (50, 99)) -> Figures:
    ordered = sorted(seconds)
    return {
        f"{name}: p{percent} ms": ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1000 for percent in of
    }


def worst(runs: Sequence[Figures]) -> Figures:
    """Of each figure, and of each ratio, the worst; a ratio is taken within its run, for machines are not always as fast."""
    complete = [{**run, **_ratios(run)} for run in runs]
    return {name: (min if _rises(name) else max)(run[name] for run in complete) for name in complete[0]}


def shown(figures: Figures) -> str:
    rows = [f"| {name} | {_number(value)} | {_verdict(name, value)} |" for name, value in figures.items()]
    return "\n".join(["| figure | measured | bar |", "|---|---|---|", *rows, ""])


_BARS: dict[str, tuple[Literal["<=", ">="], float]] = {
    "end to end / naive": (">=", 1.0),
    "CPU-s per 1,000: all": ("<=", 5.0),
    "signed: CPU-s per 1,000: all": ("<=", 3.5),
    "signed end to end / postfix + opendkim": (">=", 1.5),
    "others' p95 beside a tarpit over without": ("<=", 1.2),
    "inserts: events per CPU-s of analytics": (">=", 15_000),
    "inserts: events per CPU-s of its own threads": (">=", 15_000),
    "accept at 100/s: p99 ms": ("<=", 60),
    "accept to 250 at 50/s: p50 ms": ("<=", 60),
    "accept to 250 at 50/s: p99 ms": ("<=", 300),
    "plain / bare": (">=", 0.60),
    "keyed / bare": (">=", 0.35),
    "template / bare": (">=", 0.50),
    "scheduled, with its files: seconds to ready": ("<=", 20),
    "scheduled, without its files: seconds to ready": ("<=", 300),
    "scheduled, filled: router MB": ("<=", 1000),
    "scheduled, with its files: router MB": ("<=", 1000),
    "scheduled, without its files: router MB": ("<=", 1000),
    "full / empty": (">=", 0.8),
    "waiting, with its files: seconds to ready": ("<=", 10),
    "waiting, without its files: seconds to ready": ("<=", 60),
    "waiting, filled: router MB": ("<=", 500),
    "waiting, with its files: router MB": ("<=", 500),
    "waiting, without its files: router MB": ("<=", 500),
    "sender alone: mails / signatures": (">=", 0.45),
    "webhooks alone: calls / CPU-s": (">=", 1000),
    "replies after 20 ms: ours / aiosmtplib": (">=", 1.8),
    "batch of 1000 ingest CPU-s per 1,000": ("<=", 0.2),
    "search: slowest, p95 ms": ("<=", 100),
    "search: slowest that finds nothing, p95 ms": ("<=", 1000),
    "critical p99 beside bulk over idle, same destination": ("<=", 1.5),
    "critical p99 beside bulk over idle, another destination": ("<=", 1.5),
}


# Of two figures of one run; where only a part was measured, those that it has.
_RATIOS = {
    "plain / bare": ("plain accepted/s", "bare accepted/s"),
    "keyed / bare": ("keyed accepted/s", "bare accepted/s"),
    "template / bare": ("template accepted/s", "bare accepted/s"),
    "end to end / naive": ("end to end mails/s", "naive mails/s"),
    "signed end to end / signed naive": ("signed: end to end mails/s", "naive, signed by dkimpy mails/s"),
    "signed end to end / postfix + opendkim": ("signed: end to end mails/s", "postfix + opendkim: mails/s"),
    "others' p95 beside a tarpit over without": (
        "others beside a tarpit: p95 ms",
        "others without a tarpit, the better window: p95 ms",
    ),
}


def _ratios(run: Figures) -> Figures:
    return {name: run[one] / run[other] for name, (one, other) in _RATIOS.items() if one in run and other in run}


def _rises(name: str) -> bool:
    return ("/s" in name and " at " not in name) or " / " in name or "per CPU-s" in name


def _verdict(name: str, value: float) -> str:
    if name not in _BARS:
        return ""
    sign, bar = _BARS[name]
    met = value <= bar if sign == "<=" else value >= bar
    return f"{'≤' if sign == '<=' else '≥'} {bar:g}: {'met' if met else 'missed'}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
