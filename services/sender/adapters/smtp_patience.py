"""How long one phase of a conversation may take at most: the least that RFC 5321 asks of a client (4.5.3.2).

A patience never outlasts the attempt's deadline to the dot, which is shorter unless an operator makes it long. The wait
for the answer to the dot is not here: it has a setting of its own, and goes beyond that deadline.
"""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

from schemas.mail import Phase

RFC_5321: Mapping[Phase, timedelta] = MappingProxyType(
    {
        "connect": timedelta(minutes=5),  # the RFC has one time for a connection and its greeting
        "greeting": timedelta(minutes=5),
        "ehlo": timedelta(minutes=5),
        "starttls": timedelta(minutes=5),
        "auth": timedelta(minutes=5),
        "mail": timedelta(minutes=5),
        "rcpt": timedelta(minutes=5),
        "data": timedelta(minutes=2),
        "body": timedelta(minutes=3),  # for each block of it
    }
)
