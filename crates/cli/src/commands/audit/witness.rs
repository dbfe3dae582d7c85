//! `nuncio audit witness`

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use nuncio_node::witness::{Witness as Witnessing, bind};
use nuncio_proto::tlog::NoteKey;
use tokio_util::sync::CancellationToken;

use crate::cli::Options;
use crate::commands::agent::address;
use crate::ending::{Signals, stdin_ended};
use crate::failure::Failure;
use crate::output;

/// Runs a witness: it cosigns heads of logs that have only grown since the last (C2SP tlog-witness). Run it apart from the log, by somebody else.
///
/// Its home is apart from others': --home DIR, or `witness` in the platform's data directory. It is made at the first start.
#[derive(Args)]
#[command(
    after_help = "Example:\n  nuncio audit witness --name witness.example/w1 --of 'acme.example/log+5214abcd+AX…'\n\nPut the key that it prints, and its URL with /add-checkpoint, under [[witness]] in the node's policy.toml."
)]
pub(super) struct Witness {
    /// Its name: a URL without scheme, of whoever runs it
    #[arg(long, value_name = "NAME")]
    name: String,
    /// The key of a log that it looks after: the line in that node's log.pub. May be given again
    #[arg(long, value_name = "KEY", required = true, value_parser = log_key)]
    of: Vec<NoteKey>,
    /// TCP address for HTTP; port 0 takes a free one. TLS is for whatever stands in front of it
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7440", value_parser = address)]
    listen: SocketAddr,
    /// Stop when standard input ends
    #[arg(long)]
    stop_with_stdin: bool,
}

fn log_key(text: &str) -> Result<NoteKey, String> {
    NoteKey::parse(text)
        .filter(|key| key.kind().signs_for_log())
        .ok_or_else(|| "write NAME+ID+KEY, as it stands in the node's log.pub".to_owned())
}

impl Witness {
    pub(super) async fn run(self, options: &Options) -> Result<(), Failure> {
        let mut signals = Signals::new()?;
        let home = options.home_or("witness")?;
        std::fs::create_dir_all(&home).map_err(Failure::io("make", &home))?;
        let is_new = !home.join("keys").exists();
        let kek = if is_new { options.unlock.new_kek(&home)? } else { options.unlock.kek(&home)? };
        let witness = Arc::new(Witnessing::open(&home, &kek, &self.name, self.of)?);
        let listener = bind(self.listen).await?;
        let at = listener.local_addr().map_err(Failure::io("listen on", self.listen.to_string()))?;
        if options.json {
            output::json(&serde_json::json!({ "key": witness.key().to_string(), "tcp": at }))?;
        } else {
            output::line(witness.key())?;
            output::note(format_args!("witnesses at http://{at}/add-checkpoint"));
        }
        let closing = CancellationToken::new();
        let serving = tokio::spawn(witness.serve(listener, closing.clone()));
        tokio::select! {
            _ = signals.next() => {}
            () = stdin_ended(self.stop_with_stdin) => {}
        }
        closing.cancel();
        serving.await.map_err(|error| Failure::Broken(error.to_string()))??;
        Ok(())
    }
}
