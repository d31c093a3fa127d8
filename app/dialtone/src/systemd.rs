//! What systemd and its journal are told, where they are there.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use anyhow::{Context, Result};
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

/// Phones are served from now on: what was ordered after us may start.
pub(crate) const READY: &str = "READY=1\nSTATUS=serving";
/// We are about to end.
pub(crate) const STOPPING: &str = "STOPPING=1\nSTATUS=ending";

/// Tells whoever manages this service what becomes of it; without such a manager it does nothing.
///
/// # Source
/// sd_notify(3).
pub(crate) fn tell(news: &str) {
    let told = match env::var_os("NOTIFY_SOCKET") {
        Some(path) if !path.is_empty() => send(&path, news),
        _ => Ok(()),
    };
    if let Err(error) = told {
        tracing::warn!("the service manager could not be told {news:?}: {error:#}");
    }
}

fn send(path: &OsStr, news: &str) -> Result<()> {
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(path),
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not listen must not keep phones waiting.
    socket.set_nonblocking(true)?;
    let address = address.context("NOTIFY_SOCKET")?;
    socket.send_to_addr(news.as_bytes(), &address)?;
    Ok(())
}

/// Whether standard error goes to the journal, which knows times itself.
///
/// # Source
/// systemd.exec(5), `JOURNAL_STREAM`: device and inode of the stream.
pub(crate) fn has_journal() -> bool {
    env::var("JOURNAL_STREAM").is_ok_and(|stream| identity(&io::stderr()).ok() == Some(stream))
}

fn identity(stream: &impl AsFd) -> io::Result<String> {
    let file = File::from(stream.as_fd().try_clone_to_owned()?).metadata()?;
    Ok(format!("{}:{}", file.dev(), file.ino()))
}

/// Puts before each of the lines how urgent it is.
pub(crate) fn urgent(level: Level, lines: &str) -> String {
    let mark = mark(level);
    let marked = lines.lines().map(|line| format!("{mark}{line}"));
    marked.collect::<Vec<_>>().join("\n")
}

/// # Source
/// sd-daemon(3); RFC 5424 §6.2.1, table 2.
fn mark(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

/// Log lines for the journal.
#[derive(Debug)]
pub(crate) struct Journal;

impl<'a> MakeWriter<'a> for Journal {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(Level::INFO)
    }

    fn make_writer_for(&'a self, event: &tracing::Metadata<'_>) -> Line {
        Line(*event.level())
    }
}

/// One log line, which comes in one piece.
#[derive(Debug)]
pub(crate) struct Line(Level);

impl Write for Line {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(&[mark(self.0).as_bytes(), text].concat())?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_is_told_at_a_path_and_at_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("dialtone-test-{}", std::process::id());
        let abstracted = SocketAddr::from_abstract_name(&name).unwrap();
        for (manager, at) in [
            (UnixDatagram::bind(&path), path.clone().into_os_string()),
            (
                UnixDatagram::bind_addr(&abstracted),
                format!("@{name}").into(),
            ),
        ] {
            let manager = manager.unwrap();
            send(&at, READY).unwrap();
            let mut news = [0; 64];
            let len = manager.recv(&mut news).unwrap();
            assert_eq!(&news[..len], b"READY=1\nSTATUS=serving");
        }
        let nobody = folder.path().join("nobody");
        assert!(send(nobody.as_os_str(), READY).is_err());
    }

    #[test]
    fn each_line_says_how_urgent_it_is() {
        let marked = urgent(Level::ERROR, "error: wrong\n  remedy: mend it");
        assert_eq!(marked, "<3>error: wrong\n<3>  remedy: mend it");
        assert_eq!(urgent(Level::WARN, "x\n"), "<4>x");
    }
}
