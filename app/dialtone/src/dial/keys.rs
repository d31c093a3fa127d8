//! Keys that are typed on the terminal.

use std::io::{self, IsTerminal, Read};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

/// A terminal that hands out each key at once; it is as before when this goes.
#[derive(Debug)]
pub(super) struct Keyboard {
    before: Option<Termios>,
    typed: Receiver<char>,
}

impl Keyboard {
    /// Standard input, if it is a terminal and can be told to.
    pub(super) fn open() -> Option<Self> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let mut keys = before.clone();
        // Ctrl-C is still a signal.
        keys.local_flags
            .remove(LocalFlags::ICANON | LocalFlags::ECHO);
        tcsetattr(&stdin, SetArg::TCSANOW, &keys).ok()?;
        let (sender, typed) = sync_channel(ue::voice::MAX_KEYS);
        // It ends with the process; whoever types faster than keys can be said has to wait.
        thread::spawn(move || {
            let mut octet = [0];
            while io::stdin().read_exact(&mut octet).is_ok() {
                if sender.send(octet[0].into()).is_err() {
                    return;
                }
            }
        });
        Some(Self {
            before: Some(before),
            typed,
        })
    }

    /// What has been typed since.
    pub(super) fn typed(&self) -> impl Iterator<Item = char> {
        self.typed.try_iter()
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        if let Some(before) = self.before.take() {
            // A terminal that is gone needs nothing.
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &before);
        }
    }
}
