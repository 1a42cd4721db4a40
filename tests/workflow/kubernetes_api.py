"""As much of a Kubernetes API server as Snakemake's executor asks for: it keeps job specifications and runs none."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """Listens on a free port of this machine; ``jobs`` holds what was submitted."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.jobs: list[dict[str, Any]] = []

    def kubeconfig(self) -> dict[str, Any]:
        """Return the client configuration that leads here."""
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{self.server_port}"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "users": [{"name": "test", "user": {}}],
        }


class Handler(BaseHTTPRequestHandler):
    """Accepts everything; every job has failed when it is asked for, so that no output is waited for."""

    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.split("?")[0].endswith("/jobs"):
            self.server.jobs.append(body)
        self.answer(body)

    def do_GET(self) -> None:
        if "/pods" in self.path:
            self.answer({"kind": "PodList", "apiVersion": "v1", "items": []})
        else:
            self.answer({"kind": "Job", "apiVersion": "batch/v1", "status": {"failed": 1}})

    def do_DELETE(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer({"kind": "Status", "apiVersion": "v1", "status": "Success"})

    def answer(self, document: dict[str, Any]) -> None:
        content = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass
