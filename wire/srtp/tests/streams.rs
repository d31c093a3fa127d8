//! Streams of packets through a sender and a receiver.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use proptest::prelude::*;
use srtp::{Error, MAX_OVERHEAD, MAX_SOURCES, MasterKey, Profile, Receiver, Sender};

fn key(profile: Profile, seed: u8) -> MasterKey {
    let bytes: Vec<u8> = (0..MasterKey::len_for(profile))
        .map(|n| seed ^ n as u8)
        .collect();
    MasterKey::parse(profile, &bytes).unwrap()
}

fn pair(profile: Profile) -> (Sender, Receiver) {
    let key = key(profile, 0x5a);
    let sender = Sender::new(profile, &key).unwrap();
    (sender, Receiver::new(profile, &key).unwrap())
}

fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 0, 160]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend((0..160).map(|n| n as u8 ^ sequence as u8));
    packet
}

fn rtcp(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0x81, 202, 0, 2, 1, 2, 3, 4, 1, 1, b'x', 0]);
    packet
}

fn protect(sender: &mut Sender, plain: &[u8]) -> Vec<u8> {
    let mut packet = [plain, &[0; MAX_OVERHEAD]].concat();
    let len = sender.protect_rtp(&mut packet, plain.len()).unwrap();
    packet.truncate(len);
    packet
}

fn protect_rtcp(sender: &mut Sender, plain: &[u8]) -> Vec<u8> {
    let mut packet = [plain, &[0; MAX_OVERHEAD]].concat();
    let len = sender.protect_rtcp(&mut packet, plain.len()).unwrap();
    packet.truncate(len);
    packet
}

fn unprotect(receiver: &mut Receiver, packet: &[u8]) -> Result<Vec<u8>, Error> {
    let mut packet = packet.to_vec();
    let len = receiver.unprotect_rtp(&mut packet)?;
    packet.truncate(len);
    Ok(packet)
}

fn unprotect_rtcp(receiver: &mut Receiver, packet: &[u8]) -> Result<Vec<u8>, Error> {
    let mut packet = packet.to_vec();
    let len = receiver.unprotect_rtcp(&mut packet)?;
    packet.truncate(len);
    Ok(packet)
}

#[test]
fn rfc3711_3_3_packets_arrive_as_they_were_and_once() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile);
        let plain = rtp(1, 7);
        let packet = protect(&mut sender, &plain);
        assert_eq!(packet.len(), plain.len() + profile.rtp_overhead());
        assert_ne!(packet[12..172], plain[12..]);
        assert_eq!(unprotect(&mut receiver, &packet).unwrap(), plain);
        assert_eq!(unprotect(&mut receiver, &packet), Err(Error::Replayed));
    }
}

#[test]
fn rfc3711_3_4_rtcp_arrives_as_it_was_and_once() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile);
        let plain = rtcp(9);
        let first = protect_rtcp(&mut sender, &plain);
        let second = protect_rtcp(&mut sender, &plain);
        assert_eq!(first.len(), plain.len() + profile.rtcp_overhead());
        assert_ne!(first, second);
        assert_eq!(unprotect_rtcp(&mut receiver, &second).unwrap(), plain);
        assert_eq!(unprotect_rtcp(&mut receiver, &first).unwrap(), plain);
        assert_eq!(unprotect_rtcp(&mut receiver, &first), Err(Error::Replayed));
    }
}

#[test]
fn each_changed_bit_is_noticed() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile);
        let (rtp, rtcp) = (rtp(1, 7), rtcp(1));
        let media = protect(&mut sender, &rtp);
        let control = protect_rtcp(&mut sender, &rtcp);
        for bit in 0..8 * media.len() {
            let mut packet = media.clone();
            packet[bit / 8] ^= 1 << (bit % 8);
            assert!(unprotect(&mut receiver, &packet).is_err(), "{bit}");
        }
        for bit in 0..8 * control.len() {
            let mut packet = control.clone();
            packet[bit / 8] ^= 1 << (bit % 8);
            assert!(unprotect_rtcp(&mut receiver, &packet).is_err(), "{bit}");
        }
        // All that did no harm: the true ones still count.
        assert_eq!(unprotect(&mut receiver, &media).unwrap(), rtp);
        assert_eq!(unprotect_rtcp(&mut receiver, &control).unwrap(), rtcp);
    }
}

#[test]
fn rfc3711_3_3_1_the_rollover_counter_follows_three_turns_and_late_packets() {
    let (mut sender, mut receiver) = pair(Profile::Aes128CmSha1_80);
    let mut late = None;
    for n in (64_999u32..65_000 + 3 * 65_536).step_by(179) {
        let plain = rtp(1, n as u16);
        let packet = protect(&mut sender, &plain);
        if n % 65_536 > 65_535 - 179 {
            late = Some((packet, plain));
            continue;
        }
        assert_eq!(unprotect(&mut receiver, &packet).unwrap(), plain);
        if n % 65_536 > 179
            && let Some((packet, plain)) = late.take()
        {
            assert_eq!(unprotect(&mut receiver, &packet).unwrap(), plain);
        }
    }
    assert_eq!(late, None);
}

#[test]
fn rfc3711_3_3_1_a_stream_whose_first_packets_are_late_is_understood() {
    for profile in [Profile::Aes256CmSha1_80, Profile::AeadAes256Gcm] {
        let (mut sender, mut receiver) = pair(profile);
        let before = protect(&mut sender, &rtp(1, 65_535));
        let after = protect(&mut sender, &rtp(1, 0));
        assert_eq!(unprotect(&mut receiver, &after).unwrap(), rtp(1, 0));
        assert_eq!(unprotect(&mut receiver, &before).unwrap(), rtp(1, 65_535));
    }
}

/// What nobody has told us is found out: a party is transferred with its keys after hours.
#[test]
fn rfc3711_3_3_1_a_source_that_has_begun_long_ago_is_understood() {
    for profile in [Profile::Aes128CmSha1_80, Profile::AeadAes256Gcm] {
        let (mut sender, mut receiver) = pair(profile);
        // Forty turns, a quarter of one at a time.
        let mut sequence = 100u16;
        for _ in 0..160 {
            protect(&mut sender, &rtp(1, sequence));
            sequence = sequence.wrapping_add(1 << 14);
        }
        let mut lost = 0;
        let heard = loop {
            sequence += 1;
            let packet = protect(&mut sender, &rtp(1, sequence));
            match unprotect(&mut receiver, &packet) {
                Ok(plain) => break (packet, plain),
                Err(error) => assert_eq!(error, Error::Authentication),
            }
            lost += 1;
            assert!(lost < 66, "{profile:?}");
        };
        assert_eq!(heard.1, rtp(1, sequence));
        assert_eq!(unprotect(&mut receiver, &heard.0), Err(Error::Replayed));
        let next = protect(&mut sender, &rtp(1, sequence + 1));
        assert!(unprotect(&mut receiver, &next).is_ok());
        // Another one begins, as most do, at the beginning.
        let other = protect(&mut sender, &rtp(2, 7));
        assert!(unprotect(&mut receiver, &other).is_ok());
    }
}

#[test]
fn a_source_that_restarts_under_another_ssrc_begins_anew() {
    let (mut sender, mut receiver) = pair(Profile::AeadAes128Gcm);
    for (ssrc, sequence) in [(1, 65_535), (1, 0), (2, 40_000), (1, 1), (2, 40_001)] {
        let plain = rtp(ssrc, sequence);
        let packet = protect(&mut sender, &plain);
        assert_eq!(unprotect(&mut receiver, &packet).unwrap(), plain);
    }
}

#[test]
fn a_jump_forward_is_followed() {
    let (mut sender, mut receiver) = pair(Profile::Aes128CmSha1_32);
    for sequence in [5, 40_000, 10, 30_000, 62_000, 20_000] {
        let plain = rtp(1, sequence);
        let packet = protect(&mut sender, &plain);
        assert_eq!(
            unprotect(&mut receiver, &packet).unwrap(),
            plain,
            "{sequence}"
        );
    }
}

#[test]
fn sources_beyond_the_bound_push_out_the_one_that_was_idle_longest() {
    let (mut sender, mut receiver) = pair(Profile::Aes128CmSha1_80);
    for ssrc in 0..2 * MAX_SOURCES as u32 {
        for sequence in 0..2 {
            let plain = rtp(ssrc, sequence);
            let packet = protect(&mut sender, &plain);
            assert_eq!(unprotect(&mut receiver, &packet).unwrap(), plain);
        }
    }
}

#[test]
fn rfc3711_8_1_a_new_key_keeps_the_rollover_counter() {
    let profile = Profile::Aes128CmSha1_80;
    let (mut sender, mut receiver) = pair(profile);
    let turned = [65_535, 0, 1].map(|n| protect(&mut sender, &rtp(1, n)));
    for packet in &turned[..2] {
        unprotect(&mut receiver, packet).unwrap();
    }
    let other = Profile::AeadAes256Gcm;
    sender.rekey(other, &key(other, 1)).unwrap();
    receiver.rekey(other, &key(other, 1)).unwrap();
    assert_eq!(sender.profile(), other);
    let packet = protect(&mut sender, &rtp(1, 2));
    assert_eq!(unprotect(&mut receiver, &packet).unwrap(), rtp(1, 2));
    // Under way when the key was changed; and one that was there already.
    assert_eq!(unprotect(&mut receiver, &turned[2]).unwrap(), rtp(1, 1));
    assert_eq!(unprotect(&mut receiver, &turned[1]), Err(Error::Replayed));
    let control = protect_rtcp(&mut sender, &rtcp(1));
    assert_eq!(unprotect_rtcp(&mut receiver, &control).unwrap(), rtcp(1));
}

#[test]
fn a_peer_that_counts_anew_with_a_new_key_is_understood() {
    for profile in [Profile::Aes128CmSha1_80, Profile::AeadAes128Gcm] {
        let (mut sender, mut receiver) = pair(profile);
        let mut old = Vec::new();
        for n in [65_000, 65_535, 0, 1, 2] {
            old = protect(&mut sender, &rtp(1, n));
            unprotect(&mut receiver, &old).unwrap();
            unprotect_rtcp(&mut receiver, &protect_rtcp(&mut sender, &rtcp(1))).unwrap();
        }
        let mut sender = Sender::new(profile, &key(profile, 1)).unwrap();
        receiver.rekey(profile, &key(profile, 1)).unwrap();
        for n in 3..10 {
            let packet = protect(&mut sender, &rtp(1, n));
            assert_eq!(unprotect(&mut receiver, &packet).unwrap(), rtp(1, n));
            assert_eq!(unprotect(&mut receiver, &packet), Err(Error::Replayed));
            let control = protect_rtcp(&mut sender, &rtcp(1));
            assert_eq!(unprotect_rtcp(&mut receiver, &control).unwrap(), rtcp(1));
        }
        assert!(unprotect(&mut receiver, &old).is_err());
    }
}

#[test]
fn the_old_key_is_wiped_in_the_end() {
    let profile = Profile::Aes128CmSha1_80;
    let (mut old, mut receiver) = pair(profile);
    let mut sender = Sender::new(profile, &key(profile, 1)).unwrap();
    receiver.rekey(profile, &key(profile, 1)).unwrap();
    let late = protect(&mut old, &rtp(7, 1));
    assert_eq!(unprotect(&mut receiver, &late).unwrap(), rtp(7, 1));
    for n in 0..500 {
        unprotect(&mut receiver, &protect(&mut sender, &rtp(1, n))).unwrap();
    }
    let late = protect(&mut old, &rtp(7, 2));
    assert_eq!(unprotect(&mut receiver, &late), Err(Error::Authentication));
}

#[test]
fn a_key_of_another_profile_is_refused() {
    let short = key(Profile::Aes128CmSha1_80, 1);
    let error = Sender::new(Profile::AeadAes128Gcm, &short).unwrap_err();
    assert_eq!(error, Error::KeyLength);
    let (mut sender, mut receiver) = pair(Profile::AeadAes128Gcm);
    assert!(sender.rekey(Profile::AeadAes256Gcm, &short).is_err());
    assert!(receiver.rekey(Profile::AeadAes256Gcm, &short).is_err());
    let packet = protect(&mut sender, &rtp(1, 1));
    assert_eq!(unprotect(&mut receiver, &packet).unwrap(), rtp(1, 1));
}

fn profiles() -> impl Strategy<Value = Profile> {
    prop::sample::select(&Profile::ALL[..])
}

/// A packet with any number of sources and words of extension.
fn any_rtp(csrc: u8, extension: Option<u8>, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = rtp(3, sequence);
    packet.truncate(12);
    packet[0] |= csrc | if extension.is_some() { 0x10 } else { 0 };
    packet.extend(vec![7; 4 * usize::from(csrc)]);
    if let Some(words) = extension {
        packet.extend([0xbe, 0xde, 0, words]);
        packet.extend(vec![9; 4 * usize::from(words)]);
    }
    packet.extend(payload);
    packet
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_packet_comes_back(
        profile in profiles(),
        csrc in 0u8..16,
        extension in prop::option::of(0u8..20),
        sequence: u16,
        payload in prop::collection::vec(any::<u8>(), 0..1400),
    ) {
        let (mut sender, mut receiver) = pair(profile);
        let plain = any_rtp(csrc, extension, sequence, &payload);
        let packet = protect(&mut sender, &plain);
        let header = plain.len() - payload.len();
        prop_assert_eq!(&packet[..header], &plain[..header]);
        prop_assert_eq!(unprotect(&mut receiver, &packet).unwrap(), plain);
    }

    #[test]
    fn any_order_within_the_window_is_accepted_once(
        profile in profiles(),
        start: u16,
        order in prop::collection::vec(0u32..400, 400).prop_map(|weights| {
            let mut order: Vec<u32> = (0..400).collect();
            order.sort_by_key(|n| weights[*n as usize] + n);
            order
        }),
    ) {
        let (mut sender, mut receiver) = pair(profile);
        let plain = |n: u32| rtp(1, (u32::from(start) + n) as u16);
        let packets: Vec<_> = (0..400).map(|n| protect(&mut sender, &plain(n))).collect();
        for n in &order {
            let opened = unprotect(&mut receiver, &packets[*n as usize]);
            prop_assert_eq!(opened.unwrap(), plain(*n));
        }
        for packet in packets {
            prop_assert!(unprotect(&mut receiver, &packet).is_err());
        }
    }

    #[test]
    fn no_bytes_panic(profile in profiles(), bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let (mut sender, mut receiver) = pair(profile);
        receiver.rekey(profile, &key(profile, 3)).unwrap();
        prop_assert!(unprotect(&mut receiver, &bytes).is_err());
        prop_assert!(unprotect_rtcp(&mut receiver, &bytes).is_err());
        for len in [0, bytes.len().saturating_sub(20), bytes.len(), bytes.len() + 1] {
            let _ = sender.protect_rtp(&mut bytes.clone(), len);
            let _ = sender.protect_rtcp(&mut bytes.clone(), len);
        }
    }
}
