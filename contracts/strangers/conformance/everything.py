"""A server of MCP on its pipes that has what the conformance kit asks for, by the kit's own names; no library, so that every byte is its own."""

import itertools
import json
import queue
import sys
import threading
import time

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
SOUND = "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA="
NOTHING = {"type": "object", "properties": {}}

turn, numbers, asked = threading.Lock(), itertools.count(1), {}


def say(**message):
    with turn:
        print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def ask(method, params):
    """Asks the client; its result, or its error."""
    number, answer = f"s{next(numbers)}", queue.Queue()
    asked[number] = answer
    say(id=number, method=method, params=params)
    return answer.get(timeout=30)


def text(words):
    return {"type": "text", "text": words}


def resource(uri, mime, words):
    return {"type": "resource", "resource": {"uri": uri, "mimeType": mime, "text": words}}


def image():
    return {"type": "image", "data": PIXEL, "mimeType": "image/png"}


def logging(_, __):
    for words in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        say(method="notifications/message", params={"level": "info", "data": words})
        time.sleep(0.05)
    return [text("logged")]


def progress(_, meta):
    for done in (0, 50, 100):
        if "progressToken" in meta:
            params = {"progressToken": meta["progressToken"], "progress": done, "total": 100}
            say(method="notifications/progress", params=params)
        time.sleep(0.05)
    return [text("done")]


def sampling(arguments, _):
    messages = [{"role": "user", "content": text(arguments["prompt"])}]
    answer = ask("sampling/createMessage", {"messages": messages, "maxTokens": 100})
    return [text(f"LLM response: {answer['content']['text']}")]


def elicited(words, properties, required, message="Please"):
    schema = {"type": "object", "properties": properties, "required": required}
    answer = ask("elicitation/create", {"message": message, "requestedSchema": schema})
    return [text(f"{words}: action={answer['action']}, content={json.dumps(answer.get('content', {}))}")]


def elicitation(arguments, _):
    named = {name: {"type": "string", "description": f"User's {name}"} for name in ("username", "email")}
    return elicited("User response", named, list(named), arguments["message"])


def defaults(_, __):
    return elicited("Elicitation completed", {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }, [])  # fmt: skip


def enums(_, __):
    plain = ["option1", "option2", "option3"]
    titled = [{"const": f"value{n}", "title": f"{word} Option"} for n, word in enumerate(("First", "Second", "Third"), 1)]
    return elicited("Elicitation completed", {
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["Option One", "Option Two", "Option Three"]},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    }, [])  # fmt: skip


TOOLS = {
    "test_simple_text": lambda *_: [text("This is a simple text response for testing.")],
    "test_image_content": lambda *_: [image()],
    "test_audio_content": lambda *_: [{"type": "audio", "data": SOUND, "mimeType": "audio/wav"}],
    "test_embedded_resource": lambda *_: [resource("test://embedded-resource", "text/plain", "This is an embedded resource content.")],
    "test_multiple_content_types": lambda *_: [
        text("Multiple content types test:"),
        image(),
        resource("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
    ],
    "test_tool_with_logging": logging,
    "test_tool_with_progress": progress,
    "test_error_handling": None,
    "test_sampling": sampling,
    "test_elicitation": elicitation,
    "test_elicitation_sep1034_defaults": defaults,
    "test_elicitation_sep1330_enums": enums,
    "test_reconnection": lambda *_: time.sleep(3) or [text("Reconnection test completed successfully")],
    "json_schema_2020_12_tool": lambda *_: [text("as it was")],
}
SCHEMAS = {
    "test_sampling": {"type": "object", "properties": {"prompt": {"type": "string"}}, "required": ["prompt"]},
    "test_elicitation": {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]},
    "json_schema_2020_12_tool": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {"address": {"type": "object", "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}},
        "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
        "additionalProperties": False,
    },
}


def call(params):
    name = params["name"]
    if name == "test_error_handling":
        return {"content": [text("This tool intentionally returns an error for testing")], "isError": True}
    return {"content": TOOLS[name](params.get("arguments", {}), params.get("_meta", {}))}


def read(params):
    uri = params["uri"]
    if uri == "test://static-binary":
        return {"contents": [{"uri": uri, "mimeType": "image/png", "blob": PIXEL}]}
    if uri.startswith("test://template/"):
        number = uri.split("/")[3]
        words = json.dumps({"id": number, "templateTest": True, "data": f"Data for ID: {number}"})
        return {"contents": [{"uri": uri, "mimeType": "application/json", "text": words}]}
    return {"contents": [{"uri": uri, "mimeType": "text/plain", "text": "This is the content of the static text resource."}]}


def prompt(params):
    name, given = params["name"], params.get("arguments", {})
    said = {
        "test_simple_prompt": lambda: [text("This is a simple prompt for testing.")],
        "test_prompt_with_arguments": lambda: [text(f"Prompt with arguments: arg1='{given['arg1']}', arg2='{given['arg2']}'")],
        "test_prompt_with_embedded_resource": lambda: [
            resource(given["resourceUri"], "text/plain", "Embedded resource content for testing."),
            text("Please process the embedded resource above."),
        ],
        "test_prompt_with_image": lambda: [image(), text("Please analyze the image above.")],
    }[name]()
    return {"messages": [{"role": "user", "content": one} for one in said]}


PROMPTS = {
    "test_simple_prompt": [],
    "test_prompt_with_arguments": ["arg1", "arg2"],
    "test_prompt_with_embedded_resource": ["resourceUri"],
    "test_prompt_with_image": [],
}
CAPABILITIES = {"tools": {}, "resources": {"subscribe": True}, "prompts": {}, "logging": {}, "completions": {}}
METHODS = {
    "initialize": lambda params: {
        "protocolVersion": params["protocolVersion"],
        "capabilities": CAPABILITIES,
        "serverInfo": {"name": "everything", "version": "1"},
    },
    "ping": lambda _: {},
    "logging/setLevel": lambda _: {},
    "completion/complete": lambda _: {"completion": {"values": ["test1", "test2"], "total": 2, "hasMore": False}},
    "tools/list": lambda _: {
        "tools": [{"name": name, "description": name, "inputSchema": SCHEMAS.get(name, NOTHING)} for name in TOOLS]
    },
    "tools/call": call,
    "resources/list": lambda _: {
        "resources": [
            {"uri": f"test://{name}", "name": name, "description": name, "mimeType": mime}
            for name, mime in (("static-text", "text/plain"), ("static-binary", "image/png"), ("watched-resource", "text/plain"))
        ]
    },
    "resources/templates/list": lambda _: {
        "resourceTemplates": [{"uriTemplate": "test://template/{id}/data", "name": "template", "mimeType": "application/json"}]
    },
    "resources/read": read,
    "resources/subscribe": lambda _: {},
    "resources/unsubscribe": lambda _: {},
    "prompts/list": lambda _: {
        "prompts": [
            {"name": name, "description": name, "arguments": [{"name": one, "description": one, "required": True} for one in wanted]}
            for name, wanted in PROMPTS.items()
        ]
    },
    "prompts/get": prompt,
}


def serve(message):
    try:
        say(id=message["id"], result=METHODS[message["method"]](message.get("params", {})))
    except Exception as error:
        say(id=message["id"], error={"code": -32603, "message": repr(error)})


for line in sys.stdin:
    heard = json.loads(line)
    if "method" not in heard:
        asked.pop(heard["id"]).put(heard.get("result") or heard.get("error"))
    elif "id" in heard:
        threading.Thread(target=serve, args=(heard,), daemon=True).start()
