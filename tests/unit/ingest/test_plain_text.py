"""The text of a mail from its HTML (R8): readable, always the same, and never slow."""

import time

import pytest

from services.ingest.domain.plain_text import plain_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", "\n"),
        ("just text", "just text\n"),
        ("<p>One</p><p>Two</p>", "One\n\nTwo\n"),
        ("<div>One</div><div>Two<br>Three</div>", "One\n\nTwo\nThree\n"),
        ("a\n   b\t c", "a b c\n"),
        ("<ul><li>One</li><li>Two</li></ul>", "- One\n\n- Two\n"),
        ("<table><tr><td>Sum</td><td>9</td></tr></table>", "Sum 9\n"),
        ("<head><title>T</title><style>p{}</style></head><body>Hi<script>x()</script></body>", "Hi\n"),
        ("<!-- secret --><!DOCTYPE html>Hi", "Hi\n"),
        ('<a href="https://x.example/a?b=1&amp;c=2">Confirm</a> now', "Confirm (https://x.example/a?b=1&c=2) now\n"),
        ("<A HREF='https://x.example'>https://x.example</A>", "https://x.example\n"),
        ('<a href="mailto:a@b.example">Write</a> <a>here</a>', "Write here\n"),
        ("1 &lt; 2 &amp;&amp; 3 > 2 &euro;", "1 < 2 && 3 > 2 €\n"),
        ("2 < 3, a <b>bold</b> claim <", "2 < 3, a bold claim <\n"),
        ("<p>unclosed", "unclosed\n"),
        ("</a></p>stray", "stray\n"),
    ],
)
def test_a_table(html: str, text: str) -> None:
    assert plain_text(html) == text


@pytest.mark.parametrize("piece", ["<a", "<!--", "<", " \n", '<a href="', "</a>", " href = ", "<p>", "&", "<script>"])
def test_the_time_is_in_proportion(piece: str) -> None:
    """Hostile HTML of 200 kB takes no longer than honest HTML of some MB."""
    begun = time.process_time()
    plain_text(piece * (200_000 // len(piece)))
    assert time.process_time() - begun < 1.0
