//! Pictures that stand alone, asked for where RTCP has no words for it.

use testkit::{Peer, World};

use super::{calm, secs};

const URI: &str = "sip:1002@192.0.2.1";
const CONTROL: &str = "Content-Type: application/media_control+xml";
const WISH: &str = "<?xml version=\"1.0\"?><media_control><vc_primitive><to_encoder>\
    <picture_fast_update/></to_encoder></vc_primitive></media_control>";

/// What a phone with pictures says of itself; those of `feedback` take RTCP about them.
fn description(host: &str, feedback: bool) -> String {
    let (profile, line) = match feedback {
        true => ("RTP/AVPF", "a=rtcp-fb:96 nack pli\r\n"),
        false => ("RTP/AVP", ""),
    };
    format!(
        "v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n\
         m=audio 4000 RTP/AVP 0\r\nm=video 4002 {profile} 96\r\na=rtpmap:96 H264/90000\r\n{line}"
    )
}

fn starting<'a>(heard: &'a [String], start: &str) -> Option<&'a String> {
    heard.iter().rfind(|text| text.starts_with(start))
}

/// Two who talk to each other: of the caller's pictures RTCP can tell, of those of the callee it can't.
struct Pair {
    caller: Peer,
    callee: Peer,
    /// The dialog of the callee, as header fields of its requests; and where they go.
    dialog: [String; 3],
    target: String,
}

impl Pair {
    fn new(world: &mut World) -> Self {
        let mut caller = Peer::new("1001");
        let mut callee = Peer::new("1002").at(([198, 51, 100, 8], 5062).into());
        let to = "To: <sip:1002@192.0.2.1>";
        callee.ask_as_user(world, "REGISTER", "sip:192.0.2.1", &[to], "");
        let allow = "Allow: INVITE, ACK, BYE, INFO";
        let offer = description("198.51.100.7", true);
        caller.ask_as_user(world, "INVITE", URI, &[allow], &offer);
        let heard = callee.heard(world);
        let invite = starting(&heard, "INVITE ").expect("a call").clone();
        let answer = description("198.51.100.8", false);
        callee.answer_with(world, &invite, 200, &[allow], &answer);
        let heard = caller.heard(world);
        let accepted = starting(&heard, "SIP/2.0 200").expect("an answer").clone();
        let line = |text: &str, name: &str| {
            let mut lines = text.lines();
            let line = lines.find(|line| line.starts_with(name));
            line.expect("a header field").to_owned()
        };
        let to = line(&accepted, "To:");
        let cseq = line(&accepted, "CSeq:").replace("INVITE", "ACK");
        caller.ask(world, "ACK", URI, &[&to, &cseq], "");
        callee.heard(world);
        let value = |name: &str| line(&invite, name)[name.len()..].to_owned();
        let contact = line(&invite, "Contact:");
        let target = contact.split(['<', '>']).nth(1).expect("an address");
        Self {
            caller,
            callee,
            dialog: [
                format!("From:{};tag=peer", value("To:")),
                format!("To:{}", value("From:")),
                line(&invite, "Call-ID:"),
            ],
            target: target.to_owned(),
        }
    }

    /// The callee asks for a picture; what it is answered.
    fn ask(&mut self, world: &mut World) -> Vec<String> {
        let [from, to, call] = &self.dialog;
        let fields = [from.as_str(), to, call, CONTROL];
        self.callee.ask(world, "INFO", &self.target, &fields, WISH)
    }

    /// What the callee is asked once the workers are asked for a picture of it.
    fn wanted(&mut self, world: &mut World) -> Option<String> {
        world.want_picture(([198, 51, 100, 8], 4002).into());
        world.run(std::time::Duration::from_millis(100));
        let heard = self.callee.heard(world);
        starting(&heard, "INFO ").cloned()
    }
}

/// RFC 5168 §3, RFC 4585 §6.3.1: who can only say it by INFO is heard by one who takes RTCP.
#[test]
fn rfc5168_3_a_wish_in_info_becomes_feedback() {
    calm(|world| {
        let mut pair = Pair::new(world);
        let caller = ([198, 51, 100, 7], 4002).into();
        let before = world.server.media.asked_for_pictures(caller);
        let heard = pair.ask(world);
        assert!(starting(&heard, "SIP/2.0 200").is_some(), "{heard:?}");
        assert_eq!(world.server.media.asked_for_pictures(caller), before + 1);
        assert!(starting(&pair.caller.heard(world), "INFO ").is_none());
        // One more at once is answered by the same picture.
        let heard = pair.ask(world);
        assert!(starting(&heard, "SIP/2.0 200").is_some(), "{heard:?}");
        assert_eq!(world.server.media.asked_for_pictures(caller), before + 1);
        world.run(secs(1));
        pair.ask(world);
        assert_eq!(world.server.media.asked_for_pictures(caller), before + 2);
        world.run(secs(90));
    });
}

/// RFC 5168 §5: who takes no RTCP about pictures is asked by INFO, not more often than it can answer.
#[test]
fn rfc5168_5_who_takes_no_feedback_is_asked_by_info() {
    calm(|world| {
        let mut pair = Pair::new(world);
        let info = pair.wanted(world).expect("a wish");
        assert!(info.contains("application/media_control+xml"), "{info}");
        assert!(info.contains("<picture_fast_update/>"), "{info}");
        // It has not answered, and then has just been asked.
        assert_eq!(pair.wanted(world), None);
        pair.callee.answer_with(world, &info, 200, &[], "");
        assert_eq!(pair.wanted(world), None);
        world.run(secs(1));
        let info = pair.wanted(world).expect("another wish");
        pair.callee.answer_with(world, &info, 415, &[], "");
        world.run(secs(2));
        assert_eq!(pair.wanted(world), None, "it does not understand");
        world.run(secs(90));
    });
}
