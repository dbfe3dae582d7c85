"""What each area's input comes out as: `expect`, in Python values."""

import json
from pathlib import Path

import calls
import cbor
import channels
import events
import handshake
import logs
import messages
import permits
import policies
import primitives
import queries
import session
import timestamps
import tokens
from refused import Refused, refuse_unless
from registry import label, limit

VECTORS = Path(__file__).parent.parent / "vectors"


def unhex(text):
    return None if text is None else bytes.fromhex(text)


def did_key(given, _):
    key = messages.agent_of(given["text"])
    refuse_unless(messages.did(key) == given["text"], "another spelling")
    return {"key": key}


def invitation(given, _):
    agent, endpoints, bundle_hash, mailbox, knock = messages.read_invitation(given["text"])
    written = messages.write_invitation(agent, endpoints, bundle_hash, mailbox, knock)
    said = {"agent": agent, "endpoints": endpoints, "bundle_hash": bundle_hash, "written": written}
    named = {"mailbox": mailbox, "knock": knock}
    return said | {name: value for name, value in named.items() if value is not None}


def call(given, _):
    within = given["kind"], given["reply_to"] is not None, unhex(given["payload"]), given["beside"]
    return calls.read_call(unhex(given["bytes"]), *within)


def query(given, _):
    privates = [unhex(given["opener_private"]), unhex(given["other_private"])]
    publics = [primitives.dh_public(private) for private in privates]
    if "other_key" in given:
        publics[1] = unhex(given["other_key"])
    shared = primitives.dh(privates[0], publics[1])
    refuse_unless(shared == primitives.dh(privates[1], publics[0]), "the sides differ")
    parties = (unhex(given["session"]), messages.agent_of(given["opener"]), messages.agent_of(given["other"]))
    transcript, (asks, answers) = queries.keys(unhex(given["exporter"]), *parties, publics, shared)
    directions, frames = {"opener": [asks, 0], "other": [answers, 0]}, []
    for said in given["said"]:
        direction, clear = directions[said["from"]], unhex(said["clear"])
        queries.read_form(clear)
        frames.append({"clear": clear, "frame": queries.seal(*direction, transcript, clear)})
        direction[1] += 1
    return {"opener_key": publics[0], "other_key": publics[1], "frames": frames}


def token(given, _):
    return tokens.outcome(given)


def hop_proof(given, _):
    return tokens.read_hop_proof(given)


def statement(given, _):
    return tokens.read_statement(given)


def bundle(given, _):
    body, one_time, invitation = messages.read_bundle(unhex(given["bytes"]), given["now"])
    keys, not_before, not_after, endpoints, mailbox = body
    if one_time:
        batch, index, agreement, kem, *_ = one_time
        leaf = messages.leaf(batch, index, agreement, kem)
        one_time = {"batch": batch, "index": index, "agreement": agreement, "kem_sha256": primitives.sha256(kem), "leaf": leaf}
    return {
        "agent": messages.did(keys[1]),
        "agreement": keys[2],
        "id": keys[3],
        "agreement_prekey": keys[4],
        "kem_prekey_sha256": primitives.sha256(keys[5]),
        "prekeys_hash": messages.prekeys_hash(keys),
        "invitation_hash": invitation,
        "not_before": not_before,
        "not_after": not_after,
        "endpoints": endpoints,
        "mailbox": mailbox,
        "audits": limit("wire_version_audited") in keys[0],
        "one_time": one_time,
    }


def batch(given, _):
    number, not_after, leaves = messages.read_batch(messages.agent_of(given["agent"]), unhex(given["bytes"]), given["now"])
    return {"batch": number, "not_after": not_after, "leaves": leaves}


def deposit(given, _):
    to, frame = messages.read_deposit(unhex(given["bytes"]))
    named = [[messages.did(agent), *(part and part.hex() for part in parts)] for agent, *parts in to]
    return {"to": named, "common" if to and len(to[0]) == 3 else "frame": frame}


def deposit_key(given, _):
    """mailbox.md section 1"""
    secret, key = unhex(given["secret"]), unhex(given["key"])
    own = key[:16] + primitives.hmac_sha256(secret, label("deposit") + b"\0" + key[:16])[:16]
    return {"key": own, "holds": own == key}


def channel_statement(given, _):
    return channels.statement_outcome(given["what"], unhex(given["bytes"]))


def channel_entry(given, _):
    return channels.entry_outcome(unhex(given["bytes"]))


def channel_record(given, _):
    then = [(unhex(said["entry"]), said["now"]) for said in given["then"]]
    return channels.record_outcome([unhex(entry) for entry in given["entries"]], given["now"], then)


def sender_key(given, _):
    chain = channels.Chain.read(unhex(given["bytes"]), messages.agent_of(given["sender"]))
    return {"channel": chain.channel, "epoch": chain.epoch, "first": str(chain.first), "chain": chain.id}


def channel_frame(given, _):
    record = channels.Record([unhex(entry) for entry in given["record"]], 2**64 - 1)
    sender, recipient = messages.agent_of(given["sender"]), messages.agent_of(given["recipient"])
    chain = channels.Chain.read(unhex(given["key"]), sender)
    channels.check_member(record, chain, sender, recipient)
    return channels.receive(record, chain, sender, recipient, unhex(given["bytes"]))


def retirement(given, _):
    agent, successor, made = messages.read_retirement(unhex(given["bytes"]))
    return {"agent": messages.did(agent), "successor": successor and messages.did(successor), "made": made}


def frame(given, _):
    read = messages.read_frame(unhex(given["bytes"]))
    if "in_front" in read:
        read["in_front_len"] = len(read.pop("in_front"))
    return read


def letter(given, _):
    return messages.read_letter(unhex(given["bytes"]), given["now"])


def control(given, _):
    read = messages.read_control(unhex(given["payload"]))
    refuse_unless(read["what"] != "knock" or calls.is_knock(read["bytes"]), "malformed")
    return read


def padding(given, _):
    if "lengths" in given:
        return {"padded": [messages.padded_len(length) for length in given["lengths"]]}
    return {"plaintext": messages.unpad(unhex(given["padded"]))}


def payload(given, _):
    if given["what"] == "handle":
        read = messages.Payload(unhex(given["bytes"]))
        return {"id": read.id, "key": read.key, "len": read.len, "chunks": read.chunks, "sealed_len": read.sealed_len}
    read, index = messages.Payload(unhex(given["handle"])), given["index"]
    if given["what"] == "open":
        return {"plaintext": read.open(index, unhex(given["sealed"]))}
    sealed = read.seal(index, bytes([given["byte"]]) * read.chunk_len(index))
    return {"sealed_len": len(sealed), "sealed_sha256": primitives.sha256(sealed), "tag": sealed[-16:]}


def window(given, _):
    seen, floor, results = session.Window(), int(given["floor"]), []
    for seq in map(int, given["numbers"]):
        try:
            seen.check(seq, floor)
        except Refused as refused:
            results.append(refused.name)
            continue
        results.append("fresh")
        seen.received.add(seq)
        while seen.advance(floor) is not None:
            pass
    return {"results": results, "next": str(seen.next), "above": str(seen.above())}


def kdf(given, _):
    match given["step"]:
        case "root":
            secret = primitives.dh(unhex(given["secret"]), unhex(given["public"]))
            rk, ck, nhk = session.kdf_rk(unhex(given["rk"]), secret)
            return {"dh": secret, "rk": rk, "ck": ck, "nhk": nhk}
        case "chain":
            ck, mk = session.kdf_ck(unhex(given["ck"]))
            return {"ck": ck, "mk": mk}
        case "tag":
            return {"tag": session.tag_of(unhex(given["hk"]))}


# --- sealing ---


def _header(fields):
    numbers = (int(fields["seq"]), fields["floor_below"], int(fields["ack_next"]))
    above = int.from_bytes(unhex(fields["ack_above"]))
    return session.HEADER.pack(unhex(fields["ratchet_key"]), fields["n"], fields["pn"], *numbers, unhex(fields["ack_check"]), above)


def _body_ad(given, kind, header):
    agents = messages.agent_of(given["initiator"]), messages.agent_of(given["responder"])
    return session.body_ad(kind, given["from"] == "initiator", *agents, unhex(given["session"]), header)


def sealing(given, _):
    hk, mk, nonce, header = unhex(given["hk"]), unhex(given["mk"]), unhex(given["nonce"]), _header(given["header"])
    sent, carried = unhex(given["letter"]), unhex(given["handshake"])
    kind = messages.ACK if sent is None else messages.LETTER if carried is None else messages.START
    padded = ad = body = None
    if sent is not None:
        padded, ad = messages.pad(sent), _body_ad(given, kind, header)
        body = primitives.seal(mk, nonce, ad, padded)
    parts = [part for part in (carried, body) if part is not None]
    data = session.frame_bytes(kind, hk, nonce, parts, header)
    refuse_unless(open_sealing(given, data) == sent, "does not open")
    header_ad = messages.read_frame(data)["in_front"]
    made = {"kind": kind, "tag": session.tag_of(hk), "header": header, "padded": padded}
    return made | {"body_ad": ad, "body": body, "header_ad": header_ad, "frame": data}


def open_sealing(given, data):
    read = messages.read_frame(data)
    refuse_unless(read["kind"] != messages.NOTICE, "kind")
    refuse_unless(read["tag"] == session.tag_of(unhex(given["hk"])), "unknown-tag")
    header = primitives.unseal(unhex(given["hk"]), read["nonce"], read["in_front"], read["header"])
    if read["body"] is None:
        return None
    ad = _body_ad(given, read["kind"], header)
    return messages.unpad(primitives.unseal(unhex(given["mk"]), read["nonce"], ad, read["body"]))


# --- handshake ---


def _identity(given):
    return primitives.Identity(unhex(given["seed"]), unhex(given["agreement"]))


def _prekeys(given):
    signed, one_time = given["signed_prekey"], given["one_time"]
    signed = signed["id"], unhex(signed["agreement"]), unhex(signed["kem"])
    if one_time:
        one_time = one_time["batch"], one_time["index"], unhex(one_time["agreement"]), unhex(one_time["kem"])
    return signed, one_time


def handshakes(given, expect):
    match given["what"]:
        case "initiate":
            return _initiate(given, expect)
        case "respond":
            initiator, _ = handshake.respond(_identity(given["responder"]), *_prekeys(given), unhex(given["handshake"]))
            return {"initiator": messages.did(initiator)}
        case "rekey":
            return _rekey(given, expect)
        case "rekey-offer":
            handshake.rekey_answer(*_rekey_parties(given), unhex(given["offer"]), unhex(given["ephemeral"]), lambda _: (b"", b""))
        case "rekey-answer":
            keys = unhex(given["agreement"]), unhex(given["kem"])
            handshake.rekey_complete(*_rekey_parties(given), *keys, unhex(given["answer"]))


def _initiate(given, expect):
    signed, one_time = _prekeys(given)
    seed = one_time[3] if one_time else signed[2]

    def encapsulation(public):
        # Encapsulation with a given m is not in the library: the ciphertext is the vector's, and opens to the secret that goes on.
        ciphertext = cbor.decode(unhex(expect["handshake"]), handshake.HANDSHAKE, 2048)[6] if "handshake" in expect else bytes(1088)
        refuse_unless(public == primitives.kem_public(seed) or "handshake" not in expect, "another KEM key")
        return ciphertext, primitives.kem_decapsulate(seed, ciphertext)

    alice, bob = _identity(given["initiator"]), _identity(given["responder"])
    data, stages, secrets = handshake.initiate(
        alice, unhex(given["bundle"]), given["now"], unhex(given["ephemeral"]), encapsulation, given["parameters"]
    )
    answered = handshake.respond(bob, signed, one_time, data)
    refuse_unless(answered == (alice.key, secrets), "the sides differ")
    return {"handshake": data, "stages": stages, "secrets": secrets}


def _rekey_parties(given):
    return unhex(given["exporter"]), messages.agent_of(given["leader"]), messages.agent_of(given["follower"])


def _rekey(given, expect):
    agreement, seed = unhex(given["agreement"]), unhex(given["kem"])
    offer = primitives.dh_public(agreement) + primitives.kem_public(seed)
    ciphertext = unhex(expect["answer"])[32:]
    put_in = lambda _: (ciphertext, primitives.kem_decapsulate(seed, ciphertext))  # noqa: E731
    answer, secrets = handshake.rekey_answer(*_rekey_parties(given), offer, unhex(given["ephemeral"]), put_in)
    refuse_unless(handshake.rekey_complete(*_rekey_parties(given), agreement, seed, answer) == secrets, "the sides differ")
    return {"offer": offer, "answer": answer, "secrets": secrets}


# --- ratchet ---


def ratchet(given, expect):
    agents = messages.agent_of(given["initiator"]), messages.agent_of(given["responder"])
    secrets = {name: unhex(given[name]) for name in ("session", "rk", "hka", "nhkb")}
    prekey = unhex(given["prekey"])
    sides = {
        "initiator": session.initiate(
            agents, secrets, primitives.dh_public(prekey), unhex(given["initiator_secret"]), unhex(given["handshake"])
        ),
        "responder": session.respond(agents, secrets, prekey),
    }
    frames, outcomes = [], []
    for step in given["steps"]:
        other = sides["responder" if step["by"] == "initiator" else "initiator"]
        try:
            made, outcome = _play(sides[step["by"]], other, step, given["room"], frames)
        except Refused as refused:
            made, outcome = [], {"error": refused.name}
        frames.append(made)
        outcomes.append(outcome)
    return {"steps": outcomes}


def _play(side, other, step, room, frames):
    """The frames that the step made, and its outcome."""
    match step["do"]:
        case "seal":
            sealed = side.seal(unhex(step["letter"]), unhex(step["nonce"]))
            return [sealed["frame"]], sealed
        case "ack":
            sealed = side.ack(unhex(step["nonce"]))
            return [sealed["frame"]], sealed
        case "seal-many":
            letter, nonce = bytes([step["byte"]]) * step["len"], unhex(step["nonce"])
            made = [side.seal(letter, nonce + i.to_bytes(4))["frame"] for i in range(step["count"])]
            return made, {"frames_sha256": primitives.sha256(*made)}
        case "open":
            return [], _open(side, step, room, frames)
        case "open-many":
            opened = [side.open(data, room, None) for data in frames[step["frames"]]]
            return [], _taken([letter for letters, _ in opened for letter in letters], [seq for _, settled in opened for seq in settled])
        case "give-up":
            side.give_up(step["seq"])
        case "leap":
            side.leap(step["n"])
            other.leap_behind(step["n"])
    return [], {}


def _taken(letters, settled):
    """Long letters are written as their hash."""
    for letter in letters:
        if len(letter["letter"]) > 1024:
            long = letter.pop("letter")
            letter |= {"len": len(long), "sha256": primitives.sha256(long)}
    return {"letters": letters, "settled": settled}


def _open(side, step, room, frames):
    (data,) = frames[step["frame"]] if "frame" in step else [unhex(step["bytes"])]
    drawn = []

    def draw():
        drawn.append(unhex(step["draw"]))
        return drawn[-1]

    try:
        outcome = _taken(*side.open(data, room, draw, deliver="refuse" not in step))
    except Refused as refused:
        outcome = {"error": refused.name}
    refuse_unless(len(drawn) == ("draw" in step), "the listed randomness is what is drawn")
    return outcome


# --- snapshot: local, so only its form and its versions are read here ---

CHAIN = [32, 32, cbor.U32]
SNAPSHOT = [
    cbor.U8,
    32,
    [32, 32, cbor.BOOL],
    [cbor.U8, cbor.U64],
    [cbor.U64, cbor.U64, 32, cbor.optional(cbor.BYTES), cbor.BOOL],
    [32, 32, 32, cbor.optional(CHAIN), cbor.optional([CHAIN, cbor.U64]), 32, 32, cbor.U32],
    cbor.many(32),
    [cbor.U64, 32],
    [cbor.U64, cbor.U64, 32],
]


def snapshot(given, _):
    data = unhex(given["bytes"])
    refuse_unless(len(data) < 2 or not limit("wire_version") < data[1] < 0x18, "newer")
    _, id, parties, place, about, state, old, received, sent = cbor.decode(data, SNAPSHOT, 8192)
    initiator, responder, initiated = parties
    for agent in (initiator, responder):
        primitives.check_agent_key(agent)
    refuse_unless(place in ([0, 0], [1, 0]) or place[0] == 2, "codec")
    recv = state[4]
    tags = ([recv[0][1]] if recv else []) + [state[6]] + old
    return {
        "session": id,
        "peer": messages.did(responder if initiated else initiator),
        "confirmed": about[4],
        "sealed": sent[0],
        "next_expected": received[0],
        "tags": [session.tag_of(hk) for hk in tags],
    }


# --- hostile ---


def hostile(given, _):
    base = json.loads((VECTORS / given["base"]).read_text())
    part, field = given["pointer"].removeprefix("/").split("/")
    data = unhex(base[part][field])
    data = data[: given["at"]] + unhex(given["insert"]) + data[given["at"] + given["remove"] :]
    match base["area"]:
        case "sealing":
            return open_sealing(base["input"], data)
        case "handshake":
            return handshakes(base["input"] | {"what": "respond", "handshake": data.hex()}, {})
        case area:
            return AREAS[area](base["input"] | {field: data.hex()}, {})


AREAS = {
    "did-key": did_key,
    "bundle": bundle,
    "batch": batch,
    "deposit": deposit,
    "deposit-key": deposit_key,
    "retirement": retirement,
    "handshake": handshakes,
    "kdf": kdf,
    "sealing": sealing,
    "frame": frame,
    "ratchet": ratchet,
    "window": window,
    "letter": letter,
    "control": control,
    "padding": padding,
    "payload": payload,
    "snapshot": snapshot,
    "invitation": invitation,
    "token": token,
    "hop-proof": hop_proof,
    "statement": statement,
    "tree": lambda given, _: logs.tree(given),
    "tile": lambda given, _: logs.tile(given),
    "note": lambda given, _: logs.note(given),
    "receipt": lambda given, _: logs.receipt(given),
    "add-checkpoint": lambda given, _: logs.add_checkpoint(given),
    "tlog-policy": lambda given, _: policies.policy(given),
    "timestamp": lambda given, _: timestamps.timestamp(given),
    "event": lambda given, _: events.event(given),
    "chain": lambda given, _: events.chain(given),
    "commitment": lambda given, _: events.commitment(given),
    "opening": lambda given, _: events.opening(given),
    "pseudonym": lambda given, _: events.pseudonym(given),
    "channel-statement": channel_statement,
    "channel-entry": channel_entry,
    "channel-record": channel_record,
    "sender-key": sender_key,
    "channel-frame": channel_frame,
    "call": call,
    "permit": lambda given, _: permits.outcome(given),
    "query": query,
    "query-form": lambda given, _: queries.read_form(unhex(given["bytes"])),
    "hostile": hostile,
}
