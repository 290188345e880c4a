//! Grammars of single values that several keys share.

use crate::ValueError;

/// Longest simplified path, as a path of Linux without its NUL.
const PATH_MAX: usize = 4095;
/// Longest name of a network interface.
const IFNAME_MAX: usize = 15;
/// Longest text of a size.
const SIZE_TEXT_MAX: usize = 20;
/// Smallest ring buffer and log file: one page.
const PAGE_SIZE: u64 = 4096;
/// What `auto` stands for in ring buffer and log sizes.
const AUTO_SIZE: u64 = 128 * 1024;

/// An integer as C writes it: decimal, `0x` hexadecimal or `0` octal, optionally signed.
fn c_integer(text: &str) -> Result<i128, ValueError> {
    let trimmed = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let (negative, digits) = match trimmed.as_bytes().first() {
        Some(b'-') => (true, &trimmed[1..]),
        Some(b'+') => (false, &trimmed[1..]),
        _ => (false, trimmed),
    };
    let (radix, digits) = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        (16, hex)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (8, &digits[1..])
    } else {
        (10, digits)
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(ValueError::new(format!("'{text}' is not a number")));
    }
    let magnitude = i128::from_str_radix(digits, radix)
        .map_err(|_| ValueError::new(format!("'{text}' is out of range")))?;
    Ok(if negative { -magnitude } else { magnitude })
}

/// An unsigned number of 32 bits; hexadecimal and octal as in C.
pub fn uint(text: &str) -> Result<u32, ValueError> {
    if text.trim_start().starts_with('-') {
        return Err(ValueError::new(format!("'{text}' is negative")));
    }
    u32::try_from(c_integer(text)?).map_err(|_| ValueError::new(format!("'{text}' is out of range")))
}

/// A signed number of 32 bits; hexadecimal and octal as in C.
pub fn int(text: &str) -> Result<i32, ValueError> {
    i32::try_from(c_integer(text)?).map_err(|_| ValueError::new(format!("'{text}' is out of range")))
}

/// An unsigned number of 64 bits; hexadecimal and octal as in C.
pub fn ulong(text: &str) -> Result<u64, ValueError> {
    if text.trim_start().starts_with('-') {
        return Err(ValueError::new(format!("'{text}' is negative")));
    }
    u64::try_from(c_integer(text)?).map_err(|_| ValueError::new(format!("'{text}' is out of range")))
}

/// `0` or `1`.
pub fn bool01(text: &str) -> Result<bool, ValueError> {
    match uint(text) {
        Ok(0) => Ok(false),
        Ok(1) => Ok(true),
        _ => Err(ValueError::new(format!("'{text}' is neither 0 nor 1"))),
    }
}

/// A number of bytes with an optional suffix `kB`, `MB` or `GB` of 1024, 1024² or 1024³. A suffix of a single
/// letter changes nothing: it has always been accepted and ignored.
pub fn size(text: &str) -> Result<i64, ValueError> {
    let bad = || ValueError::new(format!("'{text}' is not a size"));
    if text.len() > SIZE_TEXT_MAX {
        return Err(bad());
    }
    let letters = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    // In `0x1B` the B is a digit.
    let (number, suffix) = match int_prefix_is_hex(text) {
        true => (text, ""),
        false => (letters, &text[letters.len()..]),
    };
    // Blanks may stand between a number and its suffix, not at the end.
    let number = if suffix.is_empty() { number } else { number.trim_end_matches(' ') };
    let factor: i128 = match suffix.to_ascii_lowercase().as_str() {
        "" => 1,
        "kb" => 1 << 10,
        "mb" => 1 << 20,
        "gb" => 1 << 30,
        one if one.len() == 1 => 1,
        _ => return Err(bad()),
    };
    let value = c_integer(number).map_err(|_| bad())?.checked_mul(factor).ok_or_else(bad)?;
    i64::try_from(value).map_err(|_| ValueError::new(format!("'{text}' is out of range")))
}

/// Whether the whole text is a hexadecimal number, whose last letters are no suffix.
fn int_prefix_is_hex(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    (digits.starts_with("0x") || digits.starts_with("0X"))
        && digits[2..].chars().all(|c| c.is_ascii_hexdigit())
}

/// Size of the console's ring buffer or log file: `auto` or a size, at least a page, rounded up to a power of
/// two.
pub fn ring_size(text: &str) -> Result<u64, ValueError> {
    if text == "auto" {
        return Ok(AUTO_SIZE);
    }
    let bytes = u64::try_from(size(text)?).map_err(|_| ValueError::new(format!("'{text}' is negative")))?;
    bytes
        .max(PAGE_SIZE)
        .checked_next_power_of_two()
        .ok_or_else(|| ValueError::new(format!("'{text}' is out of range")))
}

/// First and last real-time signal that programs may use.
const SIGRTMIN: u32 = 34;
const SIGRTMAX: u32 = 64;

/// Signal names without `SIG`, with the numbers of all architectures but alpha, mips, parisc and sparc.
const SIGNALS: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("UNUSED", 31),
];

/// A signal: a number, `SIG` and a name in any case, `SIGRTMIN+n` or `SIGRTMAX-n`.
pub fn signal(text: &str) -> Result<i32, ValueError> {
    let bad = || ValueError::new(format!("'{text}' is not a signal"));
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return i32::try_from(uint(text)?).map_err(|_| ValueError::new(format!("'{text}' is out of range")));
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").ok_or_else(bad)?;
    let offset = |digits: &str| -> Result<u32, ValueError> {
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        digits.parse().ok().filter(|&n| n <= SIGRTMAX - SIGRTMIN).ok_or_else(bad)
    };
    if let Some(digits) = name.strip_prefix("RTMIN+") {
        return Ok((SIGRTMIN + offset(digits)?) as i32);
    }
    if let Some(digits) = name.strip_prefix("RTMAX-") {
        return Ok((SIGRTMAX - offset(digits)?) as i32);
    }
    SIGNALS.iter().find(|(known, _)| *known == name).map(|&(_, number)| number).ok_or_else(bad)
}

/// A path without repeated slashes, `.` components and a trailing slash; `..` stays.
pub fn path(text: &str) -> Result<String, ValueError> {
    let mut simple = String::with_capacity(text.len());
    for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if !simple.is_empty() || text.starts_with('/') {
            simple.push('/');
        }
        simple.push_str(part);
    }
    if simple.is_empty() {
        simple.push_str(if text.starts_with('/') { "/" } else { "." });
    }
    if simple.len() > PATH_MAX {
        return Err(ValueError::new(format!("the path is longer than {PATH_MAX} bytes")));
    }
    Ok(simple)
}

/// Name of a network interface.
pub fn ifname(text: &str) -> Result<String, ValueError> {
    if text.len() > IFNAME_MAX {
        return Err(ValueError::new(format!(
            "'{text}' is longer than the {IFNAME_MAX} bytes of an interface name"
        )));
    }
    Ok(text.to_owned())
}

/// The words of a list separated by spaces and tabs.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', '\t']).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_c() {
        assert_eq!(uint("010"), Ok(8));
        assert_eq!(uint("0x1F"), Ok(31));
        assert_eq!(uint(" +7"), Ok(7));
        assert_eq!(uint("4294967295"), Ok(u32::MAX));
        for bad in ["", " ", "-1", "4294967296", "08", "0x", "1 ", "1a", "++1"] {
            assert!(uint(bad).is_err(), "{bad:?}");
        }
        assert_eq!(int("-2147483648"), Ok(i32::MIN));
        assert!(int("2147483648").is_err());
        assert!(bool01("2").is_err());
        assert!(bool01("true").is_err());
        assert_eq!(bool01("0x1"), Ok(true));
    }

    #[test]
    fn sizes() {
        assert_eq!(size("1kB"), Ok(1024));
        assert_eq!(size("2 mb"), Ok(2 << 20));
        assert_eq!(size("1GB"), Ok(1 << 30));
        assert_eq!(size("1M"), Ok(1));
        assert_eq!(size("0x10000"), Ok(65536));
        assert_eq!(size("+1000000"), Ok(1_000_000));
        assert_eq!(size("-5"), Ok(-5));
        assert_eq!(size(" 1"), Ok(1));
        for bad in ["1KiB", "1TB", "", "kB", "1 ", "1MB ", "9223372036854775808", "9223372036854775GB"] {
            assert!(size(bad).is_err(), "{bad:?}");
        }
        assert_eq!(ring_size("auto"), Ok(131_072));
        assert_eq!(ring_size("0"), Ok(4096));
        assert_eq!(ring_size("5000"), Ok(8192));
        assert!(ring_size("-1").is_err());
    }

    #[test]
    fn signals() {
        assert_eq!(signal("SIGPWR"), Ok(30));
        assert_eq!(signal("sigpwr"), Ok(30));
        assert_eq!(signal("SIGRTMIN+3"), Ok(37));
        assert_eq!(signal("SIGRTMAX-0"), Ok(64));
        assert_eq!(signal("9999"), Ok(9999));
        assert_eq!(signal("010"), Ok(8));
        for bad in
            ["PWR", "SIGRTMIN", "RTMIN+3", "SIGRTMIN+31", "SIGRTMIN-1", "SIGRTMIN+ 3", "+5", "-1", "", "SIGé"]
        {
            assert!(signal(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn paths_are_simplified() {
        for (written, simple) in [
            ("./a//b/./c/", "a/b/c"),
            ("../a", "../a"),
            ("/", "/"),
            ("//", "/"),
            ("./", "."),
            ("/./", "/"),
            ("a/.", "a"),
            (".//a", "a"),
            (".", "."),
            ("/a/../b/", "/a/../b"),
        ] {
            assert_eq!(path(written).as_deref(), Ok(simple), "{written}");
        }
        assert!(path(&"a/".repeat(4096)).is_err());
        assert!(ifname("a234567890123456").is_err());
        assert_eq!(ifname("a23456789012345").as_deref(), Ok("a23456789012345"));
    }
}
