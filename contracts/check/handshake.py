"""handshake.md: both sides, and the re-key."""

import cbor
import messages
import primitives
from primitives import dh, sha256
from refused import refuse_unless
from registry import label

HANDSHAKE = [cbor.many(cbor.U8), cbor.U8, cbor.U8, cbor.U32, cbor.optional([cbor.U32, cbor.U16]), 32, cbor.BYTES, cbor.U64, cbor.BYTES]
SEALED_IDENTITY = 32 + 32 + 64 + 16
NONCE = bytes(12)
SECRETS = ("session", "rk", "hka", "nhkb", "exporter")


def transcript_one(said, responder, keys_hash, one_time_leaf):
    versions, chosen, suite, _, at, ephemeral, ciphertext, parameters, _ = said
    items = [versions, chosen, suite, responder, keys_hash, at, one_time_leaf, ephemeral, ciphertext, parameters]
    return sha256(label("suite"), b"\0", cbor.encode(items))


def stage_one(transcript, secrets):
    ikm = b"\xff" * 32 + b"".join(secret for secret in secrets if secret is not None)
    return primitives.hkdf(bytes(32), ikm, label("stage_one") + b"\0" + transcript, 2)


def stage_two(transcript, chaining, initiator, agreement, secret):
    second = sha256(label("suite"), b"\1", transcript, initiator, agreement)
    return second, dict(zip(SECRETS, primitives.hkdf(chaining, secret, label("stage_two") + b"\0" + second, 5)))


def initiate(me, bundle, now, ephemeral, encapsulation, parameters):
    """`encapsulation` gives ciphertext and shared secret for a KEM key: the library draws its own randomness, so a vector's is put in."""
    (keys, *_), one_time, _ = messages.read_bundle(bundle, now)
    _, responder, agreement, prekey_id, prekey, kem = keys
    kem = one_time[3] if one_time else kem
    ciphertext, shared = encapsulation(primitives.check_kem_public(kem))
    at = one_time[:2] if one_time else None
    said = [[1], 1, 1, prekey_id, at, primitives.dh_public(ephemeral), ciphertext, parameters, b""]
    first = transcript_one(said, responder, messages.prekeys_hash(keys), messages.leaf(*one_time[:4]) if one_time else None)
    secrets = [dh(ephemeral, prekey), dh(ephemeral, agreement), dh(ephemeral, one_time[2]) if one_time else None, shared]
    identity_key, chaining = stage_one(first, secrets)
    clear = me.key + me.agreement_public + me.sign(label("agreement"), me.agreement_public)
    said[8] = primitives.seal(identity_key, NONCE, first, clear)
    last = dh(me.agreement, prekey)
    second, outputs = stage_two(first, chaining, me.key, me.agreement_public, last)
    names = ("dh_prekey", "dh_identity", "dh_one_time", "kem_shared")
    stages = dict(zip(names, secrets)) | {
        "transcript_one": first,
        "identity_key": identity_key,
        "chaining": chaining,
        "dh_identities": last,
        "transcript_two": second,
    }
    return cbor.encode(said), stages, outputs


def respond(me, signed, one_time, handshake):
    """`signed` is (id, X25519 secret, KEM seed), `one_time` (batch, index, X25519 secret, KEM seed) or None."""
    said = cbor.decode(handshake, HANDSHAKE, 2048)
    versions, chosen, suite, _, at, ephemeral, ciphertext, _, sealed = said
    refuse_unless((versions, chosen, suite) == ([1], 1, 1), "version")
    refuse_unless(len(ciphertext) == messages.KEM_CIPHERTEXT and len(sealed) == SEALED_IDENTITY, "codec")
    prekey_id, prekey, kem_seed = signed
    keys = [[1], me.key, me.agreement_public, prekey_id, primitives.dh_public(prekey), primitives.kem_public(kem_seed)]
    one_time_leaf, one_time_secret = None, None
    if one_time:
        batch, index, one_time_key, kem_seed = one_time
        one_time_leaf = messages.leaf(batch, index, primitives.dh_public(one_time_key), primitives.kem_public(kem_seed))
    first = transcript_one(said, me.key, messages.prekeys_hash(keys), one_time_leaf)
    secrets = [dh(prekey, ephemeral), dh(me.agreement, ephemeral)]
    if one_time:
        one_time_secret = dh(one_time_key, ephemeral)
    secrets += [one_time_secret, primitives.kem_decapsulate(kem_seed, ciphertext)]
    identity_key, chaining = stage_one(first, secrets)
    clear = primitives.unseal(identity_key, NONCE, first, sealed)
    initiator, agreement, proof = clear[:32], clear[32:64], clear[64:]
    primitives.check_agent_key(initiator)
    primitives.verify(initiator, label("agreement"), agreement, proof)
    _, outputs = stage_two(first, chaining, initiator, agreement, dh(prekey, agreement))
    return initiator, outputs


# --- section 6 ---


def _rekeyed(exporter, leader, follower, offer, answer, secret, shared):
    transcript = sha256(label("suite"), b"\2", leader, follower, offer, answer)
    ikm = b"\xff" * 32 + secret + shared
    return dict(zip(SECRETS, primitives.hkdf(exporter, ikm, label("rekey") + b"\0" + transcript, 5)))


def rekey_answer(exporter, leader, follower, offer, ephemeral, encapsulation):
    refuse_unless(len(offer) == 32 + messages.KEM_PUBLIC, "codec")
    secret = dh(ephemeral, offer[:32])
    ciphertext, shared = encapsulation(primitives.check_kem_public(offer[32:]))
    answer = primitives.dh_public(ephemeral) + ciphertext
    return answer, _rekeyed(exporter, leader, follower, offer, answer, secret, shared)


def rekey_complete(exporter, leader, follower, agreement, kem_seed, answer):
    refuse_unless(len(answer) == 32 + messages.KEM_CIPHERTEXT, "codec")
    offer = primitives.dh_public(agreement) + primitives.kem_public(kem_seed)
    secret = dh(agreement, answer[:32])
    shared = primitives.kem_decapsulate(kem_seed, answer[32:])
    return _rekeyed(exporter, leader, follower, offer, answer, secret, shared)
