//! The protocol core of Nuncio: sealed letters between agents, as functions of their arguments.
//!
//! No async, socket, disk, clock or operating-system randomness: each is an argument. So the order of things is visible, and the same code runs
//! under a runtime, a fuzzer and a simulator.
//!
//! ```text
//!   in   bytes → Frame → session by tag → header → window (→ Fresh) → ratchet → Letter ─► Step ─► commit ─► deliver, acknowledge
//!   out  letter → Step ─► commit (draft) → ratchet → Step ─► commit (state and frame) ─► send → acknowledged: forgotten
//! ```
//!
//! The contract of a caller, which drives a [`peer::Peer`]:
//!
//! 1. make a step ([`peer::Peer::receive`], [`peer::Peer::send`], [`peer::Peer::next`], …): nothing has moved;
//! 2. [`peer::Peer::stage`] it: memory moves, and the ops and effects come back;
//! 3. make the ops durable, all or none, in the order of staging;
//! 4. only then do the effects, in order. After a failed commit the peer is dropped and loaded again.
//!
//! Usable alone, without tokio, quinn or sled:
//!
//! ```
//! use nuncio_proto::{bundle::Bundle, content_type::ContentType, identity::Identity, ids::LetterId, letter::Letter};
//! use nuncio_proto::{ids::AgentId, peer::{ContactInfo, Peer, Seen}, step::{Effect, Step}, testing, time::UnixMillis, token::Policy};
//!
//! struct NothingSeen; // a program keeps this record on disk
//! impl Seen for NothingSeen {
//!     fn seen(&self, _: &AgentId, _: &LetterId) -> Option<bool> { Some(false) }
//! }
//! fn commit(peer: &mut Peer, step: Step) -> Vec<Effect> {
//!     let staged = peer.stage(step).unwrap();
//!     // … staged.ops go to disk here …
//!     staged.effects.after_commit()
//! }
//!
//! let (now, mut rng) = (UnixMillis(1_800_000_000_000), testing::rng(7)); // real programs use the system's clock and randomness
//! let (mut alice, _) = Peer::create(Identity::generate(&mut rng)?, now, &mut rng);
//! let (mut bob, _) = Peer::create(Identity::generate(&mut rng)?, now, &mut rng);
//! for peer in [&mut alice, &mut bob] {
//!     peer.set_verifier(|verifier| verifier.set_policy(Policy::tokenless())); // else every letter needs a transaction token
//! }
//! let known = ContactInfo { allowed: true, ..Default::default() };
//! let (bob_added, alice_added) = (alice.set_contact(bob.id(), known.clone()), bob.set_contact(alice.id(), known));
//! commit(&mut alice, bob_added.unwrap());
//! commit(&mut bob, alice_added.unwrap());
//!
//! let letter = Letter::plain(LetterId::new(now, [1; 10]), ContentType::TEXT, b"hello".to_vec());
//! let step = alice.send(bob.id(), &letter, now)?;
//! commit(&mut alice, step);
//! let bundle = Bundle::parse(&bob.bundle(&[], now)?, now)?;
//! let step = alice.begin(&bundle, now, &mut rng)?;
//! commit(&mut alice, step);
//! let step = alice.next(now, true, &mut rng).expect("the draft can be sealed");
//! for effect in commit(&mut alice, step) {
//!     let Effect::Send { frame, .. } = effect else { continue };
//!     let step = bob.receive(Some(alice.id()), &frame, now, &mut rng, &NothingSeen)?;
//!     let arrived = commit(&mut bob, step).into_iter().any(|effect| matches!(effect, Effect::Deliver(it) if it.letter == letter));
//!     assert!(arrived);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod audit;
pub mod batch;
pub mod bundle;
pub mod call;
pub mod channel;
pub mod codec;
mod contact;
pub mod content_type;
pub mod control;
pub mod crypto;
pub mod deposit;
pub mod error;
pub mod frame;
pub mod handshake;
pub mod header;
pub mod identity;
pub mod ids;
pub mod invitation;
pub mod knock;
pub mod letter;
pub mod mailbox;
mod outbox;
pub mod padding;
pub mod payload;
pub mod peer;
pub mod permit;
mod prekeys;
pub mod query;
pub mod ratchet;
pub mod replay;
pub mod rows;
pub mod seal_log;
pub mod secret;
pub mod session;
pub mod snapshot;
pub mod step;
pub mod testing;
pub mod time;
pub mod tlog;
pub mod token;
