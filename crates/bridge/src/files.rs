//! The files of a home as its next start reads them, without one.

use std::path::Path;

use crate::config::{self, Runs, Services};
use crate::connections::{self, Connections};
use crate::gateway::{self, GatewayConfig, GatewayError};
use crate::hooks;

/// Reads those files of a home that are there, and what they name: the name of each, and why the next start refuses it, if it does. Nothing runs or listens.
#[must_use]
pub fn check_files(home: &Path) -> Vec<(&'static str, Result<(), GatewayError>)> {
    let all = [config::FILE, connections::FILE, hooks::FILE, gateway::FILE];
    let here = all.into_iter().filter(|name| home.join(name).symlink_metadata().is_ok());
    here.map(|name| (name, check(home, name))).collect()
}

fn check(home: &Path, name: &str) -> Result<(), GatewayError> {
    match name {
        config::FILE => Ok(Services::load(home).map(drop)?),
        connections::FILE => Ok(Connections::load(home).map(drop)?),
        hooks::FILE => Ok(hooks::check(home)?),
        _ => GatewayConfig::load(&home.join(name))?.check(),
    }
}

/// The services of a home that the program that embeds its agent offers, and no other can; none, where the file cannot be read.
#[must_use]
pub fn native_services(home: &Path) -> Vec<String> {
    let Ok(services) = Services::load(home) else { return Vec::new() };
    let native = services.iter().filter(|(_, service)| matches!(service.runs, Runs::Native));
    native.map(|(name, _)| name.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_the_next_start_would_refuse_is_said_of_each_file_that_is_there() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        assert!(check_files(home).is_empty());
        let write = |name: &str, text: &str, mode| {
            std::fs::write(home.join(name), text).unwrap();
            std::fs::set_permissions(home.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let bad = || -> Vec<String> {
            check_files(home).into_iter().filter_map(|(name, read)| Some(format!("{name}: {}", read.err()?))).collect()
        };
        write("services.toml", "[services.files]\nmcp = [\"x\"]\nenv_file = \"files.env\"", 0o600);
        write("files.env", "A=b", 0o600);
        write("connections.toml", "port = 4000\n[connections]", 0o600);
        write("webhooks.json", "[]", 0o600);
        write(
            "gateway.toml",
            "listen = \"127.0.0.1:0\"\n[chat]\nurl = \"https://a.example/v1\"\nkey_file = \"provider.key\"\nscope = \"a\"\nmodels = [\"m\"]",
            0o644,
        );
        write("provider.key", "k", 0o600);
        write("k.pem", "k", 0o600);
        assert_eq!((check_files(home).len(), bad()), (4, Vec::new()));
        for (name, text, mode, said) in [
            ("services.toml", "[services", 0o600, "line 1"),
            ("services.toml", "[services.files]\nmcp = [\"x\"]\nenv_file = \"nowhere\"", 0o600, "nowhere"),
            ("connections.toml", "port = 4000\n[connections]", 0o644, "chmod"),
            ("webhooks.json", "{}", 0o600, "webhooks.json, line 1"),
            ("gateway.toml", "listen = \"0.0.0.0:1\"", 0o600, "loopback"),
            ("gateway.toml", "[tls]\ncert = \"nowhere.pem\"\nkey = \"k.pem\"", 0o600, "nowhere.pem"),
            ("provider.key", "k", 0o644, "provider.key"),
        ] {
            let before = std::fs::read_to_string(home.join(name)).unwrap();
            write(name, text, mode);
            let all = bad();
            assert!(all.len() == 1 && all[0].contains(said), "{name} {said}: {all:?}");
            write(name, &before, 0o600);
        }
        assert_eq!((bad().len(), native_services(home).len()), (0, 0));
        // Its own program's next start does not refuse it.
        write("services.toml", "[services.files]\nnative = true", 0o600);
        assert_eq!((bad().len(), native_services(home)), (0, vec!["files".to_owned()]));
    }
}
