//! Browsers that are led from one party to another.

use std::sync::Arc;

use pbx::User;
use sdp::bridge::ice::Mode;
use testkit::{Peer, World};

use super::{secs, with};

const URI: &str = "sip:1002@192.0.2.1";
const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n\
    a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n\
    a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:\
    10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\na=setup:actpass\r\n\
    m=audio 4000 UDP/TLS/RTP/SAVPF 0\r\na=mid:a\r\na=rtcp-mux\r\n\
    a=candidate:1 1 UDP 2130706431 198.51.100.7 4000 typ host\r\n";

fn with_browser(story: impl FnOnce(&mut World)) {
    with(
        |settings| {
            settings.config.network.ice = Mode::Lite;
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

fn plain(host: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
    )
}

fn line(text: &str, name: &str) -> String {
    let mut lines = text.lines();
    let line = lines.find(|line| line.starts_with(name));
    line.unwrap_or_else(|| panic!("no {name} in {text}"))
        .to_owned()
}

fn starting(heard: &[String], start: &str) -> String {
    let found = heard.iter().rfind(|text| text.starts_with(start));
    found
        .unwrap_or_else(|| panic!("no {start} in {heard:?}"))
        .clone()
}

/// What a browser tells two transports apart by: our certificate, and our credentials for connectivity checks.
fn transport(description: &str) -> [String; 2] {
    ["a=fingerprint:", "a=ice-ufrag:"].map(|name| line(description, name))
}

/// A browser talks to a phone, and another phone asks for the phone's place.
struct Office {
    browser: Peer,
    phone: Peer,
    other: Peer,
    /// The phone's dialog, as header fields of its requests, where they go, and as others name it.
    dialog: [String; 3],
    target: String,
    replaces: String,
    /// What the browser was told first.
    told: [String; 2],
}

impl Office {
    fn open(world: &mut World) -> Self {
        let mut browser = Peer::new("1001");
        let mut phone = Peer::new("1002").at(([198, 51, 100, 8], 5062).into());
        let other = Peer::new("1003").at(([198, 51, 100, 9], 5062).into());
        let to = "To: <sip:1002@192.0.2.1>";
        phone.ask_as_user(world, "REGISTER", "sip:192.0.2.1", &[to], "");
        browser.ask_as_user(world, "INVITE", URI, &[], OFFER);
        let invite = starting(&phone.heard(world), "INVITE ");
        phone.answer_with(world, &invite, 200, &[], &plain("198.51.100.8"));
        let accepted = starting(&browser.heard(world), "SIP/2.0 200");
        let to = line(&accepted, "To:");
        let cseq = line(&accepted, "CSeq:").replace("INVITE", "ACK");
        browser.ask(world, "ACK", URI, &[&to, &cseq], "");
        phone.heard(world);

        let value = |name: &str| line(&invite, name)[name.len()..].to_owned();
        let contact = line(&invite, "Contact:");
        let target = contact.split(['<', '>']).nth(1).expect("an address");
        let from = value("From:");
        let (_, tag) = from.split_once(";tag=").expect("our tag");
        let call = value("Call-ID:");
        Self {
            replaces: format!("Replaces: {};to-tag={tag};from-tag=peer", call.trim()),
            dialog: [
                format!("From:{};tag=peer", value("To:")),
                format!("To:{from}"),
                format!("Call-ID:{call}"),
            ],
            target: target.to_owned(),
            told: transport(&accepted),
            browser,
            phone,
            other,
        }
    }

    /// Somebody asks for the phone's place; what the browser is offered then.
    fn lead(&mut self, world: &mut World) -> String {
        let fields = [self.replaces.as_str()];
        let offer = plain("198.51.100.9");
        self.other.begin();
        self.other
            .ask_as_user(world, "INVITE", URI, &fields, &offer);
        starting(&self.browser.heard(world), "INVITE ")
    }
}

/// RFC 8842 §4, RFC 8839 §4.4.1.1.1: other ports are another transport.
#[test]
fn rfc8842_4_who_is_led_elsewhere_is_shown_another_certificate() {
    with_browser(|world| {
        let mut office = Office::open(world);
        let offer = office.lead(world);
        let [print, ufrag] = transport(&offer);
        assert!(print != office.told[0] && ufrag != office.told[1]);
        assert!(offer.contains("a=setup:actpass"), "{offer}");
        let answer = OFFER.replace("actpass", "active");
        let answer = answer.replace("ufrag:abcd", "ufrag:efgh");
        office.browser.answer_with(world, &offer, 200, &[], &answer);
        let accepted = starting(&office.other.heard(world), "SIP/2.0 200");
        let to = line(&accepted, "To:");
        let cseq = line(&accepted, "CSeq:").replace("INVITE", "ACK");
        office.other.ask(world, "ACK", URI, &[&to, &cseq], "");
        office.other.ask(world, "BYE", URI, &[&to], "");
        let bye = starting(&office.browser.heard(world), "BYE ");
        office.browser.answer(world, &bye, 200);
        world.run(secs(90));
    });
}

/// RFC 3264 §8: what was agreed before a refused offer holds on.
#[test]
fn rfc3264_8_who_does_not_follow_keeps_its_transport() {
    with_browser(|world| {
        let mut office = Office::open(world);
        let offer = office.lead(world);
        assert_ne!(transport(&offer), office.told);
        office.browser.answer(world, &offer, 488);
        starting(&office.other.heard(world), "SIP/2.0 488");

        let held = plain("198.51.100.8") + "a=sendonly\r\n";
        let [from, to, call] = &office.dialog;
        let fields = [from.as_str(), to, call];
        office
            .phone
            .ask(world, "INVITE", &office.target, &fields, &held);
        let offer = starting(&office.browser.heard(world), "INVITE ");
        assert_eq!(transport(&offer), office.told);
        let answer = OFFER.replace("actpass", "active");
        office.browser.answer_with(world, &offer, 200, &[], &answer);
        let accepted = starting(&office.phone.heard(world), "SIP/2.0 200");
        let cseq = line(&accepted, "CSeq:").replace("INVITE", "ACK");
        let [from, to, call] = &office.dialog;
        let fields = [from.as_str(), to, call, cseq.as_str()];
        let (phone, target) = (&mut office.phone, office.target.clone());
        phone.ask(world, "ACK", &target, &fields, "");
        phone.ask(world, "BYE", &target, &fields[..3], "");
        let bye = starting(&office.browser.heard(world), "BYE ");
        office.browser.answer(world, &bye, 200);
        world.run(secs(90));
    });
}
