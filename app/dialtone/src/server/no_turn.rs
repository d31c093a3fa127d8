//! In place of the TURN server, where it is left out.

use anyhow::{Result, ensure};

use crate::settings::Server;

/// The TURN server, of which there is none.
#[derive(Debug)]
pub(super) enum Turn {}

/// Refuses what can't be had.
pub(super) fn start(server: &Server) -> Result<Option<Turn>> {
    ensure!(
        server.turn.listen.is_empty(),
        "this build has no TURN server: remove `listen` from [turn], or take another flavour"
    );
    Ok(None)
}

/// Nothing to take over.
pub(super) fn reload(turn: &Turn, _: &Server) {
    match *turn {}
}
