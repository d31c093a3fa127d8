//! Linphone with SRTP and nothing else, and with codecs that the other phone does not have.

use anyhow::{Result, ensure};
use interop::baresip::Account;
use interop::sound::Recording;
use interop::{Baresip, Lab, Linphone, peer};

#[test]
fn rfc4568_7_1_linphone_with_opus_and_srtp_alone_calls_a_plain_phone() -> Result<()> {
    calls_a_plain_phone("opus", "opus/48000")
}

#[test]
fn rfc4568_7_1_linphone_with_g722_and_srtp_alone_calls_a_plain_phone() -> Result<()> {
    calls_a_plain_phone("g722", "G722/8000")
}

/// Linphone offers this codec first and insists on SRTP; the other phone has PCMU without.
fn calls_a_plain_phone(codec: &str, map: &str) -> Result<()> {
    let peers = [peer::BARESIP, peer::LINPHONE];
    Lab::run(&format!("linphone-{codec}"), &peers, |lab| {
        let server = lab.server()?;
        let password = server.password("1002")?;
        let mut bob = Account::new("1002", &password, server.sip());
        bob.answers = true;
        bob.codecs = "PCMU/8000/1";
        bob.hertz = 1000.0;
        let mut bob = Baresip::register(lab, &bob)?;
        let password = server.password("1001")?;
        let settings = settings(codec);
        let account = ("1001", &*password);
        let mut alice = Linphone::register_with(lab, server.sip(), account, 440.0, &settings)?;
        let hears = lab.folder("hears")?.join("alice.wav");
        alice.type_line(&format!("record {}", hears.display()))?;
        alice.type_line("call 1002")?;
        alice.see("Media streams established")?;
        bob.hear(3.0)?;
        let trace = lab.trace()?;
        let (first, last) = alice.media();
        let ours = format!("udp.srcport == {}", server.sip().port());
        let answer = trace.read(
            &format!("{ours} && sip.Status-Code == 200 && sdp.media_attr contains \"crypto:\""),
            &["sdp.media_attr"],
        )?;
        ensure!(
            !answer.is_empty() && answer.iter().all(|answer| answer.contains(map)),
            "{answer:?}"
        );
        let sent = trace.next_rtp((first, last), 50)?;
        ensure!(sent.iter().all(|packet| packet.kind != 0), "PCMU comes");
        alice.type_line("terminate")?;
        alice.see("ended")?;
        bob.event("CALL_CLOSED")?;
        // A busy machine lets a decoder stumble.
        for (heard, hertz) in [(bob.heard()?, 440.0), (Recording::read(&hears)?, 1000.0)] {
            let share = heard.tone(hertz);
            ensure!(share > 0.5, "{share:.2} of the sound is {hertz} Hz");
        }
        server.settles()
    })
}

/// Keys in the description or no call, and no codec but one.
fn settings(codec: &str) -> String {
    let mut text = String::from("[sip]\nmedia_encryption=srtp\nmedia_encryption_mandatory=1\n");
    let codecs = [
        ("opus", 48_000, 2),
        ("G722", 8000, 1),
        ("speex", 32_000, 1),
        ("speex", 16_000, 1),
        ("speex", 8000, 1),
        ("PCMU", 8000, 1),
        ("PCMA", 8000, 1),
        ("GSM", 8000, 1),
    ];
    for (at, (name, rate, channels)) in codecs.into_iter().enumerate() {
        let enabled = u8::from(name.eq_ignore_ascii_case(codec));
        text += &format!(
            "[audio_codec_{at}]\nmime={name}\nrate={rate}\nchannels={channels}\nenabled={enabled}\n"
        );
    }
    text
}
