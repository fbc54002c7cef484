"""Which policy decides what: the most specific, the project's before the installation's, and how old a mail may become (R21, R22)."""

from dataclasses import replace
from typing import Any

import pytest

from rules.policies import NO_TERMS, UNSETTLED, Terms, terms
from schemas.routing import Policy, PolicyUse
from services.router.domain.directions import Directions, from_domain
from services.router.domain.ladder import Ladder
from services.router.domain.message import decide
from tests.kit import router_inputs as make
from tests.kit import router_tables as table
from tests.unit.router.test_state_table import CONTEXT, DAY, ID, NOW, after, made

OF_PROJECT = Ladder((2,))


def directions(*policies: Policy, **known: Any) -> Directions:
    by_project: dict[str, list[Policy]] = {}
    for policy in policies:
        by_project.setdefault(policy.project_id, []).append(policy)
    return Directions(table.paths(), policies=by_project, **known)


def test_the_most_specific_that_says_something_decides() -> None:
    anybody = table.policy("pol_a", retry_schedule_ms=[1], max_age_ms=1, tls="opportunistic")
    tagged = table.policy("pol_b", tags=["otp"], retry_schedule_ms=[2], max_age_ms=2)
    google = table.policy("pol_c", provider_groups=["google"], retry_schedule_ms=[3])
    below = table.policy("pol_d", recipient_domains=["*.example.org"], retry_schedule_ms=[4])
    deeper = table.policy("pol_e", recipient_domains=["*.eu.example.org"], retry_schedule_ms=[5])
    named = table.policy("pol_f", recipient_domains=["mx.eu.example.org"], retry_schedule_ms=[6])
    every = [anybody, tagged, google, below, deeper, named]
    facts = table.facts(destination="mx.eu.example.org", provider_group="google")
    for left in range(len(every), 0, -1):
        found = terms(every[:left], facts)
        assert found.retry_schedule_ms == (left,)
        assert (found.max_age_ms, found.tls) == (2 if left > 1 else 1, "opportunistic")
        assert terms(list(reversed(every[:left])), facts) == found


def test_of_two_equals_the_older_decides() -> None:
    older = table.policy("pol_z", tls="required")
    younger = table.policy("pol_a", tls="opportunistic", created_at="2027-01-01T00:00:00.000Z")
    assert terms([younger, older], table.facts()).tls == "required"


def test_what_does_not_fit_says_nothing() -> None:
    other = table.policy(tags=["receipt"], provider_groups=["google"], tls="required")
    assert terms([other], table.facts(provider_group="google")) == NO_TERMS
    assert terms([], table.facts()) == Terms()


def test_project_policy_then_project_then_installation_then_setting() -> None:
    own = table.policy("pol_own", version=7, retry_schedule_ms=[3])
    everybodys = table.policy("pol_all", project_id="", retry_schedule_ms=[4], max_age_ms=9)
    facts = table.facts()
    age = PolicyUse(term="max_age", policy_id="pol_all", version=1)
    found = directions(own, everybodys).settled(facts, OF_PROJECT)
    assert (found.retry_schedule_ms, found.schedule_from) == ((3,), "policy")
    assert found.by == (PolicyUse(term="retry_schedule", policy_id="pol_own", version=7), age)
    found = directions(everybodys).settled(facts, OF_PROJECT)
    assert (found.retry_schedule_ms, found.schedule_from, found.max_age_ms, found.by) == ((2,), "project", 9, (age,))
    found = directions(everybodys).settled(facts)
    assert (found.retry_schedule_ms, found.schedule_from) == ((4,), "policy")
    assert directions().settled(facts) == UNSETTLED
    assert directions().settled(facts, OF_PROJECT).schedule_from == "project"
    assert directions(table.policy(project_id="prj_2", retry_schedule_ms=[9])).settled(facts) == UNSETTLED


def test_tls_is_the_rules_then_the_projects_then_the_installations() -> None:  # R28
    own, everybodys = table.policy(tls="opportunistic"), table.policy("pol_all", project_id="", tls="required")
    strict = {"prj_1": [table.route(paths=["ups_1"], tls="required")]}
    plain = {"prj_1": [table.route(paths=["ups_1"])]}
    assert directions(own, routes=strict).route(table.facts(), NOW).tls == "required"
    assert directions(own, everybodys, routes=plain).route(table.facts(), NOW).tls == "opportunistic"
    assert directions(everybodys, routes=plain).route(table.facts(), NOW).tls == "required"
    assert directions(routes=plain).route(table.facts(), NOW).tls is None


def test_a_projects_rules_come_before_the_installations() -> None:
    own = table.route("rte_own", match={"tags": ["otp"]}, paths=["ups_1"], position=9)
    everybodys = table.route("rte_all", project_id="", paths=["ups_2"], position=1)
    found = directions(routes={"prj_1": [own], "": [everybodys]})
    assert found.route(table.facts(), NOW).path == "ups_1"
    assert found.route(table.facts(tags=[]), NOW).path == "ups_2"
    assert found.route(table.facts(project_id="prj_2"), NOW).path == "ups_2"


@pytest.mark.parametrize(("max_age_ms", "status"), [(DAY + 30_000, "deferred"), (DAY + 29_999, "bounced")])
def test_an_attempt_that_would_come_too_late_is_not_made(max_age_ms: int, status: str) -> None:
    """The outcome at hand is the last, and its category is the mail's."""
    old = replace(CONTEXT, now_ms=NOW + DAY, max_age_ms=max_age_ms)
    state = after(make.submit(ID))
    for given in (make.temporary(ID), make.unknown(ID)):
        decision = decide(state, given, old)
        if status == "bounced":
            (event,) = decision.events
            assert event.model_dump()["category"] in {"transient", "unknown"}
            assert event.model_dump()["gave_up"] == "max_age"
        else:
            assert made(decision) in {"deferred", "unknown"}


def test_the_age_of_scheduled_mail_counts_from_its_time() -> None:
    state = after(make.submit(ID)).model_copy(update={"scheduled_ms": NOW + DAY})
    at = replace(CONTEXT, now_ms=NOW + DAY, max_age_ms=60_000)
    assert made(decide(state, make.temporary(ID), at)) == "deferred"


def test_the_last_of_the_ladder_says_so_and_a_permanent_outcome_gave_nothing_up() -> None:
    last = after(make.submit(ID)).model_copy(update={"attempt": 6})
    aged = replace(CONTEXT, max_age_ms=1)
    assert decide(last, make.temporary(ID, 6), aged).events[0].model_dump()["gave_up"] == "last_attempt"
    assert decide(last, make.permanent(ID, 6), CONTEXT).events[0].model_dump()["gave_up"] is None


@pytest.mark.parametrize(
    ("from_", "domain"),
    [
        ("a@Example.COM", "example.com"),
        ("Shop <hello@example.com>", "example.com"),
        ('"a@b" <hello@shop.example.com>', "shop.example.com"),
        ("Ä <a@bücher.example>", "xn--bcher-kva.example"),
        ("", ""),
    ],
)
def test_the_senders_domain_is_read_from_the_header(from_: str, domain: str) -> None:
    assert from_domain(from_) == domain
