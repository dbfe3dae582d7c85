//! Homes: made, unlocked, copied, looked after.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nuncio_store::{Engine as _, Kek, Op, SledEngine, Store};

use crate::support::{Daemon, Homes, binary, fails, json, nuncio, ok, stderr};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn init_makes_a_private_home_and_never_a_second_time() {
    let homes = Homes::new();
    let home = homes.path("deep/home");
    let made = json(&home, &["init"]);
    assert_eq!(mode(&home), 0o700);
    for name in ["key", "keys", "retirement", "lock"] {
        assert_eq!(mode(&home.join(name)), 0o600, "{name}");
    }
    let statement = fs::read(home.join("retirement")).unwrap();
    assert_eq!(nuncio::retirement_of(&statement).unwrap().to_string(), made["agent"].as_str().unwrap());

    let open = homes.path("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o755)).unwrap();
    json(&open, &["init"]);
    assert_eq!(mode(&open), 0o700, "a directory that was there is closed to others");

    let before = fs::read(home.join("key")).unwrap();
    let said = fails(&home, &["init"], 1);
    assert!(said.contains("already") && said.contains("--home"), "{said}");
    assert_eq!(fs::read(home.join("key")).unwrap(), before);
    assert_eq!(json(&home, &["id"])["agent"], made["agent"]);
}

/// As though it was killed before the keys were in their place, which is the last thing that makes a home.
#[test]
fn an_init_that_was_cut_short_can_be_run_again() {
    let homes = Homes::new();
    let home = homes.init("home");
    let former = fs::read(home.join("retirement")).unwrap();
    fs::rename(home.join("keys"), home.join("keys.new")).unwrap();
    fails(&home, &["id"], 1);
    let made = json(&home, &["init"]);
    let statement = fs::read(home.join("retirement")).unwrap();
    assert_eq!(nuncio::retirement_of(&statement).unwrap().to_string(), made["agent"].as_str().unwrap());
    assert_eq!(json(&home, &["id"])["agent"], made["agent"]);
    fs::rename(home.join("keys"), home.join("keys.new")).unwrap();
    ok(&home, &["init"]);
    assert_eq!(fs::read(home.join("retirement.former")).unwrap(), former, "it may be somebody's");
    assert_eq!(fs::read(home.join("retirement.former-1")).unwrap(), statement);
}

/// Runs a command with passphrases on the descriptors 3 and 4.
pub(crate) fn with_passphrases(home: &Path, passphrases: [&str; 2], args: &[&str]) -> Output {
    let files: Vec<_> = passphrases.iter().map(|text| written(text)).collect();
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" 3<\"$THREE\" 4<\"$FOUR\"", binary(), "--home"]).arg(home).args(args);
    command.env("THREE", files[0].path()).env("FOUR", files[1].path()).env_remove("NUNCIO_HOME");
    command.stdin(Stdio::null()).output().unwrap()
}

fn written(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    file
}

#[test]
fn a_passphrase_opens_its_home_and_a_wrong_one_does_not() {
    let homes = Homes::new();
    let home = homes.path("home");
    let right = ["correct horse", "battery staple"];
    let made = with_passphrases(&home, right, &["init", "--passphrase-fd", "3"]);
    assert!(made.status.success(), "{}", stderr(&made));
    assert!(!home.join("key").exists());
    // A line end at the end is an editor's, not the passphrase's.
    assert!(with_passphrases(&home, ["correct horse\n", ""], &["id", "--passphrase-fd", "3"]).status.success());

    let wrong = with_passphrases(&home, ["correct horsf", ""], &["id", "--passphrase-fd", "3"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(stderr(&wrong).contains("passphrase"), "{}", stderr(&wrong));
    assert_eq!(with_passphrases(&home, ["", ""], &["id", "--passphrase-fd", "3"]).status.code(), Some(2));
    assert!(fails(&home, &["id"], 1).contains("key"));

    let changed = with_passphrases(&home, right, &["rekey", "--passphrase-fd", "3", "--new-passphrase-fd", "4"]);
    assert!(changed.status.success(), "{}", stderr(&changed));
    assert_eq!(with_passphrases(&home, right, &["id", "--passphrase-fd", "3"]).status.code(), Some(1));
    assert!(with_passphrases(&home, right, &["id", "--passphrase-fd", "4"]).status.success());
}

#[test]
fn a_key_file_can_lie_elsewhere_and_be_replaced() {
    let homes = Homes::new();
    let home = homes.path("home");
    let (first, second) = (homes.path("first"), homes.path("second"));
    let (one, other) = (first.to_str().unwrap(), second.to_str().unwrap());
    ok(&home, &["init", "--key-file", one]);
    assert_eq!(mode(&first), 0o600);
    let epoch = |key: &Path| Store::open(&home, &Kek::read_key_file(key).unwrap()).unwrap().epoch();
    ok(&home, &["rekey", "--key-file", one, "--new-key-file", other, "--keep-old"]);
    ok(&home, &["id", "--key-file", one]);
    let before = epoch(&first);
    ok(&home, &["rekey", "--key-file", one, "--new-key-file", other]);
    assert_eq!(epoch(&second), before + 1, "what the old key can open is the past alone");
    assert!(fails(&home, &["id", "--key-file", one], 1).contains("--key-file"));
    ok(&home, &["id", "--key-file", other]);

    fs::set_permissions(&second, Permissions::from_mode(0o644)).unwrap();
    assert!(fails(&home, &["id", "--key-file", other], 1).contains("chmod 600"));
}

#[test]
fn a_backup_of_a_running_agent_restores_its_identity_letters_and_payloads() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    let large = homes.path("large");
    fs::write(&large, vec![7; 300_000]).unwrap();
    ok(&anna.home, &["send", "ben", "--text", "before the backup", "--wait"]);
    ok(&anna.home, &["send", "ben", large.to_str().unwrap(), "--wait"]);
    let backup = homes.path("backup");
    let policy = fs::read(ben.home.join("nuncio.toml")).unwrap();
    nuncio_bridge::expose(&ben.home, &"files".parse().unwrap(), &["true".to_owned()]).unwrap();
    let offered = fs::read(ben.home.join("services.toml")).unwrap();
    let (copy, new) = (backup.to_str().unwrap(), homes.path("new"));
    ok(&ben.home, &["backup", copy]);
    assert_eq!(mode(&backup), 0o700);
    assert!(!backup.join("key").exists() && !backup.join("retirement").exists());
    fails(&ben.home, &["backup", copy], 1);

    let key = ben.home.join("key");
    let (did, key) = (ben.did().to_owned(), key.to_str().unwrap().to_owned());
    assert!(fails(&new, &["restore", copy], 2).contains("--key-file"));
    let other = anna.home.join("key");
    fails(&new, &["restore", copy, "--key-file", other.to_str().unwrap()], 1);
    assert!(!new.exists(), "a home that does not open is left");
    let restored = nuncio(&new, &["restore", copy, "--key-file", &key]);
    assert!(restored.status.success() && stderr(&restored).contains("Never run"), "{}", stderr(&restored));
    fails(&new, &["restore", copy, "--key-file", &key], 1);
    assert_eq!(fs::read(new.join("nuncio.toml")).unwrap(), policy, "it takes what it took before");
    assert_eq!(fs::read(new.join("services.toml")).unwrap(), offered);
    assert_eq!((mode(&new.join("nuncio.toml")), mode(&new.join("services.toml"))), (0o600, 0o600));

    ben.stop();
    assert_eq!(json(&new, &["id", "--key-file", &key])["agent"], did.as_str());
    let saved = homes.path("saved");
    let letters = ok(&new, &["inbox", "--key-file", &key, "--json", "--save", saved.to_str().unwrap()]);
    assert!(letters.contains("before the backup"), "{letters}");
    let largest =
        fs::read_dir(&saved).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).max_by_key(Vec::len);
    assert_eq!(largest.unwrap(), vec![7; 300_000]);
}

#[test]
fn the_doctor_finds_a_home_that_others_can_read() {
    let homes = Homes::new();
    let home = homes.init("home");
    let healthy = ok(&home, &["doctor"]);
    assert!(
        healthy.contains("every record opens") && healthy.contains("identity 1") && healthy.contains("retirement"),
        "{healthy}"
    );
    fs::set_permissions(&home, Permissions::from_mode(0o755)).unwrap();
    let ill = nuncio(&home, &["doctor"]);
    assert_eq!(ill.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ill.stdout).contains("chmod 700"), "{:?}", ill.stdout);
    assert_eq!(mode(&home), 0o755, "the doctor changes nothing");
}

/// An agent's that has talked, and a node's that has run.
#[test]
fn the_doctor_has_a_name_for_every_row() {
    let homes = Homes::new();
    let (anna, ben) = homes.pair();
    ok(&anna.home, &["send", "ben", "--text", "hello", "--wait"]);
    let said = ok(&ben.home, &["doctor"]);
    assert!(said.contains("inbox 1") && !said.contains("unknown"), "{said}");
    ok(&ben.home, &["done", &json(&ben.home, &["inbox"])["no"].to_string()]);
    let node = homes.path("node");
    ok(&node, &["node", "init", "--domain", "acme.example", "--issuer", "http://127.0.0.1:7430"]);
    ok(&node, &["node", "run", "--listen", "127.0.0.1:0", "--stop-with-stdin"]);
    for (home, named) in [(&anna.home, "runtime"), (&ben.home, "next arrival"), (&node, "token keys 2")] {
        let said = ok(home, &["doctor"]);
        assert!(said.contains(named) && !said.contains("unknown"), "{said}");
    }
}

#[test]
fn the_doctor_asks_a_running_agent() {
    let homes = Homes::new();
    let anna = Daemon::start(&homes.init("anna"), &[]);
    let said = ok(&anna.home, &["doctor"]);
    assert!(said.contains("an agent runs") && said.contains("every record opens"), "{said}");
}

#[test]
fn a_damaged_record_is_named_and_the_agent_does_not_start_on_it() {
    let homes = Homes::new();
    let home = homes.init("home");
    damage(&home);

    let ill = nuncio(&home, &["doctor"]);
    let said = String::from_utf8_lossy(&ill.stdout).into_owned();
    assert_eq!(ill.status.code(), Some(1), "{said}");
    assert!(said.contains("1 records do not open") && said.contains("63abab") && said.contains("backup"), "{said}");
    let refused = fails(&home, &["agent", "--listen", "127.0.0.1:0"], 1);
    assert!(refused.contains("63abab") && refused.contains("nuncio doctor"), "{refused}");
}

/// Puts a row into the tree of peers whose seal cannot hold.
pub(crate) fn damage(home: &Path) {
    let key = [b"c".as_slice(), &[0xab; 32]].concat();
    let engine = SledEngine::open(&home.join("db")).unwrap();
    engine.commit(&[Op::Put { key, value: vec![1; 100] }]).unwrap();
}
