//! Areas `sender-key` and `channel-frame`: chains as they are handed over, and letters sealed under them (contracts/channel.md sections 5 to 8). The
//! frames that lie are made by the formulas, written out here; a frame of the implementation is the same bytes.

use nuncio_contracts::registry::{kind, label, limit};
use nuncio_proto::channel::{Attestation, Outgoing, SenderKey};
use nuncio_proto::crypto::{self, SigningKey};
use nuncio_proto::ids::AgentId;
use nuncio_proto::padding;
use nuncio_proto::testing;
use serde_json::{Value, json};

use super::cbor::{Array, Item, Null, Uint, bytes, places, text};
use super::channel::{Scene, signing};
use super::kit::{Case, NOW, fixed, hex};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = sender_keys();
    cases.extend(frames());
    cases
}

/// All that two members share of one chain.
struct Pair {
    scene: Scene,
    out: Outgoing,
    key: Vec<u8>,
    model: Model,
}

/// A chain by the formulas.
#[derive(Clone)]
struct Model {
    channel: [u8; 32],
    epoch: [u8; 32],
    sender: [u8; 32],
    recipient: [u8; 32],
    first: u64,
    run: [u8; 32],
    first_key: [u8; 32],
    mac_key: [u8; 32],
}

impl Pair {
    fn new(audits: bool) -> Self {
        let scene = Scene::new(3, 3, audits);
        let mut out = Outgoing::new(&scene.record, scene.members[0].identity.id());
        let new = out.begin(&scene.record, NOW, &mut testing::rng(42)).unwrap();
        let (agent, key) = &new.keys()[0];
        assert_eq!(*agent, scene.members[1].identity.id());
        let key = key.encode().to_vec();
        out.apply_chain(new);
        let ids = [0, 1].map(|at: usize| *scene.members[at].identity.id().as_bytes());
        let run = crypto::sha256(&[label::CHANNEL_TRANSCRIPT, &[0], scene.record.channel().as_bytes(), &ids[0]]);
        let at = |at: usize| key[at..at + 32].try_into().unwrap();
        let model = Model {
            channel: *scene.record.channel().as_bytes(),
            epoch: *scene.record.epoch().as_bytes(),
            sender: ids[0],
            recipient: ids[1],
            first: 0,
            run,
            first_key: at(106),
            mac_key: at(key.len() - 32),
        };
        Self { scene, out, key, model }
    }

    fn input(&self, frame: &[u8]) -> Value {
        json!({
            "record": self.scene.entries(),
            "sender": self.scene.members[0].did(),
            "recipient": self.scene.members[1].did(),
            "key": hex(&self.key),
            "bytes": hex(frame),
        })
    }

    /// The implementation's next frame for the recipient.
    fn seal(&mut self, letter: &[u8], attestation: Option<Attestation>) -> Vec<u8> {
        let (epoch, key) = (self.scene.record.epoch(), signing(&self.scene.members[0]));
        let sealed = self.out.seal(&epoch, letter.to_vec(), attestation, &fixed("channel nonce"), key, NOW).unwrap();
        self.out.apply(&sealed);
        sealed.frame_for(&self.scene.members[1].identity.id()).unwrap()
    }
}

/// What a frame is made of.
#[derive(Clone)]
struct Draft {
    seq: u64,
    floor_below: u16,
    attestation: [u8; 56],
    padded: Vec<u8>,
    kind: u8,
}

impl Draft {
    fn new(seq: u64, letter: &[u8]) -> Self {
        let mut padded = letter.to_vec();
        padding::pad(&mut padded);
        Self { seq, floor_below: 0, attestation: [0; 56], padded, kind: kind::FRAME_CHANNEL }
    }
}

impl Model {
    fn chain_id(&self) -> [u8; 32] {
        let first = self.first.to_be_bytes();
        let parts: [&[u8]; 7] =
            [label::CHANNEL_CHAIN, &[0], &self.first_key, &self.epoch, &self.sender, &first, &self.run];
        crypto::sha256(&parts)
    }

    fn hk(&self) -> [u8; 32] {
        let mut hk = [0; 32];
        crypto::hkdf_sha256(&self.chain_id(), &self.first_key, label::CHANNEL_HEADER, &mut hk);
        hk
    }

    fn mk(&self, seq: u64) -> [u8; 32] {
        let step = |ck: [u8; 32], _| crypto::hmac_sha256(&ck, &[&[2]]);
        crypto::hmac_sha256(&(self.first..seq).fold(self.first_key, step), &[&[1]])
    }

    fn key(&self) -> Vec<u8> {
        let [channel, epoch, run] = [&self.channel, &self.epoch, &self.run].map(bytes);
        let [ck, id, mac] = [&self.first_key, &self.chain_id(), &self.mac_key].map(bytes);
        Array(vec![channel, epoch, Uint(self.first), run, ck, id, mac]).encode()
    }

    /// The items of a frame but the MAC, `body` altered before the header is sealed over it.
    fn items(&self, draft: &Draft, sign: Option<&SigningKey>) -> Vec<Item> {
        let nonce: [u8; 12] = fixed("channel nonce");
        let hk = self.hk();
        let tag = &crypto::hmac_sha256(&hk, &[label::TAG])[..16];
        let header = [&draft.seq.to_be_bytes()[..], &draft.floor_below.to_be_bytes(), &draft.attestation].concat();
        let start = [1, draft.kind];
        let ad = [&start[..], &self.channel, &self.epoch, &self.sender, &self.chain_id(), &header].concat();
        let body = seal(&self.mk(draft.seq), &nonce, &ad, &draft.padded);
        let front = vec![Uint(1), Uint(draft.kind.into()), bytes(tag), bytes(nonce), bytes(body)];
        let head: Vec<u8> = [&[0x88][..], &front.iter().flat_map(Item::encode).collect::<Vec<_>>()].concat();
        let sealed = seal(&hk, &nonce, &[head.as_slice(), &[0x58, 82]].concat(), &header);
        let signed = [head.as_slice(), &[0x58, 82], &sealed].concat();
        let statement = [crypto::sha256(&[&signed]).as_slice(), &self.channel, &self.epoch].concat();
        let signature = sign.map_or(Null, |key| bytes(key.sign(label::CHANNEL_FRAME, &statement)));
        [front, vec![bytes(sealed), signature]].concat()
    }

    /// A frame with its MAC, right whatever the items are.
    fn close(&self, mut items: Vec<Item>) -> Vec<u8> {
        items.push(bytes([0; 16]));
        let mut frame = Array(items).encode();
        let at = frame.len() - 16;
        let digest = crypto::sha256(&[&frame[..at]]);
        let parts: [&[u8]; 5] = [label::CHANNEL_MAC, &[0], &self.chain_id(), &digest, &self.recipient];
        frame[at..].copy_from_slice(&crypto::hmac_sha256(&self.mac_key, &parts)[..16]);
        frame
    }

    fn frame(&self, draft: &Draft, sign: Option<&SigningKey>) -> Vec<u8> {
        self.close(self.items(draft, sign))
    }
}

fn seal(key: &[u8; 32], nonce: &[u8; 12], ad: &[u8], clear: &[u8]) -> Vec<u8> {
    let mut sealed = clear.to_vec();
    let tag = crypto::seal_in_place(key, nonce, ad, &mut sealed);
    sealed.extend_from_slice(&tag);
    sealed
}

fn sender_keys() -> Vec<Case> {
    const AREA: &str = "sender-key";
    let pair = Pair::new(false);
    let (model, did) = (&pair.model, pair.scene.members[0].did());
    let input = |key: &[u8]| json!({ "bytes": hex(key), "sender": did });
    let yes = |name: &str, comment: &str, model: &Model| {
        let expect = json!({
            "channel": hex(model.channel),
            "epoch": hex(model.epoch),
            "first": model.first.to_string(),
            "chain": hex(model.chain_id()),
        });
        Case::valid(AREA, name, comment, input(&model.key()), expect)
    };
    let no = |name: &str, comment: &str, key: &[u8], error: &str| Case::refused(AREA, name, comment, input(key), error);
    assert_eq!(model.key(), pair.key);
    let later = Model { first: u64::MAX - limit::CHANNEL_CHAIN_LETTERS, run: [5; 32], ..model.clone() };
    let last = Model { first: later.first + 1, ..later.clone() };
    let mut cases = vec![
        yes("first", "a chain from a sender's first letter", model),
        yes("last", "the last number that a chain can begin with", &later),
        no("too-late", "no chain fits behind it", &last.key(), "number"),
        no("cut", "a byte is missing", &pair.key[..pair.key.len() - 1], "codec"),
        no("behind", "a byte behind it", &[pair.key.as_slice(), &[0]].concat(), "codec"),
        no("too-long", "longer than any", &[0; 225], "too-long"),
    ];
    let parts = places(&pair.key);
    let item = |at: usize| &parts[at + 1];
    for (at, name) in [(1, "epoch"), (3, "run"), (4, "first-key"), (5, "chain")] {
        let mut other = pair.key.clone();
        other[item(at).end - 1] ^= 1;
        cases.push(no(&format!("other-{name}"), "the id is another chain's", &other, "chain"));
    }
    let by_another = json!({ "bytes": hex(&pair.key), "sender": pair.scene.members[1].did() });
    cases.push(Case::refused(AREA, "other-sender", "handed over by another", by_another, "chain"));
    let renumbered = Array(vec![
        bytes(model.channel),
        bytes(model.epoch),
        Uint(1),
        bytes(model.run),
        bytes(model.first_key),
        bytes(model.chain_id()),
        bytes(model.mac_key),
    ]);
    cases.push(no("other-first", "the id is another chain's", &renumbered.encode(), "chain"));
    let parsed = SenderKey::parse(&pair.key, &pair.scene.members[0].identity.id()).unwrap();
    assert_eq!(*parsed.chain.as_bytes(), model.chain_id());
    cases
}

fn frames() -> Vec<Case> {
    let mut cases = letters();
    cases.extend(lies());
    cases.extend(forms());
    cases
}

const AREA: &str = "channel-frame";

/// The outcome of a frame that opens.
fn outcome(model: &Model, draft: &Draft, frame: &[u8], letter: &[u8], in_order: bool) -> Value {
    let common = &frame[..frame.len() - 16];
    let digest = crypto::sha256(&[common]);
    let (seq, chain) = (draft.seq.to_be_bytes(), model.chain_id());
    let parts: [&[u8]; 6] = [label::CHANNEL_TRANSCRIPT, &[1], &model.run, &seq, &chain, &digest];
    let attested = (draft.attestation != [0; 56]).then(|| {
        let (sender, rest) = draft.attestation.split_at(32);
        json!([hex(sender), hex(&rest[..8]), hex(&rest[8..])])
    });
    json!({
        "tag": hex(&crypto::hmac_sha256(&model.hk(), &[label::TAG])[..16]),
        "chain": hex(chain),
        "seq": draft.seq.to_string(),
        "floor": (draft.seq - u64::from(draft.floor_below)).to_string(),
        "attested": attested,
        "letter": hex(letter),
        "digest": hex(digest),
        "hash": in_order.then(|| hex(&crypto::sha256(&parts)[..16])),
    })
}

fn letters() -> Vec<Case> {
    let mut cases = Vec::new();
    for audits in [false, true] {
        let mut pair = Pair::new(audits);
        let third = pair.scene.members[2].identity.id();
        let key = signing(&pair.scene.members[0]).clone();
        let sign = audits.then_some(&key);
        let model = pair.model.clone();
        let frame = pair.seal(b"to all", None);
        let draft = Draft::new(0, b"to all");
        assert_eq!(frame, model.frame(&draft, sign), "the formulas and the implementation agree");
        let name = if audits { "letter-signed" } else { "letter" };
        let comment = if audits { "in a channel that audits" } else { "the first of a chain" };
        let expect = outcome(&model, &draft, &frame, b"to all", true);
        cases.push(Case::valid(AREA, name, comment, pair.input(&frame), expect));
        if audits {
            continue;
        }
        let said = Attestation::of(&third, (7, fixed("attested")));
        let long = [7; 300];
        let frame = pair.seal(&long, Some(said));
        let mut draft = Draft::new(1, &long);
        draft.floor_below = 1;
        let attestation = [third.as_bytes().as_slice(), &7_u64.to_be_bytes(), &said.hash].concat();
        draft.attestation = attestation.try_into().unwrap();
        assert_eq!(frame, model.frame(&draft, None));
        let comment = "one letter is passed over, and what its author has of a third is said";
        let expect = outcome(&model, &draft, &frame, &long, false);
        cases.push(Case::valid(AREA, "attesting", comment, pair.input(&frame), expect));
        let last = Draft::new(limit::CHANNEL_CHAIN_LETTERS - 1, b"last");
        let frame = model.frame(&last, None);
        let expect = outcome(&model, &last, &frame, b"last", false);
        cases.push(Case::valid(AREA, "last", "the last of the longest chain", pair.input(&frame), expect));
        let mut empty = Draft::new(3, b"");
        empty.floor_below = 3;
        let frame = model.frame(&empty, None);
        let expect = outcome(&model, &empty, &frame, b"", false);
        cases.push(Case::valid(
            AREA,
            "empty",
            "nothing is a letter here; what is in one is letter.md's",
            pair.input(&frame),
            expect,
        ));
    }
    cases
}

/// Frames that are well formed and lie.
fn lies() -> Vec<Case> {
    let (pair, audited) = (Pair::new(false), Pair::new(true));
    let model = &pair.model;
    let draft = Draft::new(0, b"to all");
    let good = model.frame(&draft, None);
    let key = signing(&pair.scene.members[0]);
    let no = |name: &str, comment: &str, frame: &[u8], error: &str| {
        Case::refused(AREA, name, comment, pair.input(frame), error)
    };
    let other = |alter: &dyn Fn(&mut Model)| {
        let mut other = model.clone();
        alter(&mut other);
        other.frame(&draft, None)
    };
    let with = |alter: &dyn Fn(&mut Draft)| {
        let mut other = draft.clone();
        alter(&mut other);
        model.frame(&other, None)
    };
    let altered = |item: usize| {
        let mut items = model.items(&draft, None);
        let Item::Bytes(value) = &mut items[item] else { panic!("bytes") };
        value[0] ^= 1;
        model.close(items)
    };
    let member = *pair.scene.members[2].identity.id().as_bytes();
    // Another letter under the same keys, with the MAC of the genuine one.
    let mut swapped = model.frame(&Draft::new(0, b"to you"), None);
    let at = swapped.len() - 16;
    swapped[at..].copy_from_slice(&good[good.len() - 16..]);
    let mut cases = vec![
        no(
            "mac-by-member",
            "by a member who has the chain and another MAC key",
            &other(&|it| it.mac_key = [1; 32]),
            "mac",
        ),
        no("mac-for-another", "with the MAC of another recipient", &other(&|it| it.recipient = member), "mac"),
        no("swapped", "another body under the same keys, with the genuine MAC", &swapped, "mac"),
        no(
            "other-chain",
            "under a chain that the recipient was not told",
            &other(&|it| it.first_key = [1; 32]),
            "unknown-tag",
        ),
        no("other-run", "under a chain with another past", &other(&|it| it.run = [1; 32]), "unknown-tag"),
        no("body", "a byte of the body turned, MAC made anew", &altered(4), "not-authentic"),
        no("header", "a byte of the header turned, MAC made anew", &altered(5), "not-authentic"),
        no("nonce", "another nonce, MAC made anew", &altered(3), "not-authentic"),
        no(
            "behind-chain",
            "of a number behind the longest chain",
            &with(&|it| it.seq = limit::CHANNEL_CHAIN_LETTERS),
            "contradiction",
        ),
        no("floor", "a floor below 0", &with(&|it| it.floor_below = 1), "contradiction"),
        no("padding", "no padding", &with(&|it| it.padded = vec![7; 64]), "padding"),
        no(
            "body-of-another",
            "a body sealed for another chain's sender",
            &body_of(model, |it| it.sender = member),
            "not-authentic",
        ),
        no(
            "body-of-epoch",
            "a body sealed for another epoch",
            &body_of(model, |it| it.epoch = [1; 32]),
            "not-authentic",
        ),
        no(
            "body-of-channel",
            "a body sealed for another channel",
            &body_of(model, |it| it.channel = [1; 32]),
            "not-authentic",
        ),
        no("signed", "a signature that nobody asked for", &model.frame(&draft, Some(key)), "signed"),
    ];
    let audit = |name: &str, comment: &str, frame: &[u8]| {
        Case::refused(AREA, name, comment, audited.input(frame), "bad-signature")
    };
    let other_channel = Model { channel: [1; 32], ..audited.model.clone() };
    let mut moved = audited.model.items(&draft, Some(key));
    moved[6] = other_channel.items(&draft, Some(key)).pop().unwrap();
    cases.extend([
        audit("unsigned", "no signature in a channel that audits", &audited.model.frame(&draft, None)),
        audit(
            "signed-by-another",
            "a signature by another member",
            &audited.model.frame(&draft, Some(signing(&pair.scene.members[2]))),
        ),
        audit("signed-elsewhere", "a signature for another channel", &audited.model.close(moved)),
    ]);
    let stranger = json!({
        "record": pair.scene.entries(),
        "sender": AgentId::from_bytes(nuncio_proto::crypto::SigningKey::from_seed(&[9; 32]).public()).unwrap().to_string(),
        "recipient": pair.scene.members[1].did(),
        "key": hex(Model { sender: SigningKey::from_seed(&[9; 32]).public(), ..model.clone() }.key()),
        "bytes": hex(&good),
    });
    cases.push(Case::refused(AREA, "key-of-stranger", "a chain of who is no member", stranger, "not-member"));
    let mut unknown = pair.input(&good);
    unknown["key"] = hex(Model { epoch: [1; 32], ..model.clone() }.key());
    cases.push(Case::refused(AREA, "key-of-epoch", "a chain of an epoch that is not known", unknown, "unknown-epoch"));
    let mut other = pair.input(&good);
    other["key"] = hex(Model { channel: [1; 32], ..model.clone() }.key());
    cases.push(Case::refused(AREA, "key-of-channel", "a chain of another channel", other, "channel"));
    let mut early = Scene::new(3, 2, false);
    let before = *early.record.epoch().as_bytes();
    early.add(2);
    let mut newcomer = pair.input(&good);
    newcomer["record"] = json!(early.entries());
    newcomer["recipient"] = json!(early.members[2].did());
    newcomer["key"] = hex(Model { epoch: before, ..model.clone() }.key());
    cases.push(Case::refused(
        AREA,
        "key-of-before",
        "a chain of an epoch from before one joined",
        newcomer,
        "not-member",
    ));
    cases
}

/// A frame that is right but for a body sealed with other associated data.
fn body_of(model: &Model, alter: impl Fn(&mut Model)) -> Vec<u8> {
    let (nonce, draft): ([u8; 12], _) = (fixed("channel nonce"), Draft::new(0, b"to all"));
    let mut other = model.clone();
    alter(&mut other);
    let header = [&draft.seq.to_be_bytes()[..], &[0; 58]].concat();
    let start = [1, kind::FRAME_CHANNEL];
    let ad = [&start[..], &other.channel, &other.epoch, &other.sender, &model.chain_id(), &header].concat();
    let mut items = model.items(&draft, None);
    items[4] = bytes(seal(&model.mk(0), &nonce, &ad, &draft.padded));
    let head: Vec<u8> =
        [&[0x88][..], &items[..5].iter().flat_map(Item::encode).collect::<Vec<_>>(), &[0x58, 82]].concat();
    items[5] = bytes(seal(&model.hk(), &nonce, &head, &header));
    model.close(items)
}

/// Bytes that are no frame of a channel.
fn forms() -> Vec<Case> {
    let pair = Pair::new(false);
    let model = &pair.model;
    let items = model.items(&Draft::new(0, b"to all"), None);
    let no = |name: &str, comment: &str, frame: Vec<u8>, error: &str| {
        Case::refused(AREA, name, comment, pair.input(&frame), error)
    };
    let good = model.close(items.clone());
    let with = |at: usize, item: Item| {
        let mut other = items.clone();
        other[at] = item;
        model.close(other)
    };
    let cut = |at: usize, len: usize| {
        let Item::Bytes(value) = &items[at] else { panic!("bytes") };
        let mut value = value.clone();
        value.resize(len, 7);
        with(at, bytes(value))
    };
    let mut with_mac = items.clone();
    with_mac.push(bytes([7; 15]));
    let more = [items.clone(), vec![bytes([0; 16]), Null]].concat();
    let long_head = [&[0x98, 8][..], &good[1..]].concat();
    vec![
        no("nothing", "no byte", vec![], "codec"),
        no("two-bytes", "two bytes", vec![0x88, 1], "codec"),
        no("cut", "a byte is missing", good[..good.len() - 1].to_vec(), "codec"),
        no("trailing", "a byte behind it", [good.as_slice(), &[0]].concat(), "codec"),
        no(
            "too-long",
            "longer than any",
            [&[0x88, 1, 5], vec![0; limit::FRAME_LEN_MAX].as_slice()].concat(),
            "too-long",
        ),
        no("version-2", "of another version", with(0, Uint(2)), "version"),
        no("kind-2", "of another kind", with(1, Uint(2)), "kind"),
        no("kind-6", "of no kind", with(1, Uint(6)), "kind"),
        no("long-head", "an array with a long head", long_head, "any"),
        no("tag-15", "a tag of 15 bytes", cut(2, 15), "codec"),
        no("nonce-13", "a nonce of 13 bytes", cut(3, 13), "codec"),
        no("body-79", "a body too short for any", cut(4, 79), "length"),
        no("header-81", "a header too short", cut(5, 81), "length"),
        no("header-83", "a header too long", cut(5, 83), "length"),
        no("signature-63", "a signature of 63 bytes", with(6, bytes([7; 63])), "codec"),
        no("signature-text", "a signature that is text", with(6, text("signed")), "codec"),
        no("mac-15", "a MAC of 15 bytes", Array(with_mac).encode(), "codec"),
        no("more", "an item more", Array(more).encode(), "codec"),
        no("less", "an item less", Array(items[..6].to_vec()).encode(), "codec"),
    ]
}
