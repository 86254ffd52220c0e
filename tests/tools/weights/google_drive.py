"""Google Drive played by a local server, for the real client."""

import re
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from requests.adapters import HTTPAdapter

HOSTS = {"drive.google.com", "docs.google.com", "drive.usercontent.google.com"}
TICKET = "0b7e4c1d"
CONFIRM = """<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>\
<form id="download-form" action="https://drive.usercontent.google.com/download" method="get">\
<input type="submit" id="uc-download-link" value="Download anyway"/>\
<input type="hidden" name="id" value="{id}"><input type="hidden" name="export" value="download">\
<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="{ticket}"></form></body></html>
"""
QUOTA = """<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body>
<p class="uc-error-caption">Sorry, you can't view or download this file at this time.</p>
<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently. Please try accessing the \
file again later. If the file you are trying to access is particularly large or is shared with many people, it may \
take up to 24 hours to be able to view or download the file.</p></body></html>
"""
SIGN_IN = "<!DOCTYPE html><html><head><title>Sign in - Google Accounts</title></head><body>Sign in</body></html>"


@dataclass
class File:
    """What is behind an id: a file, or with `page` a web page in its place."""

    content: bytes = b""
    name: str = "checkpoint.pth"
    page: str | None = None
    confirm: bool = False
    """Ask whether a file too large for the virus scan is really wanted."""
    cut: int | None = None
    """Close the connection after so many bytes, unless a range is asked for."""


class GoogleDrive(ThreadingHTTPServer):
    """Serves `files` by id; `ranges` are the Range headers of all requests, None without."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, File] = {}
        self.ranges: list[str | None] = []


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.server.ranges.append(self.headers["Range"])
        file = self.server.files.get(query["id"])
        if file is None:
            self.send_error(404)
        elif file.page:
            self.send_page(file.page)
        elif file.confirm and url.path == "/uc":
            self.send_page(CONFIRM.format(id=query["id"], ticket=TICKET))
        elif file.confirm and (url.path, query.get("uuid"), query.get("confirm")) != ("/download", TICKET, "t"):
            self.send_error(403)
        else:
            self.send_file(file)

    def send_page(self, page):
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(page.encode())

    def send_file(self, file):
        body, cut = file.content, file.cut
        if wanted := self.headers["Range"]:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            body, cut = body[start:], None
        else:
            self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Disposition", f"attachment; filename=\"{file.name}\"; filename*=UTF-8''{file.name}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut])


class ToLocalServer(HTTPAdapter):
    """Sends what is meant for Google to the local server; anything else is a mistake of the test."""

    def __init__(self, server):
        super().__init__()
        self.port = server.server_address[1]

    def send(self, request, **settings):
        url = urlsplit(request.url)
        assert url.hostname in HOSTS, request.url
        request.url = f"http://127.0.0.1:{self.port}{url.path}?{url.query}"
        return super().send(request, **settings | {"proxies": None})
