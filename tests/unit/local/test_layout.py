"""Where a stack lies: no two parts on one port, no two stacks in one place."""

from pathlib import Path

from deploy.local.layout import Layout
from deploy.local.settings import MAX_REPLICAS, SERVICES, StackSettings

_SPAN = 60


def _largest() -> StackSettings:
    return StackSettings(replicas={**dict.fromkeys(SERVICES, MAX_REPLICAS), "analytics": 1}, port_base=20000)


def test_every_part_has_a_port_of_its_own_within_the_span() -> None:
    settings = _largest()
    ports = [port for port, _ in Layout.of(settings).ports(settings)]
    assert len(ports) == len(set(ports)) == 4 * MAX_REPLICAS + 1 + 3
    assert min(ports) == 20000
    assert max(ports) < 20000 + _SPAN


def test_stacks_that_lie_a_span_apart_do_not_touch() -> None:
    settings = _largest()
    one = {port for port, _ in Layout(Path("a"), 20000).ports(settings)}
    other = {port for port, _ in Layout(Path("b"), 20000 + _SPAN).ports(settings)}
    assert not one & other


def test_the_first_ingest_is_at_port_base() -> None:
    assert Layout(Path("a"), 20000).url("ingest", 1) == "http://127.0.0.1:20000"


def test_replicas_share_neither_state_nor_log() -> None:
    layout = Layout(Path("a"), 20000)
    assert layout.state_dir("router", 1) != layout.state_dir("router", 2)
    assert layout.log_file("router", 1) != layout.log_file("router", 2)
