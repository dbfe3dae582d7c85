"""ratchet.md: one side of a session, refusals included."""

import copy
import struct
from dataclasses import dataclass, field

import cbor
import messages
import primitives
from primitives import dh, dh_public, hmac_sha256, sha256
from refused import Refused, refuse_unless
from registry import label, limit

HEADER = struct.Struct(">32sIIQHQ8sQ")
assert HEADER.size == 74
LARGEST = 2**64 - 1


def kdf_rk(rk, secret):
    return primitives.hkdf(rk, secret, label("root"), 3)


def kdf_ck(ck):
    return hmac_sha256(ck, b"\2"), hmac_sha256(ck, b"\1")


def tag_of(hk):
    return hmac_sha256(hk, label("tag"))[:16]


def body_ad(kind, from_initiator, initiator, responder, session, header):
    return bytes([1, kind, not from_initiator]) + initiator + responder + session + header


class Window:
    """Section 4."""

    def __init__(self):
        self.next, self.received = 0, set()

    def check(self, seq, floor):
        lowest = max(self.next, floor)
        refuse_unless(seq >= lowest and seq not in self.received, "replayed")
        refuse_unless(seq - lowest < limit("window") and seq != LARGEST, "too-far")

    def advance(self, floor):
        """Steps over `next`: whether it was received; None if it is still waited for."""
        received = self.next in self.received
        if not received and self.next >= floor:
            return None
        self.received.discard(self.next)
        self.next += 1
        return received

    def above(self):
        return sum(1 << i for i in range(64) if self.next + 1 + i in self.received)


@dataclass
class Chain:
    ck: bytes
    hk: bytes
    n: int = 0
    base: int = 0


@dataclass
class Side:
    initiated: bool
    initiator: bytes
    responder: bytes
    session: bytes
    rk: bytes
    secret: bytes
    nhks: bytes
    nhkr: bytes
    handshake: bytes | None = None
    send: Chain | None = None
    recv: Chain | None = None
    pn: int = 0
    old: list = field(default_factory=list)
    skipped: dict = field(default_factory=dict)
    window: Window = field(default_factory=Window)
    held: dict = field(default_factory=dict)
    refused: set = field(default_factory=set)
    run: bytes = b""
    next_seq: int = 0
    acked: int = 0
    acked_run: bytes = b""
    sent: dict = field(default_factory=dict)

    def __post_init__(self):
        self.run = self.acked_run = sha256(label("ack_chain"), b"\0", self.session)

    # --- out ---

    def header(self):
        floor = min((seq for seq, (_, live) in self.sent.items() if live), default=self.next_seq)
        numbers = (self.send.n, self.pn, self.next_seq, self.next_seq - floor)
        return HEADER.pack(dh_public(self.secret), *numbers, self.window.next, self.run[:8], self.window.above())

    def seal(self, letter, nonce):
        refuse_unless(self.send.n < limit("chain_len_max"), "exhausted")
        header = self.header()
        kind = messages.LETTER if self.handshake is None else messages.START
        following, mk = kdf_ck(self.send.ck)
        ad = body_ad(kind, self.initiated, self.initiator, self.responder, self.session, header)
        body = primitives.seal(mk, nonce, ad, messages.pad(letter))
        handshake = [] if self.handshake is None else [self.handshake]
        frame = frame_bytes(kind, self.send.hk, nonce, handshake + [body], header)
        outcome = {"frame": frame, "hk": self.send.hk, "mk": mk, "header": header}
        self.send.ck, self.send.n = following, self.send.n + 1
        self.sent[self.next_seq] = (nonce, True)
        self.next_seq += 1
        return outcome

    def ack(self, nonce):
        header = self.header()
        return {"frame": frame_bytes(messages.ACK, self.send.hk, nonce, [], header), "hk": self.send.hk, "header": header}

    def give_up(self, seq):
        self.sent[seq] = (self.sent[seq][0], False)

    def leap(self, n):
        """As though the sending chain had made `n` steps, and all of its numbers were settled."""
        assert not self.sent
        self.next_seq += n - self.send.n
        self.send.n, self.acked = n, self.next_seq

    # --- in ---

    def leap_behind(self, n):
        """The same of the receiving chain."""
        assert self.window.next == self.recv.base + self.recv.n
        self.recv.n, self.window.next = n, self.recv.base + n

    def open(self, data, room, draw, deliver=True):
        """Letters now in order, and numbers now settled; refused, nothing has moved. What is not to be delivered stops `next` (R13)."""
        before = copy.deepcopy(self.__dict__)
        try:
            return self._open(data, room, draw, deliver)
        except Refused:
            self.__dict__ = before
            raise

    def _open(self, data, room, draw, deliver):
        frame = messages.read_frame(data)
        refuse_unless(frame["kind"] != messages.NOTICE, "kind")
        hk = self._header_key(frame["tag"])
        clear = primitives.unseal(hk, frame["nonce"], frame["in_front"], frame["header"])
        key, n, pn, seq, below, ack_next, ack_check, ack_above = HEADER.unpack(clear)
        floor = seq - below
        refuse_unless(floor >= 0, "malformed")
        run = self._check_ack(ack_next, ack_check, ack_above)
        if frame["body"] is None:
            # Letters step chains, acknowledgements do not: a floor beyond is for the next letter to say.
            floor = min(floor, self.recv.base + self.recv.n) if self.recv else 0
        else:
            waits = self.held.get(seq)
            refuse_unless(waits is None or waits[0] == frame["nonce"], "restored")
            self.window.check(seq, floor)
            self._check_held(seq, floor, len(frame["body"]))
            mk = self._message_key(hk, key, n, pn, seq, floor, room, draw)
            ad = body_ad(frame["kind"], not self.initiated, self.initiator, self.responder, self.session, clear)
            try:
                padded = primitives.unseal(mk, frame["nonce"], ad, frame["body"])
            except Refused:
                raise Refused("parted") from None
            try:
                letter = messages.unpad(padded)
            except Refused:
                raise Refused("malformed") from None
            self.held[seq] = (frame["nonce"], letter)
            self.window.received.add(seq)
            if not deliver:
                self.refused.add(seq)
        if frame["handshake"] is None:
            self.handshake = None
        return self._settle(floor), self._merge(ack_next, run)

    def _header_key(self, tag):
        keys = ([self.recv.hk] if self.recv else []) + [self.nhkr] + self.old
        for hk in keys:
            if tag_of(hk) == tag:
                return hk
        raise Refused("unknown-tag")

    def _check_held(self, seq, floor, body_len):
        """R10: what came early waits, up to a bound; the lowest number waits for nothing, and one letter may always wait."""
        if self.held and seq != max(self.window.next, floor):
            waiting = sum(len(letter) for _, letter in self.held.values())
            refuse_unless(waiting + body_len <= limit("held_bytes_max"), "held-full")

    def _message_key(self, hk, key, n, pn, seq, floor, room, draw):
        if seq in self.skipped and self.skipped[seq][0] == hk:
            return self.skipped.pop(seq)[1]
        refuse_unless(hk not in self.old, "spent")
        if self.recv is None or hk != self.recv.hk:
            lacking = sum(any(at >= floor and of == old for at, (of, _) in self.skipped.items()) for old in self.old)
            refuse_unless(lacking < limit("old_chains_max"), "chains-full")
            room -= self._turn(key, n, pn, seq, room, draw)
        refuse_unless(seq - n == self.recv.base, "contradiction")
        refuse_unless(n != limit("chain_len_max"), "exhausted")
        self._skip_to(n, room)
        self.recv.ck, mk = kdf_ck(self.recv.ck)
        self.recv.n += 1
        return mk

    def _turn(self, key, n, pn, seq, room, draw):
        base, skipped = seq - n, 0
        refuse_unless(base >= 0, "contradiction")
        if self.recv is None:
            refuse_unless(pn == 0 and base == 0, "contradiction")
        else:
            refuse_unless(pn >= self.recv.n and self.recv.base + pn == base, "contradiction")
            skipped = self._skip_to(pn, room)
            self.old.append(self.recv.hk)
        check_skip(n, room - skipped)
        self.rk, ck, nhkr = kdf_rk(self.rk, dh(self.secret, key))
        self.recv = Chain(ck, self.nhkr, 0, base)
        self.secret = draw()
        self.rk, ck, nhks = kdf_rk(self.rk, dh(self.secret, key))
        self.pn = self.send.n if self.send else 0
        self.send = Chain(ck, self.nhks)
        self.nhks, self.nhkr = nhks, nhkr
        return skipped

    def _skip_to(self, n, room):
        refuse_unless(n >= self.recv.n, "spent")
        count = n - self.recv.n
        check_skip(count, room)
        refuse_unless(n <= limit("chain_len_max"), "exhausted")
        for at in range(self.recv.n, n):
            self.recv.ck, mk = kdf_ck(self.recv.ck)
            self.skipped[self.recv.base + at] = (self.recv.hk, mk)
        self.recv.n = n
        return count

    def _settle(self, floor):
        in_order = []
        while self.window.next < floor or self.window.next not in self.refused:
            received = self.window.advance(floor)
            if received is None:
                break
            seq = self.window.next - 1
            nonce, letter = self.held.pop(seq) if received else (None, None)
            if received and seq not in self.refused:
                self.run = run_received(self.run, seq, nonce)
                in_order.append({"seq": seq, "letter": letter})
            else:
                self.refused.discard(seq)
                self.run = run_hole(self.session, seq)
        self.skipped = {seq: kept for seq, kept in self.skipped.items() if seq >= self.window.next}
        self._forget_chains(floor)
        return in_order

    def _forget_chains(self, floor):
        """Complete old chains go when the sender has heard of all that is in them, or when there are too many."""
        heard = self.recv is not None and floor >= self.recv.base
        lacking = {of for of, _ in self.skipped.values()}
        over = len(self.old) - limit("old_chains_max")
        kept = []
        for hk in self.old:
            if hk not in lacking and (heard or over > 0):
                over -= 1
            else:
                kept.append(hk)
        self.old = kept

    # --- section 5 ---

    def _check_ack(self, ack_next, check, above):
        if ack_next < self.acked:
            return None
        # The highest number that it shows, and one more: `next` itself, or behind the bitmap's last bit.
        shown = ack_next + 1 + above.bit_length() if above else ack_next
        refuse_unless(shown <= self.next_seq, "restored")
        candidates = [self.acked_run]
        for seq in range(self.acked, ack_next):
            nonce, live = self.sent[seq]
            candidates = [run_received(run, seq, nonce) for run in candidates]
            if not live:
                candidates.append(run_hole(self.session, seq))
        for run in candidates:
            if run[:8] == check:
                return run
        raise Refused("restored")

    def _merge(self, ack_next, run):
        if run is None:
            return []
        settled = [seq for seq, (_, live) in self.sent.items() if seq < ack_next and live]
        self.sent = {seq: sent for seq, sent in self.sent.items() if seq >= ack_next}
        self.acked, self.acked_run = ack_next, run
        return settled


def initiate(parties, secrets, prekey_public, secret, handshake):
    rk, ck, nhks = kdf_rk(secrets["rk"], dh(secret, prekey_public))
    side = Side(True, *parties, secrets["session"], rk, secret, nhks, secrets["nhkb"], handshake)
    side.send = Chain(ck, secrets["hka"])
    return side


def respond(parties, secrets, prekey):
    return Side(False, *parties, secrets["session"], secrets["rk"], prekey, secrets["nhkb"], secrets["hka"])


def frame_bytes(kind, hk, nonce, parts, header):
    in_front = cbor.encode([1, kind, tag_of(hk), nonce, *parts, bytes(messages.SEALED_HEADER)])[: -messages.SEALED_HEADER]
    return in_front + primitives.seal(hk, nonce, in_front, header)


def check_skip(count, room):
    refuse_unless(count < limit("window"), "skip-too-far")
    refuse_unless(count <= room, "no-room")


def run_received(run, seq, nonce):
    return sha256(run, seq.to_bytes(8), nonce)


def run_hole(session, seq):
    return sha256(label("ack_chain"), b"\1", session, seq.to_bytes(8))
