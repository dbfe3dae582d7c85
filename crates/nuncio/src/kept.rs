//! Rows of the program that runs the agent: small things that it must not forget, in the agent's store, sealed as everything there.

use nuncio_proto::rows;
use nuncio_proto::step::{Effects, Staged};
use nuncio_store::{Engine as _, Op};

use crate::actor::Actor;
use crate::agent::Agent;
use crate::chunks;
use crate::command::{Command, Reply};
use crate::effects::{answer, tell};
use crate::error::Error;

/// The rows: behind it the program's own name for each.
const KEPT: [u8; 2] = [rows::RUNTIME, b'G'];
/// Longest name and value of one, in bytes, both together.
const KEPT_LEN_MAX: usize = 4_096;

/// A row of the program's own: its name, and what is kept under it, if anything.
pub type Kept = (Vec<u8>, Option<Vec<u8>>);

impl Agent {
    /// Keeps these rows, all of them or none: on disk when this returns. `None` takes one away. Name and value have at most 4,096 bytes together.
    ///
    /// # Errors
    /// [`Error::TooLarge`]; a store that cannot write.
    pub async fn keep(&self, rows: Vec<Kept>) -> Result<(), Error> {
        if rows.iter().any(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len) > KEPT_LEN_MAX) {
            return Err(Error::TooLarge);
        }
        self.ask(|reply| Command::Keep { rows, reply }).await
    }

    /// What is kept, in the order of the names.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub async fn kept(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        let store = self.store()?;
        let read = move || {
            let mut all = Vec::new();
            store.scan(&KEPT, &mut |key, value| {
                all.extend(key.get(KEPT.len()..).map(|name| (name.to_vec(), value.to_vec())));
                Ok(())
            })?;
            Ok::<_, Error>(all)
        };
        chunks::blocking(read).await
    }
}

impl Actor {
    pub(crate) fn keep(&mut self, rows: Vec<Kept>, reply: Reply<()>) {
        if rows.is_empty() {
            return tell(reply, Ok(()));
        }
        let op = |(name, value): Kept| {
            let key = [KEPT.as_slice(), &name].concat();
            value.map_or_else(|| Op::Delete { key: key.clone() }, |value| Op::Put { key: key.clone(), value })
        };
        let nothing = Staged { ops: Vec::new(), effects: Effects::default() };
        self.commit_staged(nothing, rows.into_iter().map(op).collect(), vec![answer(reply, ())]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_program_keeps_is_there_after_a_start() {
        let dir = tempfile::tempdir().unwrap();
        let row = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        let put = |name: &str, value: &str| (name.as_bytes().to_vec(), Some(value.as_bytes().to_vec()));
        let agent = Agent::open(Config::new(dir.path())).await.unwrap();
        agent.keep(vec![put("b", "2"), put("a", "1"), put("c", "3")]).await.unwrap();
        agent.keep(vec![put("a", "4"), (b"c".to_vec(), None)]).await.unwrap();
        let long = agent.keep(vec![put("d", "5"), (b"e".to_vec(), Some(vec![0; KEPT_LEN_MAX]))]).await;
        assert!(matches!(long, Err(Error::TooLarge)), "{long:?}");
        agent.shutdown().await.unwrap();
        let agent = Agent::open(Config::new(dir.path())).await.unwrap();
        assert_eq!(agent.kept().await.unwrap(), [row("a", "4"), row("b", "2")]);
        agent.shutdown().await.unwrap();
    }
}
