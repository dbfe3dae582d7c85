//! Has witnesses cosign the log's head: whoever trusts one knows that the log has shown nobody another past (C2SP tlog-witness).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use nuncio_contracts::registry::limit;
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::tlog::{AddCheckpoint, Note, NoteKey, NoteSignature, cosigned_at, read_lines};
use tokio::task::{JoinError, JoinSet};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::anchor::{self, Anchor, Vouched};
use crate::fetch::Fetch;
use crate::log::{LogError, View};
use crate::policy::{Policy, Witness};
use crate::service::Service;

/// How long a witness may take.
const PATIENCE_MS: u64 = 2_000;
/// How long after the first.
const MOMENT: Duration = Duration::from_millis(200);

/// Of each witness, by its key's name, how many entries the head has that it cosigned last.
type Known = BTreeMap<String, u64>;

/// What a witness answers.
enum Said {
    Line(NoteSignature),
    /// It cosigned another size last.
    Size(u64),
}

/// Asks every witness at a start: a log that is behind one of them has lost what it had signed.
///
/// # Errors
/// [`LogError::Behind`]. Who cannot be reached says nothing.
pub(crate) async fn check_start(witnesses: &[Witness], view: &View, signer: &SigningKey) -> Result<(), LogError> {
    let Ok(fetch) = Fetch::new(PATIENCE_MS) else { return Ok(()) };
    for witness in witnesses {
        match ask(&fetch, witness, view, 0, view.signed_or_empty(signer)).await {
            Ok(Said::Size(size)) if size > view.size() => {
                let witness = witness.key.name().to_owned();
                return Err(LogError::BehindWitness { witness, signed: size, size: view.size() });
            }
            Ok(_) => {}
            Err(reason) => tracing::warn!(witness = witness.key.name(), reason, "a witness is not reached"),
        }
    }
    Ok(())
}

/// Has each new head cosigned until the node stops.
pub(crate) async fn keep(service: Arc<Service>, closing: CancellationToken) {
    let Ok(fetch) = Fetch::new(PATIENCE_MS) else { return tracing::error!("no witness can be asked") };
    anchor::keep(Cosigner::new(fetch), service, closing).await;
}

/// What is known of the witnesses from one round to the next.
struct Cosigner {
    fetch: Fetch,
    known: Known,
    /// The head that is cosigned, and the keys of those who have.
    size: u64,
    done: BTreeSet<String>,
}

impl Cosigner {
    const fn new(fetch: Fetch) -> Self {
        Self { fetch, known: Known::new(), size: 0, done: BTreeSet::new() }
    }
}

impl Anchor for Cosigner {
    /// Asks each witness that has not cosigned yet.
    async fn vouch(&mut self, view: &View, policy: &Policy) -> Vouched {
        if self.size != view.size() {
            (self.size, self.done) = (view.size(), BTreeSet::new());
        }
        let mut asking = JoinSet::new();
        for witness in policy.witnesses.iter().filter(|_| view.signed().is_some()) {
            if !self.done.contains(&witness.key.to_string()) {
                let (fetch, witness, view) = (self.fetch.clone(), witness.clone(), view.clone());
                let old = self.known.get(witness.key.name()).copied();
                asking.spawn(async move {
                    let said = cosigned(&fetch, &witness, &view, old.unwrap_or(0)).await;
                    (witness, said)
                });
            }
        }
        let (mut lines, mut until) = (Vec::new(), None);
        // Once one has cosigned the others have a moment: a log that grows has another head soon, under which no line of this one stands.
        while let Ok(Some(Ok((witness, said)))) = next(&mut asking, until).await {
            let name = witness.key.name().to_owned();
            match said {
                Ok(line) => {
                    lines.push(line);
                    self.known.insert(name, view.size());
                    self.done.insert(witness.key.to_string());
                    until.get_or_insert_with(|| Instant::now() + MOMENT);
                }
                Err(Refused::Behind(signed)) => return Vouched::Behind { witness: name, signed },
                Err(Refused::Reason(reason)) => tracing::warn!(witness = name, reason, "a head was not cosigned"),
            }
        }
        if lines.is_empty() { Vouched::Nothing } else { Vouched::Lines(lines) }
    }
}

/// The next that has answered; an error once the time is over.
async fn next<T: 'static>(
    asking: &mut JoinSet<T>,
    until: Option<Instant>,
) -> Result<Option<Result<T, JoinError>>, Elapsed> {
    match until {
        Some(until) => timeout_at(until, asking.join_next()).await,
        None => Ok(asking.join_next().await),
    }
}

enum Refused {
    Behind(u64),
    Reason(String),
}

/// One witness's cosignature of a head; asked a second time where it says what it cosigned last.
async fn cosigned(fetch: &Fetch, witness: &Witness, view: &View, mut old: u64) -> Result<NoteSignature, Refused> {
    for _ in 0..2 {
        match ask(fetch, witness, view, old.min(view.size()), view.signed().cloned()).await.map_err(Refused::Reason)? {
            Said::Line(line) => return Ok(line),
            Said::Size(size) if size > view.size() => return Err(Refused::Behind(size)),
            Said::Size(size) => old = size,
        }
    }
    Err(Refused::Reason("it has seen another tree of this size, or takes no head".to_owned()))
}

async fn ask(
    fetch: &Fetch,
    witness: &Witness,
    view: &View,
    old: u64,
    checkpoint: Option<Note>,
) -> Result<Said, String> {
    let checkpoint = checkpoint.ok_or("there is no head yet")?;
    let own = view.clone();
    let proof = tokio::task::spawn_blocking(move || own.consistency(old, own.size())).await;
    let proof = proof.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let request = AddCheckpoint { old, proof, checkpoint };
    let (status, body) = fetch.post_text(&witness.url, request.to_string(), limit::NOTE_LEN_MAX).await?;
    match status {
        200 => {
            let lines = read_lines(&body).ok_or("what it answers is no signature")?;
            its_line(lines, &witness.key, request.checkpoint)
                .map(Said::Line)
                .ok_or_else(|| "it has not cosigned".to_owned())
        }
        409 => {
            let size = std::str::from_utf8(&body).ok().and_then(|body| body.trim_end().parse().ok());
            size.map(Said::Size).ok_or_else(|| "it does not say what it cosigned last".to_owned())
        }
        status => Err(format!("the witness answers {status}")),
    }
}

/// The line of the key that is trusted, if it is one.
fn its_line(lines: Vec<NoteSignature>, key: &NoteKey, checkpoint: Note) -> Option<NoteSignature> {
    let line = lines.into_iter().find(|line| line.name == key.name() && line.id == key.id())?;
    let mut note = checkpoint;
    note.add(line.clone());
    cosigned_at(&note, key).ok().map(|_| line)
}
