//! Sound from anybody, in every codec: packets of any content and any loss between them.
#![no_main]

use codec::comfort_noise::{Description, Generator};
use codec::{Codec, Decoder, Error, Parameters};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, bool, Vec<&[u8]>)| {
    let (choice, packing, payloads) = input;
    let l16 = [(8000, 1), (16_000, 2)].map(|(rate, channels)| Codec::L16 { rate, channels });
    let codecs: Vec<Codec> = Codec::all().chain(l16).collect();
    let codec = codecs[usize::from(choice) % codecs.len()];
    let fmtp = if packing { "octet-align=1;mode=20" } else { "" };
    let parameters = Parameters::from_fmtp(codec, fmtp);
    let mut decoder = Decoder::new(codec, &parameters).expect("every codec has a decoder");
    let mut pcm = [0; 5760];
    for payload in payloads {
        let step = codec.sample_rate() as usize / 50;
        match payload {
            [] => assert!(decoder.conceal(&mut pcm[..step]) <= step),
            [0xfe, next @ ..] => assert!(decoder.recover(next, &mut pcm[..step]) <= step),
            _ => match decoder.decode(payload, &mut pcm) {
                Ok(samples) => assert!(samples <= pcm.len()),
                Err(error) => assert_ne!(error, Error::Failed, "{codec} is of no more use"),
            },
        }
        if let Some(noise) = Description::parse(payload) {
            Generator::new(noise).fill(&mut pcm[..160]);
        }
    }
});
