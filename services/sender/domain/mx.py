"""Where mail for a domain goes, by what DNS says of it (RFC 5321, 5.1; RFC 7505; D52, D53).

Pure. It must never take silence for an answer: a name server that fails or says nothing has not said that there is no MX.
Nor may it fall back to the domain's own address where there is an MX, whatever that leads to.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from itertools import groupby
from typing import Literal, TypeVar

from chassis.egress import refusal_of_address
from services.sender.domain.outcome import Outcome

MOST_HOSTS = 10  # whose addresses are looked up: what has 50 MX is reached by the first of them, or is a trap
MOST_ADDRESSES = 5  # that one attempt tries (RFC 5321 asks for two at least); each gets its share of the attempt's time
_PER_HOST = 2  # as long as there are other hosts: a host that is down is down at each of its addresses
_BELIEVED_AFTER_MS = 3_600_000
_NOWHERE = "5.1.2"  # the enhanced code of a domain that is not there, or has neither MX nor address
_OURS = " (no connection was made: our own verdict)"

# Nobody has this name · the name has no record of this kind · nobody could say.
Absence = Literal["no_name", "no_data", "failed"]
Network = IPv4Network | IPv6Network
T = TypeVar("T")
Shuffle = Callable[[Sequence[T]], Sequence[T]]


@dataclass(frozen=True, slots=True)
class Exchanger:
    """One MX record; the host is "" where it says `.`."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class Guard:
    """Which addresses must not be connected to. `allowed` has the first word: for tests, and for mail within a network."""

    allowed: tuple[Network, ...] = ()
    own: frozenset[str] = frozenset()  # addresses, and our name in EHLO: mail to ourselves would go round and round

    def refusal(self, host: str, address: str) -> str | None:
        if any(ip_address(address) in network for network in self.allowed):
            return None
        if host.lower() in self.own or address in self.own:
            return "this machine itself"
        return refusal_of_address(address, allow_loopback=False)


def hosts_of(
    domain: str, found: Sequence[Exchanger] | Absence, shuffle: Shuffle[Exchanger]
) -> tuple[str, ...] | Outcome:
    """The hosts to try, in order; those of the same preference in a new order each time."""
    match found:
        case "failed":
            return silent(domain)
        case "no_name":
            return _no_mail(550, _NOWHERE, f"there is no domain {domain}")
        case "no_data":
            return (domain,)  # no MX: the domain is its own
        case _:
            return _in_order(domain, found, shuffle)


def _in_order(domain: str, found: Sequence[Exchanger], shuffle: Shuffle[Exchanger]) -> tuple[str, ...] | Outcome:
    named = sorted((entry for entry in found if entry.host), key=lambda entry: entry.preference)
    if not named:
        return _no_mail(556, "5.1.10", f"{domain} takes no mail (null MX)")
    ordered = [
        entry.host for _, same in groupby(named, key=lambda entry: entry.preference) for entry in shuffle([*same])
    ]
    return tuple(dict.fromkeys(ordered))[:MOST_HOSTS]


def targets_of(
    domain: str,
    hosts: Sequence[str],
    addresses: Mapping[str, Sequence[str] | Absence],
    guard: Guard,
) -> tuple[tuple[str, str], ...] | Outcome:
    """Host and address of each connection to try, in order. `hosts` as `hosts_of` gave them."""
    found = {host: known for host in hosts if not isinstance(known := addresses[host], str)}
    refusals = [guard.refusal(host, address) for host, known in found.items() for address in known]
    usable = {
        host: [address for address in known if guard.refusal(host, address) is None] for host, known in found.items()
    }
    if any(usable.values()):
        return _spread(usable)
    if any(known == "failed" for known in addresses.values()):
        return silent(domain)
    if any(refusals):
        why = ", ".join(sorted({refusal for refusal in refusals if refusal}))
        return _ours(
            "permanent", "rejected", 554, "5.4.4", f"the mail servers of {domain} can not be ours to call: {why}"
        )
    if tuple(hosts) == (domain,):
        return _no_mail(550, _NOWHERE, f"{domain} has no mail server: neither MX nor address")
    # An MX that leads nowhere is a mistake that its owner may notice; the age of the mail ends it.
    return _ours("temporary", "no_answer", 451, "4.4.4", f"the mail servers of {domain} have no address")


def _spread(usable: Mapping[str, Sequence[str]]) -> tuple[tuple[str, str], ...]:
    """A few of each host before more of any; in the order of the hosts."""
    first = [(host, address) for host, known in usable.items() for address in known[:_PER_HOST]]
    rest = [(host, address) for host, known in usable.items() for address in known[_PER_HOST:]]
    return tuple(first + rest)[:MOST_ADDRESSES]


def leaving_from(
    targets: Sequence[tuple[str, str]], sources: Sequence[str], preferred: str | None, shuffle: Shuffle[str]
) -> tuple[str | None, tuple[tuple[str, str], ...]] | Outcome:
    """Which address of ours to connect from, and the targets that can be reached from it. Without `sources` the system knows."""
    if not sources:
        return None, tuple(targets)
    versions = {ip_address(address).version for _, address in targets}
    fitting = [source for source in sources if ip_address(source).version in versions]
    if not fitting:
        return _ours(
            "temporary", "no_answer", 451, "4.4.4", "we have no address of the kind that the mail servers have"
        )
    source = preferred if preferred in fitting else shuffle(fitting)[0]
    version = ip_address(source).version
    return source, tuple(target for target in targets if ip_address(target[1]).version == version)


def confirmed(found: Outcome, *, attempt: int, age_ms: int) -> Outcome:
    """That a domain is not there is believed at a second look, an hour after the mail came: registrars and zones have bad
    hours, and the recipient would be suppressed for good. Null MX is a word, not an absence.
    """
    if found.enhanced_code != _NOWHERE or (attempt > 1 and age_ms >= _BELIEVED_AFTER_MS):
        return found
    reason = (found.reply or "").removeprefix(f"550 {_NOWHERE} ").removesuffix(_OURS)
    return _ours("temporary", "no_answer", 451, "4.4.4", f"{reason}; it will be looked for again")


def unmatched(domain: str) -> Outcome:
    """None of the hosts is one that the domain's policy lets mail go to (RFC 8461, 5.1)."""
    return _ours("temporary", "no_answer", 451, "4.7.5", f"no mail server of {domain} fits its MTA-STS policy")


def unreadable(domain: str) -> Outcome:
    """What DNS says of the certificates of its hosts can not be had, or is forged (RFC 7672, 2.1.2)."""
    return _ours(
        "temporary", "no_answer", 451, "4.7.5", f"the TLSA records of the mail servers of {domain} did not come"
    )


def silent(domain: str) -> Outcome:
    return _ours("temporary", "no_answer", 451, "4.4.3", f"DNS did not answer for {domain}")


def _no_mail(code: int, enhanced_code: str, reason: str) -> Outcome:
    return _ours("permanent", "domain_not_found", code, enhanced_code, reason)


def _ours(
    verdict: Literal["temporary", "permanent"],
    category: Literal["domain_not_found", "no_answer", "rejected"],
    code: int,
    enhanced_code: str,
    reason: str,
) -> Outcome:
    reply = f"{code} {enhanced_code} {reason}{_OURS}"
    return Outcome(verdict, category, "connect", reply, code, enhanced_code)
