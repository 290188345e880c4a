//! The index of a server of images.

/// One image of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Distribution.
    pub dist: String,
    /// Release.
    pub release: String,
    /// Architecture, as Debian calls it.
    pub arch: String,
    /// Variant.
    pub variant: String,
    /// When it was built.
    pub build: String,
    pub(super) path: String,
}

/// Reads an index: `dist;release;arch;variant;build;/path` a line. Other lines are of other versions.
pub fn parse(text: &str) -> Vec<Entry> {
    let line = |line: &str| {
        let mut fields = line.trim().split(';').map(String::from);
        let mut next = || fields.next().filter(|f| !f.is_empty() && !f.contains(['/', '\0']) && f != "..");
        let (dist, release, arch, variant, build) = (next()?, next()?, next()?, next()?, next()?);
        let path = line.trim().splitn(6, ';').nth(5)?.to_string();
        let is_plain = !path.split('/').any(|part| part == "..");
        is_plain.then_some(Entry { dist, release, arch, variant, build, path })
    };
    text.lines().filter_map(line).collect()
}

/// For people.
pub fn as_table(index: &[Entry]) -> String {
    let rows = index.iter().map(|e| [&e.dist, &e.release, &e.arch, &e.variant, &e.build].map(String::as_str));
    let all: Vec<[&str; 5]> =
        std::iter::once(["DIST", "RELEASE", "ARCH", "VARIANT", "BUILD"]).chain(rows).collect();
    let width = |column: usize| all.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    let line = |row: &[&str; 5]| {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_string()
    };
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// For programs.
pub fn as_json(index: &[Entry]) -> String {
    let entry = |e: &Entry| {
        serde_json::json!({
            "dist": e.dist, "release": e.release, "arch": e.arch, "variant": e.variant, "build": e.build,
        })
    };
    serde_json::Value::Array(index.iter().map(entry).collect()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes() {
        let text = "debian;trixie;amd64;default;20260101_05:24;/images/debian/trixie/amd64/default/20260101_05:24/\n\
                    # no\nx;y\ndebian;../x;amd64;default;1;/p\na;b;c;d;e;/images/../../etc\n";
        let index = parse(text);
        assert_eq!(index.len(), 1);
        assert_eq!(index[0].build, "20260101_05:24");
        assert!(as_table(&index).starts_with("DIST    RELEASE"));
        assert!(as_json(&index).contains("\"release\":\"trixie\""));
    }
}
