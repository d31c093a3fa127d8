/// Why a packet was not protected or not accepted, or a key not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not RTP or RTCP, or shorter than its header, index and tag.
    #[error("not a whole RTP or RTCP packet")]
    Malformed,
    /// The buffer has no room for what protection adds.
    #[error("no room for the authentication tag")]
    NoRoom,
    /// The tag is wrong: another key, another rollover counter, or a forged packet.
    #[error("authentication failed")]
    Authentication,
    /// The packet was there before, or is too old to tell.
    #[error("packet was replayed or is too old")]
    Replayed,
    /// A source has used up its packet indices; only a new key helps.
    #[error("the key is exhausted")]
    Exhausted,
    /// Key or salt have another length than the profile's.
    #[error("key or salt have the wrong length")]
    KeyLength,
}
