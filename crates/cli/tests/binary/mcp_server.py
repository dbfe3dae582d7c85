"""A small server of MCP on stdin and stdout: `look` only reads, `count` writes each number that it is given into a file, once for each call."""

import json
import os
import sys
import time

LOG = sys.argv[1]
TOOLS = [
    {"name": "look", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}},
    {"name": "count", "inputSchema": {"type": "object"}},
]


def call(name, arguments):
    if name == "look":
        return os.getpid()
    if name == "count":
        time.sleep(arguments.get("before_ms", 0) / 1000)
        with open(LOG, "a") as log:
            log.write(f"{arguments['n']}\n")
        time.sleep(arguments.get("after_ms", 0) / 1000)
        return arguments["n"]
    raise KeyError(name)


def answer(request):
    method, params = request["method"], request.get("params", {})
    if method == "initialize":
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": "counter", "version": "7"}}
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": str(call(params["name"], params.get("arguments", {})))}]}
    return {}


for line in sys.stdin:
    message = json.loads(line)
    if "method" in message and "id" in message:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": answer(message)}), flush=True)
