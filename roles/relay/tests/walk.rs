//! A proxy that asks anything in any order: every request has its reply, and nothing is left.

mod common;

use std::collections::HashSet;
use std::time::Duration;

use common::{list, sdp, with};
use media::Event;
use ng::Value;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Ask {
        command: &'static str,
        call: u8,
        tags: (u8, u8),
        branch: u8,
        body: u8,
        wish: u8,
    },
    Again,
    Pass(u16),
    Stall(bool),
    Full(bool),
    Silent(u8),
    Finished(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let command = prop::sample::select(vec![
        "offer",
        "offer",
        "offer",
        "answer",
        "answer",
        "delete",
        "query",
        "list",
        "statistics",
        "play media",
        "stop media",
        "block media",
        "unblock media",
        "play DTMF",
    ]);
    let ask = (
        command,
        0..3_u8,
        (0..3_u8, 0..4_u8),
        0..3_u8,
        0..6_u8,
        0..10_u8,
    );
    prop_oneof![
        12 => ask.prop_map(|(command, call, tags, branch, body, wish)| Step::Ask {
            command, call, tags, branch, body, wish,
        }),
        1 => Just(Step::Again),
        1 => (0..4000_u16).prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::Stall),
        1 => prop::bool::weighted(0.2).prop_map(Step::Full),
        1 => any::<u8>().prop_map(Step::Silent),
        1 => any::<u8>().prop_map(Step::Finished),
    ]
}

fn body(number: u8) -> Value {
    let keys =
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";
    match number {
        0 => sdp("192.0.2.1:4000", "8 0 101"),
        1 => sdp("192.0.2.2:5000", "0 101"),
        2 => sdp("192.0.2.3:6000", "8") + "m=video 6002 RTP/AVP 99\r\na=rtpmap:99 VP8/90000\r\n",
        3 => sdp("192.0.2.4:7000", "8").replace("AVP", "SAVP") + keys,
        4 => sdp("0.0.0.0:8000", "8") + "a=inactive\r\n",
        _ => "no description".to_owned(),
    }
    .into()
}

fn wishes(number: u8) -> Vec<(&'static str, Value)> {
    match number {
        0 => vec![("flags", list(&["WebRTC"]))],
        1 => vec![("transport-protocol", "RTP/SAVP".into())],
        2 => vec![
            ("transport-protocol", "RTP/AVP".into()),
            ("ICE", "remove".into()),
        ],
        3 => vec![("flags", list(&["codec-mask-all", "codec-transcode-opus"]))],
        4 => vec![
            ("flags", list(&["all", "loop-protect"])),
            ("file", "x.wav".into()),
        ],
        5 => vec![("delete-delay", 0_i64.into()), ("code", 3_i64.into())],
        6 => vec![("sdp-media-remove", list(&["video"]))],
        7 => vec![
            ("sdp-media-remove", list(&["audio"])),
            (
                "flags",
                list(&["sdp-attr-add-none-x", "sdp-attr-remove-audio-rtpmap"]),
            ),
        ],
        _ => vec![],
    }
}

fn ask(world: &mut common::World, step: &Step) -> Vec<u8> {
    let Step::Ask {
        command,
        call,
        tags,
        branch,
        body: text,
        wish,
    } = step
    else {
        unreachable!("only questions");
    };
    let mut entries = vec![
        ("call-id", Value::from(&*format!("c{call}"))),
        ("from-tag", Value::from(&*format!("t{}", tags.0))),
        ("sdp", body(*text)),
    ];
    if tags.1 < 3 {
        entries.push(("to-tag", Value::from(&*format!("t{}", tags.1))));
    }
    if *branch > 0 {
        entries.push(("via-branch", Value::from(&*format!("z{branch}"))));
    }
    entries.extend(wishes(*wish));
    world.message(command, &entries)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn every_request_has_its_reply_and_nothing_is_left(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = with(|config| config.max_calls = 2);
        let (mut asked, mut answered, mut last) = (HashSet::new(), HashSet::new(), Vec::new());
        for step in &steps {
            match step {
                Step::Ask { .. } => {
                    last = ask(&mut world, step);
                    asked.insert(cookie(&last));
                    let replies = world.send(&last);
                    answered.extend(replies.iter().map(|reply| cookie(reply)));
                }
                Step::Again if last.is_empty() => {}
                Step::Again => answered.extend(world.send(&last).iter().map(|reply| cookie(reply))),
                Step::Pass(seconds) => world.pass(Duration::from_secs((*seconds).into())),
                Step::Stall(stalled) => {
                    world.stalled = *stalled;
                    world.work();
                }
                Step::Full(full) => world.full = *full,
                Step::Silent(which) | Step::Finished(which) => {
                    let count = world.sessions.len().max(1);
                    let session = world.sessions.get(usize::from(*which) % count).map(|s| s.0);
                    let Some(session) = session else { continue };
                    let side = media::Side::Caller;
                    world.event(match step {
                        Step::Silent(_) => Event::Silent { session },
                        _ => Event::Finished {
                            session,
                            stream: 0,
                            side,
                            number: u32::from(*which % 4),
                        },
                    });
                }
            }
        }
        (world.stalled, world.full) = (false, false);
        world.work();
        for call in ["c0", "c1", "c2"] {
            let entries = [("call-id", call.into()), ("delete-delay", Value::from(0_i64))];
            let message = world.message("delete", &entries);
            let replies = world.send(&message);
            answered.extend(replies.iter().map(|reply| cookie(reply)));
        }
        // What was deleted with a delay before.
        world.pass(Duration::from_secs(8000));
        answered.extend(world.replies().iter().map(|reply| cookie(reply)));
        prop_assert!(asked.is_subset(&answered), "{:?}", asked.difference(&answered));
        prop_assert_eq!((world.relay.calls(), world.sessions.len()), (0, 0));
    }
}

fn cookie(message: &[u8]) -> Vec<u8> {
    let blank = message.iter().position(|&octet| octet == b' ');
    message[..blank.unwrap_or(0)].to_vec()
}
