//! `nuncio send`

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use nuncio_contracts::registry::limit;
use tokio::time::Instant;

use super::begin::read_token;
use crate::cli::Options;
use crate::client::{Api, segment};
use crate::failure::Failure;
use crate::wire::{Accepted, Delivery, LetterState, NewLetter, Peer, Peers, Under};
use crate::{output, span};

/// The longest payload that is in its letter.
#[expect(clippy::as_conversions, reason = "usize to u64 in a constant")]
const INLINE_MAX: u64 = limit::PAYLOAD_INLINE_MAX as u64;
/// Most that is read from standard input; more is given as a file.
const STDIN_LEN_MAX: u64 = 8 << 20;
/// How long one request waits for a delivery.
const WAIT_STEP: Duration = Duration::from_millis(500);
/// Files from here on get a progress bar.
const LARGE: u64 = 1 << 20;

/// Sends a letter. It is on disk when the command returns, and is delivered once, as soon as the peer can be reached.
#[derive(Args)]
#[command(
    override_usage = "nuncio send [OPTIONS] <PEER> <FILE|-|--text <TEXT>>",
    after_help = "Examples:\n  nuncio send anna --text 'good morning'\n  nuncio send anna report.pdf --type application/pdf --wait\n  date | nuncio send anna -\n  nuncio send anna --text 'still there?' --deadline 5m --wait=30s"
)]
pub(crate) struct Send {
    #[command(flatten)]
    letter: LetterArgs,
    /// Wait until the peer has it on disk, so long at most [default: 60s]
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, default_missing_value = "60s", value_parser = span::parse)]
    wait: Option<Duration>,
}

/// What a letter is made of.
#[derive(Args)]
pub(crate) struct LetterArgs {
    /// A peer's short name or DID
    peer: String,
    /// The file to send, up to 1 GiB; `-` is standard input, up to 8 MiB
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Send this text
    #[arg(long, conflicts_with = "file")]
    text: Option<String>,
    /// Media type of the content [default: text/plain;charset=utf-8 for --text, application/octet-stream for a file]
    #[arg(long = "type", value_name = "MEDIA-TYPE", value_parser = media_type)]
    content_type: Option<String>,
    /// Id of the letter that this one answers
    #[arg(long, value_name = "ID", value_parser = letter_id)]
    reply_to: Option<String>,
    /// Give up when it is not delivered after so long: 30s, 5m, 2h; at most 7d
    #[arg(long, value_name = "DURATION", value_parser = span::up_to_a_week)]
    deadline: Option<Duration>,
    #[command(flatten)]
    under: UnderArgs,
}

/// In which transaction a letter acts.
#[derive(Args)]
pub(crate) struct UnderArgs {
    /// Act in a transaction: a file with its token, as `nuncio begin` prints it or a grant in the inbox holds it
    #[arg(long, value_name = "FILE")]
    under: Option<PathBuf>,
    /// Hand on only this of the transaction's scope
    #[arg(long, value_name = "SCOPE", requires = "under")]
    scope: Option<String>,
    /// The receiver's token allows this one payload
    #[arg(long, requires = "under")]
    bind: bool,
    /// Sign what the letter does with its token, so that its receiver can show it to others
    #[arg(long, requires = "under")]
    prove: bool,
    /// Wait so long for a token service that cannot be reached, at most 60s
    #[arg(long, value_name = "DURATION", requires = "under", value_parser = span::up_to_a_minute)]
    wait_for_token: Option<Duration>,
}

impl Send {
    pub(crate) async fn run(&self, options: &Options) -> Result<(), Failure> {
        let (letter, len) = self.letter.read()?;
        options.with(async |api| self.send(options, api, &letter, len).await).await
    }

    async fn send(&self, options: &Options, api: &Api, letter: &NewLetter, len: u64) -> Result<(), Failure> {
        let (bar, begun) = (bar(len), Instant::now());
        bar.set_message("sealing");
        let sent: Accepted = api.post("/v1/letters", letter).await?;
        let Some(patience) = self.wait else {
            bar.finish_and_clear();
            return accepted(options, api, &sent);
        };
        bar.set_message("waits for the peer");
        let delivered = wait(api, &sent, patience, &bar).await;
        bar.finish_and_clear();
        let (delivered, took) = (delivered?, begun.elapsed());
        let problem = if delivered.state == Delivery::Waiting { problem_of(api, &sent.to).await } else { None };
        told(options, &sent, delivered, problem)?;
        if !options.json {
            output::note(format_args!("delivered to {} in {}", self.letter.peer, span::told(took)));
        }
        Ok(())
    }
}

/// Waits for an end, as long as there is patience.
async fn wait(api: &Api, sent: &Accepted, patience: Duration, bar: &ProgressBar) -> Result<LetterState, Failure> {
    let until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now()).min(WAIT_STEP);
        let path = format!("/v1/letters/{}/{}?wait_ms={}", segment(&sent.to), sent.id, span::ms(left));
        let state: LetterState = api.get(&path).await?;
        if let (Some(done @ 1..), Some(len)) = (state.payload_sent, state.payload_len) {
            under_way(bar, done, len);
        }
        if state.state != Delivery::Waiting || left.is_zero() {
            return Ok(state);
        }
    }
}

/// What keeps a peer from being reached, as far as it is known.
async fn problem_of(api: &Api, peer: &str) -> Option<String> {
    let peers: Vec<Peer> = api.get::<Peers>("/v1/peers").await.ok()?.peers;
    peers.into_iter().find(|known| known.agent == peer)?.problem
}

fn accepted(options: &Options, api: &Api, sent: &Accepted) -> Result<(), Failure> {
    if options.json {
        output::json(sent)?;
    } else {
        output::line(&sent.id)?;
    }
    if !api.is_daemon() {
        output::note(
            "no agent runs here: the letter is in the outbox and goes when one does (`nuncio agent`), or now with --wait",
        );
    }
    Ok(())
}

fn told(options: &Options, sent: &Accepted, state: LetterState, problem: Option<String>) -> Result<(), Failure> {
    if options.json {
        output::json(&state)?;
    } else {
        output::line(&sent.id)?;
    }
    match state.state {
        Delivery::Delivered => Ok(()),
        Delivery::Failed => {
            let reason = state.reason.unwrap_or_else(|| "the letter was not delivered".to_owned());
            Err(Failure::NotDelivered { reason, code: state.code })
        }
        Delivery::Waiting => {
            let why = problem.map_or_else(String::new, |problem| format!(": {}", output::harmless_line(&problem)));
            Err(Failure::NotYet(format!("the peer does not have the letter yet{why}")))
        }
    }
}

impl UnderArgs {
    /// As the API takes it; `None` where the letter acts in none.
    pub(crate) fn read(&self) -> Result<Option<Under>, Failure> {
        let Some(file) = self.under.as_deref() else { return Ok(None) };
        Ok(Some(Under {
            token: transaction(file)?,
            scope: self.scope.clone(),
            bind_payload: self.bind,
            prove: self.prove,
            wait_ms: self.wait_for_token.map(span::ms),
        }))
    }
}

/// The token of a transaction, in a file.
pub(super) fn transaction(file: &Path) -> Result<String, Failure> {
    let token = read_token(file)?;
    if nuncio::Transaction::from_token(&token).is_none() {
        let what = format!("{} holds no transaction token", file.display());
        return Err(Failure::usage(what, "give a file with what `nuncio begin` printed, or a grant's token"));
    }
    Ok(token)
}

impl LetterArgs {
    /// The letter as the API takes it, and the length of its payload.
    pub(crate) fn read(&self) -> Result<(NewLetter, u64), Failure> {
        let mut letter = NewLetter {
            to: self.peer.clone(),
            content_type: self.content_type.clone(),
            reply_to: self.reply_to.clone(),
            expires_ms: self.deadline.map(span::ms),
            under: self.under.read()?,
            ..NewLetter::default()
        };
        let len = match (&self.text, &self.file) {
            (Some(text), _) => {
                letter.text = Some(text.clone());
                text.len().try_into().unwrap_or(u64::MAX)
            }
            (None, Some(path)) if path == Path::new("-") => {
                let bytes = read_stdin()?;
                letter.base64 = Some(data_encoding::BASE64.encode(&bytes));
                bytes.len().try_into().unwrap_or(u64::MAX)
            }
            (None, Some(path)) => {
                let about = std::fs::metadata(path).map_err(Failure::io("open", path))?;
                if !about.is_file() {
                    let what = format!("{} is no regular file", path.display());
                    return Err(Failure::usage(what, "pipe what it gives: … | nuncio send PEER -"));
                }
                // What fits into the letter itself is sent there, so that an opening of it shows what it was (contracts/audit.md V24).
                if about.len() <= INLINE_MAX {
                    let bytes = std::fs::read(path).map_err(Failure::io("read", path))?;
                    letter.base64 = Some(data_encoding::BASE64.encode(&bytes));
                    return Ok((letter, bytes.len().try_into().unwrap_or(u64::MAX)));
                }
                letter.file = Some(path.canonicalize().map_err(Failure::io("open", path))?);
                about.len()
            }
            (None, None) => {
                return Err(Failure::usage(
                    "there is nothing to send",
                    "give the text with --text 'good morning', or a FILE, or - for standard input",
                ));
            }
        };
        Ok((letter, len))
    }
}

fn read_stdin() -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin().take(STDIN_LEN_MAX + 1).read_to_end(&mut bytes).map_err(Failure::io("read", "standard input"))?;
    if bytes.len().try_into().unwrap_or(u64::MAX) > STDIN_LEN_MAX {
        return Err(Failure::usage(
            "standard input is longer than 8 MiB",
            "put it into a file and give its name: up to 1 GiB",
        ));
    }
    Ok(bytes)
}

/// From its first byte on the way a payload has a length to be measured against.
fn under_way(bar: &ProgressBar, done: u64, len: u64) {
    if bar.length().is_none()
        && let Ok(style) =
            ProgressStyle::with_template("{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left")
    {
        bar.set_style(style);
        bar.set_length(len);
        bar.reset_eta();
    }
    bar.set_position(done);
}

/// A sign of life for large letters, where a person looks.
fn bar(len: u64) -> ProgressBar {
    if len < LARGE || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_prefix(output::size(len));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn media_type(text: &str) -> Result<String, String> {
    let known = text.parse::<nuncio::ContentType>().is_ok() && is_media_type(text);
    known
        .then(|| text.to_owned())
        .ok_or_else(|| "write TYPE/SUBTYPE, such as text/plain or application/json".to_owned())
}

/// `type/subtype`, and behind each `;` a parameter: `name=value` (RFC 9110 section 8.3.1). A value in quotes holds no `;`.
fn is_media_type(text: &str) -> bool {
    let mark = |c: char| "!#$%&'*+-.^_`|~".contains(c);
    let token = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || mark(c));
    let quoted = |text: &str| text.len() >= 2 && text.starts_with('"') && text.ends_with('"');
    let parameter = |(name, value): (&str, &str)| token(name) && (token(value) || quoted(value));
    let mut parts = text.split(';').map(str::trim);
    let named = parts.next().and_then(|named| named.split_once('/'));
    text.trim() == text
        && named.is_some_and(|(kind, subtype)| token(kind) && token(subtype))
        && parts.all(|part| part.split_once('=').is_some_and(parameter))
}

pub(super) fn letter_id(text: &str) -> Result<String, String> {
    text.parse::<nuncio::LetterId>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}
