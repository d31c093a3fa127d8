//! Sounds on the web, with copies on disk.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use ureq::Agent;
use ureq::http::{Response, header};
use ureq::tls::TlsConfig;

use super::Unplayable;
use super::decode::Decoding;
use super::library::lock;

/// Fetches sounds and keeps copies, which are used as long as the server says that they are still
/// the same, or does not answer.
#[derive(Debug)]
pub(crate) struct Web {
    copies: Option<PathBuf>,
    agent: Agent,
    addresses: Mutex<HashMap<Arc<str>, Address>>,
}

/// An address on the web.
enum Address {
    /// It is being asked; these wait for it.
    Asked(Vec<Done>),
    /// The copy was good then.
    Known(Instant, PathBuf),
}

type Done = Box<dyn FnOnce(Result<PathBuf, Unplayable>) + Send>;

impl Web {
    /// Keeps copies in this folder.
    pub(crate) fn new(copies: Option<PathBuf>) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
        let agent = Agent::config_builder()
            .tls_config(tls.build())
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(RESPONSE))
            .timeout_per_read(Some(RESPONSE))
            .user_agent("dialtone")
            .build()
            .new_agent();
        Self {
            copies,
            agent,
            addresses: Mutex::default(),
        }
    }

    /// Calls `done` with a copy of what is at `url`: at once if that was fetched a moment ago, else on
    /// a thread that fetches it.
    pub(crate) fn copy(
        self: &Arc<Self>,
        url: &Arc<str>,
        done: impl FnOnce(Result<PathBuf, Unplayable>) + Send + 'static,
    ) {
        let mut addresses = lock(&self.addresses);
        match addresses.get_mut(url) {
            Some(Address::Known(at, path)) if at.elapsed() < FRESH => {
                let path = path.clone();
                drop(addresses);
                return done(Ok(path));
            }
            Some(Address::Asked(waiting)) if waiting.len() < MAX_WAITING => {
                return waiting.push(Box::new(done));
            }
            Some(Address::Asked(_)) => {
                drop(addresses);
                return done(Err(Unplayable::Overload));
            }
            _ => {}
        }
        let busy = |address: &&Address| matches!(address, Address::Asked(_));
        if addresses.values().filter(busy).count() >= MAX_FETCHES {
            drop(addresses);
            return done(Err(Unplayable::Overload));
        }
        addresses.retain(|_, a| !matches!(a, Address::Known(at, _) if at.elapsed() >= FRESH));
        addresses.insert(Arc::clone(url), Address::Asked(vec![Box::new(done)]));
        drop(addresses);
        let (web, asked) = (Arc::clone(self), Arc::clone(url));
        let thread = std::thread::Builder::new().name("fetch".into());
        if thread.spawn(move || web.ask(&asked)).is_err() {
            self.tell(url, &Err(Unplayable::Overload));
        }
    }

    /// A stream that may be without end, such as a radio station's, as samples at 16 kHz.
    ///
    /// # Errors
    /// The server does not give it, or it is no sound that we know.
    pub(crate) fn stream(&self, url: &str) -> Result<Decoding, Unplayable> {
        let response = self.agent.get(url).call().map_err(|e| failed(&e))?;
        if !response.status().is_success() {
            return Err(Unplayable::Unfetchable(
                response.status().to_string().into(),
            ));
        }
        let kind = text(&response, header::CONTENT_TYPE);
        let extension = match kind.split(';').next().unwrap_or_default() {
            "audio/mpeg" => "mp3",
            "audio/flac" => "flac",
            "audio/wav" | "audio/x-wav" => "wav",
            _ => "ogg",
        };
        let body = response.into_body().into_with_config().limit(u64::MAX);
        Decoding::open_live(body.reader(), extension)
    }

    fn ask(&self, url: &Arc<str>) {
        let result = self.refresh(url);
        self.tell(url, &result);
    }

    fn tell(&self, url: &Arc<str>, result: &Result<PathBuf, Unplayable>) {
        let mut addresses = lock(&self.addresses);
        let asked = match result {
            Ok(path) => addresses.insert(
                Arc::clone(url),
                Address::Known(Instant::now(), path.clone()),
            ),
            Err(_) => addresses.remove(url),
        };
        drop(addresses);
        if let Some(Address::Asked(waiting)) = asked {
            for done in waiting {
                done(result.clone());
            }
        }
    }

    /// The copy, asked for anew if the server has another one.
    fn refresh(&self, url: &str) -> Result<PathBuf, Unplayable> {
        let none = "there is no folder for copies";
        let folder = self.copies.as_ref();
        let folder = folder.ok_or_else(|| Unplayable::Unfetchable(none.into()))?;
        let copy = Copy::of(folder, url);
        let known = copy.path.is_file();
        match self.fetch(url, &copy, known) {
            Ok(()) => {}
            Err(error) if known => {
                tracing::warn!(sound = url, %error, "the last copy of a sound is played");
            }
            Err(error) => return Err(error),
        }
        prune(folder, &copy.path);
        Ok(copy.path)
    }

    fn fetch(&self, url: &str, copy: &Copy, known: bool) -> Result<(), Unplayable> {
        let mut request = self.agent.get(url);
        if known {
            for (name, value) in copy.validators() {
                request = request.header(name, value);
            }
        }
        let request = request.config().timeout_global(Some(WHOLE)).build();
        let response = request.call().map_err(|e| failed(&e))?;
        match response.status().as_u16() {
            304 if known => Ok(()),
            200..=299 => copy.store(response),
            _ => Err(Unplayable::Unfetchable(
                response.status().to_string().into(),
            )),
        }
    }
}

/// The copy of what is at an address.
struct Copy {
    path: PathBuf,
    /// What tells whether it is still the same.
    notes: PathBuf,
}

impl Copy {
    fn of(folder: &Path, url: &str) -> Self {
        let digest = digest::digest(&digest::SHA256, url.as_bytes());
        let name: String = digest.as_ref()[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let path = url.split(['?', '#']).next().unwrap_or_default();
        let extension = Path::new(path).extension().and_then(|e| e.to_str());
        let extension =
            extension.filter(|e| e.len() <= 4 && e.bytes().all(|b| b.is_ascii_alphanumeric()));
        Self {
            path: folder
                .join(&name)
                .with_extension(extension.unwrap_or("sound")),
            notes: folder.join(&name).with_extension("notes"),
        }
    }

    /// # Source
    /// RFC 9110 §13.1.2, §13.1.3
    fn validators(&self) -> Vec<(&'static str, String)> {
        let notes = fs::read_to_string(&self.notes).unwrap_or_default();
        let mut lines = notes.lines();
        let names = ["if-none-match", "if-modified-since"];
        let values = names.map(|name| (name, lines.next().unwrap_or_default().to_owned()));
        values
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect()
    }

    /// Puts the answer in the place of the copy, once it is there as a whole.
    fn store(&self, response: Response<ureq::Body>) -> Result<(), Unplayable> {
        let notes = [header::ETAG, header::LAST_MODIFIED].map(|name| text(&response, name));
        let unwritable = |error: io::Error| Unplayable::Unreadable(error.to_string().into());
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(unwritable)?;
        let part = self.path.with_extension("part");
        let mut file = File::create(&part).map_err(unwritable)?;
        let mut body = response
            .into_body()
            .into_with_config()
            .limit(MAX_SIZE)
            .reader();
        let copied = io::copy(&mut body, &mut file);
        copied.map_err(|error| Unplayable::Unfetchable(error.to_string().into()))?;
        fs::rename(&part, &self.path).map_err(unwritable)?;
        fs::write(&self.notes, notes.join("\n")).map_err(unwritable)
    }
}

/// Removes the oldest copies but `keep` when all together are too large.
fn prune(folder: &Path, keep: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut files: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some((metadata.modified().ok()?, metadata.len(), entry.path()))
        })
        .collect();
    files.sort();
    let mut total: u64 = files.iter().map(|(_, len, _)| len).sum();
    for (_, len, path) in files {
        if total <= MAX_COPIES {
            break;
        }
        if path != keep && fs::remove_file(&path).is_ok() {
            total -= len;
        }
    }
}

fn text<B>(response: &Response<B>, name: header::HeaderName) -> String {
    let value = response.headers().get(name).and_then(|v| v.to_str().ok());
    value.unwrap_or_default().to_owned()
}

fn failed(error: &ureq::Error) -> Unplayable {
    Unplayable::Unfetchable(error.to_string().into())
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Asked(waiting) => write!(f, "Asked({})", waiting.len()),
            Self::Known(_, path) => write!(f, "Known({})", path.display()),
        }
    }
}

const CONNECT: Duration = Duration::from_secs(10);
/// Until the first octet of an answer, and between two pieces of it.
const RESPONSE: Duration = Duration::from_secs(15);
/// For a whole file.
const WHOLE: Duration = Duration::from_secs(120);
/// A larger file is unplayable.
const MAX_SIZE: u64 = 128 << 20;
/// All copies together.
const MAX_COPIES: u64 = 512 << 20;
/// How long the server is not asked again.
const FRESH: Duration = Duration::from_secs(60);
/// Addresses asked at once, and players that wait for one; further sounds are unplayable.
const MAX_FETCHES: usize = 8;
const MAX_WAITING: usize = 4096;
