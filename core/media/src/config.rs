use std::ops::RangeInclusive;
use std::time::Duration;

/// What the media plane may use.
#[derive(Clone, Debug)]
pub struct Config {
    /// UDP ports for RTP and RTCP. RTP takes an even port and RTCP the next one; the pairs are
    /// dealt out to the workers in turn.
    pub ports: RangeInclusive<u16>,
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
}

impl Default for Config {
    /// Ports 16384 to 32767, one worker, 60 seconds.
    fn default() -> Self {
        Self {
            ports: 16384..=32767,
            workers: 1,
            timeout: Duration::from_secs(60),
            dscp: 46,
            idle_pairs: 1024,
            queue: 4096,
        }
    }
}
