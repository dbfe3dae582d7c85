//! Channels, beside the application messages of an MLS group of the same size: all members in one process, every one opening.

use anyhow::{Context, Result, anyhow, ensure};
use nuncio_proto::channel::{Change, ChannelFrame, Incoming, Invite, Join, Outgoing, Record, SenderKey};
use nuncio_proto::identity::Identity;
use openmls::prelude::tls_codec::{DeserializeBytes, Serialize};
use openmls::prelude::{
    BasicCredential, Ciphersuite, CredentialWithKey, KeyPackage, MlsGroup, MlsGroupCreateConfig, MlsGroupJoinConfig,
    MlsMessageBodyIn, MlsMessageIn, OpenMlsProvider, ProcessedMessageContent, StagedWelcome,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use rand_core::Rng;

use crate::measure::{Row, interleaved, time_us};
use crate::pair::{BlockRng, NOW};

const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519;
/// Letters of one round.
const LETTERS: u32 = 8;
const MEMBERS: u32 = 32;

/// Deliveries a second: a letter of 1 KiB is sealed by one of 32 members in turn and opened by every other; state moves at both ends.
pub(crate) fn channel_32() -> Result<Row> {
    let (mut ours, mut its) = (Channel::new(MEMBERS)?, Group::new(MEMBERS)?);
    let payload = vec![7; 1024];
    let round = |deliver: &mut dyn FnMut() -> Result<()>| {
        let mut result = Ok(());
        let us = time_us(|| result = (0..LETTERS).try_for_each(|_| deliver()));
        result.map_or(f64::NAN, |()| us)
    };
    // Once each, so that a failure is told and not timed.
    ours.deliver(&payload)?;
    its.deliver(&payload)?;
    let (ours, its) = interleaved(
        LETTERS * (MEMBERS - 1),
        || round(&mut || ours.deliver(&payload)),
        || round(&mut || its.deliver(&payload)),
    );
    ensure!(ours.is_finite() && its.is_finite(), "a letter was not delivered");
    let beside = Some(("openmls 0.7, application messages", 1e6 / its));
    Ok(Row { unit: "/s", ours: 1e6 / ours, beside, less_is_better: false })
}

/// Members of ours, each with the chains of all others.
struct Channel {
    members: Vec<Member>,
    record: Record,
    turn: usize,
    rng: BlockRng,
}

struct Member {
    identity: Identity,
    out: Outgoing,
    incoming: Incoming,
}

impl Channel {
    fn new(count: u32) -> Result<Self> {
        let mut rng = BlockRng::new();
        let mut identities = (0..count).map(|_| Ok(Identity::generate(&mut rng)?)).collect::<Result<Vec<_>>>()?;
        identities.sort_by_key(Identity::id);
        let record = record_of(&identities)?;
        let member = |identity: Identity| {
            let id = identity.id();
            Member { out: Outgoing::new(&record, id), incoming: Incoming::new(&record, id), identity }
        };
        let members = identities.into_iter().map(member).collect();
        let mut channel = Self { members, record, turn: 0, rng };
        (0..channel.members.len()).try_for_each(|of| channel.hand_over(of))?;
        Ok(channel)
    }

    fn hand_over(&mut self, of: usize) -> Result<()> {
        let sender = self.members.get_mut(of).context("a member")?;
        let (from, new) = (sender.identity.id(), sender.out.begin(&self.record, NOW, &mut self.rng)?);
        let keys: Vec<_> = new.keys().iter().map(|(agent, key)| (*agent, key.encode())).collect();
        sender.out.apply_chain(new);
        for (agent, bytes) in keys {
            let to = self.members.iter_mut().find(|member| member.identity.id() == agent).context("a member")?;
            let taken = to.incoming.take_key(from, SenderKey::parse(&bytes, &from)?, &self.record, NOW)?;
            ensure!(to.incoming.apply_key(taken).is_none(), "an honest sender tells one story");
        }
        Ok(())
    }

    /// The next member's letter, to all.
    fn deliver(&mut self, payload: &[u8]) -> Result<()> {
        let (of, epoch) = (self.turn % self.members.len(), self.record.epoch());
        self.turn += 1;
        if self.members.get(of).is_some_and(|sender| sender.out.needs_chain(&epoch, NOW)) {
            self.hand_over(of)?;
        }
        let mut nonce = [0; 12];
        self.rng.fill_bytes(&mut nonce);
        let sender = self.members.get_mut(of).context("a member")?;
        let said = sender.incoming.attest(None, None);
        let sealed = sender.out.seal(&epoch, payload.to_vec(), said, &nonce, sender.identity.signing(), NOW)?;
        sender.out.apply(&sealed);
        for (at, member) in self.members.iter_mut().enumerate().filter(|(at, _)| *at != of) {
            let frame = sealed.frame_for(&member.identity.id()).context("a recipient")?;
            let opened = member.incoming.receive(&ChannelFrame::decode(&frame)?, 64)?;
            ensure!(opened.letter.len() == payload.len() && opened.equivocation.is_none(), "member {at}");
            let _ = member.incoming.apply(opened, NOW);
        }
        Ok(())
    }
}

/// A record of the first, with all others.
fn record_of(identities: &[Identity]) -> Result<Record> {
    let (owner, others) = identities.split_first().context("an owner")?;
    let mut record = Record::create(owner.signing(), "bench", false, NOW, [7; 32])?;
    for some in others.chunks(64) {
        let consents = some.iter().flat_map(|agent| {
            let (channel, epoch) = (record.channel(), record.epoch());
            let invite = Invite { channel, epoch, by: owner.id(), agent: agent.id(), expires: NOW, id: [1; 16] };
            let invite = invite.sign(owner.signing());
            let join = Join { channel, agent: agent.id(), invite: Invite::hash(&invite) };
            [join.sign(agent.signing()), invite]
        });
        let (consents, change) = (consents.collect(), Change::Add(some.iter().map(Identity::id).collect()));
        let (_, next) = record.append(change, consents, NOW, owner.signing())?;
        record.apply(next)?;
    }
    Ok(record)
}

/// The same of MLS, each member with its own provider.
struct Group {
    members: Vec<(OpenMlsRustCrypto, SignatureKeyPair, MlsGroup)>,
    turn: usize,
}

impl Group {
    fn new(count: u32) -> Result<Self> {
        let config = MlsGroupCreateConfig::builder().ciphersuite(SUITE).use_ratchet_tree_extension(true).build();
        let (provider, keys, credential) = mls_member(0)?;
        let mut group = MlsGroup::new(&provider, &keys, &config, credential).map_err(|error| anyhow!("{error:?}"))?;
        let mut waiting = Vec::new();
        for number in 1..count {
            let (provider, keys, credential) = mls_member(number)?;
            let package = KeyPackage::builder().build(SUITE, &provider, &keys, credential);
            waiting.push((provider, keys, package.map_err(|error| anyhow!("{error:?}"))?));
        }
        let packages: Vec<_> = waiting.iter().map(|(_, _, package)| package.key_package().clone()).collect();
        let (_, welcome, _) = group.add_members(&provider, &keys, &packages).map_err(|error| anyhow!("{error:?}"))?;
        group.merge_pending_commit(&provider).map_err(|error| anyhow!("{error:?}"))?;
        let welcome = welcome.tls_serialize_detached()?;
        let mut members = vec![(provider, keys, group)];
        for (provider, keys, _) in waiting {
            let MlsMessageBodyIn::Welcome(welcome) = MlsMessageIn::tls_deserialize_exact_bytes(&welcome)?.extract()
            else {
                return Err(anyhow!("no welcome"));
            };
            let staged = StagedWelcome::new_from_welcome(&provider, &MlsGroupJoinConfig::default(), welcome, None);
            let group = staged.and_then(|staged| staged.into_group(&provider)).map_err(|error| anyhow!("{error:?}"))?;
            members.push((provider, keys, group));
        }
        Ok(Self { members, turn: 0 })
    }

    fn deliver(&mut self, payload: &[u8]) -> Result<()> {
        let of = self.turn % self.members.len();
        self.turn += 1;
        let (provider, keys, group) = self.members.get_mut(of).context("a member")?;
        let message = group.create_message(provider, keys, payload).map_err(|error| anyhow!("{error:?}"))?;
        let bytes = message.tls_serialize_detached()?;
        for (_, (provider, _, group)) in self.members.iter_mut().enumerate().filter(|(at, _)| *at != of) {
            let message = MlsMessageIn::tls_deserialize_exact_bytes(&bytes)?.try_into_protocol_message();
            let message = message.map_err(|error| anyhow!("{error:?}"))?;
            let processed = group.process_message(provider, message).map_err(|error| anyhow!("{error:?}"))?;
            let ProcessedMessageContent::ApplicationMessage(letter) = processed.into_content() else {
                return Err(anyhow!("no application message"));
            };
            ensure!(letter.into_bytes().len() == payload.len(), "another message");
        }
        Ok(())
    }
}

fn mls_member(number: u32) -> Result<(OpenMlsRustCrypto, SignatureKeyPair, CredentialWithKey)> {
    let provider = OpenMlsRustCrypto::default();
    let keys = SignatureKeyPair::new(SUITE.signature_algorithm()).map_err(|error| anyhow!("{error:?}"))?;
    keys.store(provider.storage()).map_err(|error| anyhow!("{error:?}"))?;
    let credential = BasicCredential::new(number.to_be_bytes().to_vec()).into();
    let signature_key = keys.public().into();
    Ok((provider, keys, CredentialWithKey { credential, signature_key }))
}
