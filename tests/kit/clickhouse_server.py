"""A ClickHouse server for drills: the embedded engine behind ClickHouse's HTTP interface, as a process that can be killed.

`python -m tests.kit.clickhouse_server <port> <folder>`. It takes one request at a time, knows no users and no settings.
While there is a file `lose-answers` in its folder, what is inserted is there, and nobody is told.
"""

import sys
import tempfile
import threading
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import chdb

_EXCEPTION = "X-ClickHouse-Exception-Code"
_NATIVE = b" FORMAT Native\n"
LOSE_ANSWERS = "lose-answers"


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, folder: Path) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.folder = folder
        self.engine = chdb.connect(str(folder / "data"))
        self.turn = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self._answer(200, b"Ok.\n")

    def do_POST(self) -> None:
        given = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        body = self._body()
        if (kind := self.headers.get("Content-Type", "")).startswith("multipart/"):  # many or long parameters
            form = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body).walk()
            given |= {str(part.get_param("name", header="content-disposition")): _text(part) for part in form}
            body = b""
        statement, rows = (given["query"].encode(), body) if "query" in given else (body, b"")
        if not rows and (block := statement.partition(_NATIVE))[1]:  # it comes with its statement
            statement, rows = block[0] + _NATIVE.rstrip(), block[2]
        try:
            if rows:
                found = self._insert(given.get("database"), statement.decode(), rows)
                if (self.server.folder / LOSE_ANSWERS).exists():
                    self.close_connection = True
                    return
            else:
                found = self._run(given.get("database"), statement.decode(), _bound(given))
        except RuntimeError as error:
            self._answer(500, str(error).encode(), {_EXCEPTION: "1"})
        else:
            self._answer(200, found)

    def _insert(self, database: str | None, statement: str, rows: bytes) -> bytes:
        """`INSERT INTO t (…) FORMAT Native`, the rows in the body."""
        head, _, form = statement.rpartition(" FORMAT ")
        with tempfile.NamedTemporaryFile(dir=self.server.folder) as file:
            file.write(rows)
            file.flush()
            return self._run(database, f"{head} FROM INFILE '{file.name}' FORMAT {form}", {})

    def _run(self, database: str | None, statement: str, parameters: dict[str, str]) -> bytes:
        with self.server.turn:
            self.server.engine.query(f"USE {database or 'default'}")
            answer: Any = self.server.engine.query(statement, "TabSeparated", params=parameters)
            return bytes(answer.bytes())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Length": str(len(body)),
            "X-ClickHouse-Timezone": "UTC",
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


def _text(part: Message) -> str:
    content = part.get_payload(decode=True)
    return content.decode() if isinstance(content, bytes) else ""


def _bound(given: dict[str, str]) -> dict[str, str]:
    return {name.removeprefix("param_"): value for name, value in given.items() if name.startswith("param_")}


if __name__ == "__main__":
    Server(int(sys.argv[1]), Path(sys.argv[2])).serve_forever()
