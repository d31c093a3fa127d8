//! Unix sockets whose path may be longer than the 107 octets that an address holds.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// Listens at `path`, which only this user may connect to. A socket that is there already belonged
/// to a server that is gone, if the caller holds the lock of its folder, and is replaced.
///
/// # Errors
/// If the file system takes no socket there.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = with_short_path(path, |path| UnixListener::bind(path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Connects to the server that listens at `path`.
///
/// # Errors
/// If nobody does, or this user may not.
pub async fn connect(path: &Path) -> io::Result<UnixStream> {
    let stream = with_short_path(path, |path| std::os::unix::net::UnixStream::connect(path))?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Calls `open` with `path` or, if that is too long, with a short name of the same place.
fn with_short_path<T>(path: &Path, open: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().as_bytes().len() <= LONGEST {
        return open(path);
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidFilename.into());
    };
    // The folder's descriptor stands for its path as long as it is open.
    let folder = File::open(folder)?;
    let link = format!("/proc/self/fd/{}", folder.as_raw_fd());
    open(&PathBuf::from(link).join(name))
}

/// `sun_path` has 108 octets, the last of which is zero.
const LONGEST: usize = 107;
