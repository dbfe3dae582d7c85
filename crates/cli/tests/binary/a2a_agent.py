"""An agent of A2A that counts: what it is told to count it writes down, and says back.

    python a2a_agent.py LOG   prints its address"""

import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

log = open(sys.argv[1], "a")
turn = threading.Lock()


class Agent(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def said(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path != "/.well-known/agent-card.json":
            return self.said(404, {})
        url = f"http://127.0.0.1:{self.server.server_port}/rpc"
        interface = {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
        self.said(200, {"name": "counter", "version": "7", "supportedInterfaces": [interface]})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        n, before_ms, after_ms = map(int, asked["params"]["message"]["parts"][0]["text"].split())
        time.sleep(before_ms / 1000)
        with turn:
            log.write(f"{n}\n")
            log.flush()
            os.fsync(log.fileno())
        time.sleep(after_ms / 1000)
        message = {"messageId": f"m{n}", "role": "ROLE_AGENT", "parts": [{"text": str(n)}]}
        self.said(200, {"jsonrpc": "2.0", "id": asked["id"], "result": {"message": message}})


class Server(ThreadingHTTPServer):
    def handle_error(self, *_):
        """Whoever asked was killed."""


server = Server(("127.0.0.1", 0), Agent)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
