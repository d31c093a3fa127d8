//! Two parties that differ, with us between them.
#![allow(clippy::unwrap_used)]

mod addresses;
mod codecs;
mod keys;
mod peers;
mod properties;
mod scene;
