//! Letters that are sealed once by a member whose runtime does what none of ours does.

use nuncio_contracts::registry::{code, extension, time};
use nuncio_proto::channel::{ChannelPlace, History, Outgoing, Says, Word};
use nuncio_proto::content_type::ContentType;
use nuncio_proto::control::Control;
use nuncio_proto::identity::Identity;
use nuncio_proto::ids::{ChannelId, EpochId, LetterId, Seq};
use nuncio_proto::letter::{Extension, Letter, LetterKind};
use nuncio_proto::peer::ChannelNews;
use nuncio_proto::rows;
use nuncio_proto::testing::rng;
use nuncio_proto::time::UnixMillis;

use super::{Group, LONG, guarded, send, token};

/// A chain by hand, handed over as it must be.
pub(crate) struct Forger {
    outgoing: Outgoing,
    by: usize,
    pub(crate) epoch: EpochId,
    pub(crate) seq: Seq,
}

impl Forger {
    pub(crate) fn new(group: &mut Group, by: usize, channel: ChannelId) -> Self {
        let now = group.now;
        let one = &mut group.agents[by];
        let record = one.peer.channel(&channel).unwrap();
        let (epoch, seq) = (record.epoch(), 100);
        let mut outgoing = Outgoing::new(record, one.peer.id());
        outgoing.skip_to(seq);
        let new = outgoing.begin(record, now, &mut one.rng).unwrap();
        let keys: Vec<_> = new.keys().iter().map(|(to, key)| (*to, key.encode())).collect();
        outgoing.apply_chain(new);
        for (to, key) in keys {
            let mut letter = group.letter(by, "");
            (letter.kind, letter.content_type) = (LetterKind::Control, ContentType::CBOR);
            letter.payload = Control::Channel(Box::new(Word { channel, says: Says::Key(key) })).encode();
            let one = &mut group.agents[by];
            let step = one.peer.send(to, &letter, now).unwrap();
            one.take(step);
        }
        group.pass(time::RESEND_FIRST, 2);
        Self { outgoing, by, epoch, seq }
    }

    /// Seals a letter, and gives it to one member; `moves` on to the next number.
    pub(crate) fn give(&mut self, group: &mut Group, to: usize, letter: &Letter, moves: bool) -> [u8; 12] {
        let (now, reader) = (group.now, group.id(to));
        let one = &mut group.agents[self.by];
        let mut nonce = [0; 12];
        rand_core::Rng::fill_bytes(&mut one.rng, &mut nonce);
        let signing = one.peer.identity().signing();
        let sealed = self.outgoing.seal(&self.epoch, letter.encode(), None, &nonce, signing, now).unwrap();
        let (frame, sender) = (sealed.frame_for(&reader).unwrap(), one.id());
        if moves {
            self.outgoing.apply(&sealed);
            self.seq += 1;
        }
        let other = &mut group.agents[to];
        let step = other.peer.receive(Some(sender), &frame, now, &mut other.rng, &other.disk).unwrap();
        other.take(step);
        nonce
    }
}

/// Whether a refusal of a letter waits in an agent's outbox.
pub(crate) fn has_refused(group: &Group, at: usize, letter: LetterId, code: u16, frame: [u8; 12]) -> bool {
    let said = Control::Refused { letter, code, frame }.encode();
    let rows = group.agents[at].disk.0.iter().filter(|(key, _)| key[0] == rows::OUTBOX);
    rows.into_iter().any(|(_, row)| row.windows(said.len()).any(|part| part == said))
}

fn extended(mut letter: Letter, number: u16, critical: bool, value: Vec<u8>) -> Letter {
    letter.set_extension(Extension { number, critical, value });
    letter
}

/// It hands itself over.
fn earlier(letter: Letter) -> Letter {
    let author = Identity::generate(&mut rng(99)).unwrap().id();
    let about = History::about(author, &letter).unwrap();
    let Extension { number, critical, value } = about.extension();
    extended(letter, number, critical, value)
}

/// contracts/channel.md C52, C70, C72: every form that is none, with its code; nothing is delivered, and the channel goes on.
#[test]
fn a_letter_that_is_none_is_refused_and_its_sender_is_told() {
    let (mut group, channel) = guarded(11);
    let mut forger = Forger::new(&mut group, 1, channel);
    type Alter = fn(Letter, ChannelPlace) -> Letter;
    let cases: [(&str, Alter, u16); 12] = [
        ("a letter between runtimes", |l, _| Letter { kind: LetterKind::Control, ..l }, code::MALFORMED),
        ("another number", |l, p| placed(l, ChannelPlace { seq: p.seq + 1, ..p }), code::MALFORMED),
        ("another epoch", |l, p| placed(l, ChannelPlace { epoch: EpochId::from_bytes([1; 32]), ..p }), code::MALFORMED),
        (
            "another channel",
            |l, p| placed(l, ChannelPlace { channel: ChannelId::from_bytes([1; 32]), ..p }),
            code::MALFORMED,
        ),
        ("no place", |l, _| unplaced(l), code::MALFORMED),
        ("a commitment", |l, _| extended(l, extension::AUDIT, true, vec![0x82, 0x41, 0, 0xf6]), code::MALFORMED),
        ("a large payload", |l, _| extended(l, extension::LARGE_PAYLOAD, true, vec![0; 60]), code::MALFORMED),
        ("an earlier letter", |l, _| earlier(l), code::MALFORMED),
        ("a token's hash", |l, _| extended(l, extension::TOKEN, true, vec![7; 32]), code::TOKEN_MALFORMED),
        ("a token that is not critical", |l, _| uncritical(l), code::TOKEN_MALFORMED),
        ("an unknown extension", |l, _| extended(l, 900, true, vec![]), code::UNKNOWN_EXTENSION),
        ("of next week", |l, _| later(l), code::FUTURE),
    ];
    for (what, alter, expected) in cases {
        let place = ChannelPlace { channel, epoch: forger.epoch, seq: forger.seq };
        let token = token(&group, 1, channel, "t-1");
        let letter = alter(placed(super::with_token(&mut group, 1, what, &token), place), place);
        let nonce = forger.give(&mut group, 2, &letter, true);
        assert!(has_refused(&group, 2, letter.id, expected, nonce), "{what}");
        assert!(group.agents[2].inbox.is_empty(), "{what}");
    }
    let place = ChannelPlace { channel, epoch: forger.epoch, seq: forger.seq };
    let token = token(&group, 1, channel, "t-1");
    let good = placed(super::with_token(&mut group, 1, "good", &token), place);
    forger.give(&mut group, 2, &good, true);
    assert_eq!(group.agents[2].texts(channel), ["good"]);
    // Once more, under another number.
    let again = placed(good, ChannelPlace { seq: forger.seq, ..place });
    let nonce = forger.give(&mut group, 2, &again, true);
    assert_eq!(group.agents[2].texts(channel), ["good"]);
    assert!(!has_refused(&group, 2, again.id, code::MALFORMED, nonce));
    send(&mut group, 3, channel, "goes on");
    group.pass(LONG / 10, 4);
    assert_eq!(group.agents[2].texts(channel), ["good", "goes on"]);
}

fn placed(mut letter: Letter, place: ChannelPlace) -> Letter {
    letter.set_extension(place.extension());
    letter
}

fn unplaced(mut letter: Letter) -> Letter {
    letter.extensions.retain(|one| one.number != extension::CHANNEL);
    letter
}

fn uncritical(mut letter: Letter) -> Letter {
    letter.extensions.iter_mut().filter(|one| one.number == extension::TOKEN).for_each(|one| one.critical = false);
    letter
}

fn later(letter: Letter) -> Letter {
    let created = UnixMillis(letter.id.created().0 + time::LETTER_LIFE_MAX);
    Letter { id: LetterId::new(created, [5; 10]), ..letter }
}

/// contracts/channel.md C39: who answers says what it has of the author that it answers, so whom that told something else sees it at once.
#[test]
fn an_answer_attests_the_author_that_it_answers() {
    let (mut group, channel) = guarded(11);
    // Everybody has something of everybody, and no turn begins with the one that lies.
    let mut order: Vec<usize> = (0..11).collect();
    order.sort_by_key(|at| group.id(*at));
    let (liar, answers, hears) = (order[5], order[8], order[9]);
    for at in order.iter().filter(|at| **at != liar) {
        send(&mut group, *at, channel, "hello");
        group.pass(time::RESEND_FIRST, 2);
    }
    let mut forger = Forger::new(&mut group, liar, channel);
    let place = ChannelPlace { channel, epoch: forger.epoch, seq: forger.seq };
    let token = token(&group, liar, channel, "t-1");
    let [one, other] = ["yes", "no"].map(|text| placed(super::with_token(&mut group, liar, text, &token), place));
    forger.give(&mut group, answers, &one, false);
    forger.give(&mut group, hears, &other, true);
    assert_eq!(
        (group.agents[answers].texts(channel).last(), group.agents[hears].texts(channel).last()),
        (Some(&"yes"), Some(&"no"))
    );
    group.agents[hears].news.clear();
    let token = super::token(&group, answers, channel, "t-2");
    let mut answer = super::with_token(&mut group, answers, "yes?", &token);
    answer.reply_to = Some(one.id);
    group.post(answers, channel, &answer);
    group.settle();
    let sender = group.id(liar);
    let is_it = |news: &ChannelNews| matches!(news, ChannelNews::Equivocated(found) if found.sender == sender);
    assert!(group.agents[hears].news.iter().any(|(_, news)| is_it(news)), "{:?}", group.agents[hears].news);
}
