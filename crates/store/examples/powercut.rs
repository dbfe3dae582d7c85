//! Cuts the power, as far as a program can: what reached the block device is all that is left.
//!
//! A writer commits to a store on an ext4 image behind a loop device and says what it was promised. At a random moment it is stopped
//! (SIGSTOP); the image is copied as it is, without unmounting or syncing anything; the copy is mounted, its journal replayed, the
//! store opened, and what is there compared with what was promised. What survived is cut again, in its opening too. Then the same
//! without our own sync, which must be seen to fail, or else the harness proves nothing.
//!
//! ```text
//! powercut [--rounds N] [--rounds-without-sync N]        needs root, losetup, mkfs.ext4; ends non-zero when a claim is untrue
//! ```
#![expect(clippy::print_stdout, reason = "a command")]
#![allow(unreachable_pub, reason = "the workload is shared with a test")]

#[path = "powercut/disk.rs"]
mod disk;
#[path = "powercut/victim.rs"]
mod victim;
#[path = "../tests/support/workload.rs"]
mod workload;

use std::fmt;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use disk::Image;
use nuncio_store::Store;
use tempfile::TempDir;
use victim::{Sync, Victim};
use workload::{kek, last_whole_step};

/// Rounds when none are asked for. Without our sync 18 of 20 rounds lost something; ten that all survive would be a rare accident.
const ROUNDS: u32 = 50;
const ROUNDS_WITHOUT_SYNC: u32 = 10;

/// The writer runs this long at most, its opening included.
const MAX_RUN_MS: u64 = 600;

/// With our sync the store that survived a cut is opened and cut again, until it has had this many. Without it every round has a fresh one:
/// sled's flush loses what the file system has not yet written about a growing file.
const CUTS_PER_DISK: u32 = 5;

fn main() -> Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, home, sync] = args.as_slice()
        && mode == victim::MODE
    {
        victim::run(Path::new(home), Sync::parse(sync)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rounds = option(&args, "--rounds", ROUNDS)?;
    let rounds_without = option(&args, "--rounds-without-sync", ROUNDS_WITHOUT_SYNC)?;
    if let Err(reason) = disk::probe() {
        return not_run(&format!("powercut (crates/store): {reason:#}"));
    }
    let with = campaign(Sync::Ours, rounds)?;
    let without = campaign(Sync::EngineOnly, rounds_without)?;
    println!("with our sync:    {with}");
    println!("without our sync: {without}");
    if with.survived != rounds {
        bail!("a power cut lost something that was promised");
    }
    if rounds_without > 0 && without.survived == rounds_without {
        bail!("nothing was lost without our sync either: this harness shows nothing here");
    }
    Ok(ExitCode::SUCCESS)
}

fn option(args: &[String], name: &str, default: u32) -> Result<u32> {
    let Some(at) = args.iter().position(|arg| arg == name) else { return Ok(default) };
    let value = args.get(at + 1).with_context(|| format!("{name} needs a number"))?;
    value.parse().with_context(|| format!("{name} needs a number, not {value}"))
}

fn not_run(line: &str) -> Result<ExitCode> {
    println!("NOT RUN: {line}");
    if let Some(path) = std::env::var_os("NUNCIO_NOT_RUN_FILE") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        writeln!(file, "{line}")?;
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Default)]
struct Tally {
    survived: u32,
    lost: u32,
    torn: u32,
    would_not_open: u32,
    promised: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounds = self.survived + self.lost + self.torn + self.would_not_open;
        write!(
            f,
            "{} of {rounds} power cuts survived ({} lost something promised, {} torn, {} would not open); {} steps promised",
            self.survived, self.lost, self.torn, self.would_not_open, self.promised
        )
    }
}

fn campaign(sync: Sync, rounds: u32) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut survivor = None;
    for round in 1..=rounds {
        let goes_on = matches!(sync, Sync::Ours) && !round.is_multiple_of(CUTS_PER_DISK);
        let disk = match survivor.take().filter(|_| goes_on) {
            Some(disk) => disk,
            None => Disk::fresh()?,
        };
        let (outcome, copy) = cut(sync, disk)?;
        tally.promised += outcome.promised;
        let said = match &outcome.found {
            Found::Steps(last) if *last >= outcome.promised => {
                tally.survived += 1;
                survivor = Some(Disk { steps: *last, ..copy });
                format!("survived, {last} there")
            }
            Found::Steps(last) => {
                tally.lost += 1;
                format!("LOST, {last} there")
            }
            Found::Torn(how) => {
                tally.torn += 1;
                format!("TORN: {how}")
            }
            Found::Nothing(why) => {
                tally.would_not_open += 1;
                format!("WOULD NOT OPEN: {why}")
            }
        };
        println!("{sync:?} {round}/{rounds}: {} promised, epoch {}: {said}", outcome.promised, outcome.epoch);
    }
    Ok(tally)
}

/// An image that holds a store of so many steps.
struct Disk {
    dir: TempDir,
    image: Image,
    steps: u64,
}

impl Disk {
    fn fresh() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let image = Image::make(&dir.path().join("disk.img"))?;
        let mounted = image.mount(&dir.path().join("mnt"))?;
        drop(Store::create(&mounted.path().join("home"), &kek())?);
        Ok(Self { image: mounted.unmount()?, dir, steps: 0 })
    }
}

struct Outcome {
    promised: u64,
    epoch: u64,
    found: Found,
}

enum Found {
    Steps(u64),
    Torn(String),
    Nothing(String),
}

/// One round. What is left of the disk is the second half of the answer.
fn cut(sync: Sync, disk: Disk) -> Result<(Outcome, Disk)> {
    let mounted = disk.image.mount(&disk.dir.path().join("mnt"))?;
    let mut victim = Victim::start(&mounted.path().join("home"), sync, disk.steps)?;
    victim.run_for_at_most(MAX_RUN_MS)?;
    victim.freeze()?;
    let (promised, epoch) = victim.promises();
    let dir = tempfile::tempdir()?;
    let copy = mounted.copy_as_it_is(&dir.path().join("disk.img"))?;
    victim.kill()?;
    drop(mounted);

    let mounted = copy.mount(&dir.path().join("mnt"))?;
    let found = match Store::open(&mounted.path().join("home"), &kek()) {
        Err(error) => Found::Nothing(error.to_string()),
        Ok(store) => last_whole_step(&store).map_or_else(Found::Torn, Found::Steps),
    };
    Ok((Outcome { promised, epoch, found }, Disk { image: mounted.unmount()?, dir, steps: 0 }))
}
