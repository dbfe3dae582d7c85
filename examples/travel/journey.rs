//! One journey: the agents' processes, and the path that a transaction takes through them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use nuncio::{Incoming, Scope};
use serde::{Deserialize, Serialize};

use super::domain::Domain;
use super::process::{Order, Process, Words};
use super::roles::{ROLES, Wish};

/// What a letter and its token said, as its receiver saw it: the token was verified before the letter was delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hop {
    pub(crate) to: String,
    pub(crate) asked: String,
    pub(crate) transaction: String,
    pub(crate) principal: String,
    /// Who acted so far, the first first; the last is who asked.
    pub(crate) chain: Vec<String>,
    pub(crate) scope: String,
    pub(crate) details: serde_json::Value,
    pub(crate) hops_left: u8,
    /// The token allows this one payload.
    pub(crate) bound: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
}

impl Hop {
    /// `None` for a letter without a token.
    pub(crate) fn of(to: &str, letter: &Incoming, with_token: bool) -> Option<Self> {
        let grant = letter.grant.as_ref()?;
        Some(Self {
            to: to.to_owned(),
            asked: letter.payload.text().unwrap_or_default().to_owned(),
            transaction: grant.transaction().to_owned(),
            principal: grant.principal().to_owned(),
            chain: grant.chain().to_vec(),
            scope: grant.scope().to_string(),
            details: grant.details().unwrap_or_default(),
            hops_left: grant.hops_left(),
            bound: grant.is_of_this_letter(),
            token: with_token.then(|| grant.token().to_owned()),
        })
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.chain.last().map_or("?", String::as_str);
        writeln!(f, "  {from} asks {}: \"{}\"", self.to, self.asked)?;
        write!(f, "    it may {}, for {}; ", self.scope, self.principal)?;
        match self.hops_left {
            0 => f.write_str("no hop left")?,
            1 => f.write_str("1 hop left")?,
            left => write!(f, "{left} hops left")?,
        }
        f.write_str(if self.bound { "; this letter alone" } else { "" })
    }
}

/// Holds a path against what it has to be: each asks the next in the same transaction, for the same principal and details, with less scope and a hop less.
pub(crate) fn check(path: &[Hop], budget_eur: u64) -> Result<()> {
    ensure!(path.len() == ROLES.len() - 1, "the transaction made {} hops", path.len());
    for (number, (hop, pair)) in path.iter().zip(ROLES.windows(2)).enumerate() {
        ensure!(pair.last().is_some_and(|to| *to == hop.to), "{} has a letter out of its turn", hop.to);
        // The gateway is there twice: it began the transaction, and then handed it on.
        let acted = ROLES.iter().take(1).chain(ROLES.iter().take(number + 1));
        ensure!(acted.eq(&hop.chain), "who acted before {}: {:?}", hop.to, hop.chain);
        ensure!(
            hop.details.get("budget_eur").is_some_and(|budget| *budget == budget_eur),
            "the details at {}: {}",
            hop.to,
            hop.details
        );
        ensure!(hop.bound == (hop.to == "payment"), "{}'s token is bound to the wrong payload", hop.to);
    }
    for (one, next) in path.iter().zip(path.iter().skip(1)) {
        ensure!(one.transaction == next.transaction && one.principal == next.principal, "{} acts for another", next.to);
        ensure!(one.hops_left == next.hops_left + 1, "{} has {} hops left", next.to, next.hops_left);
        let (wider, narrower) = Scope::parse(&one.scope).zip(Scope::parse(&next.scope)).context("scopes")?;
        ensure!(wider.covers(&narrower) && wider != narrower, "{} may {}", next.to, next.scope);
    }
    Ok(())
}

/// The agents, each in a process of its own, and each a peer of every other.
pub(crate) struct Crew(pub(crate) BTreeMap<&'static str, Process>);

impl Crew {
    pub(crate) async fn start(words: Words, dir: &Path, domain: &Domain) -> Result<Self> {
        let mut crew = BTreeMap::new();
        for role in ROLES {
            crew.insert(role, Process::start(words, role, &dir.join(role), &domain.invitation()?).await?);
        }
        let known: Vec<(String, String)> =
            crew.iter().map(|(role, process)| ((*role).to_owned(), process.invitation.to_string())).collect();
        for (role, process) in &mut crew {
            process.meet(known.iter().filter(|(other, _)| other != role).cloned().collect()).await?;
        }
        Ok(Self(crew))
    }

    pub(crate) fn get(&mut self, role: &str) -> Result<&mut Process> {
        self.0.get_mut(role).with_context(|| format!("{role} is not there"))
    }

    /// One journey from wish to answer, and the path that its transaction took.
    pub(crate) async fn travel(&mut self, wish: Wish) -> Result<(String, Vec<Hop>)> {
        self.get("gateway")?.order(&Order::Wish(wish)).await?;
        let answer = self.get("gateway")?.answer().await?;
        let mut path = Vec::new();
        for role in ROLES.iter().skip(1) {
            path.push(self.get(role)?.hop().await.with_context(|| format!("the gateway answers: {answer}"))?);
        }
        Ok((answer, path))
    }

    pub(crate) async fn stop(self) -> Result<()> {
        for (_, process) in self.0 {
            process.stop().await?;
        }
        Ok(())
    }
}
