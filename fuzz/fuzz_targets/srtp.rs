//! Protected packets of strangers, and what becomes of packets of our own.
#![no_main]

use libfuzzer_sys::fuzz_target;
use srtp::{MAX_OVERHEAD, MasterKey, Profile, Receiver, Sender};

fuzz_target!(|data: &[u8]| {
    let Some((&choice, data)) = data.split_first() else {
        return;
    };
    let profile = Profile::ALL[usize::from(choice) % Profile::ALL.len()];
    let key = vec![choice; MasterKey::len_for(profile)];
    let key = MasterKey::parse(profile, &key).unwrap();
    let mut sender = Sender::new(profile, &key).unwrap();
    let mut receiver = Receiver::new(profile, &key).unwrap();
    // Nobody but the owner of the key is believed.
    assert!(receiver.unprotect_rtp(&mut data.to_vec()).is_err());
    assert!(receiver.unprotect_rtcp(&mut data.to_vec()).is_err());
    if choice & 0x80 != 0 {
        sender.rekey(profile, &key).unwrap();
        receiver.rekey(profile, &key).unwrap();
    }

    let mut packet = [data, &[0; MAX_OVERHEAD]].concat();
    if let Ok(len) = sender.protect_rtp(&mut packet, data.len()) {
        assert_eq!(len, data.len() + profile.rtp_overhead());
        assert_eq!(receiver.unprotect_rtp(&mut packet[..len]), Ok(data.len()));
        assert_eq!(&packet[..data.len()], data);
    }
    let mut packet = [data, &[0; MAX_OVERHEAD]].concat();
    if let Ok(len) = sender.protect_rtcp(&mut packet, data.len()) {
        assert_eq!(len, data.len() + profile.rtcp_overhead());
        assert_eq!(receiver.unprotect_rtcp(&mut packet[..len]), Ok(data.len()));
        assert_eq!(&packet[..data.len()], data);
    }
});
