//! Permits: what one agent lets another do with a service of its own, for long (contracts/permit.md).

use std::time::Duration;

use nuncio_proto::call::ServiceName;
use nuncio_proto::content_type::ContentType;
use nuncio_proto::control::Control;
use nuncio_proto::ids::{AgentId, LetterId, PermitId};
use nuncio_proto::letter::{Letter, LetterKind};
use nuncio_proto::peer::PermitError;
use nuncio_proto::permit::{Permit, Terms};
use nuncio_proto::step::{Effects, Staged, Step};
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::Scope;

use crate::actor::Actor;
use crate::agent::Agent;
use crate::command::{Command, Reply};
use crate::effects::{answer, tell};
use crate::entropy::{self, now};
use crate::error::Error;

/// What a permit is to say: for whom, for what, for how long, and how often it may be handed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPermit {
    /// Whose it is.
    pub holder: AgentId,
    /// What it allows; not empty.
    pub scope: Scope,
    /// How long, from now on. `None`, of one that is handed on: as long as what it is handed on of.
    pub life: Option<Duration>,
    /// How many may hand it on, one after the other.
    pub further: u8,
}

/// What a handle asks of the actor about permits.
#[derive(Debug)]
pub(crate) enum PermitCommand {
    Give { service: ServiceName, new: NewPermit, reply: Reply<Permit> },
    Narrow { id: PermitId, new: NewPermit, reply: Reply<Permit> },
    Keep { permit: Box<Permit>, reply: Reply<()> },
    Revoke { id: PermitId, reply: Reply<()> },
    List { reply: Reply<Vec<Permit>> },
    Permitted { holder: AgentId, service: ServiceName, reply: Reply<Option<Scope>> },
}

impl Agent {
    async fn ask_permits<T>(&self, make: impl FnOnce(Reply<T>) -> PermitCommand) -> Result<T, Error> {
        self.ask(|reply| Command::Permit(make(reply))).await
    }

    /// Gives an agent a permit for a service of this one's. It counts from now on; the holder needs it only to hand it on.
    ///
    /// # Errors
    /// [`Error::Permit`].
    pub async fn give_permit(&self, service: ServiceName, new: NewPermit) -> Result<Permit, Error> {
        self.ask_permits(|reply| PermitCommand::Give { service, new, reply }).await
    }

    /// Hands on a permit that this agent holds and keeps, narrower. Its holder shows it to the giver: [`Agent::keep_permit`] there.
    ///
    /// # Errors
    /// [`Error::Permit`].
    pub async fn narrow_permit(&self, id: PermitId, new: NewPermit) -> Result<Permit, Error> {
        self.ask_permits(|reply| PermitCommand::Narrow { id, new, reply }).await
    }

    /// Keeps a permit of this agent's, and shows it to its giver, which is a peer.
    ///
    /// # Errors
    /// [`Error::Permit`]; [`Error::Peer`] of a giver that is not known here.
    pub async fn keep_permit(&self, permit: Permit) -> Result<(), Error> {
        let permit = Box::new(permit);
        self.ask_permits(|reply| PermitCommand::Keep { permit, reply }).await
    }

    /// Revokes a link of a permit, and all below it: of one that this agent gave, at once; of one that it handed on, as soon as its giver hears it.
    ///
    /// # Errors
    /// [`Error::Permit`]; [`Error::Peer`] of a giver that is not known here.
    pub async fn revoke_permit(&self, id: PermitId) -> Result<(), Error> {
        self.ask_permits(|reply| PermitCommand::Revoke { id, reply }).await
    }

    /// All permits that are kept: those that this agent gave or was shown, holds, or has handed on.
    pub async fn permits(&self) -> Result<Vec<Permit>, Error> {
        self.ask_permits(|reply| PermitCommand::List { reply }).await
    }

    /// What permits of this agent's allow another, now, with one of its services.
    pub async fn permitted(&self, holder: AgentId, service: ServiceName) -> Result<Option<Scope>, Error> {
        self.ask_permits(|reply| PermitCommand::Permitted { holder, service, reply }).await
    }
}

impl Actor {
    pub(crate) fn permit_command(&mut self, command: PermitCommand) {
        match command {
            PermitCommand::Give { service, new, reply } => {
                let made = self.peer.give_permit(service, new.terms(None), now());
                self.made(made, reply);
            }
            PermitCommand::Narrow { id, new, reply } => {
                let me = self.peer.id();
                let held = self.peer.permits().find(|permit| *permit.holder() == me && permit.id() == id);
                let until = held.map(|permit| permit.last().terms.until);
                let made = self.peer.narrow_permit(id, new.terms(until), now());
                self.made(made, reply);
            }
            PermitCommand::Keep { permit, reply } => match self.peer.keep_permit(&permit, now()) {
                Ok(step) => self.then_told(step, &permit, &Control::Permit(permit.to_bytes()), reply),
                Err(error) => tell(reply, Err(error.into())),
            },
            PermitCommand::Revoke { id, reply } => match self.peer.revoke_permit(id) {
                Ok((None, step)) => self.commit_with(step, vec![answer(reply, ())]),
                Ok((Some(permit), step)) => {
                    self.then_told(step, &permit, &Control::PermitOver(permit.to_bytes()), reply);
                }
                Err(error) => tell(reply, Err(error.into())),
            },
            PermitCommand::List { reply } => {
                let all = self.peer.permits().cloned().collect();
                tell(reply, Ok(all));
            }
            PermitCommand::Permitted { holder, service, reply } => {
                let scope = self.peer.permitted(&holder, &service, now());
                tell(reply, Ok(scope));
            }
        }
    }

    fn made(&mut self, made: Result<(Permit, Step), PermitError>, reply: Reply<Permit>) {
        match made {
            Ok((permit, step)) => self.commit_with(step, vec![answer(reply, permit)]),
            Err(error) => tell(reply, Err(error.into())),
        }
    }

    /// Does it, and has the permit's giver told, in one commit. What is told waits in the outbox while the giver is away.
    fn then_told(&mut self, step: Step, permit: &Permit, control: &Control, reply: Reply<()>) {
        let giver = *permit.giver();
        let letter = match entropy::random() {
            Ok(random) => Letter::plain(LetterId::new(now(), random), ContentType::CBOR, control.encode()),
            Err(error) => return tell(reply, Err(error)),
        };
        let letter = Letter { kind: LetterKind::Control, ..letter };
        if let Err(error) = self.peer.send(giver, &letter, now()) {
            return tell(reply, Err(error.into()));
        }
        let mut together = Staged { ops: Vec::new(), effects: Effects::default() };
        self.stage_onto(&mut together, step);
        match self.peer.send(giver, &letter, now()) {
            Ok(told) => {
                self.stage_onto(&mut together, told);
                self.commit_staged(together, Vec::new(), vec![answer(reply, ())]);
                self.hurry(giver);
            }
            // It is done here, and its giver does not hear of it.
            Err(error) => {
                self.commit_staged(together, Vec::new(), Vec::new());
                tell(reply, Err(error.into()));
            }
        }
    }

    /// Deletes those whose time is over.
    pub(crate) fn forget_permits(&mut self, now: UnixMillis) {
        let step = self.peer.forget_permits(now);
        step.into_iter().for_each(|step| self.commit(step));
    }
}

impl NewPermit {
    fn terms(self, above: Option<UnixMillis>) -> Terms {
        let Self { holder, scope, life, further } = self;
        let life = life.map(|life| now().plus(u64::try_from(life.as_millis()).unwrap_or(u64::MAX)));
        // Of one that is given, none is over at once.
        Terms { holder, scope, until: life.or(above).unwrap_or_default(), further }
    }
}
