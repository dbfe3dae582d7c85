use std::os::unix::fs::PermissionsExt as _;

use nuncio_proto::ids::AgentId;

use super::*;

fn parse(text: &str) -> Result<Services, ConfigError> {
    let vars = [("PATH", "/bin"), ("NUNCIO_PASSPHRASE", "secret"), ("AWS_SECRET", "x"), ("SHELL", "() { :; }")];
    let vars = vars.map(|(name, value)| (name.into(), value.into()));
    Services::parse(Path::new("services.toml"), text, vars)
}

fn files() -> ServiceName {
    "files".parse().unwrap()
}

#[track_caller]
fn refused(text: &str, why: &str) {
    let error = parse(text).err().unwrap_or_else(|| panic!("{text} is taken")).to_string();
    assert!(error.contains(why), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn what_is_not_said_is_not_allowed() {
    let services = parse("[services.files]\nmcp = [\"a\", \"b\"]\nenv = { X = \"1\" }").unwrap();
    let service = services.get(&files()).unwrap();
    assert!(service.open.is_empty() && service.tokens.is_empty() && service.peers.is_empty() && !service.read.has("a"));
    let Runs::Program(program) = &service.runs else { panic!() };
    assert_eq!(program.command, ["a", "b"]);
    let environment: Vec<_> = program.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(environment, ["PATH=/bin", "X=1"]);
    assert_eq!(parse("").unwrap().iter().count(), 0);
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_place() {
    refused("[services.files]\nmcp = [\"a\"]\nraed = [\"hunter2\"]", "line 3: unknown field `raed`");
    refused("\n[service.files]", "line 2: unknown field");
    refused("[services.files]\nmcp = \"hunter2\"", "line 2");
    refused("[services.files]\nmcp = [\"a\"]\nenv = { PASSWORD = hunter2 }", "line 3");
    refused("[services.files]\nmcp = [\"a\"]\nmcp = [\"hunter2\"]", "line 3: duplicate key");
    refused("[services.Files]\nmcp = [\"a\"]", "a service's name is");
    refused("[services.files]", "one of `mcp`, `mcp_url`, `a2a` and `native`");
    refused("[services.files]\nmcp = []", "`mcp` is empty");
    refused("[services.files]\nmcp = [\"a\"]\nread = [\"*\", \"b\"]", "either");
    for scope in
        ["tools.*", "*", "tools.reed", "tools.read:", "Tools.read", "tools.read tools.write", "tools.read:a b", ""]
    {
        refused(&format!("[services.files]\nmcp = [\"a\"]\nopen = [\"{scope}\"]"), "is no scope");
        refused(&format!("[services.files]\nmcp = [\"a\"]\n[services.files.peers]\nbob = [\"{scope}\"]"), "peer bob");
        refused(
            &format!("[services.files]\nmcp = [\"a\"]\n[services.files.tokens]\nscopes = [\"{scope}\"]"),
            "no scope",
        );
    }
    refused("[services.files]\nmcp = [\"a\"]\n[services.files.peers]\n\"did:key:zz\" = []", "no did:key");
    refused("[services.files]\nmcp = [\"a\"]\nenv = { NUNCIO_PASSPHRASE = \"hunter2\" }", "this program's own");
    refused("[services.files]\nmcp_url = \"http://u:hunter2@127.0.0.1/\"", "a secret in it");
    refused("[services.files]\nmcp_url = \"http://example.org/mcp\"", "in the clear");
    refused("[services.files]\nmcp_url = \"http://127.0.0.1.example.org/mcp\"", "in the clear");
    refused("[services.files]\nmcp_url = \"http://[::1]:1/\"\nenv = { A = \"hunter2\" }", "are for `mcp`");
    assert!(parse("[services.files]\nmcp_url = \"http://[::1]:1/mcp\"").is_ok());
}

#[test]
fn tokens_written_as_a_list_are_told_their_form() {
    let form =
        "line 3: `tokens = { scopes = [\"tools.read\"] }`, or [services.NAME.tokens] with `scopes` below it, is wanted";
    refused("[services.files]\nmcp = [\"x\"]\ntokens = [\"tools.read\"]", form);
    refused("[services.files]\nmcp = [\"x\"]\ntokens = \"tools.read\"", form);
    refused("[services.files]\nmcp = [\"x\"]\ntokens = { scope = [] }", "unknown field");
    for good in ["tokens = { scopes = [\"tools.read\"] }", "[services.files.tokens]\nscopes = [\"tools.read\"]"] {
        let services = parse(&format!("[services.files]\nmcp = [\"x\"]\n{good}")).unwrap();
        assert_eq!(services.get(&files()).unwrap().tokens.to_string(), "tools.read");
    }
}

#[test]
fn a_file_that_is_too_long_is_not_read_in_part() {
    let home = tempfile::tempdir().unwrap();
    let longest = usize::try_from(FILE_LEN_MAX).unwrap();
    for (len, is_read) in [(longest, true), (longest + 1, false)] {
        let (path, mode) = (home.path().join("long"), std::fs::Permissions::from_mode(0o600));
        std::fs::write(&path, "x".repeat(len)).and_then(|()| std::fs::set_permissions(&path, mode)).unwrap();
        assert_eq!(read_private(&home.path().join("long"), Others::MayNotRead).is_ok(), is_read, "{len}");
    }
}

#[test]
fn files_that_others_can_change_or_secrets_that_they_can_read_are_not_taken() {
    let home = tempfile::tempdir().unwrap();
    let (path, secrets) = (home.path().join(FILE), home.path().join("env"));
    let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(Services::load(home.path()).unwrap().iter().count(), 0);
    std::fs::write(&path, "[services.files]\nmcp = [\"a\"]\nenv_file = \"env\"").unwrap();
    std::fs::write(&secrets, "# of the server\nTOKEN = a=b \n\nOTHER=\n").unwrap();
    mode(&secrets, 0o600);
    for (bits, good) in [(0o600, true), (0o644, true), (0o620, false), (0o602, false)] {
        mode(&path, bits);
        assert_eq!(Services::load(home.path()).is_ok(), good, "{bits:o}");
    }
    mode(&path, 0o600);
    let Runs::Program(program) = Services::load(home.path()).unwrap().get(&files()).unwrap().runs.clone() else {
        panic!()
    };
    assert_eq!((program.environment["TOKEN"].as_str(), program.environment["OTHER"].as_str()), ("a=b", ""));
    mode(&secrets, 0o640);
    assert!(Services::load(home.path()).unwrap_err().to_string().contains("read by others"));
    mode(&secrets, 0o600);
    std::fs::write(&secrets, "hunter2\n").unwrap();
    let error = Services::load(home.path()).unwrap_err().to_string();
    assert!(error.contains("line 1") && !error.contains("hunter2"), "{error}");
}

#[test]
fn an_edit_keeps_what_its_owner_wrote() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(FILE);
    let program = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    expose(home.path(), &files(), &program(&["npx", "a \"b\""])).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "[services.files]\nmcp = [\"npx\", 'a \"b\"']\n");
    let own = "# mine\n[services.files] # here\nmcp = [\"x\"]\nread = [\"a\"] # only this\n\n[services.files.peers]\n# my friend\nbob = [\"tools.read\"]\n";
    std::fs::write(&path, own).unwrap();
    allow(home.path(), &files(), "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp", &program(&["tools.read"]))
        .unwrap();
    expose(home.path(), &files(), &program(&["https://example.org/mcp"])).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    for kept in ["# mine", "# here", "# only this", "# my friend", "bob = [\"tools.read\"]"] {
        assert!(text.contains(kept), "{text}");
    }
    let services = Services::load(home.path()).unwrap();
    let service = services.get(&files()).unwrap();
    assert!(matches!(&service.runs, Runs::Url(up) if up.url.as_str() == "https://example.org/mcp"));
    assert_eq!((service.peers.len(), service.agents.len()), (1, 1));
    // What would not be read is not written.
    assert!(allow(home.path(), &files(), "bob", &program(&["tools.*"])).is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    allow(home.path(), &files(), "bob", &[]).unwrap();
    assert!(Services::load(home.path()).unwrap().get(&files()).unwrap().peers.is_empty());
    assert!(withdraw(home.path(), &files()).unwrap() && !withdraw(home.path(), &files()).unwrap());
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
}

#[test]
fn an_agent_of_a2a_is_an_address_with_webhooks_by_name() {
    let text = "[services.files]\na2a = \"http://127.0.0.1:9999\"\nwebhooks = [\"https://hooks.example\"]";
    let services = parse(text).unwrap();
    let Runs::Url(upstream) = &services.get(&files()).unwrap().runs else { panic!() };
    let webhooks = ["https://hooks.example".to_owned()].into();
    assert_eq!(
        (upstream.url.as_str(), &upstream.speaks),
        ("http://127.0.0.1:9999/", &Speaks::A2a { webhooks, card_keys: Vec::new() })
    );
    refused("[services.files]\na2a = \"http://example.org/\"", "`a2a` is https");
    refused("[services.files]\na2a = \"http://127.0.0.1/\"\nmcp_url = \"http://127.0.0.1/\"", "one of");
    refused("[services.files]\nmcp = [\"a\"]\nwebhooks = [\"https://hooks.example\"]", "is for `a2a`");
    refused("[services.files]\na2a = \"http://127.0.0.1/\"\nwebhooks = [\"https://hooks.example/a\"]", "no origin");
    let home = tempfile::tempdir().unwrap();
    expose_a2a(home.path(), &files(), "http://127.0.0.1:9999").unwrap();
    let text = || std::fs::read_to_string(home.path().join(FILE)).unwrap();
    assert_eq!(text(), "[services.files]\na2a = \"http://127.0.0.1:9999\"\n");
    // What may be done of one kind means another thing of the other.
    let other = |done: Result<(), ConfigError>| matches!(done, Err(ConfigError::OtherKind(..)));
    allow(home.path(), &files(), "ben", &["tools.write".to_owned()]).unwrap();
    let before = text();
    assert!(other(expose(home.path(), &files(), &["x".to_owned()])) && other(expose_native(home.path(), &files())));
    assert_eq!(text(), before);
    withdraw(home.path(), &files()).unwrap();
    expose(home.path(), &files(), &["x".to_owned()]).unwrap();
    assert!(text().ends_with("[services.files]\nmcp = [\"x\"]\n"), "{}", text());
    assert!(other(expose_a2a(home.path(), &files(), "http://127.0.0.1:9999")));
}

#[test]
fn edits_at_once_are_all_made() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    expose(home, &files(), &["a".to_owned()]).unwrap();
    let scope = ["tools.read".to_owned()];
    std::thread::scope(|threads| {
        for thread in 0..4 {
            let scope = &scope;
            threads
                .spawn(move || (0..8).for_each(|n| allow(home, &files(), &format!("p{thread}-{n}"), scope).unwrap()));
        }
    });
    assert_eq!(Services::load(home).unwrap().get(&files()).unwrap().peers.len(), 32);
    // What is added is added to what stands there, and to nothing that is offered no more.
    let agent: AgentId = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK".parse().unwrap();
    for scope in ["tools.read", "tools.write:count"] {
        allow_also(home, &files(), &agent, &nuncio_proto::token::Scope::parse(scope).unwrap()).unwrap();
    }
    assert_eq!(
        Services::load(home).unwrap().get(&files()).unwrap().agents[&agent].to_string(),
        "tools.read tools.write:count"
    );
    withdraw(home, &files()).unwrap();
    allow_also(home, &files(), &agent, &nuncio_proto::token::Scope::parse("tools.read").unwrap()).unwrap();
    assert!(Services::load(home).unwrap().get(&files()).is_none());
}

#[test]
fn no_file_is_written_that_is_too_long_to_be_read() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    expose(home, &files(), &["a".to_owned()]).unwrap();
    let before = std::fs::read_to_string(home.join(FILE)).unwrap();
    let scope = [format!("tools.read:{}", "x".repeat(1 << 20))];
    assert!(allow(home, &files(), "ben", &scope).is_err());
    assert_eq!(std::fs::read_to_string(home.join(FILE)).unwrap(), before);
    put(home, FILE, &"#".repeat(1 << 20)).unwrap();
    assert!(Services::load(home).is_ok());
    assert!(put(home, FILE, &"#".repeat((1 << 20) + 1)).is_err() && Services::load(home).is_ok());
}
