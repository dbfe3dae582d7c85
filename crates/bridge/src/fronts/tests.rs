//! The file, and what stays of an address.

use super::*;

const PEER: &str = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";

fn name(text: &str) -> ServiceName {
    text.parse().unwrap()
}

#[test]
fn a_service_has_one_connection_and_a_name_one_service() {
    let home = tempfile::tempdir().unwrap();
    let peer: AgentId = PEER.parse().unwrap();
    let connect = |called: Option<&str>, service| {
        connected(home.path(), called.map(name), peer, name(service), None).map(|(name, _)| name)
    };
    assert_eq!(connect(None, "files").unwrap(), name("files"));
    let first = Connections::load(home.path()).unwrap();
    // Again, it is the same: addresses that were handed out stay.
    assert_eq!(connect(None, "files").unwrap(), name("files"));
    assert_eq!(connect(Some("files"), "files").unwrap(), name("files"));
    assert_eq!(Connections::load(home.path()).unwrap(), first);
    assert!(matches!(connect(Some("docs"), "files"), Err(NotConnected::Connected(known)) if known == name("files")));
    assert!(matches!(connect(Some("files"), "mail"), Err(NotConnected::Name(_))));
    connect(Some("post"), "mail").unwrap();
    let both = Connections::load(home.path()).unwrap();
    assert_eq!((both.port, both.all.len()), (first.port, 2));
    let secrets: std::collections::BTreeSet<_> = both.iter().map(|(_, one)| one.secret.to_string()).collect();
    assert_eq!(secrets.len(), 2, "one that knows one secret knows one service");
    assert!(disconnected(home.path(), &name("files")).unwrap() && !disconnected(home.path(), &name("files")).unwrap());
    let rest = Connections::load(home.path()).unwrap();
    assert_eq!((rest.port, rest.all.len()), (first.port, 1));
}
