//! What the file says of one peer, in all services, when that peer goes or is called otherwise (contracts/local-api.md A26).

use std::path::Path;

use toml_edit::{DocumentMut, Item, TableLike};

use super::ConfigError;
use super::edit::{open, save, turn};

/// Takes out what is said of a peer, under each of its names; of which services something was. Of an agent that runs see [`Bridge`](crate::Bridge).
///
/// # Errors
/// The file is not what this program reads; it stays as it is.
// contracts/local-api.md A26.
pub fn forget_peer(home: &Path, spellings: &[&str]) -> Result<Vec<String>, ConfigError> {
    change(home, |_, peers| spellings.iter().filter(|peer| peers.remove(peer).is_some()).count() > 0)
}

/// Says of a name what is said of another, which keeps it, where nothing is said of that name so far; of which services that is. A peer is called so then, and
/// [`forget_peer`] takes out its name before.
///
/// # Errors
/// As [`forget_peer`].
// contracts/local-api.md A26.
pub fn copy_peer(home: &Path, former: &str, name: &str) -> Result<Vec<String>, ConfigError> {
    change(home, |_, peers| match peers.get(former).cloned() {
        Some(said) if !peers.contains_key(name) => peers.insert(name, said).is_none(),
        _ => false,
    })
}

/// [`copy_peer`] is undone, of these services.
///
/// # Errors
/// As [`forget_peer`].
pub fn uncopy_peer(home: &Path, name: &str, of: &[String]) -> Result<(), ConfigError> {
    let taken =
        |service: &str, peers: &mut dyn TableLike| of.iter().any(|one| one == service) && peers.remove(name).is_some();
    if of.is_empty() { Ok(()) } else { change(home, taken).map(drop) }
}

fn change(home: &Path, by: impl Fn(&str, &mut dyn TableLike) -> bool) -> Result<Vec<String>, ConfigError> {
    let _turn = turn(home)?;
    let mut document = open(home)?;
    let changed = changed(&mut document, by);
    if !changed.is_empty() {
        save(home, &document)?;
    }
    Ok(changed)
}

fn changed(document: &mut DocumentMut, by: impl Fn(&str, &mut dyn TableLike) -> bool) -> Vec<String> {
    let Some(services) = document.get_mut("services").and_then(Item::as_table_like_mut) else { return Vec::new() };
    let peers = services.iter_mut().filter_map(|(name, service)| {
        let peers = service.as_table_like_mut()?.get_mut("peers")?.as_table_like_mut()?;
        by(name.get(), peers).then(|| name.get().to_owned())
    });
    peers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
[services.files] # mine
mcp = [\"server\"]
[services.files.peers]
ben = [\"tools.write\"]
cora = [\"tools.read\"]

[services.notes]
mcp = [\"server\"]
peers = { ben = [\"tools.read\"], \"did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK\" = [\"tools.read\"] }

[services.other]
mcp = [\"server\"]
";

    fn home(text: &str) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        crate::config::put(home.path(), crate::config::FILE, text).unwrap();
        home
    }

    fn text(home: &tempfile::TempDir) -> String {
        std::fs::read_to_string(home.path().join(crate::config::FILE)).unwrap()
    }

    #[test]
    fn who_goes_is_named_in_no_service_by_name_or_identity() {
        let home = home(FILE);
        let did = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";
        assert_eq!(forget_peer(home.path(), &["nobody"]).unwrap(), [""; 0]);
        assert_eq!(text(&home), FILE);
        assert_eq!(forget_peer(home.path(), &[did, "ben"]).unwrap(), ["files", "notes"]);
        let left = text(&home);
        assert!(!left.contains("ben") && !left.contains("did:") && left.contains("# mine"), "{left}");
        assert!(left.contains("cora = [\"tools.read\"]"), "{left}");
        let none = tempfile::tempdir().unwrap();
        assert_eq!(forget_peer(none.path(), &["ben"]).unwrap(), [""; 0]);
        assert!(!none.path().join(crate::config::FILE).exists());
    }

    #[test]
    fn what_is_said_goes_with_the_name_and_never_widens_what_is_said_of_another() {
        let file = home(FILE);
        assert_eq!(copy_peer(file.path(), "ben", "benny").unwrap(), ["files", "notes"]);
        let told = crate::services(file.path()).unwrap();
        assert_eq!(told[0].peers["benny"], ["tools.write"]);
        assert_eq!(told[0].peers["ben"], ["tools.write"]);
        // The same again, after it was broken off, is no more and no less.
        assert_eq!(copy_peer(file.path(), "ben", "benny").unwrap(), [""; 0]);
        forget_peer(file.path(), &["ben"]).unwrap();
        assert!(!text(&file).contains("ben ="));
        // Of cora something is said already, in one of them, which stands when it is undone.
        assert_eq!(copy_peer(file.path(), "benny", "cora").unwrap(), ["notes"]);
        let told = crate::services(file.path()).unwrap();
        assert_eq!(told[0].peers["cora"], ["tools.read"]);
        assert_eq!(told[1].peers["cora"], ["tools.read"]);
        uncopy_peer(file.path(), "cora", &["notes".to_owned()]).unwrap();
        uncopy_peer(file.path(), "cora", &[]).unwrap();
        let told = crate::services(file.path()).unwrap();
        assert!(told[0].peers.contains_key("cora") && !told[1].peers.contains_key("cora"));
        let broken = home("[services");
        assert!(copy_peer(broken.path(), "ben", "benny").is_err());
    }
}
