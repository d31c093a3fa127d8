//! Files as they will lie in an image or on a machine.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

/// Files and folders by their paths, which have no leading slash. The same entries give the same
/// bytes wherever and whenever they are packed.
#[derive(Debug, Default)]
pub(crate) struct Root(BTreeMap<String, Entry>);

#[derive(Debug)]
struct Entry {
    content: Content,
    mode: u32,
    /// User and group.
    owner: u64,
}

#[derive(Debug)]
enum Content {
    Folder,
    File(Vec<u8>),
    /// A symbolic link, and where it points.
    Link(String),
}

impl Root {
    /// Adds a file of root's, and the folders above it.
    pub(crate) fn file(&mut self, path: &str, mode: u32, content: Vec<u8>) {
        self.add(path, Content::File(content), mode, 0);
    }

    /// Adds a folder of `owner`, and those above it.
    pub(crate) fn folder(&mut self, path: &str, mode: u32, owner: u64) {
        self.add(path, Content::Folder, mode, owner);
    }

    /// Adds a symbolic link, and the folders above it.
    pub(crate) fn link(&mut self, path: &str, target: &str) {
        self.add(path, Content::Link(target.to_owned()), 0o777, 0);
    }

    fn add(&mut self, path: &str, content: Content, mode: u32, owner: u64) {
        for (end, _) in path.match_indices('/') {
            let parent = Entry {
                content: Content::Folder,
                mode: 0o755,
                owner: 0,
            };
            self.0.entry(path[..end].to_owned()).or_insert(parent);
        }
        let entry = Entry {
            content,
            mode,
            owner,
        };
        self.0.insert(path.to_owned(), entry);
    }

    /// The files, by their paths.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0
            .iter()
            .filter_map(|(path, entry)| match &entry.content {
                Content::File(content) => Some((&**path, &**content)),
                Content::Folder | Content::Link(_) => None,
            })
    }

    /// How many files there are, and how many of them can be executed.
    pub(crate) fn count(&self) -> (usize, usize) {
        let executables = self
            .files()
            .filter(|(path, _)| self.0[*path].mode & 0o111 != 0);
        (self.files().count(), executables.count())
    }

    /// Packs everything, each path behind `prefix`; `time` is in seconds since 1970.
    pub(crate) fn tar(&self, prefix: &str, time: u64) -> Result<Vec<u8>> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, entry) in &self.0 {
            let mut header = tar::Header::new_ustar();
            header.set_mode(entry.mode);
            header.set_uid(entry.owner);
            header.set_gid(entry.owner);
            header.set_mtime(time);
            let mut name = format!("{prefix}{path}");
            let mut data: &[u8] = &[];
            let kind = match &entry.content {
                Content::File(content) => {
                    data = content;
                    tar::EntryType::Regular
                }
                Content::Folder => {
                    name.push('/');
                    tar::EntryType::Directory
                }
                Content::Link(target) => {
                    header.set_link_name(target)?;
                    tar::EntryType::Symlink
                }
            };
            header.set_entry_type(kind);
            header.set_size(data.len() as u64);
            // As it is: the crate's own way drops the `./` that packages begin with.
            let field = header.as_old_mut().name.get_mut(..name.len());
            field
                .with_context(|| format!("`{name}` is too long for an archive"))?
                .copy_from_slice(name.as_bytes());
            header.set_cksum();
            tar.append(&header, data)?;
        }
        Ok(tar.into_inner()?)
    }

    /// Writes everything into a folder; all becomes the property of whoever does it.
    pub(crate) fn unpack(&self, into: &Path) -> Result<()> {
        for (path, entry) in &self.0 {
            let path = into.join(path);
            entry
                .write(&path)
                .with_context(|| format!("write {}", path.display()))?;
        }
        Ok(())
    }
}

impl Entry {
    fn write(&self, path: &Path) -> std::io::Result<()> {
        match &self.content {
            Content::File(content) => std::fs::write(path, content)?,
            Content::Folder => std::fs::create_dir_all(path)?,
            Content::Link(target) => return std::os::unix::fs::symlink(target, path),
        }
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(self.mode))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn root(names: &[&str]) -> Root {
        let mut root = Root::default();
        for name in names {
            root.file(name, 0o644, name.as_bytes().to_vec());
        }
        root.folder("srv", 0o750, 1000);
        root.link("srv/etc", "/etc");
        root
    }

    #[test]
    fn folders_come_before_what_is_in_them_whatever_the_order() {
        let tar = root(&["usr/share/z", "etc/a"]).tar("", 7).unwrap();
        assert_eq!(tar, root(&["etc/a", "usr/share/z"]).tar("", 7).unwrap());
        let mut archive = tar::Archive::new(&tar[..]);
        let paths: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                assert_eq!(entry.header().mtime().unwrap(), 7);
                entry.path().unwrap().display().to_string()
            })
            .collect();
        let expected = [
            "etc/",
            "etc/a",
            "srv/",
            "srv/etc",
            "usr/",
            "usr/share/",
            "usr/share/z",
        ];
        assert_eq!(paths, expected);
    }

    #[test]
    fn the_same_can_be_written_to_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let root = root(&["etc/a"]);
        root.unpack(folder.path()).unwrap();
        assert_eq!(
            std::fs::read(folder.path().join("etc/a")).unwrap(),
            b"etc/a"
        );
        let mode = std::fs::metadata(folder.path().join("srv")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o750);
        let link = std::fs::read_link(folder.path().join("srv/etc")).unwrap();
        assert_eq!(link, Path::new("/etc"));
        assert_eq!(root.count(), (1, 0));
    }
}
