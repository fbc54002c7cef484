"""Which provider is behind a destination, by the names of its mail exchangers (R21).

Pure: the table is data that ships with the code (providers.toml). It must never group by the recipient's domain: most
domains of a big provider bear names of their own.
"""

import tomllib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files

_TABLE = "providers.toml"


@lru_cache(maxsize=1)
def providers() -> Mapping[str, tuple[str, ...]]:
    """The suffixes of each provider's exchangers."""
    table = tomllib.loads(files(__package__).joinpath(_TABLE).read_text())
    return {name: tuple(entry["suffixes"]) for name, entry in table.items()}


def group_of(mx_hosts: Sequence[str], destination: str) -> str:
    """The provider that all of these are of; the destination itself where there is none."""
    hosts = [host.rstrip(".").lower() for host in mx_hosts]
    if not hosts:
        return destination
    for name, suffixes in providers().items():
        if all(f".{host}".endswith(suffixes) for host in hosts):
            return name
    return destination
