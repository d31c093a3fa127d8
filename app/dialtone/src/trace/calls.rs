//! A letter for each call, so that calls that happen at once can be told apart.

use std::collections::VecDeque;

/// The calls that were seen last.
#[derive(Debug, Default)]
pub(super) struct Calls {
    letters: VecDeque<(String, char)>,
    next: u8,
}

impl Calls {
    /// The letter of a call that is new, or forgotten.
    pub(super) fn enter(&mut self, id: &str) -> Option<char> {
        if self.letter(id).is_some() {
            return None;
        }
        let letter = char::from(b'a' + self.next);
        self.next = (self.next + 1) % LETTERS as u8;
        self.letters.push_back((id.to_owned(), letter));
        if self.letters.len() > LETTERS {
            self.letters.pop_front();
        }
        Some(letter)
    }

    /// The letter of a call.
    pub(super) fn letter(&self, id: &str) -> Option<char> {
        let mut letters = self.letters.iter();
        letters
            .find(|(known, _)| known == id)
            .map(|(_, letter)| *letter)
    }
}

/// Calls that are told apart; the oldest is forgotten.
const LETTERS: usize = 26;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_come_round_and_the_oldest_call_is_forgotten() {
        let mut calls = Calls::default();
        assert_eq!((calls.enter("1"), calls.enter("1")), (Some('a'), None));
        for number in 2..=26 {
            calls.enter(&number.to_string());
        }
        assert_eq!(
            (calls.letter("1"), calls.letter("26")),
            (Some('a'), Some('z'))
        );
        assert_eq!(calls.enter("27"), Some('a'));
        assert_eq!(calls.letter("1"), None);
    }
}
