//! Length, white space and words of one file.

use std::path::Path;

/// Everything that is wrong with the text of the file at `path`.
pub(super) fn check(path: &Path, content: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if is_source(path) {
        whitespace(path, content, &mut faults);
        words(path, content, &mut faults);
    }
    if ends_in(path, "rs") {
        rust(path, content, &mut faults);
    }
    faults
}

/// Files over this many lines hold more than one concept.
const MAX_LINES: usize = 800;

/// Ends of names of files that people write. Captured messages keep whatever they have.
const SOURCES: [&str; 6] = ["rs", "toml", "md", "xml", "sh", "yml"];

/// Notes to oneself belong in the tracker; split here so that this file obeys its own rule.
const NOTES: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("HA", "CK"),
];

/// Names that say nothing.
const EMPTY_NAMES: [&str; 4] = ["Manager", "Helper", "Util", "helper"];

fn is_source(path: &Path) -> bool {
    SOURCES.iter().any(|ending| ends_in(path, ending)) || path == Path::new(".ci/run")
}

fn ends_in(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found == ending)
}

fn whitespace(path: &Path, content: &str, faults: &mut Vec<String>) {
    for (index, line) in content.lines().enumerate() {
        if line.ends_with([' ', '\t', '\r']) {
            faults.push(format!(
                "{}:{}: trailing white space",
                path.display(),
                index + 1
            ));
        }
    }
    if !content.is_empty() && !content.ends_with('\n') {
        faults.push(format!("{}: no line end at the end", path.display()));
    }
}

fn words(path: &Path, content: &str, faults: &mut Vec<String>) {
    for (index, line) in content.lines().enumerate() {
        let word_of = |note: &&&str| {
            line.split(|c: char| !c.is_alphanumeric())
                .any(|word| word == **note)
        };
        if let Some(note) = NOTES.iter().find(word_of) {
            faults.push(format!(
                "{}:{}: `{note}`: do it or file it",
                path.display(),
                index + 1
            ));
        }
    }
}

fn rust(path: &Path, content: &str, faults: &mut Vec<String>) {
    let lines = content.lines().count();
    if lines > MAX_LINES {
        faults.push(format!(
            "{}: {lines} lines; split files over {MAX_LINES}",
            path.display()
        ));
    }
    let is_root = path.ends_with("src/lib.rs") || path.ends_with("src/main.rs");
    if is_root && !content.starts_with("//!") {
        faults.push(format!("{}: does not begin with `//!`", path.display()));
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    if is_empty_name(&stem) {
        faults.push(format!("{}: the file's name says nothing", path.display()));
    }
    for (index, line) in content.lines().enumerate() {
        if let Some(name) = declared(line).filter(|name| is_empty_name(name)) {
            faults.push(format!(
                "{}:{}: the name `{name}` says nothing",
                path.display(),
                index + 1
            ));
        }
    }
}

/// The name that a line declares.
fn declared(line: &str) -> Option<&str> {
    const WORDS: [&str; 7] = [
        "fn",
        "struct",
        "enum",
        "trait",
        "type",
        "mod",
        "macro_rules!",
    ];
    if line.trim_start().starts_with("//") {
        return None;
    }
    let code = line.split('"').next().unwrap_or_default();
    let mut words = code.split_whitespace();
    words.find(|word| WORDS.contains(word))?;
    let name = words.next()?;
    name.split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()
}

fn is_empty_name(name: &str) -> bool {
    EMPTY_NAMES.iter().any(|part| name.contains(part))
        || name.starts_with("get_")
        || matches!(name, "util" | "utils" | "misc")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(path: &str, content: &str) -> usize {
        check(Path::new(path), content).len()
    }

    #[test]
    fn clean_text_passes() {
        assert_eq!(
            faults("wire/x/src/lib.rs", "//! X.\npub struct Invite;\n"),
            0
        );
        assert_eq!(faults("docs/x.md", "The Manager Interface.\n"), 0);
        assert_eq!(
            faults("wire/x/tests/torture.sip", "INVITE sip:x SIP/2.0\r\n"),
            0
        );
    }

    #[test]
    fn each_rule_bites() {
        assert_eq!(faults("a.md", "x \n"), 1);
        assert_eq!(faults("a.md", "x"), 1);
        assert_eq!(faults("a.rs", &format!("// {}: later\n", NOTES[0])), 1);
        assert_eq!(faults("a.rs", "pub(crate) struct CallManager;\n"), 1);
        assert_eq!(faults("a.rs", "    fn get_call(&self) {}\n"), 1);
        assert_eq!(faults("src/utils.rs", "\n"), 1);
        assert_eq!(faults("x/src/lib.rs", "mod x;\n"), 1);
        assert_eq!(faults("a.rs", &"\n".repeat(801)), 1);
    }
}
