"""The mail that everything is measured with: 5 kB of text and HTML, twenty destinations."""

import orjson

TEXT = "\n".join(["Your order is on its way and will be with you soon."] * 48)
HTML = "<html><body>" + "\n".join(["<p>Your order is on its way, see you soon.</p>"] * 53) + "</body></html>"

PER_BATCH = 1000
SLOW_DESTINATION = "slow.example"
TARPIT_DESTINATION = "tarpit.example"
UNSIGNED_DOMAIN = "unsigned.example"

_NUMBER = b"987654321012"
_MAIL = {"recipient": f"u{_NUMBER.decode()}@d.example", "subject": "Hello", "text": TEXT, "html": HTML}
_BEFORE, _AFTER = orjson.dumps({**_MAIL, "from": f"Shop <shop@{UNSIGNED_DOMAIN}>"}).split(_NUMBER + b"@d")
_SIGNED_BEFORE, _SIGNED_AFTER = orjson.dumps(_MAIL).split(_NUMBER + b"@d")


def recipient(number: int) -> str:
    return f"u{number}@d{number % 20}.example"


def body(number: int) -> bytes:
    """The JSON of `POST /v1/messages`: of a mail that goes out unsigned."""
    return b"%s%d@d%d%s" % (_BEFORE, number, number % 20, _AFTER)


def signed(number: int) -> bytes:
    """The same from the project's default sender, whose domain has a DKIM key (RSA-2048)."""
    return b"%s%d@d%d%s" % (_SIGNED_BEFORE, number, number % 20, _SIGNED_AFTER)


def batch(number: int) -> bytes:
    """The JSON of `POST /v1/messages/batch`: as many of them as it takes."""
    mails = (body(one) for one in range(number * PER_BATCH, (number + 1) * PER_BATCH))
    return b'{"messages":[%s]}' % b",".join(mails)


def from_template(number: int) -> bytes:
    """The documentation's example, by the template that the local stack seeds."""
    data = {"code": str(number % 1_000_000), "expires_in": "10 minutes"}
    return orjson.dumps({"recipient": recipient(number), "template": "otp-code", "template_data": data})


def bulk_batch(number: int) -> bytes:
    """A batch of bulk mail to the destination that the sink is slow for."""
    mails = [_small(f"b{number}-{one}@{SLOW_DESTINATION}", "bulk") for one in range(PER_BATCH)]
    return orjson.dumps({"messages": mails})


def tarpit_batch(number: int) -> bytes:
    """A batch of mail like any other, to a destination that takes it, in its own time."""
    mails = [_small(f"t{number}-{one}@{TARPIT_DESTINATION}", "normal") for one in range(PER_BATCH)]
    return orjson.dumps({"messages": mails})


def critical(number: int) -> bytes:
    """By turns to the slow destination and to another."""
    return orjson.dumps(_small(f"c{number}@{(SLOW_DESTINATION, 'd0.example')[number % 2]}", "critical"))


def _small(to: str, priority: str) -> dict[str, str]:
    return {"recipient": to, "subject": "Hello", "text": "Your code is 847291.", "priority": priority}
