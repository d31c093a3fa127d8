//! RTP and RTCP, and the state that a receiver keeps about them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtp::rtcp::{self, Packets, Writer};
use rtp::telephone_event::Receiver;
use rtp::{HEADER_LEN, Header, Jitter, Kind, Packet, Sequence, TelephoneEvent};

fuzz_target!(|data: &[u8]| {
    rtp_packet(data);
    rtcp_packets(data);
    telephone_events(data);
    // The same bytes as a run of sequence numbers.
    let mut sequence = Sequence::new(0);
    let mut jitter = Jitter::default();
    for (n, &[high, low]) in data.as_chunks::<2>().0.iter().enumerate() {
        let number = u16::from_be_bytes([high, low]);
        sequence.update(number);
        jitter.update(n as u32 * 160, u32::from(number) << 16);
        let _ = (
            sequence.lost(),
            sequence.fraction_lost(),
            sequence.extended_highest(),
        );
    }
});

/// Reports with their timestamps: what began, ends before the next begins.
fn telephone_events(data: &[u8]) {
    let mut receiver = Receiver::default();
    let mut active = false;
    for bytes in data.as_chunks::<7>().0 {
        let timestamp = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
        let report = TelephoneEvent::parse(&bytes[3..]).expect("four bytes are a report");
        let heard = receiver.handle(timestamp, report);
        assert!(heard.ended.is_none() || active || heard.began.is_some());
        active = receiver.is_active();
    }
}

fn rtp_packet(data: &[u8]) {
    let header = Header::parse(data);
    let Ok(packet) = Packet::parse(data) else {
        return;
    };
    assert_eq!(header, Ok(packet.header()));
    let csrc = 4 * packet.csrc().count();
    let extension = packet.extension().map_or(0, |e| 4 + e.data.len());
    assert!(HEADER_LEN + csrc + extension + packet.payload().len() <= data.len());
    let mut copy = data.to_vec();
    packet.header().restamp(&mut copy);
    assert_eq!(copy, data);
}

fn rtcp_packets(data: &[u8]) {
    let mut packets = Packets::new(data);
    if let Some(Ok(first)) = packets.next() {
        assert_eq!(Kind::of(data), Kind::Rtcp);
        if let rtcp::Packet::SenderReport(info, blocks) = first {
            let blocks: Vec<_> = blocks.collect();
            let mut buffer = [0; 1024];
            let mut writer = Writer::new(&mut buffer);
            writer.sender_report(&info, &blocks);
            let again = Packets::new(writer.finish()).next();
            let Some(Ok(rtcp::Packet::SenderReport(same, again))) = again else {
                panic!("{again:?}");
            };
            assert_eq!((same, again.collect::<Vec<_>>()), (info, blocks));
            assert_eq!(rtcp::sender(data), Ok(info.ssrc));
        }
    }
    let _ = packets.count();
}
