"""The mail that everything is measured with: 5 kB of text and HTML, twenty destinations."""

import orjson

TEXT = "\n".join(["Your order is on its way and will be with you soon."] * 48)
HTML = "<html><body>" + "\n".join(["<p>Your order is on its way, see you soon.</p>"] * 53) + "</body></html>"

_NUMBER = b"987654321012"
_BODY = orjson.dumps({"recipient": f"u{_NUMBER.decode()}@d.example", "subject": "Hello", "text": TEXT, "html": HTML})
_BEFORE, _AFTER = _BODY.split(_NUMBER + b"@d")


def recipient(number: int) -> str:
    return f"u{number}@d{number % 20}.example"


def body(number: int) -> bytes:
    """The JSON of `POST /v1/messages`."""
    return b"%s%d@d%d%s" % (_BEFORE, number, number % 20, _AFTER)
