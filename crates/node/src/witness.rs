//! A witness of our own: it cosigns heads of logs that only grow (C2SP tlog-witness, tlog-cosignature).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use nuncio_contracts::registry::time;
use nuncio_proto::codec;
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::tlog::{AddCheckpoint, Hash, KeyKind, NoteKey, REQUEST_LEN_MAX, WitnessError, cosign};
use nuncio_store::{Engine as _, Kek, Op, Store};
use serde_bytes::ByteArray;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::entropy;
use crate::error::NodeError;
use crate::log::LogError;
use crate::rows;

const VERSION: u8 = 1;
/// How long a request may take to come.
const PATIENCE: Duration = Duration::from_millis(time::REQUEST_PATIENCE);
/// Requests that are checked at once.
const AT_ONCE: usize = 64;

/// A key, and of each log the head that it cosigned last.
#[derive(Debug)]
pub struct Witness {
    key: NoteKey,
    signer: SigningKey,
    logs: BTreeMap<String, NoteKey>,
    /// Held from the look at what was cosigned last until the new head is on the device.
    store: Mutex<Store>,
}

impl Witness {
    /// Opens a witness's home, or makes it with a new key.
    ///
    /// # Errors
    /// A home that does not open, a name that cannot stand in a note.
    pub fn open(home: &Path, kek: &Kek, name: &str, logs: Vec<NoteKey>) -> Result<Self, NodeError> {
        let store = if home.join("keys").exists() { Store::open(home, kek)? } else { Store::create(home, kek)? };
        let seed = match store.get(rows::WITNESS_KEY)? {
            Some(row) => {
                let (version, seed): (u8, ByteArray<32>) =
                    codec::decode(&row, 64).map_err(|_| NodeError::Record("the witness's key"))?;
                Some(seed.into_array()).filter(|_| version == VERSION).ok_or(NodeError::Record("the witness's key"))?
            }
            None => {
                let seed = entropy::random()?;
                let value = codec::encode(&(VERSION, ByteArray::new(seed)));
                store.commit(&[Op::Put { key: rows::WITNESS_KEY.to_vec(), value }])?;
                seed
            }
        };
        let signer = SigningKey::from_seed(&seed);
        let key = NoteKey::new(name, KeyKind::CosignatureV1, signer.public()).ok_or(LogError::Name)?;
        let logs = logs.into_iter().map(|log| (log.name().to_owned(), log)).collect();
        Ok(Self { key, signer, logs, store: Mutex::new(store) })
    }

    /// Its key, for whoever is to trust its cosignatures.
    #[must_use]
    pub const fn key(&self) -> &NoteKey {
        &self.key
    }

    /// Cosigns a head that goes on from the last one: the line of its cosignature. The head is on the device when this returns.
    ///
    /// # Errors
    /// Why not; a disk that cannot be written.
    pub fn add_checkpoint(&self, request: &[u8], now_s: u64) -> Result<String, NotCosigned> {
        let request = AddCheckpoint::parse(request)?;
        let log = self.logs.get(request.origin()).ok_or(WitnessError::Origin)?;
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let row = rows::witnessed(log.name());
        let head = request.check(log, read_last(&store, &row)?)?;
        let value = codec::encode(&(VERSION, head.size, ByteArray::new(head.root)));
        store.commit(&[Op::Put { key: row, value }]).map_err(NodeError::from)?;
        Ok(format!("{}\n", cosign(request.checkpoint.text(), now_s, &self.key, &self.signer)))
    }

    /// Serves it over HTTP until it is told to stop.
    ///
    /// # Errors
    /// A socket that fails.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, closing: CancellationToken) -> Result<(), NodeError> {
        let app =
            Router::new()
                .route("/add-checkpoint", post(add_checkpoint))
                .layer(axum::middleware::from_fn_with_state(
                    Arc::new(tokio::sync::Semaphore::new(AT_ONCE)),
                    |State(places): State<Arc<tokio::sync::Semaphore>>,
                     request: Request,
                     next: axum::middleware::Next| async move {
                        match places.try_acquire() {
                            Ok(_place) => next.run(request).await,
                            Err(_) => StatusCode::TOO_MANY_REQUESTS.into_response(),
                        }
                    },
                ))
                .with_state(self);
        let served = axum::serve(listener, app).with_graceful_shutdown(async move { closing.cancelled().await });
        served.await.map_err(NodeError::io("serve", "the witness"))
    }
}

/// Why nothing was cosigned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotCosigned {
    /// The request.
    #[error(transparent)]
    Request(#[from] WitnessError),
    /// The witness's own disk.
    #[error(transparent)]
    Own(#[from] NodeError),
}

fn read_last(store: &Store, row: &[u8]) -> Result<Option<(u64, Hash)>, NodeError> {
    let Some(row) = store.get(row)? else { return Ok(None) };
    match codec::decode::<(u8, u64, ByteArray<32>)>(&row, 64) {
        Ok((VERSION, size, root)) => Ok(Some((size, root.into_array()))),
        _ => Err(NodeError::Record("a head that was cosigned")),
    }
}

async fn add_checkpoint(State(witness): State<Arc<Witness>>, request: Request) -> Response {
    // Who sends half a request holds no place for long.
    let body = match tokio::time::timeout(PATIENCE, to_bytes(request.into_body(), REQUEST_LEN_MAX)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return (StatusCode::PAYLOAD_TOO_LARGE, "the request is longer than it may be\n").into_response(),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    let now_s = entropy::now().0 / 1_000;
    let added = tokio::task::spawn_blocking(move || witness.add_checkpoint(&body, now_s)).await;
    match added {
        Ok(Ok(line)) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], Bytes::from(line)).into_response(),
        Ok(Err(NotCosigned::Request(error))) => refused(error),
        Ok(Err(NotCosigned::Own(error))) => {
            tracing::error!(%error, "nothing is cosigned");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// C2SP tlog-witness.
fn refused(error: WitnessError) -> Response {
    let status = match error {
        WitnessError::Size(size) => {
            let kind = [(header::CONTENT_TYPE, "text/x.tlog.size")];
            return (StatusCode::CONFLICT, kind, format!("{size}\n")).into_response();
        }
        WitnessError::Origin => StatusCode::NOT_FOUND,
        WitnessError::Signature => StatusCode::FORBIDDEN,
        WitnessError::Proof(_) => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::BAD_REQUEST,
    };
    (status, format!("{error}\n")).into_response()
}

/// Binds a witness's address.
///
/// # Errors
/// An address that cannot be had.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, NodeError> {
    TcpListener::bind(address).await.map_err(NodeError::io("listen on", address))
}
