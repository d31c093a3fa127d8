//! What parties are offered where nobody says otherwise, and what we can convert.

use std::sync::{Arc, LazyLock};

use codec::{Codec, Parameters};
use media::{MasterKey, Profile};
use sdp::bridge::{Encryption, Key, Keying, Policy, Security, Suite, Transcodable};

/// How a user or trunk is dealt with about which no file says anything: no encryption but what its own
/// offer has, and every codec.
#[must_use]
pub fn policy() -> Policy {
    Policy {
        // Other keys pass from end to end.
        keying: Keying::Sdes,
        suites: SUITES.to_vec(),
        transcode: &TRANSCODABLE,
        ..Policy::default()
    }
}

/// The same for somebody who may use these codecs only, named as in `a=rtpmap`, best first; none: any.
#[must_use]
pub fn with_codecs(codecs: Vec<Box<str>>) -> Arc<Policy> {
    with(codecs, Encryption::Follow)
}

/// As [`with_codecs`], with a rule for encryption.
#[must_use]
pub fn with(codecs: Vec<Box<str>>, encryption: Encryption) -> Arc<Policy> {
    if codecs.is_empty() && encryption == Encryption::Follow {
        return Arc::clone(&STRANGERS);
    }
    Arc::new(Policy {
        codecs,
        encryption,
        ..policy()
    })
}

/// What we offer and take for SRTP, best first. The rare key length is left out: every line makes an
/// offer 90 octets longer.
const SUITES: [Suite; 5] = [
    Suite::AeadAes256Gcm,
    Suite::AeadAes128Gcm,
    Suite::Aes256CmSha1_80,
    Suite::Aes128CmSha1_80,
    Suite::Aes128CmSha1_32,
];

/// The same for whoever is neither user nor trunk.
pub(crate) static STRANGERS: LazyLock<Arc<Policy>> = LazyLock::new(|| Arc::new(policy()));

/// Every codec that was compiled in, the better ones first.
static TRANSCODABLE: LazyLock<Vec<Transcodable>> = LazyLock::new(|| {
    let all = Codec::all().map(|codec| Transcodable {
        name: codec.name(),
        clock_rate: codec.clock(),
        channels: codec.channels(),
        payload_type: codec.static_payload_type(),
        fmtp: parameters(codec),
    });
    all.collect()
});

/// What we say of a codec in our own offers.
fn parameters(codec: Codec) -> &'static str {
    match codec {
        Codec::Opus => "useinbandfec=1",
        Codec::G729 => "annexb=no",
        Codec::G7231 => "annexa=no",
        Codec::AmrNb | Codec::AmrWb => "octet-align=1",
        _ => "",
    }
}

/// A payload type as the media workers know it.
pub(crate) fn payload(payload: &sdp::bridge::Payload) -> media::Payload {
    let name = &payload.name;
    let codec = Codec::from_rtpmap(name, payload.clock_rate, payload.channels);
    let kind = match codec {
        Some(codec) => {
            media::PayloadKind::Codec(codec, Parameters::from_fmtp(codec, &payload.fmtp))
        }
        None if name.eq_ignore_ascii_case("telephone-event") => {
            media::PayloadKind::TelephoneEvent {
                clock: payload.clock_rate,
            }
        }
        None if name.eq_ignore_ascii_case("CN") && payload.clock_rate == 8000 => {
            media::PayloadKind::ComfortNoise
        }
        None => media::PayloadKind::Other {
            name: format!("{}/{}", name.to_ascii_lowercase(), payload.clock_rate).into(),
        },
    };
    media::Payload {
        number: payload.number,
        kind,
        ptime: payload.ptime,
    }
}

/// How a stream is protected, as the media workers know it. None: the keys don't fit their suite.
pub(crate) fn security(security: &Security) -> Option<media::Security> {
    let Security::Sdes(sdes) = security else {
        return Some(media::Security::Plain);
    };
    let profile = match sdes.suite {
        Suite::AeadAes256Gcm => Profile::AeadAes256Gcm,
        Suite::AeadAes128Gcm => Profile::AeadAes128Gcm,
        Suite::Aes256CmSha1_80 => Profile::Aes256CmSha1_80,
        Suite::Aes192CmSha1_80 => Profile::Aes192CmSha1_80,
        Suite::Aes128CmSha1_80 => Profile::Aes128CmSha1_80,
        Suite::Aes256CmSha1_32 => Profile::Aes256CmSha1_32,
        Suite::Aes192CmSha1_32 => Profile::Aes192CmSha1_32,
        Suite::Aes128CmSha1_32 => Profile::Aes128CmSha1_32,
    };
    let key = |key: &Key| MasterKey::parse(profile, key.as_bytes()).ok();
    Some(media::Security::Sdes {
        profile,
        local: key(&sdes.local)?,
        remote: key(&sdes.remote)?,
    })
}

/// Random bits for keys.
pub(crate) struct Minted<'a>(pub(crate) &'a mut base::Mint);

impl sdp::bridge::Random for Minted<'_> {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let bits = self.0.number64().to_le_bytes();
            chunk.copy_from_slice(&bits[..chunk.len()]);
        }
    }
}
