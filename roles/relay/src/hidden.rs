//! Media sections of a party that the other one is not shown.

use sdp::{Line, Media, Sdp};

/// The sections of a party that are kept from the other one. Sections are never taken out of a session
/// again, so all that is said to the party has them, refused, and the other one never learns of them.
///
/// # Source
/// RFC 3264 §6, §8
#[derive(Clone, Debug, Default)]
pub(crate) struct Hidden(
    /// In order; no more than a description may have.
    Vec<Section>,
);

#[derive(Clone, Debug)]
struct Section {
    /// Which of the party's sections it is.
    place: usize,
    /// What the party is told of it.
    refused: Box<str>,
}

impl Hidden {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The part of a party's offer that the other one is to see, if that is not all. It has been shown as
    /// many sections as `shown`: those that are to be removed now become refused ones.
    pub(crate) fn offered(
        &mut self,
        offer: &Sdp<'_>,
        removes: impl Fn(&str) -> bool,
        shown: usize,
    ) -> Option<String> {
        let before = std::mem::take(&mut self.0);
        let mut refused = Vec::new();
        for (place, media) in offer.media().enumerate() {
            let known = place - self.0.len() < shown;
            let was = before.iter().any(|section| section.place == place);
            match (removes(media.kind()), known) {
                // What it gets to see must not come before what it has seen.
                (true, false) => self.push(place, &media),
                (_, true) if was => self.push(place, &media),
                (true, true) => refused.push(place),
                (false, _) => {}
            }
        }
        if self.0.is_empty() && refused.is_empty() {
            return None;
        }
        Some(self.seen(offer, &refused))
    }

    /// The part of a party's answer that the other one is to see, if that is not all.
    pub(crate) fn answered(&self, answer: &Sdp<'_>) -> Option<String> {
        (!self.0.is_empty()).then(|| self.seen(answer, &[]))
    }

    /// What the party is told, with all of its sections.
    pub(crate) fn restored(&self, text: String) -> String {
        if self.0.is_empty() {
            return text;
        }
        let mut out = String::with_capacity(text.len() + 64 * self.0.len());
        let mut hidden = self.0.iter().peekable();
        let mut place = 0;
        for line in text.split_inclusive('\n') {
            if line.starts_with("m=") {
                while let Some(section) = hidden.next_if(|section| section.place == place) {
                    out.push_str(&section.refused);
                    place += 1;
                }
                place += 1;
            }
            out.push_str(line);
        }
        hidden.for_each(|section| out.push_str(&section.refused));
        out
    }

    fn push(&mut self, place: usize, media: &Media<'_, '_>) {
        let refused = refused(media).into();
        self.0.push(Section { place, refused });
    }

    fn hides(&self, place: usize) -> bool {
        self.0.iter().any(|section| section.place == place)
    }

    /// A description without the sections that are hidden; the `refused` ones have port 0.
    fn seen(&self, sdp: &Sdp<'_>, refused: &[usize]) -> String {
        let mut out = String::with_capacity(512);
        let hidden = sdp.media().enumerate();
        let hidden = hidden.filter(|(place, _)| self.hides(*place));
        let gone: Vec<_> = hidden
            .filter_map(|(_, media)| media.attribute("mid"))
            .collect();
        for line in sdp.session_lines() {
            encode_without(line, &gone, &mut out);
        }
        for (place, media) in sdp.media().enumerate() {
            let mut lines = media.lines().iter();
            if self.hides(place) {
                continue;
            }
            if refused.contains(&place) {
                out.push_str(&self::refused(&media));
                lines.next();
            }
            lines.for_each(|line| line.encode(&mut out));
        }
        out
    }
}

/// The first line of a section with port 0.
fn refused(media: &Media<'_, '_>) -> String {
    let head = media.lines().first().map_or("", |line| line.value);
    let mut words = head.split_ascii_whitespace();
    let kind = words.next().unwrap_or_default();
    let rest: Vec<_> = words.skip(1).collect();
    format!("m={kind} 0 {}\r\n", rest.join(" "))
}

/// Appends a line; sections that are gone are no members of groups.
///
/// # Source
/// RFC 9143 §7.3
fn encode_without(line: &Line<'_>, gone: &[&str], out: &mut String) {
    match line.attribute() {
        Some(("group", members)) if !gone.is_empty() => {
            let left = members.split_ascii_whitespace();
            let left: Vec<_> = left.filter(|member| !gone.contains(member)).collect();
            out.push_str("a=group:");
            out.push_str(&left.join(" "));
            out.push_str("\r\n");
        }
        _ => line.encode(out),
    }
}
