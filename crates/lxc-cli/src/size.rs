//! Sizes as people write them.

/// Bytes of a number with a unit: b, k, m, g or t, in either case; without one it is mebibytes, as the commands of LXC
/// have always taken it.
///
/// # Errors
/// It is none; the text says so.
pub fn parse(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "b" => 1,
        "k" => 1 << 10,
        "" | "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        _ => return Err(format!("{text}: {unit:?} is no unit: b, k, m, g or t")),
    };
    let size = number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).filter(|n| *n > 0);
    size.ok_or_else(|| format!("{text}: no size"))
}

/// A size for people to read.
pub fn show(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse("5"), Ok(5 << 20));
        assert_eq!(parse("5b"), Ok(5));
        assert_eq!(parse("2G"), Ok(2 << 30));
        for bad in ["", "G", "5Q", "-1", "0", "99999999999T"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(show(1023), "1023 B");
        assert_eq!(show(1536 << 20), "1.5 GiB");
    }
}
