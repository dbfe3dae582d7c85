//! Numbers of JSON that come out with the value with which they went in: integers of 64 bits, and what binary64 holds.

use serde_json::Number;

/// Whether a JSON text, which was parsed before, has such numbers alone.
pub(crate) fn is_exact(json: &str) -> bool {
    numbers(json).all(|number| {
        let written = serde_json::from_str::<Number>(number).map(|read| read.to_string());
        written.is_ok_and(|written| decimal(&written) == decimal(number))
    })
}

/// Its numbers, as they stand.
fn numbers(json: &str) -> impl Iterator<Item = &str> {
    let mut rest = json;
    std::iter::from_fn(move || {
        loop {
            rest = rest.get(rest.find(|c: char| matches!(c, '"' | '-' | '0'..='9'))?..)?;
            if let Some(text) = rest.strip_prefix('"') {
                rest = behind(text)?;
            } else {
                let end = rest.find(|c: char| !matches!(c, '-' | '+' | '.' | 'e' | 'E' | '0'..='9'));
                let (number, left) = rest.split_at(end.unwrap_or(rest.len()));
                rest = left;
                return Some(number);
            }
        }
    })
}

/// What is behind the end of a text.
fn behind(text: &str) -> Option<&str> {
    let mut bytes = text.bytes().enumerate();
    loop {
        match bytes.next()? {
            (_, b'\\') => drop(bytes.next()),
            (at, b'"') => return text.get(at + 1..),
            _ => {}
        }
    }
}

/// Sign, digits without zeros at either end, and the power of ten of the last: equal for equal values.
fn decimal(number: &str) -> Option<(bool, String, i64)> {
    let (mantissa, power) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole.trim_start_matches('-'), fraction].concat();
    let significant = digits.trim_end_matches('0');
    let zeros = i64::try_from(digits.len() - significant.len()).ok()?;
    let power = power.parse::<i64>().ok()?.checked_sub(i64::try_from(fraction.len()).ok()?)?.checked_add(zeros)?;
    let digits = significant.trim_start_matches('0');
    Some(if digits.is_empty() {
        (false, String::new(), 0)
    } else {
        (number.starts_with('-'), digits.to_owned(), power)
    })
}

#[cfg(test)]
mod tests {
    use super::is_exact;

    #[test]
    fn a_number_that_would_become_another_is_found_and_no_other() {
        for exact in [
            r#"{"a":[0,-1,1.5,18446744073709551615,-9223372036854775808,1e300,1E+2,1.0e-7,0.1,-0,-0.0,0e9,1000000000000000000000]}"#,
            r#"{"18446744073709551617":"18446744073709551617","b\"1e999":"\\","c":{}}"#,
            r#"{"a":90000000000000000000,"b":2.50}"#,
        ] {
            assert!(is_exact(exact), "{exact}");
        }
        for other in [
            "18446744073709551617",
            "-9223372036854775809",
            "123456789012345678.9",
            "0.12345678901234567891",
            "1e-400",
            "100000000000000000000000000000001",
            "1e99999999999999999999",
        ] {
            assert!(!is_exact(&format!(r#"{{"a\\":"\"1","b":[1,{other}]}}"#)), "{other}");
        }
    }
}
