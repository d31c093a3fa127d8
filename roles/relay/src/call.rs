//! What is known of a call.

use std::sync::Arc;

use media::SessionId;

use crate::dialog::Dialog;

/// The media of one Call-ID: one dialog, or several while the call is forked.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: Arc<str>,
    /// When it began, in seconds since 1970.
    pub(crate) created: u64,
    /// When it was last asked about.
    pub(crate) last_signal: u64,
    pub(crate) dialogs: Vec<Dialog>,
}

impl Call {
    /// A call that begins at `unix`, in seconds since 1970.
    pub(crate) fn new(id: Arc<str>, unix: u64) -> Self {
        Self {
            id,
            created: unix,
            last_signal: unix,
            dialogs: Vec::new(),
        }
    }

    /// The dialog with these media.
    pub(crate) fn dialog(&mut self, session: SessionId) -> Option<&mut Dialog> {
        self.dialogs.iter_mut().find(|d| d.session == session)
    }

    /// Takes the dialog with these media out of the call.
    pub(crate) fn remove(&mut self, session: SessionId) -> Option<Dialog> {
        let place = self.dialogs.iter().position(|d| d.session == session)?;
        Some(self.dialogs.remove(place))
    }

    /// Whether there is something that has not been deleted.
    pub(crate) fn is_live(&self) -> bool {
        self.dialogs.iter().any(Dialog::is_live)
    }
}

/// Most dialogs of a call: as many phones are rung at once as nobody has. Further offers are refused.
pub(crate) const MOST_DIALOGS: usize = 64;
