//! Codecs and encryption of trunks.

use sip::Method;

use super::transit;

#[test]
fn two_parties_without_a_codec_in_common_hear_each_other_through_us() {
    let mut house = transit(|next| next.media = pbx::sound::with_codecs(vec!["G722".into()]));
    house.register(600);
    let invite = house.passes_on("0711");
    assert!(invite.text.contains("RTP/AVP 9\r\n"), "{}", invite.text);
    let sdp = "v=0\r\no=- 1 1 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n\
               m=audio 6000 RTP/AVP 9\r\na=ptime:40\r\n";
    house.accept(&invite, sdp);
    let tables: Vec<_> = house.out.media.iter().filter_map(table).collect();
    let [caller, callee] = &tables[..] else {
        panic!("{tables:?}");
    };
    assert_eq!(caller, &[(0, "PCMU/8000".to_owned(), 20)]);
    assert_eq!(callee, &[(9, "G722/8000".to_owned(), 40)]);
    let sent = house.settle();
    let answer = sent
        .iter()
        .find(|sent| sent.message().status() == Some(sip::StatusCode(200)));
    let answer = &answer.unwrap().text;
    assert!(answer.contains("m=audio 40000 RTP/AVP 0\r\n"), "{answer}");
}

/// The payload types that a command tells the media worker: number, codec, packet length.
fn table(command: &media::Command) -> Option<Vec<(u8, String, u8)>> {
    let media::Command::Connect { remote, .. } = command else {
        return None;
    };
    let payloads = &remote.as_ref()?.payloads;
    let row = |payload: &media::Payload| match &payload.kind {
        media::PayloadKind::Codec(codec, _) => (payload.number, codec.to_string(), payload.ptime),
        other => panic!("{other:?}"),
    };
    Some(payloads.iter().map(row).collect())
}

#[test]
fn rfc4568_7_1_3_a_trunk_that_must_have_keys_gets_them_and_its_caller_needs_none() {
    let keys = pbx::sound::with(
        Vec::new(),
        sdp::bridge::Encryption::Required,
        sdp::bridge::Keying::Both,
    );
    let mut house = transit(|next| next.media = keys);
    house.register(600);
    let invite = house.passes_on("0711");
    assert!(invite.text.contains(" RTP/SAVP 0 8\r\n"), "{}", invite.text);
    assert!(invite.text.contains("a=crypto:1 AEAD_AES_256_GCM inline:"));
    let sdp = "v=0\r\no=- 1 1 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n\
               m=audio 6000 RTP/SAVP 8\r\na=crypto:4 AES_CM_128_HMAC_SHA1_80 \
               inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";
    house.accept(&invite, sdp);
    let is_secure = |command: &media::Command| match command {
        media::Command::Connect { remote, .. } => {
            let remote = remote.as_ref()?;
            Some(matches!(remote.security, media::Security::Sdes { .. }))
        }
        _ => None,
    };
    let secure: Vec<_> = house.out.media.iter().filter_map(is_secure).collect();
    assert_eq!(secure, [false, true]);
    let sent = house.settle();
    let answer = sent
        .iter()
        .find(|sent| sent.message().status() == Some(sip::StatusCode(200)));
    let answer = &answer.unwrap().text;
    assert!(answer.contains("m=audio 40000 RTP/AVP 8\r\n"), "{answer}");
    assert!(!answer.contains("a=crypto"));
}

#[test]
fn a_trunk_that_must_have_keys_and_takes_none_has_no_call() {
    let keys = pbx::sound::with(
        Vec::new(),
        sdp::bridge::Encryption::Required,
        sdp::bridge::Keying::Both,
    );
    let mut house = transit(|next| next.media = keys);
    house.register(600);
    let invite = house.passes_on("0711");
    let sdp = "v=0\r\no=- 1 1 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n\
               m=audio 6000 RTP/AVP 8\r\n";
    house.accept(&invite, sdp);
    let sent = house.settle();
    let statuses: Vec<_> = sent.iter().filter_map(|s| s.message().status()).collect();
    assert!(statuses.contains(&sip::StatusCode(488)), "{statuses:?}");
    assert!(sent.iter().any(|sent| sent.is(Method::Bye)));
}
