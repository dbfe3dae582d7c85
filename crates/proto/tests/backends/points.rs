//! Points that an honest peer never sends.

/// `2^255 - 19 + n`, little-endian.
fn prime_and(n: u8) -> [u8; 32] {
    core::array::from_fn(|i| match i {
        0 => 0xed + n,
        31 => 0x7f,
        _ => 0xff,
    })
}

/// The `u` of every point of Curve25519 and its twist whose order divides 8, in each spelling below 2^255.
pub(crate) fn low_montgomery() -> Vec<[u8; 32]> {
    let order_8 = [
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    ];
    let mut points: Vec<[u8; 32]> =
        order_8.iter().map(|hex| data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap()).collect();
    let mut minus_one = prime_and(0);
    minus_one[0] -= 1;
    let one = core::array::from_fn(|i| u8::from(i == 0));
    points.extend([[0; 32], one, minus_one, prime_and(0), prime_and(1)]);
    points
}

/// Numbers of 255 bits that are no residues: 2^255 - 19 to 2^255 - 1.
pub(crate) fn not_reduced() -> impl Iterator<Item = [u8; 32]> {
    (0..19).map(prime_and)
}
