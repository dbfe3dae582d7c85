//! What a receiver wants of letters before it delivers them.

use super::Scope;
use crate::content_type::ContentType;
use crate::ids::AgentId;
use crate::letter::Letter;

/// What a receiver wants (contracts/token.md K19 and step 12). The default delivers nothing that has no token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Letters without a token are delivered where no rule wants a scope.
    pub deliver_without_token: bool,
    /// Letters with a token need a hop proof.
    pub wants_proof: bool,
    /// What letters need; every rule that names a letter counts.
    pub rules: Vec<Rule>,
}

/// Letters, and the scope that each of them needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Letters of this type; of every type, if none is named.
    pub content_type: Option<ContentType>,
    /// Letters of this sender; of every sender, if none is named.
    pub from: Option<AgentId>,
    /// What they need.
    pub scope: Scope,
}

impl Policy {
    /// Letters need no token.
    #[must_use]
    pub const fn tokenless() -> Self {
        Self { deliver_without_token: true, wants_proof: false, rules: Vec::new() }
    }

    /// What a letter of this sender needs.
    #[must_use]
    pub fn wanted(&self, from: &AgentId, letter: &Letter) -> Scope {
        let named = self.rules.iter().filter(|rule| rule.names(from, letter));
        named.fold(Scope::default(), |wanted, rule| wanted.union(&rule.scope))
    }
}

impl Rule {
    fn names(&self, from: &AgentId, letter: &Letter) -> bool {
        let typed = self.content_type.as_ref().is_none_or(|wanted| *wanted == letter.content_type);
        typed && self.from.is_none_or(|sender| sender == *from)
    }
}
