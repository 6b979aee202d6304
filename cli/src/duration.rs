//! Durations as people write them: `500ms`, `5s`, `2m`, `1.5h`, `90d`.

use std::time::Duration;

/// Parses a number with a unit; a bare number is refused, so that nobody guesses the unit.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let explain =
        || format!("{text:?} is not a duration; write a number with ms, s, m, h or d, such as 500ms or 5s");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(explain)?;
    let (number, unit) = text.split_at(digits);
    let seconds_per_unit = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return Err(explain()),
    };
    let number: f64 = number.parse().map_err(|_| explain())?;
    let duration = Duration::try_from_secs_f64(number * seconds_per_unit).map_err(|_| explain())?;
    if duration.is_zero() { Err(format!("{text:?} is no time at all")) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn units_are_understood() {
        for (text, ms) in [
            ("500ms", 500),
            ("5s", 5_000),
            ("2m", 120_000),
            ("1.5s", 1_500),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(parse(text).unwrap().as_millis(), ms, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for text in ["", "5", "s", "5w", "-1s", "1.2.3s", "0s", "99999999999999999999999s"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert!(parse("5").unwrap_err().contains("500ms"));
    }
}
