//! What the environment of a service's program is: a short list of this process's own, and what the file says.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use super::{Others, read_private};

pub(super) type Var = (OsString, OsString);

/// What is no secret, and what programs do not run well without.
const INHERITED: [&str; 11] =
    ["HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"];

/// Of what this process has, what a program gets. What is no text is left out, and what a shell would take for a function.
pub(super) fn inherited(vars: impl IntoIterator<Item = Var>) -> BTreeMap<String, String> {
    let texts =
        vars.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    texts.filter(|(name, value)| INHERITED.contains(&name.as_str()) && !value.starts_with("()")).collect()
}

/// The whole environment of a program.
pub(crate) fn environment(
    inherited: &BTreeMap<String, String>,
    env: &BTreeMap<String, String>,
    env_file: Option<&Path>,
) -> Result<BTreeMap<String, String>, String> {
    let mut all = inherited.clone();
    if let Some(path) = env_file {
        let text = read_private(path, Others::MayNotRead).map_err(|error| error.to_string())?;
        for (line, no) in text.lines().map(str::trim).zip(1..) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let pair = line.split_once('=').filter(|(name, _)| is_name(name.trim_end()));
            let (name, value) = pair.ok_or_else(|| format!("{}, line {no}: NAME=value is wanted", path.display()))?;
            all.insert(name.trim_end().to_owned(), value.trim_start().to_owned());
        }
    }
    for (name, value) in env {
        if !is_name(name) || value.contains('\0') {
            return Err(format!("`env`: {name:?} is no name of a variable, or its value none of one"));
        }
        all.insert(name.clone(), value.clone());
    }
    // DESIGN invariant 8: what this program is told in its environment is not told to another.
    match all.keys().find(|name| name.starts_with("NUNCIO_")) {
        Some(name) => Err(format!("{name}: what begins with NUNCIO_ is this program's own")),
        None => Ok(all),
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
