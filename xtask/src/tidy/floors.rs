//! Dependencies point down: app → roles → core → wire.

use super::Package;

/// Everything that is wrong with the manifests.
pub(super) fn check(packages: &[Package]) -> Vec<String> {
    let mut faults = Vec::new();
    for package in packages {
        faults.extend(manifest(package));
        for dependency in &package.dependencies {
            let Some(target) = packages.iter().find(|other| other.name == dependency.name) else {
                continue;
            };
            if !may_use(&package.folder, &target.folder, dependency.only_for_tests) {
                faults.push(format!(
                    "{}/Cargo.toml: {} must not depend on {}: dependencies point down, app → \
                     roles → core → wire, and roles never import roles",
                    package.folder, package.name, target.name
                ));
            }
        }
    }
    faults
}

fn manifest(package: &Package) -> Vec<String> {
    let mut faults = Vec::new();
    let path = format!("{}/Cargo.toml", package.folder);
    if !package.described {
        faults.push(format!("{path}: has no `description`"));
    }
    let after_lints = package
        .manifest
        .split_once("[lints]")
        .map(|(_, rest)| rest.trim_start());
    if !after_lints.is_some_and(|rest| rest.starts_with("workspace = true")) {
        faults.push(format!("{path}: has no `[lints] workspace = true`"));
    }
    faults
}

/// Floors of the house, lowest first. What stands on none of them (xtask, testkit, interop,
/// benches) uses whatever it likes.
const FLOORS: [&str; 4] = ["wire", "core", "roles", "app"];

fn floor(folder: &str) -> Option<usize> {
    let first = folder.split('/').next();
    FLOORS.iter().position(|floor| Some(*floor) == first)
}

fn may_use(user: &str, used: &str, only_for_tests: bool) -> bool {
    match (floor(user), floor(used)) {
        (None, _) => true,
        (Some(_), None) => only_for_tests && used == "testkit",
        (Some(ROLES), Some(ROLES)) => false,
        (Some(user), Some(used)) => used <= user,
    }
}

const ROLES: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn down_and_sideways_is_allowed() {
        assert!(may_use("app/dialtone", "roles/pbx", false));
        assert!(may_use("app/dialtone", "app/api", false));
        assert!(may_use("roles/pbx", "wire/sip", false));
        assert!(may_use("core/engine", "core/media", false));
        assert!(may_use("wire/sip", "wire/base", false));
        assert!(may_use("testkit", "roles/pbx", false));
        assert!(may_use("roles/pbx", "testkit", true));
    }

    #[test]
    fn up_is_not() {
        assert!(!may_use("wire/sip", "core/engine", false));
        assert!(!may_use("core/engine", "roles/pbx", true));
        assert!(!may_use("roles/pbx", "roles/ue", false));
        assert!(!may_use("roles/pbx", "testkit", false));
        assert!(!may_use("wire/sip", "xtask", true));
    }

    #[test]
    fn a_manifest_without_lints_is_a_fault() {
        let mut package = Package {
            name: "x".into(),
            folder: "wire/x".into(),
            described: true,
            manifest: "[package]\n[lints]\nworkspace = true\n".into(),
            dependencies: Vec::new(),
        };
        assert!(check(std::slice::from_ref(&package)).is_empty());
        package.manifest = "[package]\n[lints.rust]\n".into();
        package.described = false;
        assert_eq!(check(&[package]).len(), 2);
    }
}
