//! `nuncio inbox`

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use tempfile::NamedTempFile;

use crate::cli::Options;
use crate::client::Api;
use crate::failure::Failure;
use crate::output;
use crate::wire::{InboxLetter, InboxPage};

/// How long one request waits for letters.
const WAIT_MS: u64 = 30_000;
/// Longest text that is shown whole in the list.
const SHOWN_LEN_MAX: usize = 2_000;

/// Prints the letters in the inbox. They stay there until `nuncio done`, also through restarts.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nuncio inbox\n  nuncio inbox --follow --json | while read -r letter; do …; done\n  nuncio inbox --save letters/ --done"
)]
pub(crate) struct Inbox {
    /// Go on with letters as they come, until interrupted
    #[arg(long)]
    follow: bool,
    /// Write each content to a file in this directory, named after the letter's number
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// Remove each letter from the inbox once its content is printed or saved; any other stays
    #[arg(long)]
    done: bool,
}

impl Inbox {
    pub(crate) async fn run(&self, options: &Options) -> Result<(), Failure> {
        options.with(async |api| self.read(options, api).await).await
    }

    async fn read(&self, options: &Options, api: &Api) -> Result<(), Failure> {
        let mut after: Option<u64> = None;
        let mut any = false;
        loop {
            let from = after.map(|no| format!("&after={no}")).unwrap_or_default();
            let wait = if self.follow { WAIT_MS } else { 0 };
            let path = format!("/v1/inbox?wait_ms={wait}{from}");
            let page = tokio::select! {
                page = api.get::<InboxPage>(&path) => page?,
                _ = tokio::signal::ctrl_c() => return Ok(()),
            };
            if page.letters.is_empty() && !self.follow {
                if !any && !options.json {
                    output::note("the inbox is empty");
                }
                return Ok(());
            }
            for letter in &page.letters {
                self.take(options, api, letter).await?;
                (after, any) = (Some(letter.no), true);
            }
        }
    }

    async fn take(&self, options: &Options, api: &Api, letter: &InboxLetter) -> Result<(), Failure> {
        let saved = match &self.save {
            Some(dir) => Some(save(api, letter, dir).await?),
            None => None,
        };
        if options.json {
            output::json(letter)?;
        } else {
            show(letter, saved.as_deref())?;
        }
        if !self.done {
            return Ok(());
        }
        if self.save.is_none() && !is_told(letter, options.json) {
            output::note(format_args!(
                "#{} stays in the inbox: its content was not shown (--save DIR writes it to a file)",
                letter.no
            ));
            return Ok(());
        }
        api.tell(&format!("/v1/inbox/{}/done", letter.no)).await
    }
}

/// Whether all that a letter says was printed.
fn is_told(letter: &InboxLetter, json: bool) -> bool {
    let shown = letter.text.as_ref().is_some_and(|text| json || text.len() <= SHOWN_LEN_MAX);
    shown || json && letter.base64.is_some()
}

fn show(letter: &InboxLetter, saved: Option<&Path>) -> Result<(), Failure> {
    let from = letter.from_name.as_ref().unwrap_or(&letter.from);
    let reply = letter.reply_to.as_ref().map(|id| format!(", answers {id}")).unwrap_or_default();
    let content_type = output::harmless_line(&letter.content_type);
    // The name is the owner's word: it stands behind all that is ours.
    let channel = letter.channel_name.as_ref().or(letter.channel.as_ref());
    let channel = channel.map(|name| format!(", in channel {}", output::harmless_line(name))).unwrap_or_default();
    let channel = letter.handed_over.as_ref().map_or(channel, |earlier| {
        let author = earlier.author_name.as_ref().unwrap_or(&earlier.author);
        let name = output::harmless_line(earlier.channel_name.as_ref().unwrap_or(&earlier.channel));
        format!(", handed over: said to be by {author}, in channel {name}")
    });
    let (no, time, size) = (letter.no, output::time(letter.received_ms), output::size(letter.len));
    output::line(format_args!("#{no}  {from}  {time}  {content_type}, {size}  {}{reply}{channel}", letter.id))?;
    if let Some(grant) = &letter.grant {
        let (scope, principal) = (output::harmless_line(&grant.scope), output::harmless_line(&grant.principal));
        output::line(format_args!(
            "    may: {scope}  for {principal}  in transaction {}",
            output::harmless_line(&grant.transaction)
        ))?;
    }
    if let Some(path) = saved {
        return output::line(format_args!("    saved as {}", path.display()));
    }
    text(letter)
}

/// The text below a heading, or where the content is.
pub(super) fn text(letter: &InboxLetter) -> Result<(), Failure> {
    match &letter.text {
        Some(text) if text.len() <= SHOWN_LEN_MAX => shown(text),
        _ if letter.arrived < letter.len => {
            output::line(format_args!("    {} here so far", output::size(letter.arrived)))
        }
        _ => output::line("    (nuncio inbox --save DIR writes it to a file)"),
    }
}

/// Text below a heading.
pub(super) fn shown(text: &str) -> Result<(), Failure> {
    output::harmless(text).lines().try_for_each(|line| output::line(format_args!("    {line}")))
}

/// The content alone: text as text, anything else as its bytes, unless a person looks.
pub(crate) fn content(letter: &InboxLetter) -> Result<(), Failure> {
    match (&letter.text, &letter.base64) {
        (Some(text), _) if output::is_terminal() => output::line(output::harmless(text)),
        (Some(text), _) => output::raw(text.as_bytes()),
        (None, Some(base64)) if !output::is_terminal() => {
            let bytes =
                data_encoding::BASE64.decode(base64.as_bytes()).map_err(|error| Failure::Broken(error.to_string()))?;
            output::raw(&bytes)
        }
        _ => output::line(format_args!(
            "{} of {} (pipe the output, or --json)",
            output::size(letter.len),
            output::harmless_line(&letter.content_type)
        )),
    }
}

/// Writes a payload to a file that appears whole or not at all, under a name of our own choosing. One that is there is not overwritten.
async fn save(api: &Api, letter: &InboxLetter, dir: &Path) -> Result<PathBuf, Failure> {
    fs::create_dir_all(dir).map_err(Failure::io("make", dir))?;
    // Others may write to the directory: a fresh name, which no link that lies there can have.
    let failed = || Failure::io("write", dir);
    let mut part = tempfile::Builder::new().prefix(".nuncio-").tempfile_in(dir).map_err(failed())?;
    let from = format!("/v1/inbox/{}/payload?wait_ms=60000", letter.no);
    api.pour(&from, |piece| part.write_all(piece).map_err(failed())).await?;
    part.as_file().sync_all().map_err(failed())?;
    let name = format!("{}-{}", letter.no, letter.id);
    keep(part, dir, &name, extension(&letter.content_type)).map_err(failed())
}

/// Gives a file its name, or the next one that is free. What lies there under it and is the same is left: the letter was saved before.
fn keep(mut part: NamedTempFile, dir: &Path, name: &str, extension: &str) -> io::Result<PathBuf> {
    let mut more = String::new();
    for copy in 1.. {
        let path = dir.join(format!("{name}{more}.{extension}"));
        match part.persist_noclobber(&path) {
            Ok(_) => return Ok(path),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => part = error.file,
            Err(error) => return Err(error.error),
        }
        if is_same(part.path(), &path)? {
            return Ok(path);
        }
        more = format!("-{copy}");
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Whether a plain file lies there with the same content.
fn is_same(saved: &Path, there: &Path) -> io::Result<bool> {
    if !fs::symlink_metadata(there)?.is_file() || fs::metadata(saved)?.len() != fs::metadata(there)?.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (BufReader::new(File::open(saved)?), BufReader::new(File::open(there)?));
    loop {
        let (a, b) = (one.fill_buf()?, other.fill_buf()?);
        let len = a.len().min(b.len());
        if len == 0 || a.get(..len) != b.get(..len) {
            return Ok(a.is_empty() && b.is_empty());
        }
        one.consume(len);
        other.consume(len);
    }
}

/// A harmless extension: the type is the sender's word.
fn extension(content_type: &str) -> &'static str {
    match content_type.split(';').next().unwrap_or_default() {
        "text/plain" => "txt",
        "application/json" => "json",
        "application/cbor" => "cbor",
        "application/pdf" => "pdf",
        "image/png" => "png",
        "image/jpeg" => "jpg",
        _ => "bin",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn save(dir: &Path, content: &[u8]) -> String {
        let mut part = tempfile::Builder::new().tempfile_in(dir).unwrap();
        part.write_all(content).unwrap();
        keep(part, dir, "7-id", "txt").unwrap().file_name().unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn what_was_not_shown_is_not_done() {
        let text = |len: usize| InboxLetter { text: Some("x".repeat(len)), ..InboxLetter::default() };
        let bytes = InboxLetter { base64: Some("AA==".to_owned()), ..InboxLetter::default() };
        assert!(
            is_told(&text(SHOWN_LEN_MAX), false) && is_told(&text(SHOWN_LEN_MAX + 1), true) && is_told(&bytes, true)
        );
        assert!(!is_told(&text(SHOWN_LEN_MAX + 1), false) && !is_told(&bytes, false));
        assert!(!is_told(&InboxLetter::default(), true), "a large one is nowhere but on the disk");
    }

    #[test]
    fn a_file_that_lies_there_is_not_taken_for_the_letter() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(dir.path().join("7-id-1.txt"), dir.path().join("7-id.txt")).unwrap();
        assert_eq!(save(dir.path(), b"the letter"), "7-id-1.txt", "nor a link");
        assert_eq!(save(dir.path(), b"the letter"), "7-id-1.txt", "it was saved before");
        assert_eq!(save(dir.path(), b"the lettex"), "7-id-2.txt");
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["7-id-1.txt", "7-id-2.txt", "7-id.txt"]);
        assert_eq!(fs::read(dir.path().join("7-id-1.txt")).unwrap(), b"the letter");
    }
}
