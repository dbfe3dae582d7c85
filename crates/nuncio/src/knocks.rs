//! Agents that nobody has added and that would be let in (contracts/call.md section 7).

use std::sync::Arc;
use std::time::Duration;

use nuncio_proto::call::ServiceName;
use nuncio_proto::ids::AgentId;
use nuncio_proto::invitation::Invitation;
use nuncio_proto::knock::KnockSecret;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::Scope;
use tokio::sync::{Notify, watch};

use crate::agent::Agent;
use crate::command::{Command, Reply};
use crate::error::Error;
use crate::lines::{Line, LineId};

mod door;
mod held;

pub(crate) use door::Door;

/// Pauses between two knocks at a door that cannot call back.
const KNOCK_AGAIN: [u64; 6] = [5, 10, 30, 60, 300, 600];

/// An agent that would be let in, or was by an invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Knocked {
    /// Who: it has signed that it is this one.
    pub by: AgentId,
    /// When it knocked first.
    pub at: UnixMillis,
    /// Where it is reached.
    pub from: Invitation,
    /// Which service it would use.
    pub service: Option<ServiceName>,
    /// What it would do there.
    pub scope: Scope,
    /// In which transaction, by its own word.
    pub transaction: Option<String>,
    /// It came with an invitation, which lets it in for this: [`Agent::admit`].
    pub let_in: Option<Meant>,
}

/// What an invitation lets its bearer in for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meant {
    /// For which service.
    pub service: Option<ServiceName>,
    /// For what there.
    pub scope: Scope,
}

/// What a handle asks of the actor about knocks.
#[derive(Debug)]
pub(crate) enum KnockCommand {
    Hear {
        yes: bool,
        reply: Reply<()>,
    },
    Invite {
        meant: Meant,
        life: Duration,
        times: u32,
        reply: Reply<Invitation>,
    },
    Lines {
        reply: Reply<Vec<Line>>,
    },
    Revoke {
        line: LineId,
        reply: Reply<bool>,
    },
    Knock {
        to: AgentId,
        knock: Box<Meant>,
        secret: Option<KnockSecret>,
        transaction: Option<String>,
        reply: Reply<Option<Arc<Notify>>>,
    },
    List {
        reply: Reply<Vec<Knocked>>,
    },
    Bell {
        reply: Reply<watch::Receiver<u64>>,
    },
    LetIn {
        by: AgentId,
        name: Option<String>,
        reply: Reply<bool>,
    },
    Decline {
        by: AgentId,
        reply: Reply<bool>,
    },
    Admit {
        by: AgentId,
        reply: Reply<bool>,
    },
    Again {
        to: AgentId,
        last: bool,
        reply: Reply<bool>,
    },
}

impl Agent {
    pub(crate) async fn ask_door<T>(&self, make: impl FnOnce(Reply<T>) -> KnockCommand) -> Result<T, Error> {
        self.ask(|reply| Command::Knock(make(reply))).await
    }

    /// Whether agents that nobody has added are heard when they ask to be let in.
    pub async fn hear_knocks(&self, yes: bool) -> Result<(), Error> {
        self.ask_door(|reply| KnockCommand::Hear { yes, reply }).await
    }

    /// Adds a peer, and asks it to be let in: by what its invitation holds, or by whoever owns it. Letters to it wait until then.
    ///
    /// # Errors
    /// As [`Agent::add_peer`].
    pub async fn knock(
        &self,
        invitation: &Invitation,
        name: Option<&str>,
        service: Option<ServiceName>,
        scope: Scope,
        transaction: Option<String>,
    ) -> Result<AgentId, Error> {
        let to = self.add_peer(invitation, name).await?;
        let (secret, knock) = (invitation.knock.clone(), Box::new(Meant { service, scope }));
        let begins = self.ask_door(|reply| KnockCommand::Knock { to, knock, secret, transaction, reply }).await?;
        if let Some(anew) = begins {
            self.spawn_while_running(knock_again(self.clone(), to, anew));
        }
        Ok(to)
    }

    /// Who knocks, and who came with an invitation and was not admitted yet.
    pub async fn knocks(&self) -> Result<Vec<Knocked>, Error> {
        self.ask_door(|reply| KnockCommand::List { reply }).await
    }

    /// Rings when [`Agent::knocks`] has changed.
    pub async fn knock_bell(&self) -> Result<watch::Receiver<u64>, Error> {
        self.ask_door(|reply| KnockCommand::Bell { reply }).await
    }

    /// Lets an agent in that knocks: it is added, and its letters are taken. `false` if it does not.
    ///
    /// # Errors
    /// [`Error::Name`].
    pub async fn let_in(&self, by: AgentId, name: Option<&str>) -> Result<bool, Error> {
        let name = name.map(str::to_owned);
        self.ask_door(|reply| KnockCommand::LetIn { by, name, reply }).await
    }

    /// Turns an agent away that knocks; it is not heard again for as long as a letter lives. `false` if it does not.
    pub async fn decline_knock(&self, by: AgentId) -> Result<bool, Error> {
        self.ask_door(|reply| KnockCommand::Decline { by, reply }).await
    }

    /// Lets an agent in that came with an invitation, once whoever serves has taken note of what it may ([`Knocked::let_in`]): it is added, and its
    /// letters are taken. `false` if there is none.
    pub async fn admit(&self, by: AgentId) -> Result<bool, Error> {
        self.ask_door(|reply| KnockCommand::Admit { by, reply }).await
    }
}

/// A door that cannot call back is knocked at again, less and less often, until it is open or this agent stops.
async fn knock_again(agent: Agent, to: AgentId, anew: Arc<Notify>) {
    let all = || KNOCK_AGAIN.into_iter().chain(core::iter::repeat_n(600, 144)).peekable();
    let mut pauses = all();
    while let Some(seconds) = pauses.next() {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
            () = anew.notified() => {
                pauses = all();
                continue;
            }
        }
        let last = pauses.peek().is_none();
        match agent.ask_door(|reply| KnockCommand::Again { to, last, reply }).await {
            Ok(true) => {}
            _ => return,
        }
    }
}

pub(crate) fn key(tree: [u8; 2], rest: &[u8]) -> Vec<u8> {
    [tree.as_slice(), rest].concat()
}
