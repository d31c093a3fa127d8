//! Images as the Open Container Initiative lays them out, and as `docker save` does.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The annotation that holds the tag.
const TAG: &str = "org.opencontainers.image.ref.name";
/// The annotation that holds the whole name, for containerd.
const NAME: &str = "io.containerd.image.name";

/// What an image is made of, on one architecture.
pub(super) struct Image<'a> {
    /// As Go names it: `amd64`, `arm64`.
    pub(super) architecture: &'a str,
    /// The one layer, as a tar.
    pub(super) layer: &'a [u8],
    /// Seconds since 1970.
    pub(super) created: i64,
    /// How it is started.
    pub(super) config: Value,
}

/// Images, one for each architecture, and what they are called.
///
/// # Source
/// OCI image format 1.1: image-layout, image index, image manifest; `manifest.json` as `docker
/// save` writes it.
#[derive(Debug, Default)]
pub(super) struct Layout {
    blobs: BTreeMap<String, Vec<u8>>,
    /// A descriptor for each architecture.
    manifests: Vec<Value>,
    /// Digests of configuration and layer of the first.
    first: Option<(String, String)>,
}

impl Layout {
    /// Adds the image of one architecture; returns how large its layer is when compressed.
    pub(super) fn add(&mut self, image: &Image<'_>) -> Result<usize> {
        let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
        gzip.write_all(image.layer)?;
        let layer = gzip.finish()?;
        let size = layer.len();
        let layer = self.blob(LAYER, layer);
        let created = jiff::Timestamp::from_second(image.created)?.to_string();
        let config = json!({
            "architecture": image.architecture,
            "os": "linux",
            "created": created,
            "config": image.config,
            "rootfs": {"type": "layers", "diff_ids": [digest(image.layer)]},
            "history": [{"created": created, "created_by": "cargo xtask image"}],
        });
        let config = self.blob(CONFIG, config.to_string().into_bytes());
        let name =
            |descriptor: &Value| descriptor["digest"].as_str().unwrap_or_default().to_owned();
        self.first.get_or_insert((name(&config), name(&layer)));
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": [layer],
        });
        let mut manifest = self.blob(MANIFEST, manifest.to_string().into_bytes());
        manifest["platform"] = json!({"architecture": image.architecture, "os": "linux"});
        self.manifests.push(manifest);
        Ok(size)
    }

    /// The digest that a registry knows it by: of the manifest, or of the list of several.
    pub(super) fn digest(&mut self) -> String {
        let top = self.top();
        top["digest"].as_str().unwrap_or_default().to_owned()
    }

    /// Writes an archive that `podman load` and `docker load` read, the image in it being called
    /// `repository:tag`.
    pub(super) fn write(mut self, path: &Path, repository: &str, tags: &[String]) -> Result<()> {
        let top = self.top();
        let names: Vec<_> = tags
            .iter()
            .map(|tag| format!("{repository}:{tag}"))
            .collect();
        let tagged = tags.iter().zip(&names).map(|(tag, name)| {
            let mut top = top.clone();
            top["annotations"] = json!({TAG: tag, NAME: name});
            top
        });
        let index = json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": tagged.collect::<Vec<_>>(),
        });
        let mut files = BTreeMap::from([
            ("index.json".to_owned(), index.to_string().into_bytes()),
            (
                "oci-layout".to_owned(),
                br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
            ),
        ]);
        if let Some((config, layer)) = &self.first {
            let docker = json!([{
                "Config": blob_path(config),
                "RepoTags": names,
                "Layers": [blob_path(layer)],
            }]);
            files.insert("manifest.json".to_owned(), docker.to_string().into_bytes());
        }
        for (digest, blob) in self.blobs {
            files.insert(blob_path(&digest), blob);
        }
        let mut root = crate::root::Root::default();
        for (path, content) in files {
            root.file(&path, 0o644, content);
        }
        std::fs::write(path, root.tar("", 0)?).with_context(|| format!("write {}", path.display()))
    }

    /// The descriptor of the only manifest, or of a list of them.
    fn top(&mut self) -> Value {
        if let [only] = &self.manifests[..] {
            return only.clone();
        }
        let index = json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": self.manifests,
        });
        self.blob(INDEX, index.to_string().into_bytes())
    }

    /// Keeps a blob and describes it.
    fn blob(&mut self, kind: &str, content: Vec<u8>) -> Value {
        let digest = digest(&content);
        let descriptor = json!({"mediaType": kind, "digest": digest, "size": content.len()});
        self.blobs.insert(digest, content);
        descriptor
    }
}

fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn digest(content: &[u8]) -> String {
    let mut hex = String::from("sha256:");
    for byte in Sha256::digest(content) {
        hex.push_str(&format!("{byte:02x}"));
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        let mut layout = Layout::default();
        for architecture in ["amd64", "arm64"] {
            let image = Image {
                architecture,
                layer: b"layer",
                created: 1_000_000_000,
                config: json!({"User": "1000"}),
            };
            layout.add(&image).unwrap();
        }
        layout
    }

    #[test]
    fn every_blob_is_named_by_its_digest() {
        let mut layout = layout();
        let digest = layout.digest();
        assert_eq!(digest, self::layout().digest());
        for (name, blob) in &layout.blobs {
            assert_eq!(*name, super::digest(blob));
        }
        let index: Value = serde_json::from_slice(&layout.blobs[&digest]).unwrap();
        let manifests = index["manifests"].as_array().unwrap();
        assert_eq!(manifests[1]["platform"]["architecture"], "arm64");
        let manifest = manifests[0]["digest"].as_str().unwrap();
        let manifest: Value = serde_json::from_slice(&layout.blobs[manifest]).unwrap();
        let config = &layout.blobs[manifest["config"]["digest"].as_str().unwrap()];
        let config: Value = serde_json::from_slice(config).unwrap();
        assert_eq!(config["created"], "2001-09-09T01:46:40Z");
        assert_eq!(config["rootfs"]["diff_ids"][0], super::digest(b"layer"));
    }

    #[test]
    fn an_archive_is_an_oci_layout_and_a_docker_archive() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.tar");
        let tags = ["1.2.3".to_owned(), "latest".to_owned()];
        layout().write(&path, "dialtone", &tags).unwrap();
        let mut archive = tar::Archive::new(std::fs::File::open(path).unwrap());
        let mut files = BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
            files.insert(entry.path().unwrap().display().to_string(), content);
        }
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        assert_eq!(index["manifests"][1]["annotations"][TAG], "latest");
        let docker: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        assert_eq!(docker[0]["RepoTags"][0], "dialtone:1.2.3");
        let layer = docker[0]["Layers"][0].as_str().unwrap();
        let mut unpacked = Vec::new();
        let mut gzip = flate2::read::GzDecoder::new(&files[layer][..]);
        std::io::Read::read_to_end(&mut gzip, &mut unpacked).unwrap();
        assert_eq!(unpacked, b"layer");
    }
}
