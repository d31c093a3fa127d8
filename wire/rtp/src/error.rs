/// Why bytes are not an RTP or RTCP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The version is not 2.
    #[error("RTP version is not 2")]
    Version,
    /// Shorter than its header, CSRC list, extension or declared length.
    #[error("packet is truncated")]
    Truncated,
    /// The padding count is 0 or larger than what it could cover.
    #[error("padding count is out of bounds")]
    Padding,
    /// The packet type does not belong to RTCP.
    #[error("packet type is not RTCP")]
    PacketType,
}
