//! `docs/PERFORMANCE.md`: the table as a page, and the curves as a picture.

use core::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::line::Line;
use crate::machine::Machine;
use crate::plot;

const PAGE: &str = "PERFORMANCE.md";
const PICTURE: &str = "growth.svg";

/// What was measured, and on what.
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) lines: Vec<Line>,
}

impl Report {
    /// Reads what runs with `--json` have said, a later one before an earlier: all on one machine and of one commit.
    pub(crate) fn read(files: &[PathBuf]) -> Result<Self> {
        let mut report: Option<Self> = None;
        for file in files {
            let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            let (first, rows) = text.split_once('\n').context("a run that says nothing")?;
            let machine: Machine =
                serde_json::from_str(first).context("the first line says on what it was measured")?;
            let report = report.get_or_insert(Self { machine, lines: Vec::new() });
            let machine: Machine = serde_json::from_str(first)?;
            ensure!(report.machine == machine, "{} is of another machine or commit", file.display());
            for row in rows.lines() {
                let line: Line = serde_json::from_str(row).with_context(|| format!("no row: {row}"))?;
                match report.lines.iter_mut().find(|known| known.name == line.name) {
                    Some(known) => *known = line,
                    None => report.lines.push(line),
                }
            }
        }
        report.context("no file was named")
    }

    /// Writes the page and its picture.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let curves = plot::curves(&self.lines);
        if !curves.is_empty() {
            plot::draw(&curves, &folder.join(PICTURE))?;
        }
        let file = folder.join(PAGE);
        std::fs::write(&file, self.page()?).with_context(|| format!("cannot write {}", file.display()))
    }

    fn page(&self) -> Result<String> {
        let Machine { processor, threads, system, compiler, commit } = &self.machine;
        let mut page = format!(
            "# Performance\n\n\
             Written by `cargo xtask bench --write docs`; no figure in it was typed. What it prints depends on the machine, and its ratios far less: \
             what stands beside a row was measured in the same run, in turn with ours.\n\n\
             - processor: {processor}, {threads} threads\n- system: {system}\n- compiler: {compiler}, profile `release`\n- commit: {commit}\n\n\
             Times are in microseconds, the lower decile of many short rounds. `ratio` is our speed divided by the one beside it: higher is better.\n\n\
             ## Every operation\n\n"
        );
        table(
            &mut page,
            "row",
            self.lines.iter().filter(|line| line.on_curve().is_none()).map(|line| (&*line.name, line)),
        )?;
        let curves = plot::curves(&self.lines);
        if !curves.is_empty() {
            write!(page, "\n## How cost grows\n\n![The curves of growth]({PICTURE})\n")?;
        }
        for (name, curve) in curves {
            write!(page, "\n### {name}\n\n")?;
            let rows = curve.iter().filter_map(|(_, line)| Some((line.name.rsplit_once('-')?.1, *line)));
            table(&mut page, "size", rows)?;
        }
        Ok(page)
    }
}

fn table<'a>(page: &mut String, first: &str, rows: impl Iterator<Item = (&'a str, &'a Line)>) -> Result<()> {
    write!(page, "| {first} | ours | unit | beside | its | ratio |\n|---|---:|---|---|---:|---:|\n")?;
    for (name, line) in rows {
        let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.2}"));
        let (its, ratio, beside) =
            (number(line.beside_value), number(line.ratio), line.beside.as_deref().unwrap_or(""));
        writeln!(page, "| {name} | {:.2} | {} | {beside} | {its} | {ratio} |", line.ours, line.unit)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Report;
    use crate::line::Line;
    use crate::machine::Machine;
    use crate::measure::Row;

    fn machine(commit: &str) -> Machine {
        let [processor, system, compiler, commit] =
            ["a processor", "a system", "a compiler", commit].map(str::to_owned);
        Machine { processor, threads: 2, system, compiler, commit }
    }

    fn run(commit: &str, rows: &[(&str, f64)]) -> String {
        let rows = rows.iter().map(|(name, ours)| {
            let line = Line::of((*name).to_owned(), &Row::time_us(*ours, "a floor", 1.0));
            serde_json::to_string(&line).unwrap()
        });
        [serde_json::to_string(&machine(commit)).unwrap()].into_iter().chain(rows).map(|line| line + "\n").collect()
    }

    #[test]
    fn a_page_has_what_the_runs_said_and_the_later_one_counts() {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            ("a", run("c1", &[("seal", 4.0), ("grow-log-10", 3.0)])),
            ("b", run("c1", &[("seal", 2.0), ("grow-log-2", 8.0)])),
        ];
        let files = files.map(|(name, said)| {
            let file = folder.path().join(name);
            std::fs::write(&file, said).unwrap();
            file
        });
        Report::read(&files).unwrap().write(folder.path()).unwrap();
        let page = std::fs::read_to_string(folder.path().join(super::PAGE)).unwrap();
        assert!(page.contains("| seal | 2.00 | us | a floor | 1.00 | 0.50 |"), "{page}");
        let (small, large) = (page.find("| 2 | 8.00"), page.find("| 10 | 3.00"));
        assert!(small.is_some() && small < large, "{page}");
        assert!(std::fs::read_to_string(folder.path().join(super::PICTURE)).unwrap().contains("<svg"));
    }

    #[test]
    fn runs_of_two_commits_are_not_one_report() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["c1", "c2"].map(|commit| {
            let file = folder.path().join(commit);
            std::fs::write(&file, run(commit, &[("seal", 1.0)])).unwrap();
            file
        });
        let error = Report::read(&files).err().unwrap();
        assert!(error.to_string().contains("another machine or commit"), "{error}");
    }
}
