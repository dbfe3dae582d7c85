//! Permits.

use nuncio_proto::identity::Identity;
use nuncio_proto::permit::{Permit, Terms};
use nuncio_proto::testing::rng;
use nuncio_proto::time::UnixMillis;
use nuncio_proto::token::Scope;

use super::same;

/// What is taken has one spelling, and no link of it allows more than the one above. What its bytes say as a link, genuinely signed, is refused, or read
/// as it was made.
pub fn permit(bytes: &[u8]) {
    if let Ok(permit) = Permit::parse(bytes) {
        same("permit", &permit.to_bytes(), bytes);
        assert_eq!(
            permit.to_string().parse().as_ref(),
            Ok(&permit),
            "permit: printed and read, it says something else"
        );
        narrows(&permit);
    }
    let Some((first, second)) = bytes.split_at_checked(bytes.len() / 2) else { return };
    let (Ok(giver), Ok(holder)) = (Identity::generate(&mut rng(1)), Identity::generate(&mut rng(2))) else { return };
    let (Some(wide), Some(narrow)) = (terms(first, &holder), terms(second, &giver)) else { return };
    let Ok(service) = "files".parse() else { return };
    let Ok(given) = Permit::give(&giver, service, wide) else { return };
    assert_eq!(Permit::parse(&given.to_bytes()).as_ref(), Ok(&given), "permit: given, it is not read");
    if let Ok(narrowed) = given.narrow(&holder, narrow) {
        assert_eq!(Permit::parse(&narrowed.to_bytes()).as_ref(), Ok(&narrowed), "permit: handed on, it is not read");
        narrows(&narrowed);
    }
}

fn narrows(permit: &Permit) {
    let links: Vec<_> = permit.links().map(|link| &link.terms).collect();
    let narrower = |above: &Terms, below: &Terms| {
        let within = below.scope.iter().all(|scope| above.scope.iter().any(|wide| wide == scope));
        within && below.until <= above.until && below.further < above.further
    };
    assert!(links.windows(2).all(|two| matches!(two, [a, b] if narrower(a, b))), "permit: a link allows more");
    assert!(links.iter().all(|terms| !terms.scope.is_empty()), "permit: a link allows nothing");
}

/// How far, until when, and what.
fn terms(bytes: &[u8], holder: &Identity) -> Option<Terms> {
    let (further, rest) = bytes.split_first()?;
    let (until, scope) = rest.split_first_chunk::<8>()?;
    let scope = Scope::parse(core::str::from_utf8(scope).ok()?)?;
    Some(Terms { holder: holder.id(), scope, until: UnixMillis(u64::from_be_bytes(*until)), further: *further })
}
