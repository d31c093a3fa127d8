//! Candidates that come after the description that they belong to.
//!
//! A fragment names the generation by its `a=ice-ufrag` and the streams by `a=mid`; each fragment may repeat those
//! before it.

use std::fmt::Write as _;

use crate::media::Media;
use crate::session::{Line, Sdp, attributes};

/// Candidates of a party that trickles them.
///
/// # Source
/// RFC 8840 §9
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trickled {
    generation: Box<str>,
    /// No more are to come, of any stream.
    over: bool,
    streams: Vec<Stream>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Stream {
    /// None: it is known by its place.
    mid: Option<Box<str>>,
    place: usize,
    candidates: Vec<Box<str>>,
    over: bool,
}

/// The fragment makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no candidates of a known generation")]
pub struct Senseless;

impl Trickled {
    /// Whether nothing has been told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.generation.is_empty()
    }

    /// Takes the body of a fragment about the party's last `description`; what is of another generation than that
    /// is passed over. One of another generation than the ones before takes their place. Of each stream
    /// [`MAX_CANDIDATES`] are kept, the rest is left out, and so are streams beyond [`Sdp::MAX_MEDIA`].
    ///
    /// # Errors
    /// It is no fragment, or does not say of which generation it is.
    pub fn take(&mut self, fragment: &str, description: &Sdp<'_>) -> Result<(), Senseless> {
        // All that a description needs to be one stands before the fragment's own lines.
        let text = format!("v=0\r\n{fragment}");
        let sdp = Sdp::parse(&text).map_err(|_| Senseless)?;
        let ufrag = sdp.media().find_map(|media| media.inherited("ice-ufrag"));
        let ufrag = ufrag.or_else(|| attributes(sdp.session_lines(), "ice-ufrag").next());
        let ufrag = ufrag.filter(|ufrag| (1..=256).contains(&ufrag.len()));
        let ufrag = ufrag.ok_or(Senseless)?;
        let is_current = |media: Media<'_, '_>| media.inherited("ice-ufrag") == Some(ufrag);
        if !description.media().any(is_current) {
            return Ok(());
        }
        if *self.generation != *ufrag {
            *self = Self {
                generation: ufrag.into(),
                ..Self::default()
            };
        }
        self.over |= has_end(sdp.session_lines());
        for (place, media) in sdp.media().enumerate() {
            self.stream(place, &media).take(media.lines());
        }
        // Some leave the stream out where there is one alone.
        if attributes(sdp.session_lines(), "candidate")
            .next()
            .is_some()
        {
            self.first().take(sdp.session_lines());
        }
        Ok(())
    }

    /// The description with all candidates that belong to it, if there are any.
    #[must_use]
    pub fn added_to(&self, description: &Sdp<'_>) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let mut text = String::new();
        write_lines(&mut text, description.session_lines());
        let mut added = false;
        for (place, media) in description.media().enumerate() {
            write_lines(&mut text, media.lines());
            if media.inherited("ice-ufrag") == Some(&self.generation) {
                added |= self.write(place, &media, &mut text);
            }
        }
        added.then_some(text)
    }

    /// Appends what belongs to a stream; false: nothing does.
    fn write(&self, place: usize, media: &Media<'_, '_>, text: &mut String) -> bool {
        let mid = media.attribute("mid");
        let ours = |stream: &&Stream| match &stream.mid {
            Some(named) => Some(&**named) == mid,
            None => stream.place == place,
        };
        let mut added = false;
        let stream = self.streams.iter().find(ours);
        for candidate in stream.iter().flat_map(|stream| &stream.candidates) {
            let known = attributes(media.lines(), "candidate").any(|line| *line == **candidate);
            if !known {
                // Writing to a String can't fail.
                let _ = write!(text, "a=candidate:{candidate}\r\n");
                added = true;
            }
        }
        if (self.over || stream.is_some_and(|stream| stream.over)) && !has_end(media.lines()) {
            text.push_str("a=end-of-candidates\r\n");
            added = true;
        }
        added
    }

    fn first(&mut self) -> &mut Stream {
        if self.streams.is_empty() {
            self.streams.push(Stream::new(None, 0));
        }
        &mut self.streams[0]
    }

    fn stream(&mut self, place: usize, media: &Media<'_, '_>) -> &mut Stream {
        let mid: Option<Box<str>> = media.attribute("mid").map(Into::into);
        let same = |stream: &Stream| match &mid {
            Some(_) => stream.mid == mid,
            None => stream.mid.is_none() && stream.place == place,
        };
        let at = self.streams.iter().position(same).unwrap_or_else(|| {
            // A party that names ever new streams overwrites the last one.
            self.streams.truncate(Sdp::MAX_MEDIA - 1);
            self.streams.push(Stream::new(mid, place));
            self.streams.len() - 1
        });
        &mut self.streams[at]
    }
}

impl Stream {
    const fn new(mid: Option<Box<str>>, place: usize) -> Self {
        Self {
            mid,
            place,
            candidates: Vec::new(),
            over: false,
        }
    }

    fn take(&mut self, lines: &[Line<'_>]) {
        self.over |= has_end(lines);
        for candidate in attributes(lines, "candidate") {
            let known = self.candidates.iter().any(|known| **known == *candidate);
            let fits = candidate.len() <= MAX_CANDIDATE && self.candidates.len() < MAX_CANDIDATES;
            if fits && !known {
                self.candidates.push(candidate.into());
            }
        }
    }
}

fn has_end(lines: &[Line<'_>]) -> bool {
    let mut attributes = lines.iter().filter_map(Line::attribute);
    attributes.any(|(name, _)| name == "end-of-candidates")
}

fn write_lines(text: &mut String, lines: &[Line<'_>]) {
    for line in lines {
        let _ = write!(text, "{}={}\r\n", char::from(line.kind), line.value);
    }
}

/// Most candidates of a stream.
pub const MAX_CANDIDATES: usize = 32;
/// The longest one, in octets.
const MAX_CANDIDATE: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    const DESCRIPTION: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
        a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n\
        m=audio 9 RTP/AVP 0\r\na=mid:a\r\na=candidate:1 1 UDP 1 192.0.2.1 4000 typ host\r\n\
        m=video 9 RTP/AVP 96\r\na=mid:v\r\na=rtpmap:96 VP8/90000\r\n";
    const FIRST: &str = "1 1 UDP 1 192.0.2.1 4000 typ host";
    const SECOND: &str = "2 1 UDP 1 198.51.100.1 4000 typ srflx raddr 0.0.0.0 rport 9";

    fn with(fragments: &[&str]) -> Option<String> {
        let mut trickled = Trickled::default();
        let description = Sdp::parse(DESCRIPTION).unwrap();
        for fragment in fragments {
            trickled.take(fragment, &description).unwrap();
        }
        trickled.added_to(&description)
    }

    fn candidates(text: &str, stream: usize) -> Vec<String> {
        let sdp = Sdp::parse(text).unwrap();
        let media = sdp.media_at(stream).unwrap();
        attributes(media.lines(), "candidate")
            .map(Into::into)
            .collect()
    }

    #[test]
    fn rfc8840_9_candidates_go_to_the_stream_that_is_named() {
        let begin = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n";
        let one = format!("{begin}m=audio 9 RTP/AVP 0\r\na=mid:a\r\na=candidate:{SECOND}\r\n");
        let text = with(&[&one]).unwrap();
        assert_eq!(candidates(&text, 0), [FIRST, SECOND]);
        assert!(candidates(&text, 1).is_empty());
        assert!(!text.contains("end-of-candidates"));
        // What is repeated is there once, and the second stream ends.
        let two = format!(
            "{one}m=video 9 RTP/AVP 0\r\na=mid:v\r\na=candidate:{FIRST}\r\na=end-of-candidates\r\n"
        );
        let text = with(&[&one, &two]).unwrap();
        assert_eq!(candidates(&text, 0), [FIRST, SECOND]);
        assert_eq!(candidates(&text, 1), [FIRST]);
        assert!(text.ends_with("a=end-of-candidates\r\n"));
        assert_eq!(text.matches("end-of-candidates").count(), 1);
    }

    #[test]
    fn rfc8840_9_other_generations_are_none_of_the_description() {
        let old = "a=ice-ufrag:wxyz\r\nm=audio 9 RTP/AVP 0\r\na=mid:a\r\na=candidate:x\r\n";
        assert_eq!(with(&[old]), None);
        let new = old.replace("wxyz", "abcd");
        assert!(with(&[old, &new]).is_some());
        assert_eq!(with(&[&new, old]), with(&[&new]));
        // The party begins anew: what was told before means nothing.
        let mut trickled = Trickled::default();
        let before = Sdp::parse(DESCRIPTION).unwrap();
        trickled.take(&new, &before).unwrap();
        let text = DESCRIPTION.replace("abcd", "wxyz");
        let after = Sdp::parse(&text).unwrap();
        assert_eq!(trickled.added_to(&after), None);
        trickled.take(old, &after).unwrap();
        assert!(trickled.added_to(&after).is_some());
        assert_eq!(trickled.added_to(&before), None);
    }

    #[test]
    fn a_stream_without_a_name_is_known_by_its_place() {
        let text = format!("a=ice-ufrag:abcd\r\na=candidate:{SECOND}\r\na=end-of-candidates\r\n");
        let text = with(&[&text]).unwrap();
        assert_eq!(candidates(&text, 0), [FIRST, SECOND]);
        assert_eq!(text.matches("end-of-candidates").count(), 2);
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_much_is_cut() {
        let mut trickled = Trickled::default();
        let description = Sdp::parse(DESCRIPTION).unwrap();
        for senseless in ["", "hello", "a=candidate:x\r\n", "a=ice-ufrag:\r\n"] {
            assert_eq!(trickled.take(senseless, &description), Err(Senseless));
        }
        assert!(trickled.is_empty());
        for round in 0..20 {
            let mut text = "a=ice-ufrag:abcd\r\nm=audio 9 RTP/AVP 0\r\na=mid:a\r\n".to_owned();
            (0..50).for_each(|n| text += &format!("a=candidate:{round}.{n}\r\n"));
            trickled.take(&text, &description).unwrap();
            for n in 0..9 {
                let text = text.replace("mid:a", &format!("mid:{round}.{n}"));
                trickled.take(&text, &description).unwrap();
            }
        }
        assert!(trickled.streams.len() <= Sdp::MAX_MEDIA);
        let most = trickled.streams.iter().map(|s| s.candidates.len()).max();
        assert_eq!(most, Some(MAX_CANDIDATES));
    }
}
