//! Durations as people write them: `500ms`, `30s`, `5m`, `2h`, `7d`.

use std::time::Duration;

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads one.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let ms = number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    ms.map(Duration::from_millis).ok_or_else(|| "write a number with a unit: 500ms, 30s, 5m, 2h, 7d".to_owned())
}

/// Reads one of a letter's life.
pub(crate) fn up_to_a_week(text: &str) -> Result<Duration, String> {
    up_to(text, Duration::from_millis(nuncio_contracts::registry::time::LETTER_LIFE_MAX), "7d")
}

/// Reads one that a request may wait.
pub(crate) fn up_to_ten_minutes(text: &str) -> Result<Duration, String> {
    up_to(text, Duration::from_secs(600), "10m")
}

/// Reads one that a letter may wait for a token.
pub(crate) fn up_to_a_minute(text: &str) -> Result<Duration, String> {
    up_to(text, Duration::from_secs(60), "60s")
}

fn up_to(text: &str, most: Duration, named: &str) -> Result<Duration, String> {
    let span = parse(text)?;
    if span.is_zero() || span > most { Err(format!("more than nothing, and at most {named}")) } else { Ok(span) }
}

/// One as people read it: `12 ms`, `3.4 s`.
pub(crate) fn told(span: Duration) -> String {
    let ms = ms(span);
    if ms < 1_000 { format!("{ms} ms") } else { format!("{}.{} s", ms / 1_000, ms % 1_000 / 100) }
}

/// Whole milliseconds.
pub(crate) fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_the_unit_that_fits() {
        let told = |ms| told(Duration::from_millis(ms));
        assert_eq!([told(0), told(999), told(1_050), told(61_900)], ["0 ms", "999 ms", "1.0 s", "61.9 s"]);
    }

    #[test]
    fn numbers_need_a_unit_that_is_known() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert!(up_to_a_week("7d").is_ok() && up_to_a_week("8d").is_err() && up_to_a_week("0s").is_err());
        assert!(up_to_ten_minutes("10m").is_ok() && up_to_ten_minutes("601s").is_err());
        assert_eq!(parse("2h"), Ok(Duration::from_secs(7_200)));
        for bad in ["", "5", "s", "5x", "-1s", "1.5s", "99999999999999999999s", "18446744073709551615d"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
