"""The primitives of suite 1, from `cryptography`, and the checks that it does not make."""

import hashlib
import hmac

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa, mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from refused import Refused, refuse_unless

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def hmac_sha256(key, data):
    return hmac.new(key, data, "sha256").digest()


def hkdf(salt, ikm, info, blocks):
    """`blocks` keys of 32 bytes."""
    out = HKDF(hashes.SHA256(), 32 * blocks, salt, info).derive(ikm)
    return [out[at : at + 32] for at in range(0, len(out), 32)]


def seal(key, nonce, ad, clear):
    return ChaCha20Poly1305(key).encrypt(nonce, clear, ad)


def unseal(key, nonce, ad, sealed):
    refuse_unless(len(sealed) >= 16, "not-authentic")
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, sealed, ad)
    except InvalidTag:
        raise Refused("not-authentic") from None


# --- Ed25519: a key is a canonical point that is not of small order, and verification is strict (RFC 8032 section 5.1.7) ---


def _point(encoded):
    """The affine point of 32 bytes in their one spelling, or None."""
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    return (P - x if x & 1 != sign else x), y


def _double(point):
    x, y = point
    k = D * x * x * y * y % P
    return 2 * x * y * pow(1 + k, -1, P) % P, (y * y + x * x) * pow(1 - k, -1, P) % P


def is_usable(encoded):
    point = _point(encoded)
    if point is None:
        return False
    return _double(_double(_double(point))) != (0, 1)


def check_agent_key(key):
    refuse_unless(is_usable(key), "bad-key")
    return key


def public_of(seed):
    return ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def agree(seed, other):
    """X25519 between the twins of two identity keys: RFC 8032 section 5.1.5 for the private half, RFC 7748 section 4.1's map for the public one."""
    _, y = _point(other)
    twin = (1 + y) * pow(1 - y, -1, P) % P
    private = x25519.X25519PrivateKey.from_private_bytes(hashlib.sha512(seed).digest()[:32])
    return private.exchange(x25519.X25519PublicKey.from_public_bytes(twin.to_bytes(32, "little")))


def is_signed(key, message, signature):
    """Strict: `s` below the group's order, R in its one spelling, neither R nor the key of small order."""
    if len(signature) != 64 or int.from_bytes(signature[32:], "little") >= ORDER or not (is_usable(key) and is_usable(signature[:32])):
        return False
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def verify(key, label, message, signature):
    refuse_unless(is_signed(key, label + b"\0" + message, signature), "bad-signature")


def is_signed_ml_dsa(key, message, signature):
    """Pure ML-DSA-44 with an empty context."""
    try:
        mldsa.MLDSA44PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


class Identity:
    """An agent's two long-lived private keys."""

    def __init__(self, seed, agreement):
        self.signing = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
        self.key = self.signing.public_key().public_bytes_raw()
        self.agreement = agreement
        self.agreement_public = dh_public(agreement)

    def sign(self, label, message):
        return self.signing.sign(label + b"\0" + message)


# --- X25519 ---


def dh_public(secret):
    return x25519.X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def dh(secret, public):
    try:
        return x25519.X25519PrivateKey.from_private_bytes(secret).exchange(x25519.X25519PublicKey.from_public_bytes(public))
    except ValueError:  # OpenSSL refuses the all-zero output too
        raise Refused("all-zero") from None


# --- ML-KEM-768 ---


def kem_public(seed):
    return mlkem.MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()


def kem_decapsulate(seed, ciphertext):
    return mlkem.MLKEM768PrivateKey.from_seed_bytes(seed).decapsulate(ciphertext)


def check_kem_public(public):
    """FIPS 203 section 7.2: every coefficient is below q."""
    bits = int.from_bytes(public[: 3 * 384], "little")
    refuse_unless(all((bits >> 12 * i) & 0xFFF < 3329 for i in range(3 * 256)), "bad-key")
    return public
