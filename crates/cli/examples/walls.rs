//! `cargo xtask walls`: strangers, peers and clients that take all that they can, and what others have meanwhile.

#![expect(clippy::print_stdout, reason = "a campaign reports here")]

use std::process::ExitCode;

use clap::Parser;
use nuncio_cli::process::Program;
use nuncio_cli::walls::{ALL, Row, Size, Wall, meet};

/// By this word the program becomes `nuncio`, so that it needs no other binary.
const BECOME: &str = "become-nuncio";

#[derive(Parser)]
struct Args {
    /// Handshakes that are begun and not ended
    #[arg(long, default_value_t = Size::WHOLE.handshakes)]
    handshakes: u32,
    /// Connections of strangers that say next to nothing
    #[arg(long, default_value_t = Size::WHOLE.slow)]
    slow: u32,
    /// Streams that are opened and abandoned
    #[arg(long, default_value_t = Size::WHOLE.streams)]
    streams: u32,
    /// How long each flood goes on
    #[arg(long, default_value_t = Size::WHOLE.seconds)]
    seconds: u64,
    /// Walls whose names begin so; all of them where none is named
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

fn main() -> anyhow::Result<ExitCode> {
    let words: Vec<_> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| word == BECOME) {
        return Ok(nuncio_cli::main(words.into_iter().skip(1)));
    }
    let Args { handshakes, slow, streams, seconds, only } = Args::parse();
    let size = Size { handshakes, slow, streams, seconds };
    let (program, runtime) = (Program::this(&[BECOME])?, tokio::runtime::Runtime::new()?);
    let wanted = |wall: &&Wall| only.is_empty() || only.iter().any(|name| wall.name.starts_with(name.as_str()));
    println!("{}", Row::HEAD);
    let mut all_stand = true;
    for wall in ALL.iter().filter(wanted) {
        let dir = tempfile::tempdir()?;
        match runtime.block_on(meet(&program, dir.path(), wall, &size)) {
            Ok(row) => {
                println!("{row}");
                all_stand &= row.stands();
            }
            Err(failure) => {
                println!("{:<24}  FAILED: {failure:#}", wall.name);
                all_stand = false;
            }
        }
    }
    Ok(if all_stand { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
