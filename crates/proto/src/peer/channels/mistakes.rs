//! What is asked of a channel and cannot be, said in words: the record would refuse it with one word for all (contracts/channel.md C7, C16).

use crate::channel::{Change, Roster};
use crate::ids::AgentId;

/// Why a change cannot be made to a channel as it is. Nothing moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mistake {
    /// Who is to be invited is a member.
    #[error("it is a member already: there is nothing to invite it into")]
    Inside,
    /// Who is to be taken out is no member.
    #[error("it is no member: there is nobody to take out")]
    Outside,
    /// The owner is to be taken out.
    #[error("it is the owner, whom nobody takes out: the owner hands the channel over, and leaves")]
    TheOwner,
    /// Who is to be an admin is no member.
    #[error("it is no member: invite it first, and make it an admin once it has joined")]
    AdminOutside,
    /// Who is to be an admin is one.
    #[error("it is an admin already")]
    AdminAlready,
    /// Who is to be no admin is none.
    #[error("it is no admin: there is nothing to take from it")]
    NoAdmin,
    /// The owner is to be an admin, or none.
    #[error("it is the owner, who may do all that an admin may and is none")]
    OwnerNoAdmin,
    /// The other name is the one that it has.
    #[error("the channel is called that already")]
    SameName,
    /// Who is to be the owner is no member.
    #[error("it is no member: invite it first, and hand over once it has joined")]
    HeirOutside,
    /// Who is to be the owner is it.
    #[error("it is the owner already")]
    OwnerAlready,
    /// An admin would do what only the owner does.
    #[error("only the owner does this: it makes admins, takes admins out, and hands the channel over")]
    OwnersAlone,
    /// It is not left but forgotten: there is nobody whom it could be handed over to.
    #[error("this agent is alone in the channel: forget it instead")]
    Alone,
}

impl Mistake {
    /// Whether a change is none, as far as a person can know.
    pub(super) fn check(roster: &Roster, change: &Change) -> Result<(), Self> {
        match change {
            Change::Add(agents) => all(agents, |agent| no(roster.has(agent), Self::Inside)),
            Change::Remove(agents) => all(agents, |agent| {
                no(*agent == roster.owner(), Self::TheOwner)?;
                no(!roster.has(agent), Self::Outside)
            }),
            Change::Admin { agent, admin } => {
                no(*agent == roster.owner(), Self::OwnerNoAdmin)?;
                no(*admin && !roster.has(agent), Self::AdminOutside)?;
                no(*admin && roster.is_admin(agent), Self::AdminAlready)?;
                no(!*admin && !roster.is_admin(agent), Self::NoAdmin)
            }
            Change::Rename(name) => no(name == roster.name(), Self::SameName),
            Change::HandOver(agent) => {
                no(*agent == roster.owner(), Self::OwnerAlready)?;
                no(!roster.has(agent), Self::HeirOutside)
            }
            Change::Create { .. } | Change::Leave(_) | Change::Succeed(_) => Ok(()),
        }
    }

    /// The same of what an admin proposes.
    // contracts/channel.md C16.
    pub(super) fn check_proposal(roster: &Roster, change: &Change) -> Result<(), Self> {
        Self::check(roster, change)?;
        let is_owners = match change {
            Change::Admin { .. } | Change::HandOver(_) => true,
            Change::Remove(agents) => agents.iter().any(|agent| roster.is_admin(agent)),
            _ => false,
        };
        no(is_owners, Self::OwnersAlone)
    }
}

fn all(agents: &[AgentId], check: impl Fn(&AgentId) -> Result<(), Mistake>) -> Result<(), Mistake> {
    agents.iter().try_for_each(check)
}

const fn no(is_so: bool, mistake: Mistake) -> Result<(), Mistake> {
    if is_so { Err(mistake) } else { Ok(()) }
}
