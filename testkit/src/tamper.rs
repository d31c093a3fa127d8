//! Messages that somebody has changed on the way.

use crate::dice::Dice;

/// A message like this one, but not quite.
pub(crate) fn change(dice: &mut Dice, message: &[u8]) -> Vec<u8> {
    let mut bytes = message.to_vec();
    for _ in 0..dice.number(0..4) {
        if bytes.is_empty() {
            break;
        }
        let at = dice.number(0..bytes.len() as u32) as usize;
        match dice.number(0..7) {
            0 => bytes[at] = dice.number(0..256) as u8,
            1 => bytes[at] = dice.pick(b"\r\n;,<>\"@:=0 "),
            2 => bytes.truncate(at),
            3 => {
                let end = bytes.len().min(at + dice.number(1..40) as usize);
                bytes.drain(at..end);
            }
            4 => {
                let end = bytes.len().min(at + dice.number(1..40) as usize);
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            5 => change_number(dice, &mut bytes[at..]),
            _ => drop_line(&mut bytes, at),
        }
    }
    bytes
}

/// Another digit in place of the next one.
fn change_number(dice: &mut Dice, bytes: &mut [u8]) {
    if let Some(digit) = bytes.iter_mut().find(|byte| byte.is_ascii_digit()) {
        *digit = b'0' + dice.number(0..10) as u8;
    }
}

/// Removes the line around `at`.
fn drop_line(bytes: &mut Vec<u8>, at: usize) {
    let start = bytes[..at]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    let end = bytes[at..]
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(bytes.len(), |end| at + end + 1);
    bytes.drain(start..end);
}
