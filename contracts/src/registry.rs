//! The constants of the contracts.
//!
//! Generated from `contracts/registry.toml` by `cargo xtask contracts`: change that file, not this one.

/// Walls that a peer can reach.
pub mod limit {
    /// the first item of every frame, bundle and snapshot; another version is refused, never guessed
    ///
    /// Unit: version.
    pub const WIRE_VERSION: u8 = 1;

    /// beside 1 among the versions of a bundle: its agent keeps an audit log and answers sessions that do; who does not
    /// know it passes over it
    ///
    /// Unit: version.
    pub const WIRE_VERSION_AUDITED: u8 = 129;

    /// checked before decoding; a large payload travels in chunks instead, so no frame needs more
    ///
    /// Unit: bytes.
    pub const FRAME_LEN_MAX: usize = 65_536;

    /// an encoded letter; with padding (at most 3.2 % at this size) and a start's handshake it still fits a frame
    ///
    /// Unit: bytes.
    pub const LETTER_LEN_MAX: usize = 61_440;

    /// a longer payload is sent as a large one, so that one letter never holds up a link for long
    ///
    /// Unit: bytes.
    pub const PAYLOAD_INLINE_MAX: usize = 49_152;

    /// 1 GiB; both ends keep it on disk, so it is bounded
    ///
    /// Unit: bytes.
    pub const PAYLOAD_LARGE_MAX: u64 = 1_073_741_824;

    /// plaintext of a large payload's chunk: the unit of verification and resumption
    ///
    /// Unit: bytes.
    pub const CHUNK_LEN: usize = 65_536;

    /// RFC 6838 section 4.2 allows 127 characters a name
    ///
    /// Unit: bytes.
    pub const CONTENT_TYPE_LEN_MAX: usize = 127;

    /// a letter's list is bounded; seven more than this version defines
    ///
    /// Unit: extensions.
    pub const EXTENSIONS_MAX: usize = 8;

    /// holds a whole token with room
    ///
    /// Unit: bytes.
    pub const EXTENSION_LEN_MAX: usize = 16_384;

    /// replay window and the most unacknowledged frames of a session; 1,024 × 256 bytes covers a 60 ms path at 4 MiB/s
    ///
    /// Unit: frames.
    pub const WINDOW: u64 = 1024;

    /// message keys kept for frames that have not come, over all sessions: 64 sessions with a full window, about 8 MiB
    ///
    /// Unit: keys.
    pub const SKIPPED_TOTAL_MAX: usize = 65_536;

    /// receiving chains of one session that are over but lack frames; a further turn is refused until one is complete
    ///
    /// Unit: chains.
    pub const OLD_CHAINS_MAX: usize = 8;

    /// letters of one session that came before an earlier one; more is refused unacknowledged and comes again
    ///
    /// Unit: bytes.
    pub const HELD_BYTES_MAX: usize = 4_194_304;

    /// of held_bytes_max, kept for control letters: those of a token that letters wait for, and refusals, come behind
    /// the letters
    ///
    /// Unit: bytes.
    pub const HELD_CONTROLS_MAX: usize = 262_144;

    /// letters accepted by send and not yet acknowledged, over all peers; the caller is told to wait
    ///
    /// Unit: letters.
    pub const OUTBOX_LETTERS_MAX: usize = 65_536;

    /// 64 MiB of encoded letters in the outbox, which memory holds too
    ///
    /// Unit: bytes.
    pub const OUTBOX_BYTES_MAX: usize = 67_108_864;

    /// delivered letters that the application has not removed; further frames are refused unacknowledged and come again
    ///
    /// Unit: letters.
    pub const INBOX_LETTERS_MAX: usize = 65_536;

    /// 256 MiB of such letters on disk
    ///
    /// Unit: bytes.
    pub const INBOX_BYTES_MAX: usize = 268_435_456;

    /// places of the window kept for control letters, so that none waits behind letters: all tokens of a session wanted
    /// and shown, and refusals
    ///
    /// Unit: frames.
    pub const CONTROL_RESERVE: u64 = 64;

    /// frames sent again at once, lowest first, when no acknowledgement came in time
    ///
    /// Unit: frames.
    pub const RESEND_BURST: usize = 64;

    /// so many letters are acknowledged at once, without delay; as many as the bitmap shows
    ///
    /// Unit: letters.
    pub const ACK_EVERY: u32 = 64;

    /// receive-only sessions kept for one peer while their last frames arrive
    ///
    /// Unit: sessions.
    pub const OLD_SESSIONS_MAX: usize = 4;

    /// all sessions of one agent, about 1 KiB each
    ///
    /// Unit: sessions.
    pub const SESSIONS_MAX: usize = 65_536;

    /// first messages without a one-time prekey, remembered until the signed prekey is deleted; when full only starts
    /// with a one-time prekey are taken
    ///
    /// Unit: hashes.
    pub const STARTS_REMEMBERED_MAX: usize = 65_536;

    /// as many of them of one agent, so that one cannot fill the memory for all
    ///
    /// Unit: hashes.
    pub const STARTS_PER_AGENT_MAX: usize = 256;

    /// one-time prekeys given to one agent and not used; the oldest is deleted for the next, so that one cannot take
    /// them all
    ///
    /// Unit: prekeys.
    pub const ONE_TIME_PER_AGENT: usize = 16;

    /// one-time prekeys under one signed root; a power of two, so a proof is always six hashes
    ///
    /// Unit: prekeys.
    pub const ONE_TIME_BATCH: u16 = 64;

    /// a whole batch of one-time prekeys: 64 of 1,216 bytes, signature and heads; checked before decoding
    ///
    /// Unit: bytes.
    pub const BATCH_LEN_MAX: usize = 77_910;

    /// of one agent in a directory: 256 one-time prekeys, 312 KB on disk
    ///
    /// Unit: batches.
    pub const DIRECTORY_BATCHES_MAX: usize = 4;

    /// of one agent's one-time prekeys at once; more get its prekeys of last resort, so that nobody takes them all
    ///
    /// Unit: claims.
    pub const DIRECTORY_CLAIMS_BURST: u32 = 32;

    /// of one agent's one-time prekeys by one other at once: a session needs one, and a lost store another
    ///
    /// Unit: claims.
    pub const DIRECTORY_CLAIMS_PER_AGENT: u32 = 4;

    /// of a bundle in a directory, so that with a one-time prekey it has at most bundle_len_max
    ///
    /// Unit: bytes.
    pub const LISTED_BUNDLE_LEN_MAX: usize = 6144;

    /// for whom one frame is left at a node at once; larger channels make more deposits
    ///
    /// Unit: agents.
    pub const DEPOSIT_RECIPIENTS_MAX: usize = 64;

    /// a frame, 64 recipients with their deposit keys and what their frames end with, heads; checked before decoding
    ///
    /// Unit: bytes.
    pub const DEPOSIT_LEN_MAX: usize = 71_168;

    /// of one stream, read and not answered: as many as a sender leaves at once, and enough for one commit
    ///
    /// Unit: deposits.
    pub const DEPOSITS_UNDER_WAY: usize = 64;

    /// of frames in these, for each recipient: two of the longest; on the streams of all guests together 128 MiB,
    /// should the disk stand still
    ///
    /// Unit: bytes.
    pub const DEPOSITS_UNDER_WAY_BYTES: usize = 131_072;

    /// of all streams of a guest, unread: a whole deposit hardly waits, and all guests together have 16 MiB
    ///
    /// Unit: bytes.
    pub const GUEST_WINDOW: u32 = 65_536;

    /// of all streams of a connection with a client that a node's policy names, unread: the longest request on each of
    /// them fits twice
    ///
    /// Unit: bytes.
    pub const CLIENT_WINDOW: u32 = 2_097_152;

    /// that wait for one agent: a week of a busy one
    ///
    /// Unit: frames.
    pub const MAILBOX_FRAMES_MAX: usize = 10_000;

    /// of these frames together: 64 MiB of a node's disk for each agent that its policy names
    ///
    /// Unit: bytes.
    pub const MAILBOX_BYTES_MAX: u64 = 67_108_864;

    /// that wait for one agent by one deposit key: an eighth of its room, so that one peer leaves some to the others
    ///
    /// Unit: frames.
    pub const MAILBOX_KEY_FRAMES_MAX: usize = 1250;

    /// of the frames of one deposit key together: an eighth of the agent's 64 MiB
    ///
    /// Unit: bytes.
    pub const MAILBOX_KEY_BYTES_MAX: u64 = 8_388_608;

    /// first frames of strangers that wait for one agent: they need no key, so there is hardly any room
    ///
    /// Unit: frames.
    pub const MAILBOX_STRANGERS_MAX: usize = 16;

    /// fetched frames that an agent sets aside until there is room for what they need: 4 MiB; the one that came first
    /// makes place
    ///
    /// Unit: frames.
    pub const MAIL_ASIDE_MAX: usize = 64;

    /// with one deposit key at once
    ///
    /// Unit: frames.
    pub const DEPOSITS_BURST: u32 = 256;

    /// connections to a node over QUIC whose keys nobody knows
    ///
    /// Unit: connections.
    pub const GUESTS_MAX: usize = 256;

    /// of these from one address (IPv6: one /64)
    ///
    /// Unit: connections.
    pub const GUESTS_PER_SOURCE: usize = 32;

    /// when fewer are left a new batch is made
    ///
    /// Unit: prekeys.
    pub const ONE_TIME_LOW: usize = 16;

    /// addresses in a bundle or an invitation
    ///
    /// Unit: addresses.
    pub const ENDPOINTS_MAX: usize = 8;

    /// a DNS name is at most 253 characters; with its port a little more
    ///
    /// Unit: bytes.
    pub const ENDPOINT_LEN_MAX: usize = 255;

    /// a bundle with one one-time prekey is under 5 KiB; checked before decoding
    ///
    /// Unit: bytes.
    pub const BUNDLE_LEN_MAX: usize = 8192;

    /// shorter letters all look alike
    ///
    /// Unit: bytes.
    pub const PADDING_LEN_MIN: usize = 64;

    /// n never wraps; with as many bodiless acknowledgements a header key stays under 2^32 random nonces
    ///
    /// Unit: frames.
    pub const CHAIN_LEN_MAX: u32 = 2_147_483_647;

    /// a session that carried so many is re-keyed, which renews its post-quantum secrecy
    ///
    /// Unit: letters.
    pub const REKEY_LETTERS: u64 = 100_000;

    /// a compact JWS; fits a letter beside its payload with room, and every proxy
    ///
    /// Unit: bytes.
    pub const TOKEN_LEN_MAX: usize = 8192;

    /// a token service's signed keys, or its list of revoked transactions at its longest
    ///
    /// Unit: bytes.
    pub const STATEMENT_LEN_MAX: usize = 524_288;

    /// a signed event of the audit log, all its parts at their longest and some room; a bundle of 256 stays under 256
    /// KiB
    ///
    /// Unit: bytes.
    pub const EVENT_LEN_MAX: usize = 1024;

    /// given to a log in one request: 64 KiB at most, and one sync for all of them
    ///
    /// Unit: events.
    pub const EVENTS_MAX: usize = 64;

    /// a transaction's name, a tool's, a content type's (127) in an event; a longer name stands there as its hash
    ///
    /// Unit: bytes.
    pub const EVENT_TEXT_MAX: usize = 128;

    /// a signed note with sixteen of the longest post-quantum signatures, which every verifier must accept (C2SP
    /// signed-note), and some room
    ///
    /// Unit: bytes.
    pub const NOTE_LEN_MAX: usize = 131_072;

    /// a log's own signatures and more witnesses than any policy asks for; each line costs the search for its key
    ///
    /// Unit: lines.
    pub const NOTE_SIGNATURES_MAX: usize = 64;

    /// the longest note, sixty-four hashes in front of it, and a line of extra data
    ///
    /// Unit: bytes.
    pub const RECEIPT_LEN_MAX: usize = 135_168;

    /// the longest letter in base64, and room: what shows to others what a letter said
    ///
    /// Unit: bytes.
    pub const OPENING_LEN_MAX: usize = 122_880;

    /// of a service's name: it stands in paths, files and what a person types
    ///
    /// Unit: bytes.
    pub const CALL_SERVICE_LEN_MAX: usize = 64;

    /// of what a letter says of its call: in a session that audits it stands within opening_content_max
    ///
    /// Unit: bytes.
    pub const CALL_LEN_MAX: usize = 3072;

    /// fields of HTTP that travel with one message; a protocol's own are fewer than ten
    ///
    /// Unit: fields.
    pub const CALL_FIELDS_MAX: usize = 24;

    /// of the name of such a field
    ///
    /// Unit: bytes.
    pub const CALL_FIELD_NAME_MAX: usize = 64;

    /// of the value of such a field: an address with its query fits
    ///
    /// Unit: bytes.
    pub const CALL_FIELD_LEN_MAX: usize = 2048;

    /// of one message to a service: it is read whole before anything is decided
    ///
    /// Unit: bytes.
    pub const CALL_REQUEST_MAX: u64 = 16_777_216;

    /// of a person's token at the gateway: those of logins with many groups in them are shorter
    ///
    /// Unit: bytes.
    pub const GATEWAY_BEARER_MAX: usize = 8192;

    /// exchanges under way at once at one gateway: whoever comes with false tokens keeps the token service no busier
    /// than that
    ///
    /// Unit: requests.
    pub const GATEWAY_EXCHANGES_MAX: usize = 64;

    /// 8 MiB of an agent's answer to a person's letter: it is read into one response
    ///
    /// Unit: bytes.
    pub const GATEWAY_ANSWER_MAX: u64 = 8_388_608;

    /// whose use is kept at once; those of past periods go first, and where all are of now one more is refused
    ///
    /// Unit: principals.
    pub const GATEWAY_PRINCIPALS_MAX: usize = 100_000;

    /// to a gateway at once: a request has one to itself until it is answered
    ///
    /// Unit: connections.
    pub const GATEWAY_CONNECTIONS_MAX: usize = 2048;

    /// of these from one address (IPv6: one /64), where the owner says no other number: one host must not take all
    /// places
    ///
    /// Unit: connections.
    pub const GATEWAY_CONNECTIONS_PER_SOURCE: usize = 64;

    /// of a request before its body, which a stranger may send too: a token and the fields of a browser fit
    ///
    /// Unit: bytes.
    pub const GATEWAY_HEAD_MAX: usize = 32_768;

    /// exchanges of tokens of addresses of which none was taken lately, all together, and ten times as many at once:
    /// well below what a client may ask of the token service, whose log has each
    ///
    /// Unit: a second.
    pub const GATEWAY_STRANGERS: u32 = 10;

    /// of one person under way at once: more than programs ask at a time, and so few that a hundred persons fit
    ///
    /// Unit: requests.
    pub const GATEWAY_REQUESTS_PER_PRINCIPAL: usize = 32;

    /// 32 MiB of one person in memory at once: two of the longest requests, or one of the longest answers
    ///
    /// Unit: bytes.
    pub const GATEWAY_BODIES_PER_PRINCIPAL: usize = 33_554_432;

    /// 256 MiB of all persons in memory at once
    ///
    /// Unit: bytes.
    pub const GATEWAY_BODIES_MAX: usize = 268_435_456;

    /// that one person sends on, and sixty-four times as much at once: what waits for an agent that is away is on disk
    /// for minutes
    ///
    /// Unit: bytes a second.
    pub const GATEWAY_BYTES_PER_PRINCIPAL: u32 = 1_048_576;

    /// of one person with one service: more than programs have at a time, and fewer than a service takes of one agent
    ///
    /// Unit: sessions.
    pub const GATEWAY_SESSIONS_PER_PRINCIPAL: usize = 8;

    /// 4 MiB of a completion asked for, some pictures in it: it is held until the provider has answered
    ///
    /// Unit: bytes.
    pub const GATEWAY_COMPLETION_MAX: usize = 4_194_304;

    /// of all people at one gateway, with those that have ended and are still told of
    ///
    /// Unit: tasks.
    pub const GATEWAY_TASKS_MAX: usize = 10_000;

    /// of one principal: a list that a person looks through
    ///
    /// Unit: tasks.
    pub const GATEWAY_TASKS_EACH_MAX: usize = 256;

    /// 192 MiB of messages and answers of all tasks, as they are in memory; as many as may work have room at their
    /// longest
    ///
    /// Unit: bytes.
    pub const GATEWAY_TASKS_BYTES_MAX: usize = 201_326_592;

    /// 12 MiB of messages and answers of one principal's tasks, as they are in memory; as many as may work have room at
    /// their longest
    ///
    /// Unit: bytes.
    pub const GATEWAY_TASKS_EACH_BYTES_MAX: usize = 12_582_912;

    /// that work at once at one gateway, whether anybody listens or not
    ///
    /// Unit: tasks.
    pub const GATEWAY_TASKS_WORKING_MAX: usize = 128;

    /// of one principal that work at once
    ///
    /// Unit: tasks.
    pub const GATEWAY_TASKS_WORKING_EACH_MAX: usize = 8;

    /// 256 KiB of a request with a message that begins a task, as it is in memory: it is kept with it
    ///
    /// Unit: bytes.
    pub const GATEWAY_TASK_MESSAGE_MAX: usize = 262_144;

    /// 1 MiB of what a task answers, as it is in memory, each piece four bytes more: a model's longest answer fits, and
    /// a table of a thousand rows
    ///
    /// Unit: bytes.
    pub const GATEWAY_TASK_ANSWER_MAX: usize = 1_048_576;

    /// a day for which a task that has ended is told of
    ///
    /// Unit: s.
    pub const GATEWAY_TASK_LIFE_S: u64 = 86_400;

    /// that one agent has under way at another's services; what is above is answered as busy
    ///
    /// Unit: requests.
    pub const CALLS_BEGUN_MAX: usize = 4096;

    /// of one agent, of which a service's agent keeps how their programs are begun again: at most 16 MiB; the oldest
    /// are forgotten
    ///
    /// Unit: sessions.
    pub const CALL_SESSIONS_MAX: usize = 256;

    /// of calls that wait for one peer in the outbox, which is one for all: a peer that acknowledges nothing stops
    /// itself alone; a sixteenth
    ///
    /// Unit: letters.
    pub const CALLS_OUT_LETTERS_MAX: usize = 4096;

    /// 8 MiB of them, an eighth of the outbox; all peers' together are half of it at most, in letters and in bytes
    ///
    /// Unit: bytes.
    pub const CALLS_OUT_BYTES_MAX: usize = 8_388_608;

    /// 4 GiB of large payloads that wait for one peer, with those of its calls: as much as is kept of one
    /// (`large_bytes_per_peer`); a peer that asks for much and fetches nothing does not fill the disk
    ///
    /// Unit: bytes.
    pub const CALLS_OUT_LARGE_MAX: u64 = 4_294_967_296;

    /// of calls of one peer that nobody has taken from the inbox, which is one for all; what is above is left
    /// unacknowledged and comes again
    ///
    /// Unit: letters.
    pub const CALLS_IN_LETTERS_MAX: usize = 8192;

    /// 32 MiB of them, an eighth of the inbox
    ///
    /// Unit: bytes.
    pub const CALLS_IN_BYTES_MAX: usize = 33_554_432;

    /// of one stream that have no answer; what is above goes as a letter
    ///
    /// Unit: queries.
    pub const QUERIES_OPEN_MAX: usize = 64;

    /// of queries, that one connection may have open: one whose keys are old ends while its successor begins
    ///
    /// Unit: streams.
    pub const QUERIES_STREAMS_MAX: usize = 2;

    /// who would be let in, and for what: an invitation's line and a scope
    ///
    /// Unit: bytes.
    pub const KNOCK_LEN_MAX: usize = 6144;

    /// that wait for a person; a stranger can make a new identity for each, so the one that has waited longest makes
    /// place
    ///
    /// Unit: knocks.
    pub const KNOCKS_MAX: usize = 64;

    /// of agents that were not added, at once, where knocks are heard; each stays for stranger_stays, so many a minute
    /// are heard
    ///
    /// Unit: connections.
    pub const KNOCKING_MAX: usize = 32;

    /// four links with some 50 scopes each; a line of 11 KB is still pasted
    ///
    /// Unit: bytes.
    pub const PERMIT_LEN_MAX: usize = 8192;

    /// who gives, and three that hand on: nobody oversees more
    ///
    /// Unit: links.
    pub const PERMIT_LINKS_MAX: usize = 4;

    /// kept for one holder: half a megabyte at most, of which a peer that shows permits fills its own part alone
    ///
    /// Unit: permits.
    pub const PERMITS_PER_HOLDER_MAX: usize = 64;

    /// revoked by one sender and not over: four times what one holder has; more revokes the link above
    ///
    /// Unit: links.
    pub const PERMITS_OVER_MAX: usize = 256;

    /// of a letter in a session that audits without its payload: it is kept for a month, and what a letter says belongs
    /// into the payload
    ///
    /// Unit: bytes.
    pub const OPENING_CONTENT_MAX: usize = 4096;

    /// a verifier's policy with as many post-quantum keys as it may name, each two kilobytes long, and room for
    /// comments
    ///
    /// Unit: bytes.
    pub const TLOG_POLICY_LEN_MAX: usize = 262_144;

    /// twice the thirty-two of each that C2SP tlog-policy asks for; a note has no more lines of witnesses
    ///
    /// Unit: logs, witnesses or groups.
    pub const TLOG_POLICY_ITEMS_MAX: usize = 64;

    /// a detached timestamp with a branch of each of sixteen calendars, two kilobytes long where it reaches a block,
    /// and room
    ///
    /// Unit: bytes.
    pub const TIMESTAMP_LEN_MAX: usize = 65_536;

    /// a calendar's answer: the published library reads no more of one
    ///
    /// Unit: bytes.
    pub const TIMESTAMP_ANSWER_LEN_MAX: usize = 10_000;

    /// of a calendar's first answer a node keeps no longer one: so sixteen of them, and what follows, fit into one
    /// timestamp
    ///
    /// Unit: bytes.
    pub const TIMESTAMP_FIRST_LEN_MAX: usize = 1024;

    /// of its further answer: some forty hashes up to a block, and a transaction
    ///
    /// Unit: bytes.
    pub const TIMESTAMP_FURTHER_LEN_MAX: usize = 3000;

    /// what an operation of a timestamp makes, and its operand: the published library's bound
    ///
    /// Unit: bytes.
    pub const TIMESTAMP_MESSAGE_LEN_MAX: usize = 4096;

    /// one behind the other in a timestamp: the published library goes no deeper, and neither does our stack
    ///
    /// Unit: operations.
    pub const TIMESTAMP_DEPTH_MAX: usize = 255;

    /// what an attestation says: the published library's bound
    ///
    /// Unit: bytes.
    pub const TIMESTAMP_PAYLOAD_LEN_MAX: usize = 8192;

    /// a calendar's address in a pending attestation: the published library's bound
    ///
    /// Unit: bytes.
    pub const TIMESTAMP_URI_LEN_MAX: usize = 1000;

    /// a message that a calendar is asked for: it is in the request's path, and the published calendars make messages
    /// of 44
    ///
    /// Unit: bytes.
    pub const TIMESTAMP_ASKED_LEN_MAX: usize = 64;

    /// the newest ones, which a node asks its calendars for until a block is named: ten days of them, one an hour; a
    /// block is named within a day
    ///
    /// Unit: anchors.
    pub const ANCHORS_OPEN_MAX: usize = 256;

    /// a JWK set of a token service: its keys at their longest, with room
    ///
    /// Unit: bytes.
    pub const KEY_SET_LEN_MAX: usize = 65_536;

    /// the keys of one service: the one in use, the next, and some that are over
    ///
    /// Unit: keys.
    pub const KEY_SET_KEYS_MAX: usize = 32;

    /// a compact JWS of six short claims, with room
    ///
    /// Unit: bytes.
    pub const HOP_PROOF_LEN_MAX: usize = 2048;

    /// nesting of objects and arrays in a token; a parser recurses
    ///
    /// Unit: levels.
    pub const TOKEN_DEPTH_MAX: usize = 16;

    /// tokens of one session that a letter may name by hash, the latest; who names an older one is asked for it
    ///
    /// Unit: tokens.
    pub const SESSION_TOKENS_MAX: usize = 16;

    /// verified tokens in memory, of all sessions; what made room is verified again, or asked for
    ///
    /// Unit: tokens.
    pub const TOKENS_MAX: usize = 10_000;

    /// names of live tokens (`jti`) with the agent that came with them first; the ones that expire first make room
    ///
    /// Unit: names.
    pub const TOKENS_PINNED_MAX: usize = 65_536;

    /// a letter is sealed again with a fresh token so often; clocks that disagree would go on for ever
    ///
    /// Unit: tries.
    pub const TOKEN_RENEWALS_MAX: u8 = 3;

    /// no chain of delegations is longer; loops end here at the latest
    ///
    /// Unit: hops.
    pub const HOPS_MAX: u8 = 16;

    /// refusals on their way to one peer; a peer that hears none of them is refused its frames, but for the one that
    /// its window waits for
    ///
    /// Unit: letters.
    pub const REFUSALS_MAX: usize = 256;

    /// private halves of one-time prekeys, given away or not; bundles go without one while there are as many
    ///
    /// Unit: prekeys.
    pub const ONE_TIME_MAX: usize = 4096;

    /// large payloads of one peer on their way to us at once; others wait their turn
    ///
    /// Unit: payloads.
    pub const FETCHES_PER_PEER: usize = 4;

    /// large payloads on their way to us at once, in all: each has a thread
    ///
    /// Unit: payloads.
    pub const FETCHES_MAX: usize = 32;

    /// 4 GiB; of large payloads of one peer that are kept for letters in the inbox; more are fetched as letters are
    /// removed
    ///
    /// Unit: bytes.
    pub const LARGE_BYTES_PER_PEER: u64 = 4_294_967_296;

    /// 4 GiB; of large payloads of all peers together that the owner did not add, where strangers are taken: identities
    /// cost nothing
    ///
    /// Unit: bytes.
    pub const LARGE_BYTES_STRANGERS: u64 = 4_294_967_296;

    /// a transfer of a large payload that is slower gives its place to others and goes on later: 1 GiB holds one for
    /// 4.6 hours at most
    ///
    /// Unit: bytes/s.
    pub const LARGE_RATE_MIN: u64 = 65_536;

    /// streams that a welcome peer may have open: one of frames, a few requests, the large payloads under way
    ///
    /// Unit: streams.
    pub const STREAMS_MAX: u32 = 16;

    /// of one stream, ahead of our reading: 2 MiB fill 160 Mbit/s over 100 ms
    ///
    /// Unit: bytes.
    pub const STREAM_WINDOW: u32 = 2_097_152;

    /// streams that a dialler may open before it is called welcome
    ///
    /// Unit: streams.
    pub const STRANGER_STREAMS_MAX: u32 = 4;

    /// of all streams of a dialler that is not called welcome yet
    ///
    /// Unit: bytes.
    pub const STRANGER_WINDOW: u32 = 8192;

    /// of ours that a dialler who is not called welcome yet has not acknowledged: a bundle with a one-time prekey, or
    /// the answers to 500 deposits for 64 each
    ///
    /// Unit: bytes.
    pub const STRANGER_SEND_WINDOW: u64 = 65_536;

    /// of QUIC, under way in all, some 40 KiB each
    ///
    /// Unit: handshakes.
    pub const HANDSHAKES_MAX: usize = 256;

    /// handshakes of QUIC from one address (IPv6: one /64), and twice as many at once
    ///
    /// Unit: a second.
    pub const HANDSHAKES_PER_SOURCE: u32 = 32;

    /// of QUIC in all, both ways
    ///
    /// Unit: connections.
    pub const CONNECTIONS_MAX: usize = 4096;

    /// for a bundle from one peer at once, then one a second: each gives a one-time prekey away
    ///
    /// Unit: requests.
    pub const BUNDLES_BURST: u32 = 8;

    /// a request to the token service: a subject token, an assertion and the details, with room
    ///
    /// Unit: bytes.
    pub const REQUEST_LEN_MAX: usize = 32_768;

    /// sub of a transaction token, its issuer's prefix included: it stands in every record; a SPIFFE ID may have 2,048,
    /// OpenID Connect allows 255
    ///
    /// Unit: bytes.
    pub const PRINCIPAL_LEN_MAX: usize = 2048;

    /// requests of one client to the token service, where its policy says no other number; twice as many at once
    ///
    /// Unit: a second.
    pub const REQUESTS_PER_CLIENT: u32 = 1000;

    /// requests from one address to the token service, before anybody is authenticated: each may cost a signature check
    ///
    /// Unit: a second.
    pub const REQUESTS_PER_SOURCE: u32 = 20_000;

    /// failures to authenticate from one address that leave an audit record, and ten times as many at once: a stranger
    /// must not fill the disk
    ///
    /// Unit: a second.
    pub const FAILURES_PER_SOURCE: u32 = 5;

    /// revoked transactions that are kept: the list stays under 400 KiB; one more is refused, none is forgotten early
    ///
    /// Unit: transactions.
    pub const REVOKED_MAX: usize = 4096;

    /// audit records that wait for the log: never dropped, so their owner is warned, some 30 MB each time
    ///
    /// Unit: records.
    pub const AUDIT_WARN_EVERY: u64 = 100_000;

    /// connections to a node over TCP at once
    ///
    /// Unit: connections.
    pub const NODE_CONNECTIONS_MAX: usize = 1024;

    /// of these from one address (IPv6: one /64), where the policy says no other number: one host must not take all
    /// places
    ///
    /// Unit: connections.
    pub const NODE_CONNECTIONS_PER_SOURCE: usize = 64;

    /// of QUIC that one agent may have with a node: one it uses, others that it lost and the node has not missed yet
    ///
    /// Unit: connections.
    pub const NODE_CONNECTIONS_PER_PEER: usize = 4;

    /// links to a node's page that were printed and not used; one more ends the oldest
    ///
    /// Unit: links.
    pub const PAGE_LINKS_MAX: usize = 16;

    /// browsers that are signed in to a node's page; its owner alone lets them in, and one more ends the oldest
    ///
    /// Unit: sessions.
    pub const PAGE_SESSIONS_MAX: usize = 64;

    /// newest entries of the log that the page keeps in a browser, some 4 MiB; it says so, and older ones can be looked
    /// up one by one
    ///
    /// Unit: entries.
    pub const PAGE_ENTRIES_MAX: usize = 5000;

    /// jti of assertions and proofs that are remembered: 5,000 a second for 400 seconds, some 150 MiB; when full none
    /// is accepted
    ///
    /// Unit: ids.
    pub const USED_IDS_MAX: usize = 2_097_152;

    /// of these of one client: at its usual rate all that it can bring in the longest life of an assertion, and a proof
    /// with each; a faster client wants shorter lives
    ///
    /// Unit: ids.
    pub const USED_IDS_PER_CLIENT: usize = 524_288;

    /// of one channel, its owner among them: each letter has a MAC for every one
    ///
    /// Unit: members.
    pub const CHANNEL_MEMBERS_MAX: usize = 1024;

    /// of one channel; as many signatures a succession carries at the most
    ///
    /// Unit: admins.
    pub const CHANNEL_ADMINS_MAX: usize = 16;

    /// what a channel is called
    ///
    /// Unit: bytes.
    pub const CHANNEL_NAME_LEN_MAX: usize = 128;

    /// added, removed or gone in one entry: a channel of 1,000 is founded in 17 entries
    ///
    /// Unit: agents.
    pub const CHANNEL_CHANGE_AGENTS_MAX: usize = 64;

    /// 64 newcomers with their consents and invitations; fits a control letter; checked before decoding
    ///
    /// Unit: bytes.
    pub const CHANNEL_ENTRY_LEN_MAX: usize = 32_768;

    /// of one record: ten changes a day for four years; who goes on founds another channel
    ///
    /// Unit: entries.
    pub const CHANNEL_ENTRIES_MAX: u32 = 16_384;

    /// 16 MiB of entries, which every member keeps and every newcomer verifies
    ///
    /// Unit: bytes.
    pub const CHANNEL_RECORD_LEN_MAX: usize = 16_777_216;

    /// a proposal of 64 agents and heads; checked before decoding
    ///
    /// Unit: bytes.
    pub const CHANNEL_STATEMENT_LEN_MAX: usize = 6144;

    /// how far behind the newest entry an epoch may lie on which a proposal or a new chain stands: who was away has not
    /// heard of all
    ///
    /// Unit: entries.
    pub const CHANNEL_BEHIND_MAX: u32 = 64;

    /// of one sending chain: a stolen chain key opens no more, and no gap costs more steps
    ///
    /// Unit: letters.
    pub const CHANNEL_CHAIN_LETTERS: u64 = 100;

    /// of one channel that are over and of which letters are missing: of 48 members one for every hour of a week;
    /// beyond that the oldest of whoever has most goes; 4 MiB
    ///
    /// Unit: chains.
    pub const CHANNEL_CHAINS_MAX: usize = 8192;

    /// the newest letters of one sender with which an attestation is compared: 4 KiB
    ///
    /// Unit: letters.
    pub const CHANNEL_ATTESTED_MAX: usize = 256;

    /// of one channel that wait for what they answer or follow; more are handed out at once, with a mark
    ///
    /// Unit: letters.
    pub const CHANNEL_WAITING_MAX: usize = 1024;

    /// as many bytes of them
    ///
    /// Unit: bytes.
    pub const CHANNEL_WAITING_BYTES_MAX: usize = 4_194_304;

    /// so many get a channel's letters each in a session of its own: cheaper, and every turn of a ratchet heals
    ///
    /// Unit: members.
    pub const CHANNEL_PAIRWISE_MAX: usize = 8;

    /// so far ahead a member may say that it has a sender's letters: one that was restored from a copy goes on behind
    /// them, and nobody uses its numbers up by a lie
    ///
    /// Unit: letters.
    pub const CHANNEL_AHEAD_MAX: u64 = 1_048_576;

    /// of its own to channels that an agent keeps to show them, the newest, beside the others'
    ///
    /// Unit: letters.
    pub const CHANNEL_SAID_MAX: usize = 1000;

    /// of these letters together
    ///
    /// Unit: bytes.
    pub const CHANNEL_SAID_BYTES_MAX: usize = 16_777_216;

    /// of a channel's letters that not every member has: the oldest is given up for those who lack it, as a channel
    /// waits for nobody
    ///
    /// Unit: bytes.
    pub const CHANNEL_OUT_BYTES_MAX: usize = 8_388_608;

    /// that one agent is in, or was; a record of each is in memory
    ///
    /// Unit: channels.
    pub const CHANNELS_MAX: usize = 256;

    /// into channels, that nobody has answered; the oldest goes
    ///
    /// Unit: invitations.
    pub const CHANNEL_INVITES_MAX: usize = 64;

    /// of a record that go into one letter: the rest goes into the next
    ///
    /// Unit: bytes.
    pub const CHANNEL_WORD_LEN_MAX: usize = 40_960;

    /// of a channel that are handed over to a newcomer at once; who wants more asks again, once these are there
    ///
    /// Unit: letters.
    pub const CHANNEL_HISTORY_MAX: usize = 256;

    /// letters of one channel that were handed out, remembered for those that answer them
    ///
    /// Unit: ids.
    pub const CHANNEL_HANDED_MAX: usize = 4096;
}

/// Durations.
pub mod time {
    /// 7 days; an older letter is refused, so ids of delivered letters need not be kept for ever
    ///
    /// Unit: ms.
    pub const LETTER_LIFE_MAX: u64 = 604_800_000;

    /// behind the burst one one-time prekey of an agent is given in this time: 256 last for forty minutes of claims
    /// without an end
    ///
    /// Unit: ms.
    pub const DIRECTORY_CLAIM_EVERY: u64 = 10_000;

    /// behind the burst one agent is given one one-time prekey of another in this time
    ///
    /// Unit: ms.
    pub const DIRECTORY_CLAIM_AGAIN: u64 = 600_000;

    /// behind the burst one frame is taken with one deposit key in this time: five a second, for as long as one likes
    ///
    /// Unit: ms.
    pub const DEPOSIT_EVERY: u64 = 200;

    /// a connection that nobody is known by and on which nothing was asked for so long is closed
    ///
    /// Unit: ms.
    pub const GUEST_PATIENCE: u64 = 10_000;

    /// 1 hour; an owner that keeps an agent in a channel that it has left is told again, and no sooner
    ///
    /// Unit: ms.
    pub const LEFT_AGAIN: u64 = 3_600_000;

    /// 1 day; a frame that was left at a node is not left there again sooner: a peer that is away for a week costs its
    /// mailbox seven of each
    ///
    /// Unit: ms.
    pub const DEPOSIT_AGAIN: u64 = 86_400_000;

    /// first pause after a mailbox took nothing: it was full, busy or not reached; pauses double, with jitter
    ///
    /// Unit: ms.
    pub const MAIL_PAUSE_MIN: u64 = 1000;

    /// 5 minutes; the longest of them
    ///
    /// Unit: ms.
    pub const MAIL_PAUSE_MAX: u64 = 300_000;

    /// one acknowledgement alone is left for a peer in this time, the newest: they are worth little and take a place in
    /// its mailbox
    ///
    /// Unit: ms.
    pub const MAIL_ACK_EVERY: u64 = 1000;

    /// a minute; how long a fetched frame that is refused for what may pass is tried again: what it waits for is behind
    /// it, or its sender leaves it again
    ///
    /// Unit: ms.
    pub const MAIL_ASIDE: u64 = 60_000;

    /// 5 minutes; how often an agent looks what its directory has left of it, when no start makes it look
    ///
    /// Unit: ms.
    pub const DIRECTORY_LOOK: u64 = 300_000;

    /// 5 minutes, five times the longest pause between two resends: a number that is missing for longer is reported
    ///
    /// Unit: ms.
    pub const GAP_PATIENCE: u64 = 300_000;

    /// a letter's longest life and twice the clocks' difference: what waits longer would be refused
    ///
    /// Unit: ms.
    pub const MAILBOX_LIFE: u64 = 605_400_000;

    /// a month: long enough that a dispute over a letter has begun
    ///
    /// Unit: ms.
    pub const OPENING_LIFE: u64 = 2_592_000_000;

    /// 5 minutes; margin on every comparison of two agents' clocks
    ///
    /// Unit: ms.
    pub const CLOCK_SKEW: u64 = 300_000;

    /// an acknowledgement waits so long for a letter to ride on, when more letters are coming
    ///
    /// Unit: ms.
    pub const ACK_DELAY: u64 = 20;

    /// the first resend of an unacknowledged frame; QUIC has its own loss recovery below, so this is for lost
    /// connections
    ///
    /// Unit: ms.
    pub const RESEND_FIRST: u64 = 1000;

    /// resends back off by doubling to this
    ///
    /// Unit: ms.
    pub const RESEND_MAX: u64 = 60_000;

    /// 1 day; a replaced session still opens what was under way, then its keys are deleted
    ///
    /// Unit: ms.
    pub const OLD_SESSION_LIFE: u64 = 86_400_000;

    /// 7 days; a new signed prekey is published then
    ///
    /// Unit: ms.
    pub const SIGNED_PREKEY_LIFE: u64 = 604_800_000;

    /// 7 days more until its private half is deleted, for first letters under way
    ///
    /// Unit: ms.
    pub const SIGNED_PREKEY_GRACE: u64 = 604_800_000;

    /// 1 day; an older session is re-keyed, which renews its post-quantum secrecy
    ///
    /// Unit: ms.
    pub const REKEY_AGE: u64 = 86_400_000;

    /// 1 hour; an offer that was acknowledged and not answered is made again, so a peer that dropped it stops no later
    /// re-key, and one that never answers costs 1.3 KB an hour
    ///
    /// Unit: ms.
    pub const REKEY_PATIENCE: u64 = 3_600_000;

    /// 1 day; then the store's values are sealed anew and the old key destroyed, so what was deleted or overwritten
    /// before cannot be read again
    ///
    /// Unit: ms.
    pub const EPOCH_LIFE: u64 = 86_400_000;

    /// the least time between two new handshakes with one peer
    ///
    /// Unit: ms.
    pub const START_RETRY: u64 = 5000;

    /// clocks of agents and token service may differ by so much
    ///
    /// Unit: ms.
    pub const TOKEN_SKEW: u64 = 30_000;

    /// 5 minutes; a token that claims to live longer is refused
    ///
    /// Unit: ms.
    pub const TOKEN_LIFE_MAX: u64 = 300_000;

    /// a letter waits so long for the key of its token, or for the token itself, before it is refused
    ///
    /// Unit: ms.
    pub const TOKEN_WAIT: u64 = 30_000;

    /// 5 minutes; how often an agent asks its node for the keys of tokens: a key is published longer than that before
    /// it signs
    ///
    /// Unit: ms.
    pub const KEYS_REFRESH: u64 = 300_000;

    /// how often an agent asks its node which transactions are revoked: so long a revocation may go unheard
    ///
    /// Unit: ms.
    pub const REVOKED_REFRESH: u64 = 15_000;

    /// a quiet connection sends so often: middleboxes forget a UDP flow after 30 s or more (RFC 9308 section 3.2)
    ///
    /// Unit: ms.
    pub const KEEP_ALIVE: u64 = 12_000;

    /// three keep-alives lost in a row, and a little: the peer is gone
    ///
    /// Unit: ms.
    pub const IDLE_TIMEOUT: u64 = 40_000;

    /// a half-open connection costs a listener memory for so long
    ///
    /// Unit: ms.
    pub const HANDSHAKE_TIMEOUT: u64 = 5000;

    /// longer than handshake_timeout, so that a dialler learns of a refusal
    ///
    /// Unit: ms.
    pub const DIAL_TIMEOUT: u64 = 8000;

    /// how long an opened stream may keep its kind to itself
    ///
    /// Unit: ms.
    pub const FIRST_BYTE_TIMEOUT: u64 = 5000;

    /// first pause after an address could not be reached; pauses double, with jitter
    ///
    /// Unit: ms.
    pub const DIAL_PAUSE_MIN: u64 = 100;

    /// the longest pause between two tries to reach a peer
    ///
    /// Unit: ms.
    pub const DIAL_PAUSE_MAX: u64 = 15_000;

    /// a peer that is being reached is tried at once for a new cause, with pauses from the first, and no sooner again
    /// than this: nobody makes an agent dial in a loop
    ///
    /// Unit: ms.
    pub const DIAL_HURRY_PAUSE: u64 = 2000;

    /// how long a transfer of a large payload may stand still, and the most that it may fall behind large_rate_min
    ///
    /// Unit: ms.
    pub const LARGE_PATIENCE: u64 = 30_000;

    /// how long a peer may take to answer a request for its bundle
    ///
    /// Unit: ms.
    pub const BUNDLE_PATIENCE: u64 = 10_000;

    /// 2 minutes; how long a token lives where the policy says no other
    ///
    /// Unit: ms.
    pub const TOKEN_LIFE: u64 = 120_000;

    /// 1 day; the longest that a policy may let a transaction last, so a revocation is kept so long at most
    ///
    /// Unit: ms.
    pub const TRANSACTION_LIFE_MAX: u64 = 86_400_000;

    /// 5 minutes; a client's assertion may be valid so far ahead, and its jti is remembered so long
    ///
    /// Unit: ms.
    pub const ASSERTION_LIFE_MAX: u64 = 300_000;

    /// 1 minute; how old or early a DPoP proof may be (RFC 9449 section 11.1)
    ///
    /// Unit: ms.
    pub const DPOP_AGE_MAX: u64 = 60_000;

    /// 1 day; how long a token service that is dead is outlived by its signed keys
    ///
    /// Unit: ms.
    pub const KEY_BUNDLE_LIFE: u64 = 86_400_000;

    /// 1 hour; an older list of revocations is not current
    ///
    /// Unit: ms.
    pub const REVOKED_LIST_LIFE: u64 = 3_600_000;

    /// 15 minutes; a key is published so long before it signs, longer than key sets are cached
    ///
    /// Unit: ms.
    pub const KEY_LEAD: u64 = 900_000;

    /// 5 minutes; an issuer's key set that was fetched is not asked for again before
    ///
    /// Unit: ms.
    pub const KEY_SET_AGE_MAX: u64 = 300_000;

    /// how long an issuer may take to answer with its key set
    ///
    /// Unit: ms.
    pub const FETCH_PATIENCE: u64 = 5000;

    /// how long a decision point may take; a late one denies
    ///
    /// Unit: ms.
    pub const DECISION_PATIENCE: u64 = 2000;

    /// 1 hour, where the policy does not say otherwise: calendars wait for a block longer than that, and are free
    /// because they are asked seldom
    ///
    /// Unit: ms.
    pub const ANCHOR_EVERY: u64 = 3_600_000;

    /// 1 minute; so long after no calendar answered, they are asked again
    ///
    /// Unit: ms.
    pub const ANCHOR_RETRY: u64 = 60_000;

    /// 10 minutes, a block's own time; a calendar is asked for a pending message at most so often
    ///
    /// Unit: ms.
    pub const ANCHOR_ASK: u64 = 600_000;

    /// so long a head that is to be anchored waits for its witnesses' lines
    ///
    /// Unit: ms.
    pub const ANCHOR_WAIT: u64 = 10_000;

    /// how long a calendar may take to answer
    ///
    /// Unit: ms.
    pub const ANCHOR_PATIENCE: u64 = 10_000;

    /// how long the head of a request to a gateway may take to come; a connection without one ends after it too
    ///
    /// Unit: ms.
    pub const GATEWAY_HEAD_PATIENCE: u64 = 10_000;

    /// how long an answer of a gateway may lie without a byte of it being taken: its connection ends, and what it held
    /// is for others
    ///
    /// Unit: ms.
    pub const GATEWAY_WRITE_PATIENCE: u64 = 30_000;

    /// an hour: how long an address is known at a gateway of which a token was taken
    ///
    /// Unit: ms.
    pub const GATEWAY_KNOWN: u64 = 3_600_000;

    /// how long a request to a node may take to come, and how long its answer may lie without a byte of it being taken
    ///
    /// Unit: ms.
    pub const REQUEST_PATIENCE: u64 = 10_000;

    /// 10 minutes; how long a link to a node's page waits to be opened: time to walk to a browser
    ///
    /// Unit: ms.
    pub const PAGE_LINK_LIFE: u64 = 600_000;

    /// 12 hours; how long a browser stays signed in to a node's page: a working day
    ///
    /// Unit: ms.
    pub const PAGE_SESSION_LIFE: u64 = 43_200_000;

    /// how long a node that stops waits for answers under way
    ///
    /// Unit: ms.
    pub const DRAIN_PATIENCE: u64 = 5000;

    /// what a service says and its caller has not got in this time fails: whoever asked has given up, and a caller that
    /// is away does not fill the outbox
    ///
    /// Unit: ms.
    pub const CALL_LIFE: u64 = 600_000;

    /// a query that its service has not answered by then goes as a letter, before a client over HTTP could have been
    /// told how to come again
    ///
    /// Unit: ms.
    pub const QUERY_PATIENCE: u64 = 600;

    /// keys of queries are in memory no longer than this and a minute, so that a memory that is read tells little of
    /// what was
    ///
    /// Unit: ms.
    pub const QUERY_KEYS_LIFE: u64 = 300_000;

    /// an agent that was not added has so long from its connection on to knock, and is shown out then
    ///
    /// Unit: ms.
    pub const STRANGER_STAYS: u64 = 5000;

    /// 366 days: what lasts longer is forgotten, and a revoked link is kept as long
    ///
    /// Unit: ms.
    pub const PERMIT_LIFE_MAX: u64 = 31_622_400_000;

    /// 30 days: a clock that is ahead by less, and put right again, has forgotten no revoked link
    ///
    /// Unit: ms.
    pub const PERMIT_OVER_STAYS: u64 = 2_592_000_000;

    /// an unknown kid lets an issuer be asked again at most so often
    ///
    /// Unit: ms.
    pub const KEY_SET_RETRY: u64 = 10_000;

    /// 1 hour; a sender begins a new chain then, so a theft heals
    ///
    /// Unit: ms.
    pub const CHANNEL_CHAIN_LIFE: u64 = 3_600_000;

    /// 7 days: so long admins can answer a captured owner key, and so long a majority of them can take the channel
    ///
    /// Unit: ms.
    pub const CHANNEL_SUCCESSION_WINDOW: u64 = 604_800_000;

    /// a letter waits so long for what it answers, and is then handed out with a mark
    ///
    /// Unit: ms.
    pub const CHANNEL_WAIT: u64 = 60_000;
}

/// Domain separation: no label begins another.
pub mod label {
    /// names every primitive of suite 1; the first bytes of every handshake transcript
    pub const SUITE: &[u8] = b"nuncio/1 X25519+ML-KEM-768 Ed25519 ChaCha20-Poly1305 SHA-256";

    /// the identity key's signature over an agreement key
    pub const AGREEMENT: &[u8] = b"nuncio/1 agreement key";

    /// the identity key's signature over a bundle's body
    pub const BUNDLE: &[u8] = b"nuncio/1 bundle";

    /// the identity key's signature over a batch's root
    pub const ONE_TIME: &[u8] = b"nuncio/1 one-time batch";

    /// hash of a one-time prekey in its batch
    pub const LEAF: &[u8] = b"nuncio/1 one-time leaf";

    /// hash of two children in a batch; apart from leaves, as in RFC 6962
    pub const NODE: &[u8] = b"nuncio/1 one-time node";

    /// the statement that ends an identity or names its successor
    pub const RETIREMENT: &[u8] = b"nuncio/1 retirement";

    /// the key that seals the initiator's identity
    pub const STAGE_ONE: &[u8] = b"nuncio/1 handshake stage one";

    /// the handshake's outputs
    pub const STAGE_TWO: &[u8] = b"nuncio/1 handshake stage two";

    /// the outputs of a handshake inside a session
    pub const REKEY: &[u8] = b"nuncio/1 rekey";

    /// the secret that a session gives its queries, and the transcript of a stream of them
    pub const QUERY: &[u8] = b"nuncio/1 query secret";

    /// the two keys of such a stream
    pub const QUERY_KEYS: &[u8] = b"nuncio/1 query keys";

    /// the secret that a session gives its successor
    pub const EXPORTER: &[u8] = b"nuncio/1 exporter";

    /// HKDF info of the root step
    pub const ROOT: &[u8] = b"nuncio/1 root step";

    /// HMAC input that turns a header key into a tag
    pub const TAG: &[u8] = b"nuncio/1 tag";

    /// first value of the running hash that an acknowledgement proves
    pub const ACK_CHAIN: &[u8] = b"nuncio/1 ack chain";

    /// associated data of a large payload's chunks
    pub const PAYLOAD: &[u8] = b"nuncio/1 payload";

    /// hash that an invitation gives of a bundle
    pub const INVITATION: &[u8] = b"nuncio/1 invitation";

    /// by what the maker of an invitation knows its secret again
    pub const KNOCK: &[u8] = b"nuncio/1 knock";

    /// what an agent signs of a link that it gives, and the link's hash
    pub const PERMIT: &[u8] = b"nuncio/1 permit";

    /// hash of a letter's id and payload in a hop proof
    pub const HOP_PROOF: &[u8] = b"nuncio/1 proven letter";

    /// salted hash of a payload in a token's hop
    pub const PAYLOAD_HASH: &[u8] = b"nuncio/1 hop payload";

    /// the key of a letter's commitment, out of its message key
    pub const COMMITMENT: &[u8] = b"nuncio/1 commitment";

    /// what two agents share out of their identity keys: their pseudonyms in audit events
    pub const PAIR: &[u8] = b"nuncio/1 pair";

    /// the key by which a peer leaves frames for an agent, out of the secret that the agent's node has
    pub const DEPOSIT: &[u8] = b"nuncio/1 deposit";

    /// associated data of a value at rest
    pub const ROW: &[u8] = b"nuncio/1 row";

    /// the key that wraps the root of a store, and what it wraps
    pub const WRAP: &[u8] = b"nuncio/1 wrap";

    /// the key that seals epoch keys, and what it seals
    pub const EPOCH_KEY: &[u8] = b"nuncio/1 epoch key";

    /// the key under which an agent disowns connections of its former life
    pub const STATELESS_RESET: &[u8] = b"nuncio/1 quic stateless reset";

    /// what a channel is named by, out of its first entry
    pub const CHANNEL_ID: &[u8] = b"nuncio/1 channel id";

    /// what an entry of a membership record is named by
    pub const CHANNEL_EPOCH: &[u8] = b"nuncio/1 channel epoch";

    /// an entry of a membership record, by its signer
    pub const CHANNEL_ENTRY: &[u8] = b"nuncio/1 channel entry";

    /// hash of who is in a channel after an entry
    pub const CHANNEL_ROSTER: &[u8] = b"nuncio/1 channel roster";

    /// an invitation into a channel, by its owner or an admin
    pub const CHANNEL_INVITE: &[u8] = b"nuncio/1 channel invitation";

    /// the consent of who joins
    pub const CHANNEL_JOIN: &[u8] = b"nuncio/1 channel join";

    /// the word of who leaves
    pub const CHANNEL_LEAVE: &[u8] = b"nuncio/1 channel leave";

    /// a member's consent to be the next owner
    pub const CHANNEL_HEIR: &[u8] = b"nuncio/1 channel heir";

    /// a change that an admin proposes
    pub const CHANNEL_PROPOSE: &[u8] = b"nuncio/1 channel proposal";

    /// an admin is for a succession
    pub const CHANNEL_SUPPORT: &[u8] = b"nuncio/1 channel support";

    /// what a chain is named by, out of its first key and all that it stands on
    pub const CHANNEL_CHAIN: &[u8] = b"nuncio/1 channel chain";

    /// HKDF info of a chain's header key
    pub const CHANNEL_HEADER: &[u8] = b"nuncio/1 channel header key";

    /// the MAC for one recipient of a channel's frame
    pub const CHANNEL_MAC: &[u8] = b"nuncio/1 channel mac";

    /// the signature over a frame of a channel that audits
    pub const CHANNEL_FRAME: &[u8] = b"nuncio/1 channel frame";

    /// running hash over one sender's letters
    pub const CHANNEL_TRANSCRIPT: &[u8] = b"nuncio/1 channel transcript";
}

/// Fixed strings that peers compare.
pub mod text {
    /// typ of a token service's signed keys; no other JWT has it, so none is taken for one
    pub const KEYS_TYPE: &str = "nuncio-keys+jwt";

    /// typ of a hop proof, in the shape of a WIMSE workload proof; no other JWT has it, so none is taken for one
    pub const HOP_PROOF_TYPE: &str = "nuncio-hop+jwt";

    /// typ of a token service's signed list of revoked transactions
    pub const REVOKED_TYPE: &str = "nuncio-revoked+jwt";
}

/// Kinds, as they stand on the wire.
pub mod kind {
    /// a letter with the handshake in front: every frame of the initiator until the first answer
    pub const FRAME_START: u8 = 1;

    /// a letter of a session whose handshake the peer is known to have
    pub const FRAME_LETTER: u8 = 2;

    /// a sealed header alone: acknowledgement without a letter
    pub const FRAME_ACK: u8 = 3;

    /// an unsealed hint, believed only from the QUIC-authenticated peer: unknown tag, stranger
    pub const FRAME_NOTICE: u8 = 4;

    /// a letter of a channel: sealed once for all, with a MAC for each
    pub const FRAME_CHANNEL: u8 = 5;

    /// a letter for the application; numbers in CBOR's one-byte range
    pub const LETTER_PLAIN: u8 = 16;

    /// a letter between the two runtimes: refusals, re-keys
    pub const LETTER_CONTROL: u8 = 17;
}

/// Refusal and close codes.
pub mod code {
    /// QUIC close: an orderly end
    pub const CLOSED: u16 = 0;

    /// QUIC close: the agent drains and stops
    pub const SHUTTING_DOWN: u16 = 1;

    /// QUIC close or reset: the bytes break a MUST of the transport contract
    pub const PROTOCOL: u16 = 2;

    /// QUIC close or reset: over a rate or a bound; come again later
    pub const BUSY: u16 = 3;

    /// stream reset: a first byte that this version does not serve
    pub const UNSUPPORTED_STREAM: u16 = 4;

    /// QUIC close: a newer connection of the same two agents is kept
    pub const REPLACED: u16 = 5;

    /// notice: no session has this tag; the sender may start a new handshake
    pub const UNKNOWN_TAG: u16 = 16;

    /// notice and refusal: first letters are taken only from added peers
    pub const STRANGER: u16 = 17;

    /// notice: the handshake named prekeys that are spent or gone; ask for a fresh bundle
    pub const START_REFUSED: u16 = 18;

    /// notice and refusal: this identity was retired by its owner
    pub const RETIRED: u16 = 19;

    /// a node's answer to a deposit: the agent has no mailbox there, or the deposit key is none of its own
    pub const DEPOSIT_DENIED: u16 = 21;

    /// a node's answer to a deposit: so many frames wait for the agent that there is no room
    pub const MAILBOX_FULL: u16 = 22;

    /// notice: this agent has sessions alone that audit
    pub const UNAUDITED: u16 = 20;

    /// refusal: the letter's deadline or longest life has passed
    pub const EXPIRED: u16 = 32;

    /// refusal: a critical extension that the receiver does not know
    pub const UNKNOWN_EXTENSION: u16 = 33;

    /// refusal: authentic, but not a letter of this version
    pub const MALFORMED: u16 = 34;

    /// refusal: made later than the receiver's clock and the allowed skew
    pub const FUTURE: u16 = 35;

    /// refusal: the receiving application would not take it
    pub const REFUSED: u16 = 36;

    /// failure told to the sender's own application: it cancelled the letter
    pub const CANCELLED: u16 = 37;

    /// refusal: the large payload is longer than the receiver takes
    pub const TOO_LARGE: u16 = 38;

    /// refusal: in a session that audits, a letter without its commitment, or with another one
    pub const COMMITMENT: u16 = 39;

    /// a letter to a channel of which its sender or its receiver is no member, or in an epoch that is over
    pub const NOT_MEMBER: u16 = 40;

    /// refusal: a message to a service by which nobody is served here
    pub const NO_SERVICE: u16 = 41;

    /// refusal: a message of a service that nobody here has asked, or in a session that nobody here has opened
    pub const NO_CALL: u16 = 42;

    /// failure told to the sender's own application: the letter was a request, and one of the two agents removed the
    /// other, or retired its identity, before the answer came, so nobody knows whether it was done
    pub const REMOVED: u16 = 43;

    /// failure told to the sender's own application: the letter was a request that went and was not acknowledged in its
    /// time, so nobody knows whether it was done
    pub const UNHEARD: u16 = 44;

    /// refusal: a letter of this kind needs a token
    pub const TOKEN_MISSING: u16 = 64;

    /// refusal: the token breaks contracts/token.md K1 or K3 to K8
    pub const TOKEN_MALFORMED: u16 = 65;

    /// refusal: its algorithm is not allowed, or not that of its key
    pub const TOKEN_ALGORITHM: u16 = 66;

    /// refusal: its typ is not txntoken+jwt
    pub const TOKEN_TYPE: u16 = 67;

    /// refusal: nobody could say what its key is
    pub const TOKEN_KEY: u16 = 68;

    /// refusal: its signature does not verify
    pub const TOKEN_SIGNATURE: u16 = 69;

    /// refusal: it is of another trust domain
    pub const TOKEN_AUDIENCE: u16 = 70;

    /// refusal: it has expired; the letter may be sealed again with a fresh one
    pub const TOKEN_EXPIRED: u16 = 71;

    /// refusal: it was issued later than now
    pub const TOKEN_EARLY: u16 = 72;

    /// refusal: it claims to live longer than any token may
    pub const TOKEN_LIFE: u16 = 73;

    /// refusal: it belongs to another sender
    pub const TOKEN_SENDER: u16 = 74;

    /// refusal: it is for another receiver
    pub const TOKEN_RECEIVER: u16 = 75;

    /// refusal: it has been handed on too often
    pub const TOKEN_HOPS: u16 = 76;

    /// refusal: its transaction was revoked
    pub const TOKEN_REVOKED: u16 = 77;

    /// refusal: its scope does not allow this letter
    pub const TOKEN_SCOPE: u16 = 78;

    /// refusal: it is bound to another payload
    pub const TOKEN_PAYLOAD: u16 = 79;

    /// refusal: its hop proof is not this letter's, or none is there where the receiver's policy wants one
    pub const TOKEN_PROOF: u16 = 80;

    /// Its name; `unknown` for a number of another version.
    #[must_use]
    pub const fn name(code: u16) -> &'static str {
        match code {
            0 => "closed",
            1 => "shutting_down",
            2 => "protocol",
            3 => "busy",
            4 => "unsupported_stream",
            5 => "replaced",
            16 => "unknown_tag",
            17 => "stranger",
            18 => "start_refused",
            19 => "retired",
            21 => "deposit_denied",
            22 => "mailbox_full",
            20 => "unaudited",
            32 => "expired",
            33 => "unknown_extension",
            34 => "malformed",
            35 => "future",
            36 => "refused",
            37 => "cancelled",
            38 => "too_large",
            39 => "commitment",
            40 => "not_member",
            41 => "no_service",
            42 => "no_call",
            43 => "removed",
            44 => "unheard",
            64 => "token_missing",
            65 => "token_malformed",
            66 => "token_algorithm",
            67 => "token_type",
            68 => "token_key",
            69 => "token_signature",
            70 => "token_audience",
            71 => "token_expired",
            72 => "token_early",
            73 => "token_life",
            74 => "token_sender",
            75 => "token_receiver",
            76 => "token_hops",
            77 => "token_revoked",
            78 => "token_scope",
            79 => "token_payload",
            80 => "token_proof",
            _ => "unknown",
        }
    }
}

/// Letter extensions.
pub mod extension {
    /// critical: the payload travels beside the session under the key given here
    pub const LARGE_PAYLOAD: u16 = 1;

    /// critical: the transaction token, whole or by its hash
    pub const TOKEN: u16 = 2;

    /// not critical: the sender's own signature over the hop; who does not know it loses only the proof
    pub const HOP_PROOF: u16 = 3;

    /// critical: a letter to a channel: which, in which epoch, and its number among its sender's
    pub const CHANNEL: u16 = 5;

    /// critical: in a session that audits the letter's commitment, and its sender's newest event
    pub const AUDIT: u16 = 4;

    /// critical: an earlier letter of a channel, handed over by its sender: by whom it was, by that one's word
    pub const HISTORY: u16 = 6;

    /// critical: a message of a program to another agent's service, or of the service to the program
    pub const CALL: u16 = 7;
}

/// What an event of the audit log tells of.
pub mod event {
    /// a session with the peer is confirmed
    pub const SESSION_ESTABLISHED: u8 = 1;

    /// a session with the peer ended before its time: a store was lost or restored, or an identity ended
    pub const SESSION_RESET: u8 = 2;

    /// a letter was sealed for the peer
    pub const LETTER_SENT: u8 = 3;

    /// a letter of the peer was delivered
    pub const LETTER_RECEIVED: u8 = 4;

    /// an authentic letter of the peer was refused; the outcome says why
    pub const LETTER_REFUSED: u8 = 5;

    /// a token service began a transaction
    pub const TOKEN_ISSUED: u8 = 6;

    /// a token service replaced or renewed a token
    pub const TOKEN_REPLACED: u8 = 7;

    /// a token service refused a request
    pub const TOKEN_DENIED: u8 = 8;

    /// a transaction was revoked
    pub const TOKEN_REVOKED: u8 = 9;

    /// a channel's members changed
    pub const CHANNEL_CHANGED: u8 = 10;

    /// a tool is about to act: written before it does
    pub const TOOL_INVOKED: u8 = 11;

    /// a tool has answered
    pub const TOOL_ANSWERED: u8 = 12;

    /// nobody knows whether a tool has acted: its agent ended between
    pub const TOOL_UNKNOWN: u8 = 13;

    /// nothing happened: the chain is alive up to here
    pub const HEARTBEAT: u8 = 14;

    /// events were not kept, because there was no room for them
    pub const SPOOL_GAP: u8 = 15;

    /// a token service signs with another key
    pub const KEY_ROTATED: u8 = 16;

    /// a token service follows another policy, or began to follow its policy at a start
    pub const POLICY_CHANGED: u8 = 17;

    /// Its name; `unknown` for a number of another version.
    #[must_use]
    pub const fn name(code: u8) -> &'static str {
        match code {
            1 => "session_established",
            2 => "session_reset",
            3 => "letter_sent",
            4 => "letter_received",
            5 => "letter_refused",
            6 => "token_issued",
            7 => "token_replaced",
            8 => "token_denied",
            9 => "token_revoked",
            10 => "channel_changed",
            11 => "tool_invoked",
            12 => "tool_answered",
            13 => "tool_unknown",
            14 => "heartbeat",
            15 => "spool_gap",
            16 => "key_rotated",
            17 => "policy_changed",
            _ => "unknown",
        }
    }
}

/// What an entry of a channel's record changes.
pub mod change {
    /// it begins, with its owner, its name, and whether it audits
    pub const CREATE: u8 = 0;

    /// agents are members from now on, each by its own consent
    pub const ADD: u8 = 1;

    /// agents are members no more
    pub const REMOVE: u8 = 2;

    /// agents are members no more, each by its own word
    pub const LEAVE: u8 = 3;

    /// one member may propose and invite, or may no more
    pub const ADMIN: u8 = 4;

    /// another name
    pub const RENAME: u8 = 5;

    /// another owner, by the one before and its own consent
    pub const HAND_OVER: u8 = 6;

    /// another owner, by a majority of the admins
    pub const SUCCEED: u8 = 7;
}

/// What members tell each other of a channel.
pub mod word {
    /// the invitation, and what the channel is called
    pub const INVITED: u8 = 1;

    /// a consent, the invitation that it answers, and where the newcomer is
    pub const JOINED: u8 = 2;

    /// entries of the record, in their order, and where members are
    pub const ENTRIES: u8 = 3;

    /// entries are wanted, from this number on
    pub const WANTED: u8 = 4;

    /// a member's farewell, for the owner
    pub const LEFT: u8 = 5;

    /// an admin's proposal, for the owner
    pub const PROPOSED: u8 = 6;

    /// an entry by which an admin would succeed the owner: other admins are asked for their support
    pub const DRAFTED: u8 = 7;

    /// an admin's support for it
    pub const SUPPORTED: u8 = 8;

    /// a chain, handed over
    pub const SENDER_KEY: u8 = 9;

    /// below this number everything of the other's letters is here, or will never be
    pub const ACKED: u8 = 10;

    /// the owner asks a member to be the next
    pub const OFFERED: u8 = 11;

    /// its consent
    pub const ACCEPTED: u8 = 12;

    /// below this number nothing of the letters of whoever says it is sent any more
    pub const FLOOR: u8 = 13;
}

/// The first byte of each kind of stream.
pub mod stream {
    /// the long-lived stream of small frames
    pub const FRAMES: u8 = 1;

    /// chunks of one large payload, apart so that they never hold up a letter
    pub const LARGE: u8 = 2;

    /// asks for a bundle and one one-time prekey
    pub const PREKEYS: u8 = 3;

    /// HTTP to a node; an end that serves no node resets it
    pub const HTTP: u8 = 4;

    /// a frame that is left at a node for agents that are away
    pub const DEPOSIT: u8 = 5;

    /// requests that only read, sealed under the session's secret, without letters
    pub const QUERIES: u8 = 6;
}
