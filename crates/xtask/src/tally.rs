//! How many passed, failed, and could not run.

use std::fmt;
use std::ops::AddAssign;
use std::process::ExitCode;

/// Counts of checks. What did not run is never among what passed.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    /// One check that passed or failed.
    pub(crate) const fn one(passed: bool) -> Self {
        if passed { Self { passed: 1, failed: 0, skipped: 0 } } else { Self { passed: 0, failed: 1, skipped: 0 } }
    }

    /// Prints the plain last line that scripts read, and says by the exit code whether anything failed.
    pub(crate) fn conclude(self) -> ExitCode {
        println!("{self}");
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Adds up the summary lines of a program's output, as nextest, libtest and this program print them.
    pub(crate) fn from_output<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let mut sum = Self::default();
        for line in lines.into_iter().filter(|line| is_summary(line)) {
            sum += Self::from_summary(line);
        }
        sum
    }

    fn from_summary(line: &str) -> Self {
        let mut tally = Self::default();
        let words: Vec<&str> =
            line.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let &[number, word] = pair else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match word {
                "passed" => tally.passed += number,
                // nextest: "2 timed out", "1 exec failed"
                "failed" | "timed" | "exec" => tally.failed += number,
                "skipped" | "ignored" => tally.skipped += number,
                _ => {}
            }
        }
        tally
    }
}

/// nextest: `     Summary [ 1.2s] 8 tests run: ..`; libtest: `test result: ok. ..`; ours: `8 passed, 0 failed, 0 skipped`.
/// The indentation counts: nextest repeats the output of a failed test, libtest's summary in it, further in.
fn is_summary(line: &str) -> bool {
    let ours = || line.split_once(" passed, ").is_some_and(|(number, _)| number.parse::<u64>().is_ok());
    line.starts_with("     Summary [") || line.starts_with("test result: ") || ours()
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    fn counts(line: &str) -> (u64, u64, u64) {
        let tally = Tally::from_output([line]);
        (tally.passed, tally.failed, tally.skipped)
    }

    #[test]
    fn reads_the_summaries_of_nextest_libtest_and_its_own() {
        assert_eq!(counts("     Summary [   0.013s] 8 tests run: 8 passed (1 slow), 0 skipped"), (8, 0, 0));
        assert_eq!(
            counts("     Summary [   0.013s] 8/9 tests run: 4 passed, 2 failed, 1 timed out, 1 exec failed, 3 skipped"),
            (4, 4, 3)
        );
        assert_eq!(
            counts("test result: FAILED. 7 passed; 1 failed; 2 ignored; 0 measured; 5 filtered out; finished in 0.12s"),
            (7, 1, 2)
        );
        assert_eq!(counts("12 passed, 3 failed, 4 skipped"), (12, 3, 4));
    }

    #[test]
    fn other_lines_count_nothing() {
        for line in [
            "it passed, 3 failed",
            "    test result: FAILED. 0 passed; 1 failed",
            "I saw 3 passed cars",
            "test a ... ok",
            "running 8 tests",
        ] {
            assert_eq!(counts(line), (0, 0, 0), "{line}");
        }
    }

    #[test]
    fn several_summaries_add_up() {
        let sum =
            Tally::from_output(["test result: ok. 1 passed; 0 failed", "x", "test result: ok. 2 passed; 1 failed"]);
        assert_eq!(sum, Tally { passed: 3, failed: 1, skipped: 0 });
    }

    #[test]
    fn its_own_line_reads_back() {
        let tally = Tally { passed: 5, failed: 6, skipped: 7 };
        assert_eq!(Tally::from_output([tally.to_string().as_str()]), tally);
    }
}
