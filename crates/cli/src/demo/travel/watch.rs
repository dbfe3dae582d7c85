//! `nuncio demo travel --watch`: somebody looks at the node's page meanwhile.

use anyhow::Result;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::domain::Domain;
use crate::output;

/// Prints a link, and waits until it was opened.
pub(super) async fn begin(domain: &Domain) -> Result<()> {
    output::note(format_args!("\nOpen {}", domain.node.page_link()?));
    enter("then press Enter: mia asks for a journey").await
}

/// Leaves everything as it is for as long as somebody looks.
pub(super) async fn end() -> Result<()> {
    enter("\nThat was all; press Enter to end it").await
}

/// Waits for a line, or the end of the input.
async fn enter(what_for: &str) -> Result<()> {
    output::note(what_for);
    // One byte at a time: a line that comes early is the next one's.
    let mut input = BufReader::with_capacity(1, tokio::io::stdin());
    input.read_until(b'\n', &mut Vec::new()).await?;
    Ok(())
}
