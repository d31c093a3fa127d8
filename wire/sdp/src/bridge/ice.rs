//! ICE as a description shows it (RFC 8839). The checks themselves are the media workers' work.

use super::endpoint::Checks;
use super::keys::Random;
use crate::media::Media;
use crate::session::attributes;

/// How we do ICE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// We answer checks and send none: enough for whoever is reached at a public address.
    #[default]
    Lite,
    /// We send checks as well.
    Full,
}

/// A user name fragment and its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `a=ice-ufrag`, 4 to 256 characters.
    pub ufrag: Box<str>,
    /// `a=ice-pwd`, 22 to 256 characters.
    pub pwd: Box<str>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Credentials").field(&self.ufrag).finish()
    }
}

impl Credentials {
    /// New credentials: 48 and 144 random bits.
    ///
    /// # Source
    /// RFC 8445 §5.3
    #[must_use]
    pub fn generate(random: &mut dyn Random) -> Self {
        Self {
            ufrag: word::<8>(random),
            pwd: word::<24>(random),
        }
    }

    /// What a section says, else its session.
    pub(super) fn read(media: &Media<'_, '_>) -> Option<Self> {
        let fits = |range: std::ops::RangeInclusive<usize>| {
            move |text: &&str| {
                let ice_char = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
                // Hyphen, underscore and equals sign are no ice-char, yet some write them.
                let used = |b: u8| ice_char(b) || matches!(b, b'-' | b'_' | b'=');
                range.contains(&text.len()) && text.bytes().all(used)
            }
        };
        let ufrag = media.inherited("ice-ufrag").filter(fits(4..=256))?;
        let pwd = media.inherited("ice-pwd").filter(fits(22..=256))?;
        Some(Self {
            ufrag: ufrag.into(),
            pwd: pwd.into(),
        })
    }
}

/// As many characters of the base64 alphabet.
fn word<const N: usize>(random: &mut dyn Random) -> Box<str> {
    const CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = [0; N];
    random.fill(&mut bytes);
    let chars = bytes.map(|byte| char::from(CHARS[usize::from(byte & 63)]));
    chars.iter().collect::<String>().into()
}

/// Both sides' ICE of one stream, for the media worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ice {
    /// How we do it, as we have told the party.
    pub mode: Mode,
    /// We are the ones who choose the way: we made the offer with which ICE began.
    ///
    /// # Source
    /// RFC 8445 §6.1.1
    pub controlling: bool,
    /// Ours.
    pub local: Credentials,
    /// The party's.
    pub remote: Credentials,
    /// The party answers checks and sends none.
    pub remote_lite: bool,
    /// Values of the party's `a=candidate` lines, as written; at most [`Ice::MAX_CANDIDATES`], the
    /// rest is left out. Names (mDNS) and TCP are among them; those who check skip what they can't use.
    pub candidates: Vec<Box<str>>,
    /// No further candidates will come.
    pub complete: bool,
}

impl Ice {
    /// Most candidates that are taken from one section.
    pub const MAX_CANDIDATES: usize = 32;

    pub(super) fn new(ours: &Checks, media: &Media<'_, '_>) -> Option<Self> {
        let candidates = attributes(media.lines(), "candidate");
        let trickles = media
            .inherited("ice-options")
            .is_some_and(|options| options.split_ascii_whitespace().any(|o| o == "trickle"));
        Some(Self {
            mode: ours.mode,
            controlling: ours.controlling,
            local: ours.local.clone(),
            remote: Credentials::read(media)?,
            remote_lite: media.inherited("ice-lite").is_some(),
            candidates: candidates
                .take(Self::MAX_CANDIDATES)
                .map(Into::into)
                .collect(),
            complete: !trickles || media.inherited("end-of-candidates").is_some(),
        })
    }
}
