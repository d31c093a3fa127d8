//! Transport profiles of RTP.

/// A profile: what an `m=` line says between port and formats.
///
/// # Source
/// RFC 3551 §1, RFC 3711 §12, RFC 4585 §3.1, RFC 5124 §3.1, RFC 5764 §8
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Profile {
    /// Protected: SAVP.
    pub secure: bool,
    /// Feedback at once: the final F.
    pub feedback: bool,
    /// Keys by DTLS: `UDP/TLS/` in front. Then it is protected too.
    pub dtls: bool,
}

impl Profile {
    /// The profile of that name; none for transports that are not among the six.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (dtls, rest) = match text.strip_prefix("UDP/TLS/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (secure, feedback) = match rest {
            "RTP/AVP" => (false, false),
            "RTP/AVPF" => (false, true),
            "RTP/SAVP" => (true, false),
            "RTP/SAVPF" => (true, true),
            _ => return None,
        };
        (secure || !dtls).then_some(Self {
            secure,
            feedback,
            dtls,
        })
    }

    /// The profile's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match (self.dtls, self.secure, self.feedback) {
            (true, _, false) => "UDP/TLS/RTP/SAVP",
            (true, _, true) => "UDP/TLS/RTP/SAVPF",
            (false, true, false) => "RTP/SAVP",
            (false, true, true) => "RTP/SAVPF",
            (false, false, false) => "RTP/AVP",
            (false, false, true) => "RTP/AVPF",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc5764_8_the_six_profiles_read_as_they_are_written() {
        for name in [
            "RTP/AVP",
            "RTP/AVPF",
            "RTP/SAVP",
            "RTP/SAVPF",
            "UDP/TLS/RTP/SAVP",
            "UDP/TLS/RTP/SAVPF",
        ] {
            assert_eq!(Profile::parse(name).unwrap().as_str(), name);
        }
        for other in ["udptl", "RTP/AVP/TCP", "UDP/TLS/RTP/AVP", "TCP/MSRP", ""] {
            assert_eq!(Profile::parse(other), None, "{other}");
        }
    }
}
