//! Deposits and the keys that they are taken by (contracts/mailbox.md).

use nuncio_contracts::registry::limit;
use nuncio_proto::crypto::SigningKey;
use nuncio_proto::deposit::{Deposit, MailboxSecret};
use nuncio_proto::ids::AgentId;
use serde_json::json;

use super::cbor::{Array, Item, Null, bytes};
use super::kit::{Case, fixed, hex};

const AREA: &str = "deposit";

fn agents(count: u8) -> Vec<AgentId> {
    let agent = |number| AgentId::from_bytes(SigningKey::from_seed(&[number; 32]).public()).unwrap();
    let mut agents: Vec<AgentId> = (1..=count).map(agent).collect();
    agents.sort_unstable();
    agents
}

pub(crate) fn cases() -> Vec<Case> {
    [deposits(), shared(), keys()].into_iter().flatten().collect()
}

fn deposits() -> Vec<Case> {
    let frame = fixed::<64>("deposited frame");
    let key = MailboxSecret::new(fixed("mailbox secret")).deposit_key(fixed("deposit key id"));
    let yes = |name: &str, comment: &str, count: u8, frame: &[u8]| {
        let to: Vec<_> = agents(count)
            .into_iter()
            .enumerate()
            .map(|(at, agent)| (agent, (at % 2 == 0).then(|| key.clone())))
            .collect();
        let deposit = Deposit::new(to, frame.to_vec()).unwrap();
        let to: Vec<_> = deposit
            .to()
            .iter()
            .map(|(agent, key)| json!([agent.to_string(), key.as_ref().map(|key| hex(key.expose()))]))
            .collect();
        let expect = json!({ "to": to, "frame": hex(frame) });
        Case::valid(AREA, name, comment, json!({ "bytes": hex(deposit.to_bytes()) }), expect)
    };
    let no = |name: &str, comment: &str, bytes: &[u8], error: &str| {
        Case::refused(AREA, name, comment, json!({ "bytes": hex(bytes) }), error)
    };
    let recipient = |agent: &AgentId| -> Item { Array(vec![bytes(agent.as_bytes()), bytes(key.expose())]) };
    let with = |to: Vec<Item>, frame: &[u8]| Array(vec![Array(to), bytes(frame)]).encode();
    let [one, two] = agents(2).try_into().unwrap();
    let all: Vec<Item> = agents(65).iter().map(|agent| Array(vec![bytes(agent.as_bytes()), Null])).collect();
    let short = Array(vec![bytes(one.as_bytes()), bytes([7; 31])]);
    let good = with(vec![recipient(&one), recipient(&two)], &frame);
    vec![
        yes("two", "one with a key, one by a stranger", 2, &frame),
        yes("one", "the least", 1, &[7]),
        yes("most", "64 recipients", 64, &frame),
        no("nobody", "for nobody", &with(vec![], &frame), "recipients"),
        no("many", "for 65", &with(all, &frame), "recipients"),
        no("twice", "one twice", &with(vec![recipient(&one), recipient(&one)], &frame), "recipients"),
        no("order", "not in order", &with(vec![recipient(&two), recipient(&one)], &frame), "recipients"),
        no("no-agent", "a point of small order", &with(vec![Array(vec![bytes([0; 32]), Null])], &frame), "bad-key"),
        no("empty", "no frame", &with(vec![recipient(&one)], &[]), "frame"),
        no(
            "long",
            "a frame of a byte too many",
            &with(vec![recipient(&one)], &vec![7; limit::FRAME_LEN_MAX + 1]),
            "frame",
        ),
        no("short-key", "a key of 31 bytes", &with(vec![short], &frame), "codec"),
        no("behind", "a byte behind it", &[good.as_slice(), &[0]].concat(), "codec"),
        no("too-long", "longer than any", &vec![0; limit::DEPOSIT_LEN_MAX + 1], "too-long"),
    ]
}

/// Of what is the same for all recipients but for its end.
fn shared() -> Vec<Case> {
    let common = fixed::<48>("what frames have in common");
    let key = MailboxSecret::new(fixed("mailbox secret")).deposit_key(fixed("deposit key id"));
    let end = |at: usize| -> [u8; 16] { [u8::try_from(at).unwrap(); 16] };
    let yes = |name: &str, comment: &str, count: u8, common: &[u8]| {
        let to = agents(count).into_iter().enumerate().map(|(at, agent)| (agent, key.clone(), end(at))).collect();
        let deposit = Deposit::shared(to, common.to_vec()).unwrap();
        let to = deposit.to().iter().enumerate();
        let to: Vec<_> =
            to.map(|(at, (agent, _))| json!([agent.to_string(), hex(key.expose()), hex(end(at))])).collect();
        let expect = json!({ "to": to, "common": hex(common) });
        Case::valid(AREA, name, comment, json!({ "bytes": hex(deposit.to_bytes()) }), expect)
    };
    let no = |name: &str, comment: &str, bytes: &[u8], error: &str| {
        Case::refused(AREA, name, comment, json!({ "bytes": hex(bytes) }), error)
    };
    let sharer = |agent: &AgentId| -> Item { Array(vec![bytes(agent.as_bytes()), bytes(key.expose()), bytes(end(0))]) };
    let with = |common: &[u8], to: Vec<Item>| Array(vec![bytes(common), Array(to)]).encode();
    let [one, two] = agents(2).try_into().unwrap();
    let all: Vec<Item> = agents(65).iter().map(&sharer).collect();
    let stranger = Array(vec![bytes(one.as_bytes()), Null, bytes(end(0))]);
    let short = Array(vec![bytes(one.as_bytes()), bytes(key.expose()), bytes([7; 15])]);
    let without = Array(vec![bytes(one.as_bytes()), bytes(key.expose())]);
    let nobody = Array(vec![bytes([0; 32]), bytes(key.expose()), bytes(end(0))]);
    let most = vec![7; limit::FRAME_LEN_MAX - 16];
    let long = vec![7; limit::FRAME_LEN_MAX - 15];
    vec![
        yes("shared-two", "two recipients, each with an end of its own", 2, &common),
        yes("shared-one", "the least", 1, &[7]),
        yes("shared-most", "64 recipients of the longest frame", 64, &most),
        no("shared-nobody", "for nobody", &with(&common, vec![]), "recipients"),
        no("shared-many", "for 65", &with(&common, all), "recipients"),
        no("shared-twice", "one twice", &with(&common, vec![sharer(&one), sharer(&one)]), "recipients"),
        no("shared-order", "not in order", &with(&common, vec![sharer(&two), sharer(&one)]), "recipients"),
        no("shared-no-agent", "a point of small order", &with(&common, vec![nobody]), "bad-key"),
        no("shared-empty", "nothing in common", &with(&[], vec![sharer(&one)]), "frame"),
        no("shared-long", "a frame of a byte too many", &with(&long, vec![sharer(&one)]), "frame"),
        no("shared-stranger", "by a stranger", &with(&common, vec![stranger]), "codec"),
        no("shared-short-end", "an end of 15 bytes", &with(&common, vec![short]), "codec"),
        no("shared-without-end", "a recipient without an end", &with(&common, vec![without]), "codec"),
        no("shared-behind", "a byte behind it", &[with(&common, vec![sharer(&one)]), vec![0]].concat(), "codec"),
    ]
}

/// A deposit key, and whether it is the secret's.
fn keys() -> Vec<Case> {
    const AREA: &str = "deposit-key";
    let secret = MailboxSecret::new(fixed("mailbox secret"));
    let case = |name: &str, comment: &str, key: [u8; 32], is_own: bool| {
        let key = nuncio_proto::deposit::DepositKey::new(key);
        let expect = json!({ "key": hex(secret.deposit_key(key.id()).expose()), "holds": is_own });
        Case::valid(AREA, name, comment, json!({ "secret": hex(secret.expose()), "key": hex(key.expose()) }), expect)
    };
    let good = *secret.deposit_key(fixed("deposit key id")).expose();
    let (mut mac, mut id) = (good, good);
    mac[31] ^= 1;
    id[0] ^= 1;
    let other = *MailboxSecret::new(fixed("another mailbox secret")).deposit_key(fixed("deposit key id")).expose();
    vec![
        case("own", "one of the secret's", good, true),
        case("mac", "a bit of its second half turned", mac, false),
        case("id", "a bit of its id turned", id, false),
        case("other", "another secret's, of the same id", other, false),
    ]
}
