//! Package `message-summary`: how many voice messages wait (RFC 3842).

use std::fmt::Write as _;

use store::MailboxCounts;

/// The summary of a mailbox for whom it belongs to, at `account`.
///
/// # Source
/// RFC 3842 §5.2.
pub(super) fn write(account: &str, counts: &MailboxCounts) -> String {
    let waiting = if counts.new > 0 { "yes" } else { "no" };
    let mut text = String::with_capacity(96);
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "Messages-Waiting: {waiting}\r\nMessage-Account: {account}\r\nVoice-Message: {}/{} ({}/{})\r\n",
        counts.new, counts.old, counts.urgent_new, counts.urgent_old
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3842_5_2_the_lamp_is_lit_by_new_messages() {
        let mut counts = MailboxCounts {
            new: 2,
            old: 8,
            urgent_new: 0,
            urgent_old: 2,
        };
        assert_eq!(
            write("sip:1001@h", &counts),
            "Messages-Waiting: yes\r\nMessage-Account: sip:1001@h\r\nVoice-Message: 2/8 (0/2)\r\n"
        );
        counts.new = 0;
        assert!(write("sip:1001@h", &counts).starts_with("Messages-Waiting: no\r\n"));
    }
}
