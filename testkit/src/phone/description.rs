//! Session descriptions of a phone.

use std::fmt::Write as _;
use std::net::SocketAddr;

use sdp::{Direction, Sdp};

/// What a phone has described, and was told, in one call.
#[derive(Clone, Debug)]
pub(super) struct Description {
    /// Where audio is received; video is two ports up.
    pub(super) rtp: SocketAddr,
    id: u32,
    version: u32,
    pub(super) direction: Direction,
    pub(super) video: bool,
    /// A line for video was there once, so it stays (RFC 3264 §8).
    had_video: bool,
    /// The last one sent.
    sent: String,
    /// The last one sent that is in force: an answer, or an offer that was answered.
    agreed: String,
    heard: Heard,
}

/// What the peer has described.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    /// Version and text of the last one received.
    last: Option<(u64, String)>,
    /// Where the peer receives audio.
    remote: Option<SocketAddr>,
    /// What its last description says of its audio.
    direction: Direction,
}

impl Default for Heard {
    fn default() -> Self {
        Self {
            last: None,
            remote: None,
            direction: Direction::SendRecv,
        }
    }
}

impl Description {
    pub(super) fn new(rtp: SocketAddr, id: u32, video: bool) -> Self {
        Self {
            rtp,
            id,
            version: 0,
            direction: Direction::SendRecv,
            video,
            had_video: video,
            sent: String::new(),
            agreed: String::new(),
            heard: Heard::default(),
        }
    }

    /// Where the peer receives audio.
    pub(super) const fn remote(&self) -> Option<SocketAddr> {
        self.heard.remote
    }

    /// What the peer's last description says of its audio.
    pub(super) const fn remote_direction(&self) -> Direction {
        self.heard.direction
    }

    /// Puts what another peer has described in the place of what this one has.
    pub(super) const fn exchange(&mut self, heard: Heard) -> Heard {
        std::mem::replace(&mut self.heard, heard)
    }

    /// An offer.
    pub(super) fn offer(&mut self) -> String {
        let mut media = self.audio(self.direction);
        self.had_video |= self.video;
        if self.had_video {
            let port = if self.video { self.rtp.port() + 2 } else { 0 };
            media += &self.video_line(port);
        }
        self.version(&media)
    }

    /// The answer to an offer; none if there is nothing in common.
    pub(super) fn answer(&mut self, offer: &Sdp<'_>, takes_video: bool) -> Option<String> {
        let mut media = String::new();
        let mut audio = false;
        self.had_video |= offer.media_count() > 1;
        for line in offer.media() {
            match line.kind() {
                "audio" if !audio && line.port() != 0 => {
                    audio = true;
                    media += &self.audio(both(line.direction().mirrored(), self.direction));
                }
                "video" if (takes_video || self.video) && line.port() != 0 => {
                    self.video = true;
                    media += &self.video_line(self.rtp.port() + 2);
                }
                kind => {
                    let _ = write!(media, "m={kind} 0 {} 0\r\n", line.proto());
                }
            }
        }
        audio.then(|| {
            self.agreed = self.version(&media);
            self.agreed.clone()
        })
    }

    /// The last offer was answered.
    pub(super) fn agree(&mut self) {
        self.agreed.clone_from(&self.sent);
    }

    /// What both sides have agreed on: direction of the audio seen from here, number of open streams.
    pub(super) fn state(&self) -> (Direction, usize) {
        let heard = self.heard.last.as_ref().map_or("", |(_, text)| text);
        let (Ok(ours), Ok(theirs)) = (Sdp::parse(&self.agreed), Sdp::parse(heard)) else {
            return (Direction::Inactive, 0);
        };
        let direction = |sdp: &Sdp<'_>| {
            let audio = sdp.media().find(|line| line.kind() == "audio");
            audio.map_or(Direction::Inactive, |line| line.direction())
        };
        let open = ours
            .media()
            .zip(theirs.media())
            .filter(|(ours, theirs)| ours.port() != 0 && theirs.port() != 0);
        (
            both(direction(&ours), direction(&theirs).mirrored()),
            open.count(),
        )
    }

    /// Takes the peer's description and says what is wrong with it.
    pub(super) fn hear(&mut self, text: &str) -> Result<(), String> {
        let sdp = Sdp::parse(text).map_err(|error| format!("unreadable description: {error}"))?;
        let version = sdp
            .id_and_version()
            .and_then(|(_, version)| version.parse::<u64>().ok())
            .ok_or("no version in the description")?;
        let wrong = match &self.heard.last {
            Some((last, known)) if *last == version && known != text => Some(format!(
                "version {version} stands for two descriptions:\n{known}\n{text}"
            )),
            // Descriptions can overtake each other; older ones are heard again when repeated.
            Some((last, _)) if version > last + 1 => None,
            _ => None,
        };
        if let Some(audio) = sdp.media().find(|line| line.kind() == "audio") {
            self.heard.remote = audio.transport().map(|transport| transport.rtp);
            self.heard.direction = audio.direction();
        }
        self.heard.last = Some((version, text.to_owned()));
        wrong.map_or(Ok(()), Err)
    }

    fn audio(&self, direction: Direction) -> String {
        format!(
            "m=audio {} RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na={}\r\n",
            self.rtp.port(),
            direction.as_str()
        )
    }

    fn video_line(&self, port: u16) -> String {
        format!("m=video {port} RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n")
    }

    fn version(&mut self, media: &str) -> String {
        let with = |version: u32| {
            let family = if self.rtp.is_ipv4() { "IP4" } else { "IP6" };
            let address = self.rtp.ip();
            format!(
                "v=0\r\no=- {} {version} IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n{media}",
                self.id
            )
        };
        let same = with(self.version);
        if same != self.sent {
            self.version += 1;
            self.sent = with(self.version);
        }
        self.sent.clone()
    }
}

/// What is left if one side allows `a` and the other `b`, both seen from here.
fn both(a: Direction, b: Direction) -> Direction {
    let sends = |direction| matches!(direction, Direction::SendRecv | Direction::SendOnly);
    let receives = |direction| matches!(direction, Direction::SendRecv | Direction::RecvOnly);
    match (sends(a) && sends(b), receives(a) && receives(b)) {
        (true, true) => Direction::SendRecv,
        (true, false) => Direction::SendOnly,
        (false, true) => Direction::RecvOnly,
        (false, false) => Direction::Inactive,
    }
}
