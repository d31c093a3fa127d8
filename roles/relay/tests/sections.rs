//! What a proxy wants written in descriptions, and what it wants left out of them.

mod common;

use common::{World, list, sdp, world};
use ng::Value;

const A: &str = "192.0.2.10:4000";
const B: &str = "192.0.2.20:5000";

const VIDEO: &str = "m=video 4002 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\n";

fn edits(scope: &str, command: &str, values: Value) -> [(&'static str, Value); 1] {
    let commands = Value::from([(command, values)]);
    [("sdp-attr", Value::from([(scope, commands)]))]
}

/// The session's part of a description, and its sections.
fn parts(sdp: &str) -> Vec<String> {
    let (session, sections) = sdp.split_once("\r\nm=").unwrap_or((sdp, ""));
    let sections = sections.split("\r\nm=").filter(|part| !part.is_empty());
    let ended = |part: &str| part.trim_end().to_owned() + "\r\n";
    let mut parts = vec![ended(session)];
    parts.extend(sections.map(|part| format!("m={}", ended(part))));
    parts
}

fn offered(body: &str, more: &[(&str, Value)]) -> Vec<String> {
    parts(world().offer("c1", "a", body, more).sdp())
}

#[test]
fn attributes_are_added_once_at_the_end_of_their_part() {
    let body = sdp(A, "8") + "a=x:1\r\n" + VIDEO;
    let added = offered(&body, &edits("audio", "add", list(&["x:1", "y:2", "z"])));
    assert!(added[1].ends_with("a=y:2\r\na=z\r\n"), "{added:?}");
    assert_eq!(added[1].matches("a=x:1\r\n").count(), 1);
    assert!(!added[0].contains("a=z") && !added[2].contains("a=z"));
    for scope in ["none", "global"] {
        let added = offered(&body, &edits(scope, "add", list(&["z"])));
        assert!(added[0].ends_with("a=z\r\n"), "{added:?}");
        assert!(!added[1].contains("a=z") && !added[2].contains("a=z"));
    }
}

#[test]
fn attributes_are_removed_by_name_tag_or_in_full() {
    let body = sdp(A, "8") + "a=foo:bar baz quuz\r\na=foo:other\r\n" + VIDEO;
    for (pattern, left) in [
        ("foo", &[][..]),
        ("foo:bar", &["a=foo:other"]),
        ("foo:bar baz quuz", &["a=foo:other"]),
        ("foo:ba", &["a=foo:bar baz quuz", "a=foo:other"]),
    ] {
        let parts = offered(&body, &edits("audio", "remove", list(&[pattern])));
        let found: Vec<_> = parts[1]
            .lines()
            .filter(|l| l.starts_with("a=foo"))
            .collect();
        assert_eq!(found, left, "{pattern}");
    }
    let video = offered(&body, &edits("video", "remove", list(&["rtpmap:97"])));
    assert!(!video[2].contains("rtpmap:97"), "also what we write");
    let session = offered(&body, &edits("none", "remove", list(&["foo"])));
    assert!(session[1].contains("a=foo:other"), "that is not its part");
}

#[test]
fn attributes_are_substituted() {
    let body = sdp(A, "8") + "a=foo:1\r\na=bar:3\r\n" + VIDEO;
    let pairs = Value::List(vec![list(&["foo:1", "foo:2"]), "bar>x".into()]);
    let parts = offered(&body, &edits("audio", "substitute", pairs));
    assert!(parts[1].contains("a=foo:2\r\n") && !parts[1].contains("a=foo:1"));
    assert!(parts[1].contains("a=x\r\n") && !parts[1].contains("a=bar"));
}

/// What is written says nothing to ourselves, and the next message is another.
#[test]
fn an_answer_has_its_own_edits() {
    let mut world = world();
    let first = edits("audio", "substitute", list(&["sendrecv", "inactive"]));
    world.offer("c1", "a", &(sdp(A, "8") + "a=sendrecv\r\n"), &first);
    let body = sdp(B, "8") + "a=sendrecv\r\n";
    let answer = world.answer(
        "c1",
        ("a", "b"),
        &body,
        &edits("audio", "add", list(&["z"])),
    );
    let answer = parts(answer.sdp());
    assert!(answer[1].ends_with("a=z\r\n") && answer[1].contains("a=sendrecv"));
    assert!(!answer[1].contains("inactive"));
}

#[test]
fn an_edit_cannot_bring_lines_of_its_own() {
    let body = sdp(A, "8");
    let parts = offered(
        &body,
        &edits("audio", "add", list(&["x\r\nm=audio 9 RTP/AVP 0"])),
    );
    assert_eq!(parts.len(), 2);
}

fn removes(kinds: &[&str]) -> [(&'static str, Value); 1] {
    [("sdp-media-remove", list(kinds))]
}

fn heads(sdp: &str) -> Vec<String> {
    let parts = parts(sdp);
    let head = |part: &String| {
        let words: Vec<_> = part.split_ascii_whitespace().collect();
        let port = if words[1] == "0" { "0" } else { "N" };
        format!("{} {port}", &words[0][2..])
    };
    parts[1..].iter().map(head).collect()
}

fn offer(world: &mut World, body: &str, more: &[(&str, Value)]) -> Vec<String> {
    heads(world.offer("c1", "a", body, more).sdp())
}

fn answer(world: &mut World, body: &str) -> Vec<String> {
    heads(world.answer("c1", ("a", "b"), body, &[]).sdp())
}

/// The receiver answers what it has seen; the offerer hears of all that it has said.
#[test]
fn rfc3264_6_a_removed_section_is_refused_to_its_offerer() {
    let audio = sdp(A, "8");
    let sound = "m=audio 4000 RTP/AVP 8\r\n";
    let (session, _) = audio.split_at(audio.find("m=").unwrap());
    let other = "m=foobar 4004 X/Y 1\r\n";
    for (body, kinds, seen, told) in [
        (
            format!("{audio}{VIDEO}"),
            "video",
            "audio N",
            "audio N, video 0",
        ),
        (
            format!("{session}{VIDEO}{sound}"),
            "video",
            "audio N",
            "video 0, audio N",
        ),
        (
            format!("{audio}{VIDEO}{other}"),
            "other",
            "audio N, video N",
            "audio N, video N, foobar 0",
        ),
        (
            format!("{audio}{VIDEO}"),
            "text",
            "audio N, video N",
            "audio N, video N",
        ),
    ] {
        let mut world = world();
        let sent = offer(&mut world, &body, &removes(&[kinds]));
        assert_eq!(sent.join(", "), seen, "{body}");
        let mut back = sdp(B, "8");
        if sent.len() == 2 {
            back += &VIDEO.replace("4002", "5002");
        }
        assert_eq!(answer(&mut world, &back).join(", "), told, "{body}");
        assert_eq!(
            world.sessions[0].1.len(),
            sent.len(),
            "ports for what is seen"
        );
    }
}

/// Sections keep their places in a session, whoever offers next.
#[test]
fn rfc3264_8_a_removed_section_keeps_its_place() {
    let audio = sdp(A, "8");
    let both = format!("{audio}{VIDEO}");
    let mut world = world();
    offer(&mut world, &both, &removes(&["video"]));
    answer(&mut world, &sdp(B, "8"));
    // The other party offers: what it has never seen is there for the first one, whose answer has it too.
    let entries = [("to-tag", "a".into())];
    let turned = world.offer("c1", "b", &sdp(B, "8"), &entries);
    assert_eq!(heads(turned.sdp()), ["audio N", "video 0"]);
    let refused = both.replace("m=video 4002", "m=video 0");
    let answered = world.answer("c1", ("b", "a"), &refused, &[]);
    assert_eq!(heads(answered.sdp()), ["audio N"]);
    // Once it is wanted it may come after what was seen.
    let again = world.offer("c1", "a", &both, &[("to-tag", "b".into())]);
    assert_eq!(heads(again.sdp()), ["audio N", "video N"]);
    let video = sdp(B, "8") + &VIDEO.replace("4002", "5002");
    assert_eq!(answer(&mut world, &video), ["audio N", "video N"]);
    // And what was seen can but be refused.
    let more = [&removes(&["video"])[..], &[("to-tag", "b".into())]].concat();
    let gone = world.offer("c1", "a", &both, &more);
    assert_eq!(heads(gone.sdp()), ["audio N", "video 0"]);
}

/// A section before those that were seen stays away for good, or all would be counted anew.
#[test]
fn rfc3264_8_what_comes_first_stays_removed() {
    let audio = sdp(A, "8");
    let (session, sound) = audio.split_at(audio.find("m=").unwrap());
    let body = format!("{session}{VIDEO}{sound}");
    let mut world = world();
    assert_eq!(offer(&mut world, &body, &removes(&["video"])), ["audio N"]);
    assert_eq!(answer(&mut world, &sdp(B, "8")), ["video 0", "audio N"]);
    let again = world.offer("c1", "a", &body, &[("to-tag", "b".into())]);
    assert_eq!(heads(again.sdp()), ["audio N"]);
    assert_eq!(answer(&mut world, &sdp(B, "8")), ["video 0", "audio N"]);
}

/// The group goes on without it.
#[test]
fn rfc9143_7_3_a_removed_section_is_in_no_group() {
    let audio = sdp(A, "8").replace("t=0 0\r\n", "t=0 0\r\na=group:LS 0 1\r\n");
    let body = format!("{audio}a=mid:0\r\n{VIDEO}a=mid:1\r\n");
    let parts = offered(&body, &removes(&["video"]));
    assert!(parts[0].contains("a=group:LS 0\r\n"), "{parts:?}");
}

#[test]
fn all_sections_may_be_removed() {
    let mut world = world();
    let none = offer(&mut world, &sdp(A, "8"), &removes(&["audio"]));
    assert!(none.is_empty(), "{none:?}");
    let empty = sdp(B, "8")
        .split_inclusive("t=0 0\r\n")
        .next()
        .unwrap()
        .to_owned();
    assert_eq!(answer(&mut world, &empty), ["audio 0"]);
}
