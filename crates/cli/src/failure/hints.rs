//! What to do about each kind of failure: tables.

/// What to do about each kind of failure.
pub(super) fn hint_for(kind: &str) -> &'static str {
    match kind {
        "address" => "choose another --listen address, or port 0 for a free one",
        "bad_request" => "`nuncio COMMAND --help` shows the forms, with examples",
        "broken_off" => "see the agent's log; run the command again when it is up",
        "damaged" => {
            "`nuncio doctor` opens every row and says which are damaged; `nuncio restore` makes a home from a backup"
        }
        "declined" => "answer yes in full, or give --yes",
        "disk_full" => "free some space and start the agent again; nothing acknowledged is lost",
        "exists" => {
            "what is there stays as it is (`nuncio id` shows an agent's home); name another place: --home DIR, or another directory for a backup"
        }
        "file" => "look at the path, and at who may use it",
        "gateway" => "mend that file: `nuncio gateway --help` shows what it says; beyond loopback it needs [tls]",
        "gateway_address" => "choose another `listen` in gateway.toml, or port 0 for a free one",
        "host" | "origin" | "token" => {
            "over TCP: the address as --api-tcp names it, and the token in api.token as `authorization: Bearer`"
        }
        "in_use" => {
            "stop that process, or ask the agent that runs: commands do so by themselves when its api.sock is there"
        }
        "key_file" => {
            "a key file holds 32 bytes that you alone can read; `nuncio restore` brings back the home's own `keys`"
        }
        "name" => "give another --name",
        "connected" => {
            "use it under that name, or give it up with `nuncio disconnect` and connect it anew: its address is another then"
        }
        "log_unreadable" => {
            "look at --log: a node has its log at /log/ of its address; one that has just begun is published within a second"
        }
        "log_wrong" => {
            "what was said is the first thing that is wrong: ask for another copy, or do not trust this one; --key says whose log it should be"
        }
        "newer" => "use the newer program; nothing was touched",
        "no_quorum" => {
            "ask for a newer head, or whoever runs those witnesses; --witness and --policy say whose lines have to be there"
        }
        "no_such_entry" => "`nuncio audit root` says how many there are; they are numbered from 0",
        "no_home" => "`nuncio init` makes a home; --home DIR names another one",
        "no_key_file" => {
            "this home opens with a passphrase or a key file elsewhere: --passphrase, --passphrase-fd N, or --key-file PATH"
        }
        "no_such_endpoint" | "no_such_method" => "the agent that runs is of another version: start it again",
        "settings" => "mend that file; `nuncio init` of another home writes one that shows what can be said",
        "policy" => "contracts/schema/policy.json says what stands in it; `nuncio node check` looks without starting",
        "no_mailbox" => {
            "`mailbox = true` and a [trust] in the home's nuncio.toml, then start the agent again: `nuncio mailbox --help`"
        }
        "no_trust" => "name the trust domain and its node in the home's nuncio.toml, then start the agent again",
        "node" => {
            "`nuncio node` has to run where nuncio.toml says; a letter may wait for it (`nuncio send --wait-for-token 30s`)"
        }
        "token_refused" => {
            "ask for what the service's policy grants, or have the policy changed by whoever runs the node"
        }
        "node_home" => "`nuncio --home DIR init` makes an agent's home; `nuncio node` works with this one",
        "transaction_over" => {
            "what is to be gone on with has ended, or may not go that way; what was said says which. `nuncio begin` begins another"
        }
        "no_opening" => {
            "only letters in sessions that audit ([audit] in both ends' nuncio.toml) can be opened, by the id that `nuncio send` and `nuncio inbox` print; of one that came, say who wrote it: --from PEER"
        }
        "other_payload" => "--payload FILE with the very bytes that were sent; of a letter with a large payload none",
        "no_such_letter" => "`nuncio inbox` lists what is there",
        "no_such_channel" => {
            "`nuncio channel list` lists the channels that this agent is in, and invitations into others; it joins one with `nuncio channel join`"
        }
        "several_channels" => {
            "`nuncio channel list --json` says who owns each, and who is in it: give its id in place of the name"
        }
        "joining" => "ask again later; `nuncio peers` says whether the owner, or whoever invited, can be reached",
        "log_full" => {
            "events that no node's log has taken fill their place: see that the node is there (`nuncio audit` says what waits), or set `when_full` to \"gap\""
        }
        "channel_refused" => {
            "`nuncio channel members CHANNEL` says who is in it and who may do what; what was said says which rule it was"
        }
        "no_agent" => "start it, and leave it running: nuncio agent --listen ADDR; --home DIR names another home",
        "no_such_connection" => "`nuncio connections` lists them",
        "denied" => {
            "what was said says why: the transaction that was named does not count here; begin another, or name none"
        }
        "no_such_line" => "`nuncio knocks lines` lists those that may still let somebody in",
        "no_such_knock" => "`nuncio knocks` lists who asks to be let in",
        "no_such_permit" => "`nuncio permit list` lists them, each with the ids of its links",
        "refused" => "what was said says why; asked again it is refused again",
        "service" => {
            "what is offered is a program that speaks MCP on its input and output, the http(s) address of one, or (`expose a2a`) that of an agent with a card: try it by hand; one that is fetched first takes longer: --patience 2m. Nothing was written"
        }
        "services" => {
            "mend that file; what was offered before goes on while the agent runs, and its next start wants it whole"
        }
        "no_such_peer" => "`nuncio peers` lists who is known here; `nuncio peers add INVITATION` adds one",
        "not_delivered" => "send it again if it is still of use; `nuncio outbox` lists what failed, and why",
        "not_whole" => "ask again later; `nuncio inbox` says how much is here",
        "not_yet" => {
            "nothing is lost, and it goes on by itself; `nuncio outbox` lists letters that wait, and `nuncio peers` says who cannot be reached, and why"
        }
        "outbox_full" => "`nuncio peers` says who cannot be reached; wait until they can, or remove them",
        "payload_lost" => "ask its sender to send it again",
        "retired" => {
            "an identity that is over stays over: exchange invitations of a new one (`nuncio init`, `nuncio id`)"
        }
        "slow" => "send the request's body at once",
        "socket_only" => "ask over api.sock in the agent's home",
        "stopped" => "start it again: `nuncio agent`; its log says why it ended",
        "timed_out" => "ask again, with a longer --timeout; `nuncio peers` says whether the peer can be reached",
        "unheard" => {
            "`nuncio peers` says whether its agent is reached, and why not; where it has not let this one in: `nuncio knocks`, there"
        }
        "too_large" => "a letter has at most 1 GiB; give what is longer than 8 MiB as a file",
        "unsound" => "what was printed says what is wrong and what to do",
        "wrong_key" => "give the right one: --passphrase, --passphrase-fd N, or --key-file PATH",
        _ => OTHERWISE,
    }
}

/// What to do about a letter that failed, by the name of the registry's code.
pub(crate) fn hint_for_letter(code: &str) -> &'static str {
    match code {
        "expired" => {
            "`nuncio peers` says who cannot be reached; send it again once they can, with a longer --deadline if it had one"
        }
        "token_missing" => "send it under a transaction: nuncio begin … > trip.token, then --under trip.token",
        "token_expired" | "token_revoked" => "that transaction is over: begin another with `nuncio begin`",
        "token_scope" => {
            "begin a transaction with the scope that the receiver's rules ([[needs]] in its nuncio.toml) want"
        }
        "token_proof" => "send it with --prove",
        "token_payload" => "without --bind, or with --bind for this very letter",
        "token_audience" | "token_key" | "token_signature" => {
            "both agents' nuncio.toml must name the same trust domain and node under [trust]"
        }
        "not_member" => "`nuncio channel members CHANNEL` says who is in it",
        "token_early" | "future" => "set the clocks of both machines",
        "retired" => hint_for("retired"),
        _ => hint_for("not_delivered"),
    }
}

/// The same, where a node was asked.
pub(super) fn node_hint_for(kind: &str) -> &'static str {
    match kind {
        "address" => "choose another address for --listen or --quic, or port 0 for a free one",
        "damaged" => "use the program that wrote it, or the newest copy of the home",
        "disk_full" => "free some space and start the node again; what it answered is not lost",
        "exists" => "what is there stays as it is; name another place: --home DIR",
        "in_use" => "stop that process; reload, revoke and keys rotate ask a node that runs",
        "key_file" => "a key file holds 32 bytes that you alone can read",
        "no_home" => "`nuncio node init` makes a home; --home DIR names another one",
        "usage" => "`nuncio node run --help` shows the forms, with examples",
        "file" | "newer" | "no_key_file" | "policy" | "wrong_key" => hint_for(kind),
        "invalid_request" => "what was said says what is wrong; nothing was changed",
        _ => "run the node with NUNCIO_LOG=debug in its environment: its log says more then",
    }
}

/// Where nothing better is known.
const OTHERWISE: &str = "the agent's log says more (NUNCIO_LOG=debug); `nuncio doctor` looks for what is wrong";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_local_api_has_advice_of_its_own() {
        let api = include_str!("../../../../contracts/openapi/local.yaml");
        let (_, codes) = api.split_once("enum: [bad_request").unwrap();
        let (codes, _) = codes.split_once(']').unwrap();
        let codes: Vec<&str> = codes.split(',').map(str::trim).filter(|code| !code.is_empty()).collect();
        assert!(codes.len() > 15, "{codes:?}");
        for code in codes.into_iter().chain(["bad_request"]).filter(|code| *code != "failed") {
            assert_ne!(hint_for(code), OTHERWISE, "{code}");
        }
    }
}
