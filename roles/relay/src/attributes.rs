//! The last touch to a description: attributes that a proxy wants added, removed or substituted.

use ng::{AttributeEdits, Edits};

/// Changes the attributes of a description of ours; we take no account of it ourselves.
pub(crate) fn edit(text: String, edits: &AttributeEdits) -> String {
    if edits.is_empty() {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 128);
    let mut part = Part::new(edits.of_session(), &out);
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("m=") {
            part.end(&mut out);
            let kind = head.split(' ').next().unwrap_or_default();
            part = Part::new(edits.of_media(kind), &out);
        }
        part.line(line, &mut out);
    }
    part.end(&mut out);
    out
}

/// The session's part, or a media section.
struct Part<'a> {
    edits: Option<&'a Edits>,
    /// Where it begins.
    start: usize,
}

impl<'a> Part<'a> {
    fn new(edits: Option<&'a Edits>, out: &str) -> Self {
        Self {
            edits,
            start: out.len(),
        }
    }

    fn line(&self, line: &str, out: &mut String) {
        match (self.edits, line.strip_prefix("a=")) {
            (Some(edits), Some(attribute)) => {
                if let Some(attribute) = edits.edited(attribute) {
                    push(attribute, out);
                }
            }
            _ => {
                out.push_str(line);
                out.push_str("\r\n");
            }
        }
    }

    fn end(&self, out: &mut String) {
        for attribute in self.edits.iter().flat_map(|edits| &edits.add) {
            let mut lines = out[self.start..].lines();
            if !lines.any(|line| line.strip_prefix("a=") == Some(&**attribute)) {
                push(attribute, out);
            }
        }
    }
}

fn push(attribute: &str, out: &mut String) {
    out.push_str("a=");
    out.push_str(attribute);
    out.push_str("\r\n");
}
