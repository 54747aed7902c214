"""A git server over http that wants a password: git's own http-backend behind a small server on loopback."""

import base64
import os
import subprocess
from pathlib import Path

from tests.support.loopback import Loopback, Quiet


class GitServer(Loopback):
    """Serves the bare repositories in a folder. `logins` is what was said to it, as user:password."""

    def __init__(self, folder: Path, password: str) -> None:
        self.logins: list[str] = []
        server = self

        class Handler(Quiet):
            def answer(self) -> None:
                given = self.headers.get("authorization", "").removeprefix("Basic ")
                if given:
                    server.logins.append(base64.b64decode(given).decode())
                if not given or not server.logins[-1].endswith(f":{password}"):
                    self.send_response(401)
                    self.send_header("www-authenticate", 'Basic realm="git"')
                    self.send_header("content-length", "0")
                    self.end_headers()
                    return
                path, _, query = self.path.partition("?")
                env = {
                    "PATH": os.environ["PATH"],
                    "GIT_PROJECT_ROOT": str(folder),
                    "GIT_HTTP_EXPORT_ALL": "1",
                    "REMOTE_USER": "somebody",
                    "PATH_INFO": path,
                    "QUERY_STRING": query,
                    "REQUEST_METHOD": self.command,
                    "CONTENT_TYPE": self.headers.get("content-type", ""),
                    "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
                }
                content = self.rfile.read(int(self.headers.get("content-length", 0)))
                done = subprocess.run(["git", "http-backend"], input=content, env=env, capture_output=True, check=True)
                head, _, body = done.stdout.partition(b"\r\n\r\n")
                self.send_response(200)
                for line in head.decode().splitlines():
                    self.send_header(*line.split(": ", 1))
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        super().__init__(Handler)
