use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// What the media plane may use.
#[derive(Clone, Debug)]
pub struct Config {
    /// UDP ports for RTP and RTCP. RTP takes an even port and RTCP the next one; the pairs are
    /// dealt out to the workers in turn.
    pub ports: RangeInclusive<u16>,
    /// Each port of the range serves many legs, RTP and RTCP alike, instead of one pair serving one
    /// leg. One port is enough for parties that do ICE or are where they say; behind NATs that change
    /// addresses, as many calls can begin at the same moment as there are ports.
    pub shared: bool,
    /// Worker threads; at least one is started.
    pub workers: usize,
    /// How long a session may be without a valid packet from any side before it is reported
    /// [`Silent`](crate::Event::Silent).
    pub timeout: Duration,
    /// DSCP of what is sent, 0 to 63; 46 is Expedited Forwarding.
    pub dscp: u8,
    /// How many unused pairs of bound sockets a worker keeps for coming calls.
    pub idle_pairs: usize,
    /// How many commands may wait for one worker before it refuses new sessions.
    pub queue: usize,
    /// The folder of the sounds that may be played; none: there are only those of the web.
    pub sounds: Option<PathBuf>,
    /// Where copies of sounds from the web are kept; none: these cannot be played.
    pub copies: Option<PathBuf>,
    /// Where recordings are written; none: nothing is recorded.
    pub recordings: Option<PathBuf>,
    /// Whether plain streams that are established pass in the kernel.
    pub kernel: Kernel,
    /// The interfaces where they may; none: those Ethernet interfaces that own one of `addresses`.
    pub interfaces: Vec<String>,
    /// Addresses of media; none: all of the machine's.
    pub addresses: Vec<IpAddr>,
}

/// Whether streams pass in the kernel, where nothing but their addresses has to be changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Kernel {
    /// They pass through the workers.
    #[default]
    Off,
    /// They do if the system allows it.
    Auto,
    /// They do, or the plane does not start.
    Required,
}

impl Default for Config {
    /// Ports 16384 to 32767, one worker, 60 seconds.
    fn default() -> Self {
        Self {
            ports: 16384..=32767,
            shared: false,
            workers: 1,
            timeout: Duration::from_secs(60),
            dscp: 46,
            idle_pairs: 1024,
            queue: 4096,
            sounds: None,
            copies: None,
            recordings: None,
            kernel: Kernel::Off,
            interfaces: Vec::new(),
            addresses: Vec::new(),
        }
    }
}
