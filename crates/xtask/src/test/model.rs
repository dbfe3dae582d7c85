//! The symbolic models of `docs/model`: Verifpal finds what is written there, and each verdict turns when the protocol is changed.

mod file;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::{Bench, Outcome, tools};
use crate::child;
use crate::tally::Tally;
use crate::workspace::root;
use file::Model;

/// The longest took a minute on two cores that eight others shared.
const SEARCH_LIMIT: Duration = Duration::from_secs(10 * 60);

/// Has Verifpal search every model as it is written, and once under each of its changes.
pub(super) fn run(bench: &Bench) -> Result<Outcome> {
    let Some(program) = tools::installed_crate(bench, &tools::VERIFPAL)? else {
        let (name, version) = (tools::VERIFPAL.name, tools::VERIFPAL.version);
        return Ok(Outcome::NotRun(format!("the crate {name} {version} cannot be fetched and built")));
    };
    let folder = bench.metadata.target_directory.join("tmp/model");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let verifpal = Verifpal { program, folder };
    let mut tally = Tally::default();
    for path in models()? {
        let model = Model::read(&path)?;
        println!("--- {}", model.name);
        tally += each_verdict_is_the_written_one(&verifpal, &model);
        tally += each_verdict_turns_under_a_change(&verifpal, &model);
    }
    Ok(Outcome::Ran(tally))
}

/// The files, in the order of their names.
fn models() -> Result<Vec<PathBuf>> {
    let folder = root().join("docs/model");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "vp"));
    paths.sort();
    ensure!(!paths.is_empty(), "docs/model has no model");
    Ok(paths)
}

fn each_verdict_is_the_written_one(verifpal: &Verifpal, model: &Model) -> Tally {
    println!("as written: {}", model.code);
    verifpal.finds(&model.name, &model.body, model.sessions, &model.code)
}

fn each_verdict_turns_under_a_change(verifpal: &Verifpal, model: &Model) -> Tally {
    let mut tally = Tally::default();
    for change in &model.changes {
        println!("{}: {}", change.about, change.code);
        tally += verifpal.finds(&model.name, &change.body, model.sessions_changed, &change.code);
    }
    tally
}

/// The tool, and where it is given its files.
struct Verifpal {
    program: PathBuf,
    folder: PathBuf,
}

impl Verifpal {
    /// One check: that the search ends in time, with exactly this code.
    fn finds(&self, name: &str, body: &str, sessions: u8, expected: &str) -> Tally {
        match self.search(&self.folder.join(name), body, sessions) {
            Ok(code) if code == expected => Tally::one(true),
            Ok(code) => {
                println!("error: {name}: found {code}, expected {expected}");
                Tally::one(false)
            }
            Err(error) => {
                println!("error: {name}: {error:#}");
                Tally::one(false)
            }
        }
    }

    /// What Verifpal says: for each query the letter of its kind, and 1 where it has found an attack.
    fn search(&self, path: &Path, body: &str, sessions: u8) -> Result<String> {
        fs::write(path, body).with_context(|| format!("cannot write {}", path.display()))?;
        let mut verify = Command::new(&self.program);
        verify.args(["verify", "--quiet", "--result-code", "--color", "never", "--sessions", &sessions.to_string()]);
        let finished = child::run(verify.arg(path), SEARCH_LIMIT)?;
        match finished.lines.last() {
            Some(code) if finished.success => Ok(code.clone()),
            _ => bail!("Verifpal does not take the model"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_committed_model_reads_and_each_of_its_verdicts_turns_under_a_change() {
        for path in models().unwrap() {
            Model::read(&path).unwrap();
        }
    }

    #[test]
    fn a_search_that_finds_something_else_fails() {
        let folder = std::env::temp_dir();
        let echo = Verifpal { program: "echo".into(), folder };
        assert_eq!(echo.finds("nuncio-model-test.vp", "", 1, "c0").failed, 1);
        let missing = Verifpal { program: "no-such-program-here".into(), ..echo };
        assert_eq!(missing.finds("nuncio-model-test.vp", "", 1, "c0").failed, 1);
        fs::remove_file(missing.folder.join("nuncio-model-test.vp")).unwrap();
    }
}
