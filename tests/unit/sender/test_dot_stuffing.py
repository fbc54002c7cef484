"""The end of a mail on the wire is its end, and nothing before it is (R28; D58)."""

from hypothesis import given
from hypothesis import strategies as st

from services.sender.adapters.smtp_session import dot_stuffed

LINES = st.lists(st.text(st.sampled_from(".a \t"), max_size=6) | st.text("MAIL FROM:<>.", max_size=20), max_size=12)


@given(LINES, st.booleans())
def test_a_server_gets_back_what_was_written_and_sees_one_end(lines: list[str], final_newline: bool) -> None:
    data = "\r\n".join(lines).encode() + (b"\r\n" if final_newline else b"")
    wire = b"\r\n" + dot_stuffed(data)  # DATA's own line end stands before it
    assert wire.find(b"\r\n.\r\n") == len(wire) - 5
    received = wire.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")[2:]
    assert received == (data if data.endswith(b"\r\n") else data + b"\r\n")
