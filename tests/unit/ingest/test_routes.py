"""What may be asked of a route (R20): everything that is wrong, at once."""

from typing import Any

import pytest

from schemas.routing import RouteMatch, WeightedPath
from services.ingest.domain.faults import Refused
from services.ingest.domain.routes import MAX_POSITION, RouteSettings, new_route, read_route

NEW = new_route(None)
UPSTREAM = "ups_06GC8M3CFE0000000000000001"
KNOWN = frozenset({UPSTREAM})
LEAST = {"name": "all", "paths": ["mx:main"]}


def faults_of(body: dict[str, Any], before: RouteSettings = NEW) -> set[tuple[str, str]]:
    with pytest.raises(Refused) as refused:
        read_route(body, before, KNOWN)
    assert refused.value.status == 422
    return {(fault.field, fault.code) for fault in refused.value.faults}


def test_a_name_and_a_path_are_enough() -> None:
    found = read_route(LEAST, NEW, KNOWN)
    assert (found.position, found.match, found.paths) == (10, RouteMatch(), (WeightedPath(path="mx:main"),))
    assert (found.fallback, found.tls) == ((), None)


def test_all_of_it_in_its_canonical_form() -> None:
    found = read_route(
        {
            "name": "codes",
            "position": 0,
            "match": {
                "recipient_domains": ["Exämple.org", "*.Example.NET", "*.example.net"],
                "provider_groups": ["google"],
                "from_domains": ["shop.example"],
                "tags": ["otp"],
                "priorities": ["critical"],
            },
            "paths": [{"path": "mx:main", "weight": 3}, UPSTREAM],
            "fallback": ["upstream"],
            "tls": "required",
        },
        NEW,
        KNOWN,
    )
    assert found.match.recipient_domains == ["xn--exmple-cua.org", "*.example.net"]
    assert found.paths == (WeightedPath(path="mx:main", weight=3), WeightedPath(path=UPSTREAM, weight=1))
    assert found.content()["match"]["priorities"] == ["critical"]


def test_a_new_rule_stands_behind_the_last_one() -> None:
    assert [new_route(last).position for last in (None, 0, 10, MAX_POSITION)] == [10, 10, 20, MAX_POSITION]


def test_a_change_leaves_the_rest() -> None:
    before = read_route(LEAST | {"fallback": ["upstream"], "match": {"tags": ["otp"]}}, NEW, KNOWN)
    assert read_route({}, before, KNOWN) == before
    assert read_route({"position": 7}, before, KNOWN).match.tags == ["otp"]
    assert read_route({"match": None, "fallback": None}, before, KNOWN).match == RouteMatch()


def test_all_faults_at_once() -> None:
    body = {
        "name": "",
        "position": -1,
        "match": {"recipient_domains": ["a b"], "tags": ["a b"], "priorities": ["soon"], "color": 1},
        "paths": [{"path": "mx:nowhere", "weight": 0, "x": 1}, "mx:main", "mx:main", "ups_0"],
        "fallback": ["sandbox"],
        "tls": "maybe",
        "color": 1,
    }
    assert faults_of(body) == {
        ("name", "required"),
        ("position", "invalid_value"),
        ("match.recipient_domains[0]", "invalid_value"),
        ("match.tags[0]", "invalid_value"),
        ("match.priorities[0]", "invalid_value"),
        ("match.color", "unknown_field"),
        ("paths[0].path", "invalid_value"),
        ("paths[0].weight", "invalid_value"),
        ("paths[0].x", "unknown_field"),
        ("paths[2]", "duplicate"),
        ("paths[3]", "unknown_path"),
        ("fallback[0]", "invalid_value"),
        ("tls", "invalid_value"),
        ("color", "unknown_field"),
    }


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"paths": []}, ("paths", "invalid_value")),
        ({"paths": "mx:main"}, ("paths", "invalid_value")),
        ({"paths": [None]}, ("paths[0]", "invalid_value")),
        ({"paths": ["mx:"]}, ("paths[0]", "invalid_value")),
        ({"paths": ["sandbox"]}, ("paths[0]", "invalid_value")),
        ({"paths": [f"{UPSTREAM}x"]}, ("paths[0]", "invalid_value")),
        ({"fallback": ["mx:main"]}, ("fallback", "duplicate")),
        ({"fallback": ["ups_0"]}, ("fallback[0]", "unknown_path")),
        ({"match": []}, ("match", "invalid_type")),
        ({"match": {"tags": "otp"}}, ("match.tags", "invalid_type")),
        ({"match": {"tags": ["x"] * 101}}, ("match.tags", "too_many")),
        ({"match": {"provider_groups": ["Google!"]}}, ("match.provider_groups[0]", "invalid_value")),
        ({"position": True}, ("position", "invalid_value")),
        ({"name": "a\nb"}, ("name", "invalid_value")),
    ],
)
def test_what_is_none(change: dict[str, Any], fault: tuple[str, str]) -> None:
    assert faults_of(LEAST | change) == {fault}
