//! Candidates that come after their description.

use std::sync::Arc;

use pbx::User;
use sdp::bridge::ice::Mode;
use testkit::{Peer, World};

use super::{secs, with};

const URI: &str = "sip:600@192.0.2.1";
const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n\
    a=ice-options:trickle\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n\
    a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:\
    10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\na=setup:actpass\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:a\r\na=rtcp-mux\r\n";
const PACKAGE: &str = "Info-Package: trickle-ice";
const FRAGMENT: &str = "Content-Type: application/trickle-ice-sdpfrag";

/// A world where the server looks for ways, and 1001 is a browser.
fn with_checks(story: impl FnOnce(&mut World)) {
    with(
        |settings| {
            settings.config.network.ice = Mode::Full;
            if let Some(user) = settings.config.users.get_mut("1001") {
                *user = Arc::new(User {
                    webrtc: Some(true),
                    ..(**user).clone()
                });
            }
        },
        story,
    );
}

fn line(text: &str, name: &str) -> String {
    let mut lines = text.lines();
    let line = lines.find(|line| line.starts_with(name));
    line.expect("a header field").to_owned()
}

fn body(ufrag: &str, candidates: &[&str]) -> String {
    let begin = format!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:0123456789012345678901\r\n");
    let lines = candidates
        .iter()
        .map(|line| format!("a=candidate:{line}\r\n"));
    let lines: String = lines.collect();
    format!("{begin}m=audio 9 RTP/AVP 0\r\na=mid:a\r\n{lines}")
}

/// RFC 8840 §4.1, §5.2: who is told that candidates may come later sends them by INFO, and the workers hear of each
/// once.
#[test]
fn rfc8840_5_2_candidates_come_by_info() {
    with_checks(|world| {
        let mut peer = Peer::new("1001");
        let heard = peer.ask_as_user(world, "INVITE", URI, &[], OFFER);
        let accepted = heard.iter().find(|text| text.starts_with("SIP/2.0 200"));
        let accepted = accepted.expect("an answer").clone();
        assert!(line(&accepted, "Supported:").contains("trickle-ice"));
        assert_eq!(line(&accepted, "Recv-Info:"), "Recv-Info: trickle-ice");
        assert!(line(&accepted, "a=ice-options:").ends_with("ice2 trickle"));
        let to = line(&accepted, "To:");
        let cseq = line(&accepted, "CSeq:").replace("INVITE", "ACK");
        peer.ask(world, "ACK", URI, &[&to, &cseq], "");
        assert_eq!(world.server.media.ways(), 0);

        let mut tell = |world: &mut World, body: &str| {
            let fields = [to.as_str(), PACKAGE, FRAGMENT];
            let heard = peer.ask(world, "INFO", URI, &fields, body);
            let answer = heard.last().expect("an answer").clone();
            (answer[8..11].to_owned(), world.server.media.ways())
        };
        let told = |status: &str, ways| (status.to_owned(), ways);
        let one = "1 1 UDP 2130706431 198.51.100.7 4000 typ host";
        let two = "2 1 UDP 1694498815 203.0.113.1 4000 typ srflx raddr 0.0.0.0 rport 9";
        assert_eq!(tell(world, &body("abcd", &[one])), told("200", 1));
        assert_eq!(tell(world, &body("abcd", &[one, two])), told("200", 2));
        // What is of another generation, or makes no sense, adds nothing.
        assert_eq!(tell(world, &body("wxyz", &[one, two])), told("200", 2));
        assert_eq!(tell(world, "nonsense"), told("400", 2));
        peer.ask(world, "BYE", URI, &[&to], "");
        world.run(secs(90));
    });
}
