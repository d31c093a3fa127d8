//! Media workers: pinned threads that own the RTP sockets.

pub mod command;

pub use command::{
    Codec, Command, Event, Format, Refusal, Remote, SessionId, Side, SideStats, Source, StreamPorts,
};
