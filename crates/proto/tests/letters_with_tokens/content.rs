//! What a bound token and a hop proof are of.

use super::*;

/// One that is bound to a letter's content.
fn mint_bound(from: AgentId, to: AgentId, pay: &PayloadHash) -> Vec<u8> {
    let (salt, hash) = pay.to_string().split_once('.').map(|(salt, hash)| (salt.to_owned(), hash.to_owned())).unwrap();
    minted(from, to, "t-1", "j-1", START, Some(json!({ "salt": salt, "hash": hash })))
}

#[test]
fn a_hop_proof_is_checked_where_there_is_one_and_wanted_where_the_policy_says_so() {
    let (mut a, mut b) = guarded();
    let (to, token) = (b.peer.id(), token(&a, &b));
    let mut proved = with_token(&mut a, "proved", &token);
    proved.want_proof();
    a.post(to, &proved);
    settle(&mut a, &mut b);
    assert_eq!(b.inbox, ["proved"], "the peer's own proof holds");

    b.peer.set_verifier(|verifier| verifier.set_policy(Policy { wants_proof: true, ..Policy::default() }));
    let mut again = with_token(&mut a, "by its hash", &token);
    again.want_proof();
    a.post(to, &again);
    settle(&mut a, &mut b);
    assert_eq!(b.inbox, ["proved", "by its hash"], "also of a token that is named by its hash");
    let bare = with_token(&mut a, "no proof", &token);
    a.post(to, &bare);
    settle(&mut a, &mut b);
    assert_eq!(failure(&a, &bare), Some(code::TOKEN_PROOF));

    let mut other = with_token(&mut a, "another's proof", &token);
    let value = b"e30.e30.AAAA".to_vec();
    other.set_extension(nuncio_proto::letter::Extension { number: extension::HOP_PROOF, critical: false, value });
    a.post(to, &other);
    settle(&mut a, &mut b);
    assert_eq!(failure(&a, &other), Some(code::TOKEN_PROOF));
}

/// All that a letter says but its token, altered one thing at a time.
fn altered(letter: &Letter) -> Vec<Letter> {
    let handle = |value: &[u8]| {
        let mut other = letter.clone();
        let value = value.to_vec();
        other.set_extension(nuncio_proto::letter::Extension {
            number: extension::LARGE_PAYLOAD,
            critical: true,
            value,
        });
        other
    };
    vec![
        Letter { payload: b"other".to_vec(), ..letter.clone() },
        Letter { content_type: ContentType::CBOR, ..letter.clone() },
        Letter { reply_to: Some(letter.id), ..letter.clone() },
        Letter { deadline: Some(letter.id.created().plus(60_000)), ..letter.clone() },
        Letter { id: nuncio_proto::ids::LetterId::new(letter.id.created(), [77; 10]), ..letter.clone() },
        handle(
            &nuncio_proto::payload::PayloadKey { id: [1; 16], key: nuncio_proto::secret::Key::new([2; 32]), len: 9 }
                .encode(),
        ),
    ]
}

#[test]
fn a_bound_token_and_a_hop_proof_are_of_all_that_a_letter_says() {
    let (mut a, mut b) = guarded();
    let (from, to) = (a.peer.id(), b.peer.id());
    let letter = a.letter("the one");
    let salt = [5; 16];
    let pay = PayloadHash::new(salt, &letter.content());
    let bound = mint_bound(from, to, &pay);
    for mut other in altered(&letter) {
        other.set_token(bound.clone());
        a.post(to, &other);
        settle(&mut a, &mut b);
        assert_eq!(failure(&a, &other), Some(code::TOKEN_PAYLOAD), "{other:?}");
        a.failed.clear();
    }
    let mut meant = letter.clone();
    meant.set_token(bound);
    meant.want_proof();
    assert_eq!(meant.content(), letter.content(), "neither token nor proof is content");
    a.post(to, &meant);
    settle(&mut a, &mut b);
    assert_eq!(b.inbox, ["the one"]);
}
