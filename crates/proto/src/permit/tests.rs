use super::*;
use crate::testing::rng;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const DAY: u64 = 86_400_000;

fn agent(seed: u8) -> Identity {
    Identity::generate(&mut rng(seed.into())).unwrap()
}

fn service() -> ServiceName {
    "files".parse().unwrap()
}

fn terms(holder: &Identity, scope: &str, days: u64, further: u8) -> Terms {
    Terms { holder: holder.id(), scope: Scope::parse(scope).unwrap(), until: NOW.plus(days * DAY), further }
}

struct Chain {
    giver: Identity,
    agents: [Identity; 3],
    permits: [Permit; 3],
}

/// Given, handed on, and handed on once more.
fn chain() -> Chain {
    let (giver, agents) = (agent(1), [agent(2), agent(3), agent(4)]);
    let first = Permit::give(&giver, service(), terms(&agents[0], "tools.read tools.write:a", 30, 3)).unwrap();
    let second = first.narrow(&agents[0], terms(&agents[1], "tools.read", 30, 1)).unwrap();
    let third = second.narrow(&agents[1], terms(&agents[2], "tools.read", 2, 0)).unwrap();
    Chain { giver, agents, permits: [first, second, third] }
}

fn asks(chain: &Chain, at: usize) -> impl Fn(UnixMillis, Option<PermitId>) -> Result<String, NotAllowed> {
    let (giver, holder, permit) = (chain.giver.id(), chain.agents[at].id(), chain.permits[at].clone());
    move |now, over| {
        let asked = Asked { giver: &giver, holder: &holder, service: &service(), now };
        permit.allows(&asked, |_, link| Some(link.id()) == over).map(ToString::to_string)
    }
}

#[test]
fn a_chain_allows_what_its_last_link_says_until_it_is_over() {
    let chain = chain();
    assert_eq!(asks(&chain, 0)(NOW, None).unwrap(), "tools.read tools.write:a");
    let last = asks(&chain, 2);
    assert_eq!(last(NOW, None).unwrap(), "tools.read");
    assert!(last(UnixMillis(NOW.0 + 2 * DAY - 1), None).is_ok());
    assert_eq!(last(NOW.plus(2 * DAY), None), Err(NotAllowed::Over));
}

#[test]
fn a_revoked_link_takes_all_below_it() {
    let chain = chain();
    let ids = chain.permits.each_ref().map(Permit::id);
    for at in 0..3 {
        for (revoked, id) in ids.iter().enumerate() {
            let counts = asks(&chain, at)(NOW, Some(*id));
            assert_eq!(counts == Err(NotAllowed::Revoked), revoked <= at, "{at} {revoked}");
        }
    }
}

#[test]
fn it_is_for_its_holder_at_its_giver_for_its_service_alone() {
    let chain = chain();
    let (giver, holder, other) = (chain.giver.id(), chain.agents[1].id(), agent(9).id());
    let asked = |giver: &AgentId, holder: &AgentId, service: &str| {
        let service = service.parse().unwrap();
        let asked = Asked { giver, holder, service: &service, now: NOW };
        chain.permits[1].allows(&asked, |_, _| false).map(|_| ())
    };
    assert_eq!(asked(&giver, &holder, "files"), Ok(()));
    assert_eq!(asked(&other, &holder, "files"), Err(NotAllowed::Giver));
    assert_eq!(asked(&giver, &other, "files"), Err(NotAllowed::Holder));
    assert_eq!(asked(&giver, &chain.agents[0].id(), "files"), Err(NotAllowed::Holder), "who has handed it on is not");
    assert_eq!(asked(&giver, &holder, "mail"), Err(NotAllowed::Service));
}

#[test]
fn nobody_hands_on_more_than_it_has() {
    let chain = chain();
    let [first, second, third] = &chain.permits;
    let [b, c, d] = &chain.agents;
    let no = |permit: &Permit, by: &Identity, terms: Terms| permit.narrow(by, terms).unwrap_err();
    assert_eq!(no(first, b, terms(c, "tools.write", 1, 0)), NotPermit::Wider);
    assert_eq!(no(first, b, terms(c, "tools.read:a", 1, 0)), NotPermit::Wider, "no scope is part of another");
    assert_eq!(no(first, b, terms(c, "tools.read service.use", 1, 0)), NotPermit::Wider);
    assert_eq!(no(first, b, terms(c, "tools.read", 31, 0)), NotPermit::Wider);
    assert_eq!(no(first, b, terms(c, "tools.read", 30, 3)), NotPermit::Wider);
    assert_eq!(no(first, b, terms(c, "", 30, 0)), NotPermit::Scope);
    assert_eq!(no(third, d, terms(c, "tools.read", 1, 0)), NotPermit::Wider, "not to be handed on");
    assert_eq!(no(second, b, terms(d, "tools.read", 1, 0)), CryptoError::BadSignature.into(), "no more its holder");
    assert_eq!(Permit::give(&chain.giver, service(), terms(b, "a", 1, 4)).unwrap_err(), NotPermit::Links);
    let long = Scope::parse(&"s".repeat(limit::PERMIT_LEN_MAX)).unwrap();
    let long = Permit::give(&chain.giver, service(), Terms { scope: long, ..terms(b, "a", 1, 0) });
    assert!(matches!(long, Err(NotPermit::Codec(CodecError::TooLong { .. }))));
}

/// What somebody writes who keeps no rule: every link genuinely signed.
fn forged(chain: &Chain, wide: Terms) -> Vec<u8> {
    let above = &chain.permits[0];
    let head = Head { giver: chain.giver.id(), service: &above.service };
    let body = head.body(Some(&above.last), &wide);
    let signature = chain.agents[0].signing().sign(label::PERMIT, &body);
    let link = Link { terms: wide, signature, digest: digest(&body) };
    Permit { first: vec![above.last.clone()], last: link, ..above.clone() }.to_bytes()
}

#[test]
fn a_widened_chain_is_no_permit_although_it_is_signed() {
    let chain = chain();
    let c = &chain.agents[1];
    assert!(Permit::parse(&forged(&chain, terms(c, "tools.read", 30, 2))).is_ok());
    for wide in [terms(c, "tools.write", 1, 0), terms(c, "tools.read", 31, 0), terms(c, "tools.read", 1, 3)] {
        assert_eq!(Permit::parse(&forged(&chain, wide.clone())).unwrap_err(), NotPermit::Wider, "{wide:?}");
    }
}

#[test]
fn a_link_stands_under_the_links_alone_under_which_it_was_signed() {
    let chain = chain();
    let b = &chain.agents[0];
    let wide = Permit::give(&chain.giver, service(), terms(b, "tools.read tools.write", 300, 3)).unwrap();
    let moved = Permit { first: vec![wide.last], ..chain.permits[1].clone() };
    assert_eq!(Permit::parse(&moved.to_bytes()).unwrap_err(), CryptoError::BadSignature.into());
    let elsewhere = Permit { service: "mail".parse().unwrap(), ..chain.permits[1].clone() };
    assert_eq!(Permit::parse(&elsewhere.to_bytes()).unwrap_err(), CryptoError::BadSignature.into());
    let cut = Permit { first: Vec::new(), ..chain.permits[1].clone() };
    assert_eq!(Permit::parse(&cut.to_bytes()).unwrap_err(), CryptoError::BadSignature.into());
}

#[test]
fn a_byte_flipped_anywhere_is_no_permit() {
    let bytes = chain().permits[2].to_bytes();
    assert_eq!(Permit::parse(&bytes).unwrap().to_bytes(), bytes);
    for at in 0..bytes.len() {
        let mut forged = bytes.clone();
        forged[at] ^= 1;
        assert!(Permit::parse(&forged).is_err(), "byte {at}");
    }
}

#[test]
fn a_line_is_read_as_it_was_printed() {
    let permit = chain().permits[2].clone();
    let line = permit.to_string();
    assert_eq!(format!(" {line}\r\n").parse(), Ok(permit));
    for bad in ["", "nuncio:", &line[1..], &format!("{line}="), &line.replace(':', ": ")] {
        assert_eq!(bad.parse::<Permit>(), Err(NotPermit::Line), "{bad}");
    }
}
