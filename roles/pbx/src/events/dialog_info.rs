//! Package `dialog`: who is on the phone (RFC 4235).

use std::fmt::Write as _;

use store::{Direction, LineDialog, LineState};

use super::xml::{DECLARATION, Text};

/// The dialogs of `entity`. With the ones that the watcher knows from `before` only what has changed is
/// told, else all.
///
/// Parties are shown as addresses at `host`.
///
/// # Source
/// RFC 4235 §3.3, §4.1.
pub(super) fn write(
    entity: &str,
    host: &str,
    version: u32,
    before: Option<&[LineDialog]>,
    now: &[LineDialog],
) -> String {
    let state = if before.is_some() { "partial" } else { "full" };
    let before = before.unwrap_or_default();
    let mut text = String::with_capacity(512);
    text.push_str(DECLARATION);
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"{version}\" \
         state=\"{state}\" entity=\"{}\">",
        Text(entity)
    );
    let gone = |known: &&LineDialog| !now.iter().any(|dialog| dialog.call == known.call);
    for dialog in before.iter().filter(gone) {
        put(&mut text, entity, host, dialog, "terminated");
    }
    for dialog in now.iter().filter(|dialog| !before.contains(dialog)) {
        put(&mut text, entity, host, dialog, name(dialog.state));
    }
    text.push_str("</dialog-info>\n");
    text
}

fn put(text: &mut String, entity: &str, host: &str, dialog: &LineDialog, state: &str) {
    let direction = match dialog.direction {
        Direction::Initiator => "initiator",
        Direction::Recipient => "recipient",
    };
    let _ = write!(
        text,
        "<dialog id=\"{}\" call-id=\"{}\" ",
        dialog.call,
        Text(&dialog.call_id),
    );
    // Seen from us, to whom an INVITE with Replaces comes (RFC 3891 §3).
    let _ = write!(text, "local-tag=\"{}\" ", dialog.our_tag);
    if !dialog.phone_tag.is_empty() {
        let _ = write!(text, "remote-tag=\"{}\" ", Text(&dialog.phone_tag));
    }
    let _ = writeln!(text, "direction=\"{direction}\"><state>{state}</state>");
    let remote = format!(
        "sip:{}@{host}",
        sip::uri::escape_user(&dialog.remote.number)
    );
    let (remote, entity) = (Text(&remote), Text(entity));
    let _ = writeln!(
        text,
        "<local><identity>{entity}</identity><target uri=\"{entity}\"/></local>"
    );
    text.push_str("<remote><identity");
    if !dialog.remote.display.is_empty() {
        let _ = write!(text, " display=\"{}\"", Text(&dialog.remote.display));
    }
    let _ = writeln!(
        text,
        ">{remote}</identity><target uri=\"{remote}\"/></remote></dialog>"
    );
}

const fn name(state: LineState) -> &'static str {
    match state {
        LineState::Trying => "trying",
        LineState::Early => "early",
        LineState::Confirmed => "confirmed",
    }
}

#[cfg(test)]
mod tests {
    use base::{Mint, Slot};
    use store::Party;

    use super::*;

    fn dialog(state: LineState) -> LineDialog {
        let mut mint = Mint::new(Slot::new(1), [0; 32]);
        LineDialog {
            call: mint.token(),
            direction: Direction::Recipient,
            state,
            remote: Party {
                number: "1001".into(),
                display: "A & <B>".into(),
            },
            call_id: "c\"1".into(),
            phone_tag: "p1".into(),
            our_tag: mint.token(),
        }
    }

    #[test]
    fn rfc4235_4_1_a_full_document_lists_all_dialogs() {
        let rings = dialog(LineState::Early);
        let text = write("sip:1002@h", "h", 0, None, std::slice::from_ref(&rings));
        assert!(text.contains("version=\"0\" state=\"full\" entity=\"sip:1002@h\""));
        let ours = rings.our_tag;
        let expected = format!(
            "call-id=\"c&quot;1\" local-tag=\"{ours}\" remote-tag=\"p1\" direction=\"recipient\">\
             <state>early</state>"
        );
        assert!(text.contains(&expected), "{text}");
        assert!(text.contains("<identity display=\"A &amp; &lt;B&gt;\">sip:1001@h</identity>"));
    }

    #[test]
    fn rfc4235_3_3_later_documents_tell_what_has_changed() {
        let (rings, talks) = (dialog(LineState::Early), dialog(LineState::Confirmed));
        let before = [rings.clone()];
        let text = write("sip:1002@h", "h", 1, Some(&before), &[talks]);
        assert!(text.contains("version=\"1\" state=\"partial\""));
        assert_eq!(text.matches("<state>").count(), 1);
        assert!(text.contains("<state>confirmed</state>"));
        let text = write("sip:1002@h", "h", 2, Some(&before), &before);
        assert!(!text.contains("<dialog "), "nothing has changed: {text}");
        let text = write("sip:1002@h", "h", 2, Some(&before), &[]);
        assert!(text.contains("<state>terminated</state>"));
    }
}
