//! A token service beside what each of its requests cannot do without: signatures (the assertion's and the token's, and that of the event which
//! its record becomes), an empty answer, its share of a commit. All of it in processor time, whole threads counted, as if one core served alone.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use nuncio_contracts::registry::event;
use nuncio_proto::audit::{Event, EventPeer, What};
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::ids::AgentId;
use nuncio_proto::secret::Key;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::VerifyingKey;
use nuncio_store::{Kek, Op, Staged, Store, Writer};
use nuncio_transport::AwsLc;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::cpu::Worked;
use crate::http::{Clients, one_core, serve_nothing};
use crate::measure::{ROUNDS, Row, decile};
use crate::token_service::{Deed, TokenService, key, token};

/// Requests of a round.
const BATCH: u32 = 200;
const BESIDE: &str = "signatures, an empty answer, a commit's share";

pub(crate) fn issue() -> Result<Row> {
    side_by_side("token-issue", Deed::Issue)
}

pub(crate) fn replace() -> Result<Row> {
    side_by_side("token-replace", Deed::Replace)
}

/// How long the slowest of a hundred requests waits, while as many ask as there are connections.
pub(crate) fn issue_p99() -> Result<Row> {
    let folder = tempfile::tempdir()?;
    let mut service = TokenService::start(folder.path())?;
    let mut waits = Vec::new();
    for _ in 0..ROUNDS {
        waits.extend(round(&mut service, Deed::Issue)?.waits);
    }
    service.stop()?;
    let p99 = percentile(&mut waits, 99).as_secs_f64() * 1e3;
    Ok(Row { unit: "ms", ours: p99, beside: None, less_is_better: true })
}

fn percentile(waits: &mut [Duration], part: usize) -> Duration {
    waits.sort_unstable();
    waits.get(waits.len().saturating_sub(1) * part / 100).copied().unwrap_or_default()
}

fn side_by_side(name: &str, deed: Deed) -> Result<Row> {
    let folder = tempfile::tempdir()?;
    let needs = Needs::of(deed, folder.path())?;
    let mut service = TokenService::start(folder.path())?;
    let mut floor = Floor::start(needs, folder.path())?;
    let [mut ours, mut signatures, mut answers, mut commits, mut sums] = [const { Vec::new() }; 5];
    let (mut groups, mut waits) = (0, Vec::new());
    for _ in 0..ROUNDS {
        let round = round(&mut service, deed)?;
        let parts = [floor.signatures()?, floor.answers(round.forms)?, floor.commits(round.groups)?];
        ours.push(round.us);
        sums.push(parts.iter().sum());
        for (all, part) in [&mut signatures, &mut answers, &mut commits].into_iter().zip(parts) {
            all.push(part);
        }
        groups += round.groups;
        waits.extend(round.waits);
    }
    service.stop()?;
    floor.writer.close()?;
    let (ours, its) = (decile(&mut ours), decile(&mut sums));
    eprintln!(
        "{name}: {ours:.1} us; signatures {:.1} us, an empty answer {:.1} us, a commit's share {:.1} us; {groups} commits for {} \
         records; p50 {:?}, p99 {:?}",
        decile(&mut signatures),
        decile(&mut answers),
        decile(&mut commits),
        waits.len(),
        percentile(&mut waits, 50),
        percentile(&mut waits, 99),
    );
    Ok(Row { unit: "1/s", ours: 1e6 / ours, beside: Some((BESIDE, 1e6 / its)), less_is_better: false })
}

/// What a batch of requests came to.
struct Round {
    forms: Vec<Bytes>,
    /// Microseconds of the node's work for one.
    us: f64,
    /// Commits that made all of them durable.
    groups: u64,
    waits: Vec<Duration>,
}

fn round(service: &mut TokenService, deed: Deed) -> Result<Round> {
    let forms = service.requests(deed, usize::try_from(BATCH)?)?;
    let stats = service.node.writer_stats();
    let (groups, worked) = (stats.groups(), Worked::now()?);
    let answers = service.clients.post(forms.clone())?;
    let us = worked.us_since()? / f64::from(BATCH);
    let waits = answers.iter().map(|answer| answer.wait).collect();
    Ok(Round { forms, us, groups: stats.groups() - groups, waits })
}

/// What one request needs: the texts whose signatures are checked, the text and the event that are signed, the record that is written.
struct Needs {
    signer: SigningKey,
    checked: Vec<(VerifyingKey, Signed)>,
    signed: Signed,
    event: Vec<u8>,
    record: (Vec<u8>, Vec<u8>),
}

struct Signed {
    text: String,
    signature: Vec<u8>,
}

impl Signed {
    fn of(jws: &str) -> Result<Self> {
        let (text, signature) = jws.rsplit_once('.').context("a JWS")?;
        Ok(Self { text: text.to_owned(), signature: BASE64URL_NOPAD.decode(signature.as_bytes())? })
    }
}

impl Needs {
    /// Asks once, and looks at what was sent, answered and written.
    fn of(deed: Deed, folder: &Path) -> Result<Self> {
        let mut service = TokenService::start(folder)?;
        let forms = service.requests(deed, 1)?;
        let answers = service.clients.post(forms.clone())?;
        service.stop()?;
        let form = forms.first().context("a form")?;
        let parameter = |wanted: &str| {
            let found = form_urlencoded::parse(form).find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.into_owned()).context("a parameter")
        };
        // The node's own key stays in its home: the client's, of the same kind, signs what the node has signed.
        let signer = key();
        let own = VerifyingKey::Ed25519(signer.public());
        let mut checked = vec![(own.clone(), Signed::of(&parameter("client_assertion")?)?)];
        if deed == Deed::Replace {
            let mut input = Signed::of(&parameter("subject_token")?)?;
            input.signature = signer.sign_raw(input.text.as_bytes()).to_vec();
            checked.push((own, input));
        }
        let signed = Signed::of(&token(answers.first().context("an answer")?)?)?;
        let holder = AgentId::from_bytes(signer.public())?;
        let record = nuncio_node::testing::record(holder, deed == Deed::Replace).context("a record")?;
        Ok(Self { signer, checked, signed, event: event_of(holder, deed)?, record })
    }

    fn sign_and_check(&self) -> bool {
        std::hint::black_box(self.signer.sign_raw(self.signed.text.as_bytes()));
        std::hint::black_box(self.signer.sign_raw(&self.event));
        self.checked.iter().all(|(key, signed)| key.verifies(signed.text.as_bytes(), &signed.signature, &AwsLc))
    }
}

/// The event that the node tells of one request.
fn event_of(holder: AgentId, deed: Deed) -> Result<Vec<u8>> {
    let what = if deed == Deed::Replace { event::TOKEN_REPLACED } else { event::TOKEN_ISSUED };
    let event = Event {
        peer: Some(EventPeer::Agent(holder)),
        transaction: Some("01a21892-77f0-77d1-a1be-1ff4b8bf8ce3".to_owned()),
        token: Some([7; 32]),
        kind: Some("travel.book travel.pay".to_owned()),
        ..Event::new(holder, UnixMillis(1_800_000_000_000), What::of(what).context("a kind")?)
    };
    Ok(event.encode())
}

/// Does what is needed and nothing else, on a runtime like the node's.
struct Floor {
    needs: Arc<Needs>,
    runtime: Runtime,
    clients: Clients,
    writer: Writer<oneshot::Sender<()>>,
    written: u64,
}

impl Floor {
    fn start(needs: Needs, folder: &Path) -> Result<Self> {
        let runtime = one_core("bench-floor")?;
        let clients = Clients::connect(runtime.block_on(serve_nothing())?)?;
        let store = Store::create(&folder.join("floor"), &Kek::from_key(Key::new([7; 32])))?;
        let answer = |durable: Vec<nuncio_store::Durable<oneshot::Sender<()>>>| {
            for ticket in durable {
                let _ = ticket.into_inner().send(());
            }
        };
        let writer = Writer::spawn(store, answer, drop)?;
        Ok(Self { needs: Arc::new(needs), runtime, clients, writer, written: 0 })
    }

    fn signatures(&self) -> Result<f64> {
        let needs = Arc::clone(&self.needs);
        let worked = Worked::now()?;
        let work = async move { (0..BATCH).all(|_| needs.sign_and_check()) };
        ensure!(self.runtime.block_on(self.runtime.spawn(work))?, "a signature does not verify");
        Ok(worked.us_since()? / f64::from(BATCH))
    }

    fn answers(&mut self, forms: Vec<Bytes>) -> Result<f64> {
        let worked = Worked::now()?;
        self.clients.post(forms)?;
        Ok(worked.us_since()? / f64::from(BATCH))
    }

    /// Writes as many records in as many commits.
    fn commits(&mut self, groups: u64) -> Result<f64> {
        let mut waiting = (0..BATCH).map(|_| self.record()).collect::<Vec<_>>();
        let worked = Worked::now()?;
        for left in (1..=usize::try_from(groups)?).rev() {
            let rest = waiting.split_off(waiting.len().div_ceil(left));
            let ops = core::mem::replace(&mut waiting, rest);
            let (ticket, durable) = oneshot::channel();
            self.writer.submit(Staged { ops, ticket })?;
            self.runtime.block_on(self.runtime.spawn(durable))??;
        }
        Ok(worked.us_since()? / f64::from(BATCH))
    }

    /// Of the size of the node's, with a key behind all before it.
    fn record(&mut self) -> Op {
        self.written += 1;
        let (key, value) = &self.needs.record;
        let mut key = key.clone();
        for (to, from) in key.iter_mut().skip(1).zip(self.written.to_be_bytes()) {
            *to = from;
        }
        Op::Put { key, value: value.clone() }
    }
}
