"""A small web server on this machine that gives the files of a folder, by ranges as clouds do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["serving"]


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder; gives the address, and the list of paths that are asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(False)

        def do_GET(self) -> None:
            self.answer(True)

        def answer(self, with_body: bool) -> None:
            asked.append(self.path)
            path = folder / unquote(urlsplit(self.path).path).lstrip("/")
            content = path.read_bytes() if path.is_file() else b""
            begin, end = 0, len(content) - 1
            span = self.headers.get("Range", "").removeprefix("bytes=")
            if span and content:
                first, _, last = span.partition("-")
                begin, end = int(first), min(end, int(last or end))
            self.send_response(404 if not content else 206 if span else 200)
            self.send_header("Accept-Ranges", "bytes")
            if span and content:
                self.send_header("Content-Range", f"bytes {begin}-{end}/{len(content)}")
            self.send_header("Content-Length", str(end + 1 - begin))
            self.end_headers()
            if with_body:
                self.wfile.write(content[begin : end + 1])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
