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
    [deposits(), keys()].into_iter().flatten().collect()
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
