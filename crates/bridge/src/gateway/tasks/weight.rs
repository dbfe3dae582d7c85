//! What a JSON text is in memory once it was read: small values are many times their own length (contracts/gateway.md W36).

/// A map's smallest node, a list's first room, room for one more in either, and a text's own, in bytes.
const OBJECT: usize = 640;
const ARRAY: usize = 128;
const MEMBER: usize = 160;
const STRING: usize = 32;

/// Bytes that it takes at most, told from its signs alone: before it is read.
pub(super) fn weight(json: &[u8]) -> usize {
    let (mut weight, mut in_string, mut escaped) = (json.len(), false, false);
    for byte in json {
        let more = match byte {
            _ if escaped => {
                escaped = false;
                0
            }
            b'\\' if in_string => {
                escaped = true;
                0
            }
            b'"' => {
                in_string = !in_string;
                if in_string { STRING } else { 0 }
            }
            _ if in_string => 0,
            b'{' => OBJECT,
            b'[' => ARRAY,
            b',' => MEMBER,
            _ => 0,
        };
        weight = weight.saturating_add(more);
    }
    weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_weighs_what_it_says_and_small_values_what_they_take() {
        let text = serde_json::to_string(&"{[,\\\"{[,".repeat(1_000)).unwrap();
        assert_eq!(weight(text.as_bytes()), text.len() + STRING);
        let nothing = format!("[{}{{}}]", r#"{"":0},"#.repeat(1_000));
        assert!(weight(nothing.as_bytes()) > 1_000 * (OBJECT + MEMBER), "{}", weight(nothing.as_bytes()));
        assert_eq!(weight(br#"{"a\"b":[1,{}]}"#), 15 + 2 * OBJECT + ARRAY + MEMBER + STRING);
    }
}
