"""A small server of MCP on stdin and stdout, with the habits that tests want. Its first argument is a habit from the start on."""

import json
import os
import signal
import subprocess
import sys
import time

HABIT = sys.argv[1] if len(sys.argv) > 1 else ""
seen, held = [], []


def say(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def answer(request, result):
    say({"jsonrpc": "2.0", "id": request["id"], "result": result})


def call(request, line):
    params = request["params"]
    name, arguments = params.get("name"), params.get("arguments")
    if name == "echo":
        answer(request, arguments)
    elif name == "raw":
        answer(request, line)
    elif name == "seen":
        answer(request, seen)
    elif name == "who":
        answer(request, {"pid": os.getpid(), "group": os.getpgrp(), "env": dict(os.environ), "dir": os.getcwd()})
    elif name == "progress":
        for step in (1, 2):
            token = params["_meta"]["progressToken"]
            note = {"progressToken": token, "progress": step}
            say({"jsonrpc": "2.0", "method": "notifications/progress", "params": note})
        answer(request, "done")
    elif name == "ask":
        say({"jsonrpc": "2.0", "id": "s1", "method": "sampling/createMessage", "params": {}})
        answer(request, json.loads(sys.stdin.readline())["result"])
    elif name == "note":
        say({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
        answer(request, "noted")
    elif name == "stale":
        note = {"progressToken": "of another", "progress": 1}
        say({"jsonrpc": "2.0", "method": "notifications/progress", "params": note})
        answer(request, "done")
    elif name == "flood":
        for number in range(arguments):
            say({"jsonrpc": "2.0", "method": "notifications/message", "params": {"n": number, "pad": "x" * 10000}})
        answer(request, "dry")
    elif name == "shut":
        os.close(0)
        answer(request, "shut")
        time.sleep(600)
    elif name == "sleep":
        time.sleep(arguments)
        answer(request, "slept")
    elif name == "make":
        open(arguments, "w").close()
        answer(request, "made")
    elif name == "hold":
        held.append(request)
    elif name == "release":
        for waiting in reversed(held):
            answer(waiting, waiting["id"])
        held.clear()
        answer(request, "released")
    elif name == "die":
        print("first words\nlast words", file=sys.stderr)
        sys.exit(3)
    elif name == "half":
        sys.stdout.write('{"jsonrpc":"2.0","id":')
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    elif name == "garbage":
        sys.stdout.write("Server running!\n\n  \n[1]\n{}\n\x00\xff\n" + '{"jsonrpc":"2.0","id":"nobody","result":1}\n')
        answer(request, "sorry")
    elif name == "big":
        sys.stdout.write('{"jsonrpc":"2.0","id":' + json.dumps(request["id"]) + ',"result":"')
        for _ in range(arguments):
            sys.stdout.write("x" * 1024 * 1024)
        sys.stdout.write('"}\n')
        sys.stdout.flush()
    elif name == "endless":
        while True:
            sys.stdout.write("x" * 65536)
    elif name == "chatter":
        for _ in range(arguments):
            print("noise " * 1000, file=sys.stderr)
        answer(request, "silent")
    elif name == "child":
        answer(request, subprocess.Popen(["sleep", "600"]).pid)
    elif name == "orphan":
        answer(request, subprocess.Popen(["sleep", "600"]).pid)
        sys.exit(0)


def main():
    if HABIT == "dead":
        print("cannot start", file=sys.stderr)
        sys.exit(7)
    if HABIT == "deaf":
        time.sleep(600)
    if HABIT == "late":
        time.sleep(8)
    for line in sys.stdin:
        request = json.loads(line)
        seen.append(request.get("method", "response"))
        if request.get("method") == "initialize":
            if HABIT == "forgetful" and os.path.exists("forgot"):
                say({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -1, "message": "no"}})
                continue
            if HABIT == "forgetful":
                open("forgot", "w").close()
            if HABIT == "chatty":
                say({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
            answer(request, {"serverInfo": {"name": "fake"}})
        elif request.get("method") == "tools/call":
            call(request, line)
    if HABIT == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)


main()
