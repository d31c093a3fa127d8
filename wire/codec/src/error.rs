/// What a codec cannot do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The codec does not know this sampling rate, frame length or bit rate.
    #[error("codec does not support these parameters")]
    Parameters,
    /// The encoded bytes make no sense.
    #[error("encoded sound is damaged")]
    Damaged,
    /// The codec has failed inside and is of no more use.
    #[error("codec has failed")]
    Failed,
}
