"""A small server of MCP over HTTP, with the habits that tests want. It says its port on stdout."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HABIT = sys.argv[1] if len(sys.argv) > 1 else ""
asides, seen, kept = threading.Event(), [], []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, body=b"", kind="application/json", **fields):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", kind)
        self.send_header("Set-Cookie", "a=b")
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def event(self, text):
        self.wfile.write(text.encode())
        self.wfile.flush()

    def asked(self, method):
        return method if self.path.startswith("/mcp") else "ASTRAY"

    def known(self):
        return self.headers.get("Mcp-Session-Id") == "s-1"

    def do_GET(self):
        seen.append([self.asked("GET"), dict(self.headers)])
        if self.headers.get("Last-Event-ID") == "e-1":
            self.stream()
            return self.event("id: e-2\ndata: " + kept[0] + "\n\n")
        if HABIT != "asides":
            return self.reply(405)
        self.stream()
        self.event('data: {"jsonrpc":"2.0","method":"notifications/message","params":{"n":1}}\n\n')
        asides.wait(20)

    def do_DELETE(self):
        seen.append(["DELETE", dict(self.headers)])
        asides.set()
        self.reply(200)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        seen.append([self.asked("POST"), dict(self.headers)])
        message = json.loads(body)
        if HABIT == "locked":
            return self.reply(401, b"who?", WWW_Authenticate="Bearer")
        if "id" not in message or "method" not in message:
            return self.reply(202)
        one = lambda result: json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result})
        if message["method"] == "initialize":
            return self.reply(200, one({"protocolVersion": "2025-06-18"}).encode(), Mcp_Session_Id="s-1")
        if HABIT == "sessions" and not self.known():
            return self.reply(404, b'{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"no session"}}')
        name = message.get("params", {}).get("name")
        if name == "raw":
            self.reply(200, one(body.decode()).encode())
        elif name == "seen":
            self.reply(200, one(seen).encode())
        elif name == "wrong":
            error = {"code": -32602, "message": "wrong"}
            self.reply(400, json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}).encode())
        elif name == "moved":
            self.reply(303, Location="/elsewhere")
        elif name == "teapot":
            self.reply(418, b"short and stout", kind="text/plain")
        elif name == "progress":
            note = '{"jsonrpc":"2.0",\r\ndata:"method":"notifications/progress"}'
            self.stream()
            self.event("\ufeff: hello\r\n\r\nid\r\nretry: 60\r\nevent: message\r\ndata:" + note + "\r\n\r\n")
            self.event("event: other\ndata: {}\n\ndata: nonsense\n\ndata\n\n" + "data: " + one("other").replace(': 1', ': "x"') + "\r\r")
            self.event("data: " + one("do") + "\n\n")
            self.event("data: " + one("never") + "\n\n")
        elif name == "broken":
            self.stream()
            self.event('data: {"jsonrpc":"2.0","method":"notifications/message"}\n\ndata: {"json')
        elif name == "resume":
            kept[:] = [one("resumed")]
            self.stream()
            self.event("retry: 100\nid: e-1\ndata:\n\n")
        elif name == "reset":
            self.close_connection = True
            self.connection.close()
        elif name == "hold":
            asides.wait(20)
            self.close_connection = True
        elif name == "big":
            self.stream()
            self.event('data: {"jsonrpc":"2.0","id":%s,"result":"' % json.dumps(message["id"]))
            for _ in range(message["params"]["arguments"]):
                self.wfile.write(b"x" * 1024 * 1024)
            self.event('"}\n\n')
        else:
            self.reply(200, one(None).encode())


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
