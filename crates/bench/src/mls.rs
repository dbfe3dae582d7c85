//! A group of MLS (openmls), each member with its own provider and its memory storage: what stands beside a channel.

use std::fmt::Debug;

use anyhow::{Context, Result, anyhow, ensure};
use openmls::prelude::tls_codec::{DeserializeBytes, Serialize};
use openmls::prelude::{
    BasicCredential, Ciphersuite, CredentialWithKey, KeyPackage, LeafNodeIndex, LeafNodeParameters, MlsGroup,
    MlsGroupCreateConfig, MlsGroupJoinConfig, MlsMessageBodyIn, MlsMessageIn, MlsMessageOut, OpenMlsProvider,
    ProcessedMessageContent, StagedWelcome,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;

const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519;

/// The members that run, the creator first.
pub(crate) struct Group {
    members: Vec<Member>,
    turn: usize,
}

struct Member {
    provider: OpenMlsRustCrypto,
    keys: SignatureKeyPair,
    group: MlsGroup,
}

/// Who is not in yet.
pub(crate) struct Newcomer {
    provider: OpenMlsRustCrypto,
    keys: SignatureKeyPair,
    package: KeyPackage,
}

impl Group {
    /// A group of `count` members, every `every`-th of which runs; the others have their leaf in the tree and nothing else.
    pub(crate) fn new(count: u32, every: u32) -> Result<Self> {
        let config = MlsGroupCreateConfig::builder().ciphersuite(SUITE).use_ratchet_tree_extension(true).build();
        let (provider, keys, credential) = identity(0)?;
        let group = MlsGroup::new(&provider, &keys, &config, credential).map_err(told)?;
        let mut owner = Member { provider, keys, group };
        let newcomers = (1..count).map(Newcomer::new).collect::<Result<Vec<_>>>()?;
        let packages: Vec<_> = newcomers.iter().map(|newcomer| newcomer.package.clone()).collect();
        let (_, welcome) = owner.add(&packages)?;
        let runs = newcomers.into_iter().zip(1..).filter(|(_, number)| number % every == 0);
        let joined = runs.map(|(newcomer, _)| newcomer.join(&welcome)).collect::<Result<Vec<_>>>()?;
        Ok(Self { members: [owner].into_iter().chain(joined).collect(), turn: 0 })
    }

    /// Every member that runs commits once: the nodes of the tree above them have keys, as in a group that was in use.
    pub(crate) fn warm(&mut self) -> Result<()> {
        for at in 0..self.members.len() {
            let Member { provider, keys, group } = self.members.get_mut(at).context("a member")?;
            let update = group.self_update(provider, keys, LeafNodeParameters::default()).map_err(told)?;
            group.merge_pending_commit(provider).map_err(told)?;
            let commit = update.into_commit().tls_serialize_detached()?;
            let mut others = self.members.iter_mut().enumerate().filter(|(other, _)| *other != at);
            others.try_for_each(|(_, other)| other.follow(&commit))?;
        }
        Ok(())
    }

    /// The next member's letter, to all that run.
    pub(crate) fn deliver(&mut self, payload: &[u8]) -> Result<()> {
        let of = self.turn % self.members.len();
        self.turn += 1;
        let bytes = self.say(of, payload)?;
        (0..self.members.len()).filter(|at| *at != of).try_for_each(|at| self.hear(at, &bytes, payload.len()))
    }

    /// An application message of the member that runs at a place, which is for all.
    pub(crate) fn say(&mut self, of: usize, payload: &[u8]) -> Result<Vec<u8>> {
        let Member { provider, keys, group } = self.members.get_mut(of).context("a member")?;
        Ok(group.create_message(provider, keys, payload).map_err(told)?.tls_serialize_detached()?)
    }

    /// The member that runs at a place opens a message of so many bytes.
    pub(crate) fn hear(&mut self, at: usize, bytes: &[u8], len: usize) -> Result<()> {
        let member = self.members.get_mut(at).context("a member")?;
        let ProcessedMessageContent::ApplicationMessage(letter) = member.process(bytes)? else {
            return Err(anyhow!("no application message"));
        };
        ensure!(letter.into_bytes().len() == len, "another message");
        Ok(())
    }

    /// The creator adds one: the commit, and the welcome.
    pub(crate) fn add(&mut self, newcomer: &Newcomer) -> Result<(Vec<u8>, Vec<u8>)> {
        let owner = self.members.first_mut().context("an owner")?;
        owner.add(std::slice::from_ref(&newcomer.package))
    }

    /// The creator removes the member of a leaf: the commit.
    pub(crate) fn remove(&mut self, leaf: u32) -> Result<Vec<u8>> {
        let Member { provider, keys, group } = self.members.first_mut().context("an owner")?;
        let removed = group.remove_members(provider, keys, &[LeafNodeIndex::new(leaf)]);
        let (commit, _, _) = removed.map_err(told)?;
        group.merge_pending_commit(provider).map_err(told)?;
        Ok(commit.tls_serialize_detached()?)
    }

    /// All others that run follow a commit: how many they are.
    pub(crate) fn follow(&mut self, commit: &[u8]) -> Result<u32> {
        self.members.iter_mut().skip(1).try_for_each(|member| member.follow(commit))?;
        Ok(u32::try_from(self.members.len())?.saturating_sub(1))
    }
}

impl Newcomer {
    /// Its key package is made, as one that waits with a delivery service.
    pub(crate) fn new(number: u32) -> Result<Self> {
        let (provider, keys, credential) = identity(number)?;
        let package = KeyPackage::builder().build(SUITE, &provider, &keys, credential).map_err(told)?;
        Ok(Self { provider, keys, package: package.key_package().clone() })
    }

    /// Joins, and keeps its place: the leaf.
    pub(crate) fn enter(self, welcome: &[u8]) -> Result<u32> {
        self.join(welcome).map(|member| member.group.own_leaf_index().u32())
    }

    fn join(self, welcome: &[u8]) -> Result<Member> {
        let Self { provider, keys, .. } = self;
        let MlsMessageBodyIn::Welcome(welcome) = MlsMessageIn::tls_deserialize_exact_bytes(welcome)?.extract() else {
            return Err(anyhow!("no welcome"));
        };
        let staged = StagedWelcome::new_from_welcome(&provider, &MlsGroupJoinConfig::default(), welcome, None);
        let group = staged.and_then(|staged| staged.into_group(&provider)).map_err(told)?;
        Ok(Member { provider, keys, group })
    }
}

impl Member {
    fn add(&mut self, packages: &[KeyPackage]) -> Result<(Vec<u8>, Vec<u8>)> {
        let Self { provider, keys, group } = self;
        let (commit, welcome, _) = group.add_members(provider, keys, packages).map_err(told)?;
        group.merge_pending_commit(provider).map_err(told)?;
        let bytes = |message: MlsMessageOut| message.tls_serialize_detached();
        Ok((bytes(commit)?, bytes(welcome)?))
    }

    fn process(&mut self, bytes: &[u8]) -> Result<ProcessedMessageContent> {
        let message = MlsMessageIn::tls_deserialize_exact_bytes(bytes)?.try_into_protocol_message().map_err(told)?;
        Ok(self.group.process_message(&self.provider, message).map_err(told)?.into_content())
    }

    fn follow(&mut self, commit: &[u8]) -> Result<()> {
        let ProcessedMessageContent::StagedCommitMessage(staged) = self.process(commit)? else {
            return Err(anyhow!("no commit"));
        };
        self.group.merge_staged_commit(&self.provider, *staged).map_err(told)
    }
}

fn identity(number: u32) -> Result<(OpenMlsRustCrypto, SignatureKeyPair, CredentialWithKey)> {
    let provider = OpenMlsRustCrypto::default();
    let keys = SignatureKeyPair::new(SUITE.signature_algorithm()).map_err(told)?;
    keys.store(provider.storage()).map_err(told)?;
    let credential = BasicCredential::new(number.to_be_bytes().to_vec()).into();
    let signature_key = keys.public().into();
    Ok((provider, keys, CredentialWithKey { credential, signature_key }))
}

fn told(error: impl Debug) -> anyhow::Error {
    anyhow!("{error:?}")
}
