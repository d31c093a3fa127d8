//! ARCHITECTURE.md is the map of the house: every room is on it, and no room that isn't built.

use std::collections::BTreeSet;

use super::Package;

/// Compares the map with crates and top-level folders.
pub(super) fn check(packages: &[Package], files: &[String], map: &str) -> Vec<String> {
    let named = names(map);
    let rooms = rooms(packages, files);
    let missing = rooms
        .iter()
        .filter(|room| !named.contains(**room))
        .map(|room| format!("ARCHITECTURE.md: `{room}` exists and is not named"));
    let invented = named
        .iter()
        .filter(|name| FLOORS.iter().any(|floor| name.starts_with(floor)))
        .filter(|name| !rooms.contains(*name) && !files.iter().any(|file| file == *name))
        .map(|name| format!("ARCHITECTURE.md: `{name}` is named and does not exist"));
    missing.chain(invented).collect()
}

const FLOORS: [&str; 4] = ["wire/", "core/", "roles/", "app/"];

/// Folders of all crates, and top-level folders that hold no crate.
fn rooms<'a>(packages: &'a [Package], files: &'a [String]) -> BTreeSet<&'a str> {
    let crates = packages.iter().map(|package| package.folder.as_str());
    let is_floor = |folder: &&str| {
        FLOORS
            .iter()
            .any(|floor| floor.trim_end_matches('/') == *folder)
    };
    let folders = files
        .iter()
        .filter_map(|file| file.split_once('/').map(|(folder, _)| folder))
        .filter(|folder| !folder.starts_with('.') && !is_floor(folder));
    crates.chain(folders).collect()
}

/// Everything between backquotes, without a closing slash.
fn names(map: &str) -> BTreeSet<&str> {
    let quoted = map.split('`').skip(1).step_by(2);
    quoted.map(|name| name.trim_end_matches('/')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_must_be_on_the_map_and_the_map_true() {
        let files = [
            "wire/sip/src/lib.rs".to_owned(),
            "docs/x.md".to_owned(),
            ".ci/run".to_owned(),
        ];
        assert!(check(&[], &files, "see `docs/`").is_empty());
        assert_eq!(check(&[], &files, "nothing").len(), 1);
        assert_eq!(check(&[], &files, "`docs`, `wire/gtp`").len(), 1);
        assert!(check(&[], &files, "`docs`, `wire/sip/src/lib.rs`").is_empty());
    }
}
