//! Servers of both eras, and what is none.

use super::*;

/// Answers by a table of methods; what is not there is an error.
const SERVER: &str = r#"
import json, sys
answers = json.loads(sys.argv[1])
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    params = message.get("params", {})
    found = answers.get(message["method"] + params.get("cursor", ""))
    if found is not None and "newer" in answers and "io.modelcontextprotocol/protocolVersion" not in params.get("_meta", {}):
        found = None
    body = {"result": found} if found is not None else {"error": {"code": -32601, "message": "no such method"}}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **body}), flush=True)
"#;

async fn probed(mcp: &[&str]) -> Result<Found, NotFound> {
    probed_for(mcp, 60).await
}

async fn probed_for(mcp: &[&str], seconds: u64) -> Result<Found, NotFound> {
    let home = tempfile::tempdir().unwrap();
    let mcp: Vec<String> = mcp.iter().map(|word| (*word).to_owned()).collect();
    let offer = Offer { mcp: &mcp, ..Offer::default() };
    let found = probe(home.path(), &"files".parse().unwrap(), &offer, Duration::from_secs(seconds)).await;
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "something was written");
    found
}

async fn answering(answers: Value) -> Result<Found, NotFound> {
    probed(&["python3", "-c", SERVER, &answers.to_string()]).await
}

fn tool(name: &str, reads: bool) -> Tool {
    Tool { name: name.to_owned(), reads }
}

#[tokio::test]
async fn all_pages_of_tools_are_asked_for_and_only_a_plain_yes_is_one() {
    let hint = |name: &str, hint: Value| json!({ "name": name, "annotations": { "readOnlyHint": hint } });
    let found = answering(json!({
        "initialize": { "protocolVersion": "2025-06-18", "capabilities": { "tools": {} }, "serverInfo": { "name": "s", "version": "1" } },
        "tools/list": { "tools": [hint("a", json!(true)), { "name": "b" }], "nextCursor": "2" },
        "tools/list2": { "tools": [hint("c", json!("true")), hint("d", json!(false)), { "title": "without a name" }] },
    }));
    let found = found.await.unwrap();
    assert_eq!((found.server.as_str(), found.revision.as_str()), ("s 1", "2025-06-18"));
    assert_eq!(found.tools, [tool("a", true), tool("b", false), tool("c", false), tool("d", false)]);
}

#[tokio::test]
async fn a_server_that_knows_no_sessions_is_asked_in_its_own_way() {
    let found = answering(json!({
        "newer": {},
        "server/discover": { "capabilities": { "tools": {} }, "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "n", "version": "2" } } },
        "tools/list": { "tools": [{ "name": "a" }] },
    }));
    let found = found.await.unwrap();
    assert_eq!((found.server.as_str(), found.revision.as_str(), found.tools.len()), ("n 2", NEWER, 1));
}

#[tokio::test]
async fn what_is_no_server_is_said() {
    // Its last words are for this machine alone, and stand in the log.
    let gone = probed(&["sh", "-c", "echo no licence >&2; exit 3"]).await.unwrap_err();
    assert!(matches!(&gone, NotFound::Gone(why) if why.contains("exit status: 3")), "{gone}");
    assert!(matches!(probed(&["/nowhere/to/be/found"]).await, Err(NotFound::Gone(_))));
    assert!(matches!(answering(json!({})).await, Err(NotFound::Strange(why)) if why == "no such method"));
    assert!(matches!(probed(&["http://box.example/mcp"]).await, Err(NotFound::Config(_))));
}

#[tokio::test]
async fn what_stays_silent_or_says_what_it_is_told_is_no_server() {
    assert!(
        matches!(probed_for(&["sleep", "600"], 1).await, Err(NotFound::Silent(patience)) if patience.as_secs() == 1)
    );
    assert!(matches!(probed(&["cat"]).await, Err(NotFound::Echo)));
}
