"""MTA-STS records and policies as domains write them (R28, D54; RFC 8461)."""

import pytest

from services.sender.domain.mta_sts import LONGEST_AGE, MalformedPolicy, StsPolicy, id_of, policy_of

POLICY = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        (["v=STSv1; id=1"], "1"),
        (["v=STSv1;id=1 ; later=yes;"], "1"),
        (["v=STSv1; later=yes; id=1;"], "1"),
        (["something else", "v=STSv1; id=1;"], "1"),
        (["v=STSv1; id=1;", "v=STSv1; id=2;"], None),  # two claims are none
        (["v=STSv1;"], None),
        (["v=STSv1; id=;"], None),
        (["v=STSv1; id=not-a-word;"], None),
        (["v=STSv1; id=" + "1" * 33], None),
        (["id=1; v=STSv1;"], None),
        (["v=STSv2; id=1;"], None),
        ([], None),
    ],
)
def test_the_id_of_a_record(texts: list[str], expected: str | None) -> None:
    assert id_of(texts) == expected


def test_a_policy_as_it_is_served() -> None:
    assert policy_of(POLICY) == StsPolicy("enforce", 604800, ("mail.example.com", "*.example.net"))
    assert policy_of(POLICY.replace("\r\n", "\n")) == policy_of(POLICY)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (POLICY + "mode: none\n", "enforce"),  # the first counts
        (POLICY + "later: yes\nno colon\n\n", "enforce"),
        ("version: STSv1\nmode: none\nmax_age: 1\n", "none"),
        ("version: STSv1\nmode: testing\nmx: a.b\nmax_age: 1\n", "testing"),
    ],
)
def test_tolerant_where_the_standard_is(text: str, expected: str) -> None:
    assert policy_of(text).mode == expected


def test_a_policy_holds_for_a_year_at_most() -> None:
    assert policy_of(POLICY.replace("604800", "9999999999")).max_age == LONGEST_AGE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>Not found</html>",
        POLICY.replace("STSv1", "STSv2"),
        POLICY.replace("enforce", "Enforce!"),
        POLICY.replace("604800", "a week"),
        POLICY.replace("max_age: 604800\r\n", ""),
        POLICY.replace("mx: mail.example.com\r\nmx: *.example.net\r\n", ""),
    ],
)
def test_what_can_not_be_read_is_no_policy(text: str) -> None:
    with pytest.raises(MalformedPolicy):
        policy_of(text)


@pytest.mark.parametrize(
    ("host", "admitted"),
    [
        ("mail.example.com", True),
        ("MAIL.example.com.", True),
        ("mx1.example.net", True),
        ("a.mx1.example.net", False),  # a star is one label
        ("example.net", False),
        ("mail.example.org", False),
        ("mailexample.net", False),
    ],
)
def test_which_hosts_a_policy_admits(host: str, admitted: bool) -> None:
    assert policy_of(POLICY).admits(host) is admitted
