"""The provider group of a destination, by its MX (R21)."""

import pytest

from services.sender.domain.providers import group_of, providers


@pytest.mark.parametrize(
    ("hosts", "group"),
    [
        (["aspmx.l.google.com", "alt1.aspmx.l.google.com"], "google"),
        (["ASPMX.L.GOOGLE.COM."], "google"),
        (["aspmx.l.google.com", "aspmx2.googlemail.com"], "google"),
        (["gmail-smtp-in.l.google.com"], "google"),
        (["mta5.am0.yahoodns.net", "mta6.am0.yahoodns.net"], "yahoo"),
        (["outlook-com.olc.protection.outlook.com"], "outlook"),
        (["example-org.mail.protection.outlook.com"], "office365"),
        (["example-org.o-v1.mx.microsoft"], "office365"),
        (["mx01.mail.icloud.com"], "apple"),
        (["mx00.emig.gmx.net"], "gmx"),
        (["aspmx.l.google.com", "backup.example.org"], "example.org"),  # all must match
        (["aspmx.l.google.com", "mta5.am0.yahoodns.net"], "example.org"),
        (["google.com.example.org"], "example.org"),
        (["notgoogle.com"], "example.org"),
        (["mx.example.org"], "example.org"),
        ([], "example.org"),
    ],
)
def test_all_exchangers_must_be_the_providers(hosts: list[str], group: str) -> None:
    assert group_of(hosts, "example.org") == group


def test_no_suffix_belongs_to_two() -> None:
    suffixes = [suffix for entry in providers().values() for suffix in entry]
    assert len(suffixes) == len(set(suffixes))
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in suffixes)
