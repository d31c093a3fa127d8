//! Titles of RFCs, shortened where they are long.

/// The title of an RFC, if it is one that we have met.
pub(super) fn title(rfc: u16) -> Option<&'static str> {
    let at = TITLES
        .binary_search_by_key(&rfc, |(number, _)| *number)
        .ok()?;
    Some(TITLES[at].1)
}

const TITLES: &[(u16, &str)] = &[
    (1035, "Domain Names: Implementation and Specification"),
    (2069, "An Extension to HTTP: Digest Access Authentication"),
    (2246, "The TLS Protocol Version 1.0"),
    (2308, "Negative Caching of DNS Queries"),
    (2327, "SDP: Session Description Protocol"),
    (2543, "SIP: Session Initiation Protocol (first edition)"),
    (2617, "HTTP Authentication: Basic and Digest"),
    (
        2782,
        "A DNS RR for Specifying the Location of Services (DNS SRV)",
    ),
    (2833, "RTP Payload for DTMF Digits (first edition)"),
    (
        2915,
        "The Naming Authority Pointer (NAPTR) DNS Resource Record",
    ),
    (3232, "Assigned Numbers"),
    (3261, "SIP: Session Initiation Protocol"),
    (3262, "Reliability of Provisional Responses in SIP"),
    (3263, "SIP: Locating SIP Servers"),
    (3264, "An Offer/Answer Model with SDP"),
    (3265, "SIP-Specific Event Notification (first edition)"),
    (3310, "HTTP Digest Authentication Using AKA"),
    (3311, "The SIP UPDATE Method"),
    (3312, "Integration of Resource Management and SIP"),
    (3323, "A Privacy Mechanism for SIP"),
    (3325, "Private Extensions to SIP for Asserted Identity"),
    (3326, "The Reason Header Field for SIP"),
    (3327, "SIP Extension: Path"),
    (3329, "Security Mechanism Agreement for SIP"),
    (3339, "Date and Time on the Internet: Timestamps"),
    (
        3403,
        "Dynamic Delegation Discovery System: The DNS Database",
    ),
    (3420, "Internet Media Type message/sipfrag"),
    (3428, "SIP Extension for Instant Messaging"),
    (3489, "STUN (first edition)"),
    (3515, "The SIP Refer Method"),
    (3533, "The Ogg Encapsulation Format"),
    (3550, "RTP: A Transport Protocol for Real-Time Applications"),
    (3551, "RTP Profile for Audio and Video Conferences"),
    (3581, "Symmetric Response Routing in SIP"),
    (3605, "RTCP Attribute in SDP"),
    (3608, "SIP Extension: Service-Route"),
    (3680, "A SIP Event Package for Registrations"),
    (3711, "The Secure Real-time Transport Protocol (SRTP)"),
    (3840, "Indicating User Agent Capabilities in SIP"),
    (3841, "Caller Preferences for SIP"),
    (
        3842,
        "A Message Summary and Message Waiting Indication Event Package",
    ),
    (3856, "A Presence Event Package for SIP"),
    (3857, "A Watcher Information Event Template-Package for SIP"),
    (
        3862,
        "Common Presence and Instant Messaging: Message Format",
    ),
    (3863, "Presence Information Data Format (PIDF)"),
    (3891, "The SIP Replaces Header"),
    (3892, "The SIP Referred-By Mechanism"),
    (3903, "SIP Extension for Event State Publication"),
    (3911, "The SIP Join Header"),
    (3960, "Early Media and Ringing Tone Generation in SIP"),
    (3966, "The tel URI for Telephone Numbers"),
    (3986, "Uniform Resource Identifier (URI): Generic Syntax"),
    (
        3994,
        "Indication of Message Composition for Instant Messaging",
    ),
    (4028, "Session Timers in SIP"),
    (4103, "RTP Payload for Text Conversation"),
    (4119, "A Presence-based GEOPRIV Location Object Format"),
    (4122, "A Universally Unique IDentifier (UUID) URN Namespace"),
    (4145, "TCP-Based Media Transport in SDP"),
    (4235, "An INVITE-Initiated Dialog Event Package for SIP"),
    (
        4244,
        "An Extension to SIP for Request History Information (first edition)",
    ),
    (
        4320,
        "Actions Addressing Problems with the SIP Non-INVITE Transaction",
    ),
    (4321, "Problems with the SIP Non-INVITE Transaction"),
    (4475, "SIP Torture Test Messages"),
    (4480, "RPID: Rich Presence Extensions to PIDF"),
    (4488, "Suppression of the SIP REFER Implicit Subscription"),
    (4538, "Request Authorization through Dialog Identification"),
    (4566, "SDP: Session Description Protocol (second edition)"),
    (4568, "SDP Security Descriptions for Media Streams"),
    (4579, "SIP Call Control: Conferencing for User Agents"),
    (4648, "The Base16, Base32, and Base64 Data Encodings"),
    (
        4662,
        "A SIP Event Notification Extension for Resource Lists",
    ),
    (
        4733,
        "RTP Payload for DTMF Digits, Telephony Tones and Signals",
    ),
    (4916, "Connected Identity in SIP"),
    (5118, "SIP Torture Test Messages for IPv6"),
    (5234, "Augmented BNF for Syntax Specifications: ABNF"),
    (
        5244,
        "Definition of Events for Channel-Oriented Telephony Signalling",
    ),
    (
        5245,
        "Interactive Connectivity Establishment (first edition)",
    ),
    (5246, "The TLS Protocol Version 1.2"),
    (
        5280,
        "Internet X.509 Public Key Infrastructure Certificate and CRL Profile",
    ),
    (5359, "SIP Service Examples"),
    (5373, "Requesting Answering Modes for SIP"),
    (5389, "Session Traversal Utilities for NAT (STUN)"),
    (
        5393,
        "An Amplification Vulnerability in SIP Forking Proxies",
    ),
    (5411, "A Hitchhiker's Guide to SIP"),
    (
        5480,
        "Elliptic Curve Cryptography Subject Public Key Information",
    ),
    (5506, "Support for Reduced-Size RTCP"),
    (5588, "Acquiring Dialog Event Information"),
    (5621, "Message Body Handling in SIP"),
    (
        5626,
        "Managing Client-Initiated Connections in SIP (Outbound)",
    ),
    (5627, "Globally Routable User Agent URIs (GRUU) in SIP"),
    (5630, "The Use of the SIPS URI Scheme in SIP"),
    (5658, "Addressing Record-Route Issues in SIP"),
    (
        5761,
        "Multiplexing RTP Data and Control Packets on a Single Port",
    ),
    (5763, "Framework for DTLS-SRTP"),
    (5764, "DTLS Extension to Establish Keys for SRTP"),
    (
        5766,
        "Traversal Using Relays around NAT (TURN, first edition)",
    ),
    (5768, "Indicating Support for ICE in SIP"),
    (5769, "Test Vectors for STUN"),
    (5780, "NAT Behavior Discovery Using STUN"),
    (5806, "Diversion Indication in SIP"),
    (
        5839,
        "An Extension to SIP Events for Conditional Event Notification",
    ),
    (5876, "Updates to Asserted Identity in SIP"),
    (5922, "Domain Certificates in SIP"),
    (5923, "Connection Reuse in SIP"),
    (
        5952,
        "A Recommendation for IPv6 Address Text Representation",
    ),
    (
        6026,
        "Correct Transaction Handling for 2xx Responses to INVITE",
    ),
    (6035, "SIP Event Package for Voice Quality Reporting"),
    (6086, "SIP INFO Method and Package Framework"),
    (
        6125,
        "Domain-Based Application Service Identity within PKIX",
    ),
    (6141, "Re-INVITE and Target-Refresh Request Handling in SIP"),
    (6157, "IPv6 Transition in SIP"),
    (6337, "SIP Usage of the Offer/Answer Model"),
    (6442, "Location Conveyance for SIP"),
    (6455, "The WebSocket Protocol"),
    (
        6464,
        "RTP Header Extension for Client-to-Mixer Audio Level Indication",
    ),
    (6544, "TCP Candidates with ICE"),
    (6665, "SIP-Specific Event Notification"),
    (6716, "Definition of the Opus Audio Codec"),
    (6878, "IANA Registry for the SIP Priority Header Field"),
    (
        7022,
        "Guidelines for Choosing RTCP Canonical Names (CNAMEs)",
    ),
    (7044, "An Extension to SIP for Request History Information"),
    (7118, "The WebSocket Protocol as a Transport for SIP"),
    (7235, "HTTP/1.1: Authentication"),
    (7315, "Private Header Extensions to SIP for the 3GPP"),
    (7339, "SIP Overload Control"),
    (
        7433,
        "A Mechanism for Transporting User-to-User Call Control Information",
    ),
    (7515, "JSON Web Signature (JWS)"),
    (
        7587,
        "RTP Payload Format for the Opus Speech and Audio Codec",
    ),
    (7614, "Explicit Subscriptions for the REFER Method"),
    (7616, "HTTP Digest Access Authentication"),
    (7647, "Clarifications for the Use of REFER with RFC 6665"),
    (
        7656,
        "A Taxonomy of Semantics and Mechanisms for RTP Sources",
    ),
    (7675, "STUN Usage for Consent Freshness"),
    (7845, "Ogg Encapsulation for the Opus Audio Codec"),
    (7983, "Multiplexing Scheme Updates for DTLS-SRTP"),
    (8224, "Authenticated Identity Management in SIP"),
    (8225, "PASSporT: Personal Assertion Token"),
    (8226, "Secure Telephone Identity Credentials: Certificates"),
    (
        8259,
        "The JavaScript Object Notation (JSON) Data Interchange Format",
    ),
    (8285, "A General Mechanism for RTP Header Extensions"),
    (8445, "Interactive Connectivity Establishment (ICE)"),
    (8446, "The TLS Protocol Version 1.3"),
    (
        8489,
        "Session Traversal Utilities for NAT (STUN, second edition)",
    ),
    (8588, "PASSporT Extension for SHAKEN"),
    (8599, "Push Notification with SIP"),
    (8656, "Traversal Using Relays around NAT (TURN)"),
    (8760, "SIP Digest Access Authentication Scheme"),
    (8838, "Trickle ICE"),
    (8839, "SDP Offer/Answer Procedures for ICE"),
    (8866, "SDP: Session Description Protocol"),
    (8898, "Third-Party Token-Based Authentication for SIP"),
    (8946, "PASSporT Extension for Diverted Calls"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_sorted() {
        assert!(TITLES.is_sorted_by(|one, other| one.0 < other.0));
        assert_eq!(title(3261), Some("SIP: Session Initiation Protocol"));
    }
}
