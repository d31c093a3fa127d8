//! The data folder: where everything is, and the lock that keeps it to one server.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The folder that holds all persistent data.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    root: PathBuf,
}

/// While it lives, no other server runs on the folder.
#[derive(Debug)]
pub(crate) struct Lock {
    /// The lock goes when the file is closed, however the process ends.
    _file: File,
}

impl Folder {
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where configuration files are.
    pub(crate) fn etc(&self) -> PathBuf {
        self.root.join("etc")
    }

    pub(crate) fn server_file(&self) -> PathBuf {
        self.etc().join("dialtone.toml")
    }

    pub(crate) fn users_file(&self) -> PathBuf {
        self.etc().join("users.toml")
    }

    pub(crate) fn dialplan_file(&self) -> PathBuf {
        self.etc().join("dialplan.toml")
    }

    pub(crate) fn trunks_file(&self) -> PathBuf {
        self.etc().join("trunks.toml")
    }

    /// Where the binding journal is.
    pub(crate) fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// The certificate that the server made for itself.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.state().join("tls/certificate.pem")
    }

    /// The key of that certificate.
    pub(crate) fn key(&self) -> PathBuf {
        self.state().join("tls/key.pem")
    }

    /// The secret from which tokens of forwarded calls are made.
    pub(crate) fn route_secret(&self) -> PathBuf {
        self.state().join("route-secret")
    }

    /// Where call records are.
    pub(crate) fn call_records(&self) -> PathBuf {
        self.root.join("cdr")
    }

    /// Where recordings of calls are.
    pub(crate) fn recordings(&self) -> PathBuf {
        self.root.join("recordings")
    }

    /// Where sounds are that the dial plan may play.
    pub(crate) fn sounds(&self) -> PathBuf {
        self.root.join("sounds")
    }

    /// Where copies of sounds from the web are.
    pub(crate) fn copies(&self) -> PathBuf {
        self.root.join("cache/sounds")
    }

    /// Where the control socket and the lock are.
    pub(crate) fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.run().join("dialtone.sock")
    }

    /// Makes the folders that a server needs; those that hold secrets are their owner's alone.
    pub(crate) fn create(&self) -> Result<()> {
        for folder in [
            self.etc(),
            self.state(),
            self.call_records(),
            self.sounds(),
            self.run(),
        ] {
            let mut builder = fs::DirBuilder::new();
            let made = builder.recursive(true).mode(0o700).create(&folder);
            made.with_context(|| {
                let folder = folder.display();
                format!("{folder} can't be made; choose another data folder with --data DIR")
            })?;
        }
        Ok(())
    }

    /// Takes the folder for this process.
    pub(crate) fn lock(&self) -> Result<Lock> {
        let path = self.run().join("dialtone.lock");
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let mut file = options
            .open(&path)
            .with_context(|| format!("{} can't be opened", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(self.taken(&mut file)),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("{} can't be locked", path.display()));
            }
        }
        write_owner(&mut file).with_context(|| format!("{} can't be written", path.display()))?;
        Ok(Lock { _file: file })
    }

    fn taken(&self, file: &mut File) -> String {
        let mut owner = String::new();
        // Without the number the message is still true.
        let _ = file.read_to_string(&mut owner);
        let owner = match owner.trim() {
            "" => String::new(),
            id => format!(" (process {id})"),
        };
        let root = self.root.display();
        format!(
            "another server{owner} is running on {root}; end it with `dialtone stop --data {root}`, \
             or give this one its own folder with --data DIR"
        )
    }
}

fn write_owner(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

/// Replaces a file so that after a crash it has its old or its new content. It keeps its mode; a
/// new one is its owner's alone.
pub(crate) fn replace_file(path: &Path, content: &str) -> io::Result<()> {
    let new = NewFile::write(path, content)?;
    new.file.sync_all()?;
    fs::rename(&new.temporary, &new.path)?;
    sync_folder(&new.path)
}

/// Replaces files of one folder, in this order, and waits for the disk as seldom as can be.
pub(crate) fn replace_files(files: &[(&Path, &str)]) -> Result<()> {
    let unwritten = |path: &Path| format!("{} can't be written", path.display());
    let mut written = Vec::with_capacity(files.len());
    for (path, content) in files {
        written.push(NewFile::write(path, content).with_context(|| unwritten(path))?);
    }
    // What the first waits for takes the others along.
    for new in &written {
        new.file.sync_all().with_context(|| unwritten(&new.path))?;
    }
    for new in &written {
        fs::rename(&new.temporary, &new.path).with_context(|| unwritten(&new.path))?;
    }
    match written.last() {
        Some(last) => sync_folder(&last.path).with_context(|| unwritten(&last.path)),
        None => Ok(()),
    }
}

fn sync_folder(of: &Path) -> io::Result<()> {
    File::open(of.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// A file that does not have its name yet; without one it goes.
struct NewFile {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
}

impl NewFile {
    fn write(path: &Path, content: &str) -> io::Result<Self> {
        // A link stays a link: what it points to is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = format!(".{name}.{}", std::process::id());
        let temporary = path.parent().unwrap_or(Path::new(".")).join(name);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        let mut new = Self {
            file,
            temporary,
            path,
        };
        if let Ok(old) = fs::metadata(&new.path) {
            new.file.set_permissions(old.permissions())?;
        }
        new.file.write_all(content.as_bytes())?;
        Ok(new)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // It is gone if it got its name; else an error says more than the failure to tidy up.
        let _ = fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_one_server_gets_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path());
        folder.create().unwrap();
        let lock = folder.lock().unwrap();
        let refusal = folder.lock().unwrap_err().to_string();
        let id = std::process::id();
        assert!(refusal.contains(&format!("process {id}")), "{refusal}");
        assert!(refusal.contains("dialtone stop"), "{refusal}");
        drop(lock);
        folder.lock().unwrap();
    }

    #[test]
    fn replacing_keeps_mode_and_links() {
        let root = tempfile::tempdir().unwrap();
        let (file, link) = (root.path().join("file"), root.path().join("link"));
        replace_file(&file, "one").unwrap();
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        replace_file(&link, "two").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "two");
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
    }
}
