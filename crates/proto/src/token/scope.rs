//! What a token allows: the one matcher of scopes in the project.

use std::collections::BTreeSet;
use std::fmt;

/// A set of scope tokens (RFC 6749 section 3.3). Two are equal when their bytes are; none implies another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope(BTreeSet<String>);

impl Scope {
    /// Reads `a b c`: one space between two, none twice (contracts/token.md K5). The empty text is the empty set.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::default());
        }
        let mut scopes = BTreeSet::new();
        let fresh = text.split(' ').all(|scope| is_scope_token(scope) && scopes.insert(scope.to_owned()));
        fresh.then_some(Self(scopes))
    }

    /// Whether every scope of the other is in this one.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.0.is_subset(&self.0)
    }

    /// What both allow.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }

    /// What either allows.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).cloned().collect())
    }

    /// Whether it allows nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The scopes, in the order of their bytes.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(at, scope)| write!(f, "{}{scope}", if at == 0 { "" } else { " " }))
    }
}

fn is_scope_token(text: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    !text.is_empty() && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::Scope;

    fn scope(text: &str) -> Scope {
        Scope::parse(text).unwrap()
    }

    #[test]
    fn only_lists_of_scope_tokens_are_read() {
        assert_eq!(scope("b a").to_string(), "a b");
        assert!(scope("").is_empty());
        for bad in [" a", "a ", "a  b", "a a", "a\tb", "a\"b", "a\\b", "ä", "a\u{7f}"] {
            assert_eq!(Scope::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn nothing_implies_anything_else() {
        let wide = scope("travel.book travel.pay");
        assert!(wide.covers(&scope("travel.pay")) && wide.covers(&wide) && wide.covers(&scope("")));
        for other in ["travel", "travel.*", "*", "travel.pay.all", "TRAVEL.PAY", "travel.pay other"] {
            assert!(!wide.covers(&scope(other)), "{other}");
            assert!(!scope("travel * travel.*").covers(&scope("travel.pay")));
        }
        assert_eq!(wide.intersection(&scope("travel.pay other")), scope("travel.pay"));
    }
}
