"""A hub of models in this process: what huggingface-hub's client asks for when it pushes and pulls small files."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Dict


class FakeHub:
    """`with FakeHub() as hub:` serves at `hub.url`; `hub.files` holds "owner/name" -> name -> content."""

    def __init__(self) -> None:
        self.files: Dict[str, Dict[str, bytes]] = {}
        self.tokens = set()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *rest) -> None:
                pass

            def answer(self, content: bytes, status: int = 200, **headers: str) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                hub.tokens.add(self.headers.get("Authorization"))
                self.answer(json.dumps(hub.post(self.path, content)).encode(), Content_Type="application/json")

            def do_GET(self) -> None:
                owner, name, _, _, file = self.path.split("?")[0].strip("/").split("/", 4)
                content = hub.files.get(f"{owner}/{name}", {}).get(file)
                if content is None:
                    self.answer(b"{}", 404, X_Error_Code="EntryNotFound", X_Error_Message="no such file")
                else:
                    etag = hashlib.sha1(content).hexdigest()
                    self.answer(content, ETag=f'"{etag}"', X_Repo_Commit="a" * 40)

            do_HEAD = do_GET

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def post(self, path: str, content: bytes) -> object:
        if path == "/api/repos/create":
            asked = json.loads(content)
            repository = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            self.files.setdefault(repository, {})
            return {"url": f"{self.url}/{repository}"}
        if path == "/api/validate-yaml":
            return {"errors": [], "warnings": []}
        owner, name, action, _ = path[len("/api/models/") :].split("?")[0].split("/")
        if action == "preupload":
            names = [file["path"] for file in json.loads(content)["files"]]
            return {"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]}
        assert action == "commit"
        for line in map(json.loads, content.splitlines()):
            if line["key"] == "file":
                value = line["value"]
                self.files[f"{owner}/{name}"][value["path"]] = base64.b64decode(value["content"])
        return {"commitUrl": f"{self.url}/{owner}/{name}/commit/{'a' * 40}", "commitOid": "a" * 40}

    def __enter__(self) -> "FakeHub":
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *rest) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
