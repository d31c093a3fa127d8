//! How a phone and its user behave.

use std::time::Duration;

/// What a phone does by itself.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Rings this long after an INVITE came; never: no 180 is sent.
    pub ring: Option<Duration>,
    /// What follows.
    pub reply: Reply,
    /// Hangs up this long after the call was answered.
    pub talk: Option<Duration>,
    /// A caller gives up after this long.
    pub patience: Option<Duration>,
    /// Answers with a 183 and a description before it rings.
    pub early_media: bool,
    /// Knows reliable provisional responses (RFC 3262), and sends its own so where it may.
    pub reliable: bool,
    /// As a caller, demands them.
    pub demands_reliable: bool,
    /// Knows UPDATE (RFC 3311).
    pub update: bool,
    /// Session-Expires in seconds that it asks for (RFC 4028); none: it doesn't know timers.
    pub session: Option<u32>,
    /// Refreshes when it has promised to.
    pub refreshes: bool,
    /// Sends no description in its INVITE.
    pub offerless: bool,
    /// Takes and offers video.
    pub video: bool,
    /// Most calls at once; further ones are answered 486.
    pub calls: usize,
    /// Tries the last nonce again before it is asked.
    pub reuses_nonce: bool,
    /// Seconds that it registers for.
    pub expires: u32,
    /// Answers 200 to an INVITE although a CANCEL has come.
    pub answers_too_late: bool,
    /// Thinks this long before it accepts a re-INVITE, and says so with a 183.
    pub considers: Option<Duration>,
    /// There is another phone behind it that rings too: 180 comes from there.
    pub forks: bool,
    /// And that phone answers as well.
    pub both_answer: bool,
    /// As a caller it knows that several phones may ring, each in a dialog of its own: the one that
    /// answers counts.
    pub meets_many: bool,
    /// A caller that gives up says BYE in the early dialog where there is one, instead of CANCEL.
    pub byes_early: bool,
    /// Does not repeat a description in the 200 that it gave reliably before.
    pub brief: bool,
    /// Answers without a description, which makes no sense.
    pub senseless: bool,
    /// Counts CSeq from here.
    pub first_cseq: u32,
    /// Registers as this flow of the one device that its user has (RFC 5626); 0: as a device of its own.
    pub flow: u32,
    /// Registers with a Path (RFC 3327) that only name servers know the address of.
    pub named: bool,
    /// Hangs up as soon as its REFER is accepted, and does not wait for what comes of it.
    pub leaves_when_referred: bool,
    /// Asks not to be told what comes of its REFER (RFC 4488).
    pub refers_silently: bool,
    /// Where it redirects calls that it refuses with 302.
    pub redirects_to: &'static str,
    /// It plays a provider's switch: it registers nowhere, and challenges requests, so that each proof
    /// is good for so many of them.
    pub challenges: Option<u32>,
    /// It does not know INFO.
    pub refuses_info: bool,
    /// Messages that begin so are never sent, though the phone believes that they were.
    pub withholds: Vec<&'static str>,
}

/// How an incoming call is replied to, and after which time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// Picks up.
    Answer(Duration),
    /// Refuses with this status.
    Refuse(Duration, u16),
    /// Lets it ring.
    Never,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            ring: Some(Duration::from_millis(100)),
            reply: Reply::Answer(Duration::from_secs(2)),
            talk: None,
            patience: None,
            early_media: false,
            reliable: false,
            demands_reliable: false,
            update: true,
            session: None,
            refreshes: true,
            offerless: false,
            video: false,
            calls: 4,
            reuses_nonce: false,
            expires: 600,
            answers_too_late: false,
            meets_many: false,
            byes_early: false,
            brief: false,
            senseless: false,
            first_cseq: 0,
            considers: None,
            forks: false,
            both_answer: false,
            flow: 0,
            named: false,
            leaves_when_referred: false,
            refers_silently: false,
            redirects_to: "1003",
            challenges: None,
            refuses_info: false,
            withholds: Vec::new(),
        }
    }
}

impl Manner {
    /// A phone whose user replies like this.
    #[must_use]
    pub fn replying(reply: Reply) -> Self {
        Self {
            reply,
            ..Self::default()
        }
    }

    /// A phone whose user refuses every call at once.
    #[must_use]
    pub fn refusing(status: u16) -> Self {
        Self::replying(Reply::Refuse(Duration::from_millis(200), status))
    }
}
