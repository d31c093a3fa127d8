//! `docs/rfc-matrix.md`: which section of which RFC is done where, and which test shows it.
//!
//! - [`scan`]: what a source file says of RFCs, and the tests in it.
//! - [`page`]: the page.
//! - [`titles`]: titles of RFCs.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use scan::Section;

mod page;
mod scan;
mod titles;

/// Where the page is.
pub(crate) const PAGE: &str = "docs/rfc-matrix.md";

/// Writes the page anew.
pub(crate) fn run(files: &[String]) -> Result<()> {
    std::fs::write(PAGE, written(files)).with_context(|| format!("write {PAGE}"))?;
    eprintln!("wrote {PAGE}");
    Ok(())
}

/// Whether the page is what [`run`] would write.
pub(crate) fn is_fresh(files: &[String]) -> bool {
    std::fs::read_to_string(PAGE).is_ok_and(|page| page == written(files))
}

/// Everything that is known, sorted: the same source gives the same page.
#[derive(Debug, Default)]
struct Matrix {
    rfcs: BTreeMap<u16, BTreeMap<Section, Row>>,
}

/// One section of one RFC.
#[derive(Debug, Default)]
struct Row {
    /// Files that do what the section says.
    code: BTreeSet<String>,
    /// Tests of it: file, and name.
    tests: BTreeSet<(String, String)>,
}

impl Matrix {
    fn add(&mut self, path: &str, content: &str) {
        let kind = if is_code(path) {
            scan::Kind::Code
        } else {
            scan::Kind::Tests
        };
        let found = scan::file(kind, content);
        for (rfc, section) in found.code {
            self.row(rfc, section).code.insert(path.to_owned());
        }
        for ((rfc, section), name) in found.tests {
            let test = (path.to_owned(), name);
            self.row(rfc, section).tests.insert(test);
        }
    }

    fn row(&mut self, rfc: u16, section: Section) -> &mut Row {
        let sections = self.rfcs.entry(rfc).or_default();
        sections.entry(section).or_default()
    }
}

fn written(files: &[String]) -> String {
    let mut matrix = Matrix::default();
    for path in files.iter().filter(|path| is_looked_at(path)) {
        // A file may be deleted and not yet committed.
        if let Ok(content) = std::fs::read_to_string(path) {
            matrix.add(path, &content);
        }
    }
    page::render(&matrix)
}

const CODE: [&str; 3] = ["wire/", "core/", "roles/"];
const TESTS: [&str; 3] = ["app/", "testkit/", "interop/"];

fn is_looked_at(path: &str) -> bool {
    path.ends_with(".rs") && CODE.iter().chain(&TESTS).any(|room| path.starts_with(room))
}

/// Whether the file belongs to the product; its tests may be in it too.
fn is_code(path: &str) -> bool {
    CODE.iter().any(|room| path.starts_with(room))
        && !path
            .split('/')
            .any(|part| part == "tests" || part == "tests.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_tests_are_told_apart() {
        assert!(is_code("wire/sip/src/dialog.rs"));
        for tests in [
            "wire/sip/tests/torture.rs",
            "wire/sip/src/transaction/tests.rs",
            "interop/tests/hold.rs",
        ] {
            assert!(!is_code(tests) && is_looked_at(tests), "{tests}");
        }
        assert!(!is_looked_at("xtask/src/matrix/mod.rs"));
    }

    #[test]
    fn a_file_fills_both_columns() {
        let mut matrix = Matrix::default();
        let source = "/// Ends it (RFC 3261 §15).\nfn end() {}\n#[cfg(test)]\nmod tests {\n    \
                      #[test]\n    fn rfc3261_15_1_bye() {}\n}\n";
        matrix.add("wire/x/src/lib.rs", source);
        let page = page::render(&matrix);
        assert!(
            page.contains("| RFC 3261 | SIP: Session Initiation Protocol | 2 |"),
            "{page}"
        );
        assert!(page.contains("| §15 |"), "{page}");
        assert!(page.contains("bye"), "{page}");
    }
}
