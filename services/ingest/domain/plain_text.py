"""The text of a mail, made from its HTML where the customer gave none: the same HTML always gives the same text.

It reads tags, it does not judge them: what is no tag is text, and nothing is ever refused. It takes time in proportion
to the length of the HTML, whatever is in it.
"""

import re
from html import unescape

_TOKEN = re.compile(r"<!--.*?(?:-->|\Z)|<[!/?]?[A-Za-z][^<>]*>|[^<]+|<", re.DOTALL)
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*)")
_HREF = re.compile(r"""\shref\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)
_SPACES = re.compile(r"[ \t\r\n\f\v]+")
_SPACES_IN_LINE = re.compile(r"[ \t]{2,}")
_AROUND_LINES = re.compile(r" ?\n ?")
_MANY_LINES = re.compile(r"\n{3,}")

_UNSEEN = frozenset({"head", "script", "style", "title", "template"})
_PARAGRAPHS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "blockquote", "pre", "hr"})
_LINES = frozenset({"div", "tr", "li", "section", "article", "header", "footer", "br", "body", "center"})
_CELLS = frozenset({"td", "th"})


def plain_text(html: str) -> str:
    """Paragraphs and lines as the blocks gave them, links with their address, `- ` before the items of lists."""
    out: list[str] = []
    unseen: str | None = None  # the element whose content is no text
    link = ("", 0)  # the address of the open link, and where in `out` its text begins
    for token in _TOKEN.findall(html):
        tag = _TAG.match(token)
        if tag is None:
            if unseen is None and not token.startswith("<!"):
                out.append(_SPACES.sub(" ", unescape(token)))
            continue
        closing, name = bool(tag[1]), tag[2].lower()
        if unseen is not None:
            unseen = None if closing and name == unseen else unseen
        elif name in _UNSEEN:
            unseen = None if closing else name
        elif name == "a":
            out.append(_address_behind(*link, out) if closing else "")
            link = ("" if closing else _address_of(token), len(out))
        else:
            out.append(_space_for(name, closing=closing))
    return _tidy("".join(out))


def _address_of(tag: str) -> str:
    found = _HREF.search(tag)
    given = next((group for group in found.groups() if group is not None), "") if found else ""
    return _SPACES.sub("", unescape(given))


def _address_behind(address: str, begin: int, out: list[str]) -> str:
    """The address in brackets, where it leads somewhere and the text of the link does not name it."""
    return f" ({address})" if "://" in address and address not in "".join(out[begin:]) else ""


def _space_for(name: str, *, closing: bool) -> str:
    if name in _PARAGRAPHS:
        return "\n\n"
    if name in _LINES:
        return "\n- " if name == "li" and not closing else "\n"
    return " " if name in _CELLS else ""


def _tidy(text: str) -> str:
    lines = _AROUND_LINES.sub("\n", _SPACES_IN_LINE.sub(" ", text))
    return _MANY_LINES.sub("\n\n", lines).strip() + "\n"
