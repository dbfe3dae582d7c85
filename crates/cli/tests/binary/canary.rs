//! What stands for a secret is in nothing that agents log, however much they log.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use crate::homes::with_passphrases;
use crate::support::{Daemon, Homes, nuncio, ok};

/// The word of this run of the suite, whose whole output is looked through for it.
fn canary() -> String {
    std::env::var("NUNCIO_CANARY").unwrap_or_else(|_| "canary0123456789abcdef".to_owned())
}

/// Letters, a large payload, a passphrase, the key of a home and the token of its API: with all that they, and what they stand on, can log, two agents log
/// none of them.
#[test]
fn agents_that_log_everything_log_no_secret() {
    let (homes, canary) = (Homes::new(), canary());
    let log = |name: &str| homes.path(&format!("{name}.log"));
    let start = |name: &str| {
        let stderr = Stdio::from(File::create(log(name)).unwrap());
        Daemon::listen_logging(&homes.init(name), "127.0.0.1:0", &["--api-tcp", "127.0.0.1:0"], "trace", stderr)
    };
    let (anna, ben) = (start("anna"), start("ben"));
    anna.add(&ben, "ben");
    ben.add(&anna, "anna");
    let large = homes.path("large");
    fs::write(&large, canary.repeat(20_000)).unwrap();
    ok(&anna.home, &["send", "ben", "--text", &canary, "--wait"]);
    ok(&anna.home, &["send", "ben", large.to_str().unwrap(), "--wait"]);
    assert!(ok(&ben.home, &["--json", "inbox"]).contains(&canary), "the letter has come");
    ok(&ben.home, &["send", "anna", "--text", &canary, "--wait"]);

    let mut secrets = vec![canary.clone().into_bytes()];
    for home in [&anna.home, &ben.home] {
        secrets.push(fs::read(home.join("key")).unwrap());
        secrets.push(fs::read_to_string(home.join("api.token")).unwrap().trim().as_bytes().to_vec());
    }
    anna.stop();
    ben.stop();
    for name in ["anna", "ben"] {
        let text = fs::read(log(name)).unwrap();
        assert!(text.len() > 10_000, "{name} has logged what it does: {} bytes", text.len());
        for secret in &secrets {
            no_spelling_of(secret, &text, &log(name));
        }
    }
}

/// Commands that fail say nothing of the passphrase that they were given.
#[test]
fn a_passphrase_is_in_nothing_that_a_command_says() {
    let (homes, canary) = (Homes::new(), canary());
    let home = homes.path("home");
    for (passphrase, args) in [
        (canary.clone(), &["init", "--passphrase-fd", "3"][..]),
        (format!("{canary}x"), &["id", "--passphrase-fd", "3"]),
        (format!("{canary}x"), &["--json", "status", "--passphrase-fd", "3"]),
        (canary.clone(), &["init", "--passphrase-fd", "3"]),
    ] {
        let said = with_passphrases(&home, [&passphrase, ""], args);
        for text in [&said.stdout, &said.stderr] {
            no_spelling_of(canary.as_bytes(), text, &home);
        }
    }
    assert!(!nuncio(&home, &["id"]).status.success());
}

/// In clear, in hexadecimal, as a list of numbers, and as the inside of base64.
#[track_caller]
fn no_spelling_of(secret: &[u8], text: &[u8], file: &Path) {
    let numbers: Vec<String> = secret.iter().map(ToString::to_string).collect();
    let mut spellings =
        vec![secret.to_vec(), data_encoding::HEXLOWER.encode(secret).into_bytes(), numbers.join(", ").into_bytes()];
    for before in 0..3 {
        let encoded = data_encoding::BASE64.encode(&[&[b'x'; 2][..before], secret].concat());
        // Digits at both ends are of other bytes too.
        spellings.push(encoded.as_bytes()[4..encoded.len() - 4].to_vec());
    }
    for spelling in spellings {
        let found = text.windows(spelling.len()).position(|part| part == spelling);
        assert!(found.is_none(), "{}, at {found:?}: a secret of {} bytes", file.display(), secret.len());
    }
}
