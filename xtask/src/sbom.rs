//! What the binary is made of.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::shell::cargo;

type Checksums = BTreeMap<(String, String), String>;

/// The bill of materials of the binary as built for `triple` with these features: every package
/// that is linked in, its version, licence and checksum.
///
/// # Source
/// CycloneDX 1.5, JSON.
pub(crate) fn bill(triple: &str, features: &[&str]) -> Result<Value> {
    let metadata = cargo(["metadata", "--format-version", "1", "--locked"])
        .args(["--manifest-path", "app/dialtone/Cargo.toml"])
        .args(["--filter-platform", triple])
        .args(["--no-default-features", "--features"])
        .args([features.join(",")])
        .read()?;
    let lock = std::fs::read_to_string("Cargo.lock").context("read Cargo.lock")?;
    from_metadata(&serde_json::from_str(&metadata)?, &checksums(&lock)?)
}

fn from_metadata(metadata: &Value, checksums: &Checksums) -> Result<Value> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let packages = list(&metadata["packages"]);
    let nodes = list(&metadata["resolve"]["nodes"]);
    let is_binary = |package: &&Value| package["name"] == "dialtone";
    let binary = packages.iter().find(is_binary);
    let binary = binary.context("cargo metadata has no package `dialtone`")?;
    let linked = linked(&nodes, text(&binary["id"]));
    let mut components: Vec<_> = packages
        .iter()
        .filter(|package| linked.contains(text(&package["id"])))
        .filter(|package| package["id"] != binary["id"])
        .map(|package| component(package, "library", checksums))
        .collect();
    components.sort_by_key(|component| text(&component["bom-ref"]).to_owned());
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(binary, "application", checksums)},
        "components": components,
    }))
}

/// The ids of what is reached from a package without its tests and build scripts.
fn linked(nodes: &[Value], binary: &str) -> BTreeSet<String> {
    let mut linked = BTreeSet::new();
    let mut open = vec![binary.to_owned()];
    while let Some(id) = open.pop() {
        if !linked.insert(id.clone()) {
            continue;
        }
        let Some(node) = nodes.iter().find(|node| node["id"] == *id) else {
            continue;
        };
        let normal = |dep: &&Value| {
            let kinds = dep["dep_kinds"].as_array();
            kinds.is_none_or(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
        };
        let deps = node["deps"].as_array().into_iter().flatten();
        open.extend(deps.filter(normal).map(|dep| text(&dep["pkg"]).to_owned()));
    }
    linked
}

fn component(package: &Value, kind: &str, checksums: &Checksums) -> Value {
    let (name, version) = (text(&package["name"]), text(&package["version"]));
    let purl = format!("pkg:cargo/{name}@{version}");
    let mut component = json!({
        "type": kind,
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
    });
    if let Some(license) = package["license"].as_str() {
        // Cargo once wrote a slash for "or".
        let expression = license.replace('/', " OR ").replace("  ", " ");
        component["licenses"] = json!([{ "expression": expression }]);
    }
    if let Some(checksum) = checksums.get(&(name.to_owned(), version.to_owned())) {
        component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    component
}

/// The checksums of a lock file, by name and version.
fn checksums(lock: &str) -> Result<Checksums> {
    let lock: toml_edit::DocumentMut = lock.parse().context("Cargo.lock is no TOML")?;
    let packages = lock["package"].as_array_of_tables().into_iter().flatten();
    let field =
        |package: &toml_edit::Table, key: &str| Some(package.get(key)?.as_str()?.to_owned());
    Ok(packages
        .filter_map(|package| {
            let name = (field(package, "name")?, field(package, "version")?);
            Some((name, field(package, "checksum")?))
        })
        .collect())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_linked_in_is_billed() {
        let package = |name: &str| json!({"id": name, "name": name, "version": "1.0.0", "license": "MIT/Apache-2.0"});
        let dep = |name: &str, kind: Value| json!({"pkg": name, "dep_kinds": [{ "kind": kind }]});
        let metadata = json!({
            "packages": [package("dialtone"), package("b"), package("a"), package("cc")],
            "resolve": {"nodes": [
                {"id": "dialtone", "deps": [dep("b", Value::Null), dep("cc", json!("build"))]},
                {"id": "b", "deps": [dep("a", Value::Null)]},
                {"id": "a", "deps": []},
            ]},
        });
        let lock =
            "version = 4\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"00ff\"\n";
        let bill = from_metadata(&metadata, &checksums(lock).unwrap()).unwrap();
        assert_eq!(bill["metadata"]["component"]["name"], "dialtone");
        let names: Vec<_> = bill["components"].as_array().unwrap().iter().collect();
        assert_eq!(names.len(), 2);
        assert_eq!(names[0]["purl"], "pkg:cargo/a@1.0.0");
        assert_eq!(names[0]["hashes"][0]["content"], "00ff");
        assert_eq!(names[1]["licenses"][0]["expression"], "MIT OR Apache-2.0");
    }
}
