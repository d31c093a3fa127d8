//! The ciphers, applied to one packet in place.

use std::hint::black_box;

use aes::cipher::consts::U16;
use aes::cipher::{
    BlockCipherEncrypt, BlockSizeUser, InnerIvInit, KeyInit, StreamCipher, StreamCipherCoreWrapper,
};
use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use ctr::CtrCore;
use ctr::flavors::Ctr128BE;

use crate::derive::{Label, SALT_LEN, SessionKeys};
use crate::hmac::Hmac;
use crate::layout::{RTCP_HEADER, Rtp, word};
use crate::{Error, MasterKey, Profile};
use zeroize::Zeroize;

/// The session keys of one direction, ready for use.
pub(crate) struct Session {
    keys: Keys,
    profile: Profile,
}

/// The keys of the ciphers are large (AES-256 has 15 round keys), so they are kept behind a
/// pointer; those of GCM are so anyway.
enum Keys {
    Cm(Box<Pair<Cm>>),
    Gcm(Pair<Gcm>),
}

struct Pair<K> {
    rtp: K,
    rtcp: K,
}

impl Session {
    pub(crate) fn new(profile: Profile, master: &MasterKey) -> Result<Self, Error> {
        if !master.fits(profile) {
            return Err(Error::KeyLength);
        }
        let rtp = SessionKeys::derive(master, Label::Rtp);
        let rtcp = SessionKeys::derive(master, Label::Rtcp);
        let keys = match profile.is_aead() {
            true => Keys::Gcm(Pair {
                rtp: Gcm::new(&rtp)?,
                rtcp: Gcm::new(&rtcp)?,
            }),
            false => Keys::Cm(Box::new(Pair {
                rtp: Cm::new(&rtp),
                rtcp: Cm::new(&rtcp),
            })),
        };
        Ok(Self { keys, profile })
    }

    pub(crate) fn profile(&self) -> Profile {
        self.profile
    }

    /// Reads what the next RTP packet needs, as far as the ciphers let us see it.
    pub(crate) fn fetch(&self) {
        match &self.keys {
            Keys::Cm(keys) => {
                black_box(keys.rtp.salt[0] == 0);
                keys.rtp.hmac.fetch();
            }
            Keys::Gcm(keys) => {
                black_box(keys.rtp.salt[0] == 0);
            }
        }
    }

    /// Protects the RTP packet in the first `len` bytes of `buffer`, which has room for the tag.
    pub(crate) fn seal_rtp(
        &self,
        buffer: &mut [u8],
        len: usize,
        rtp: Rtp,
        index: u64,
    ) -> Result<usize, Error> {
        let total = len + self.profile.rtp_overhead();
        let packet = buffer.get_mut(..total).ok_or(Error::NoRoom)?;
        let (packet, tag) = packet.split_at_mut(len);
        match &self.keys {
            Keys::Cm(keys) => {
                let cm = &keys.rtp;
                cm.apply(rtp.ssrc, index, &mut packet[rtp.payload..]);
                let digest = cm.hmac.digest(packet, (index >> 16) as u32);
                tag.copy_from_slice(&digest[..tag.len()]);
            }
            Keys::Gcm(keys) => {
                let gcm = &keys.rtp;
                let (header, payload) = packet.split_at_mut(rtp.payload);
                gcm.seal(gcm.nonce(rtp.ssrc, index), header, payload, tag)?;
            }
        }
        Ok(total)
    }

    /// Checks and decrypts an RTP packet; returns its length without the tag. A packet that is
    /// refused may have been overwritten.
    pub(crate) fn open_rtp(&self, packet: &mut [u8], rtp: Rtp, index: u64) -> Result<usize, Error> {
        let len = packet.len().checked_sub(self.profile.rtp_overhead());
        let len = len.filter(|len| *len >= rtp.payload);
        let len = len.ok_or(Error::Malformed)?;
        let (packet, tag) = packet.split_at_mut(len);
        match &self.keys {
            Keys::Cm(keys) => {
                let cm = &keys.rtp;
                if !cm.hmac.verify(packet, (index >> 16) as u32, tag) {
                    return Err(Error::Authentication);
                }
                cm.apply(rtp.ssrc, index, &mut packet[rtp.payload..]);
            }
            Keys::Gcm(keys) => {
                let gcm = &keys.rtp;
                let (header, payload) = packet.split_at_mut(rtp.payload);
                gcm.open(gcm.nonce(rtp.ssrc, index), header, payload, tag)?;
            }
        }
        Ok(len)
    }

    /// Protects the RTCP packet in the first `len` bytes of `buffer`, which has room for index and
    /// tag: with counter mode the index stands before the tag, with GCM behind it.
    ///
    /// # Source
    /// RFC 3711 §3.4, RFC 7714 §9.2
    pub(crate) fn seal_rtcp(
        &self,
        buffer: &mut [u8],
        len: usize,
        ssrc: u32,
        index: u32,
    ) -> Result<usize, Error> {
        let total = len + self.profile.rtcp_overhead();
        let packet = buffer.get_mut(..total).ok_or(Error::NoRoom)?;
        let (packet, trailer) = packet.split_at_mut(len);
        let (header, payload) = packet.split_at_mut(RTCP_HEADER);
        let word = index | ENCRYPTED;
        match &self.keys {
            Keys::Cm(keys) => {
                let cm = &keys.rtcp;
                cm.apply(ssrc, index.into(), payload);
                let (place, tag) = trailer.split_at_mut(4);
                place.copy_from_slice(&word.to_be_bytes());
                let digest = cm.hmac.digest(packet, word);
                tag.copy_from_slice(&digest[..tag.len()]);
            }
            Keys::Gcm(keys) => {
                let gcm = &keys.rtcp;
                let (tag, place) = trailer.split_at_mut(aead::MAX_TAG_LEN);
                place.copy_from_slice(&word.to_be_bytes());
                let associated = associated(header, word);
                gcm.seal(gcm.nonce(ssrc, index.into()), &associated, payload, tag)?;
            }
        }
        Ok(total)
    }

    /// The index of a protected RTCP packet.
    pub(crate) fn rtcp_index(&self, packet: &[u8]) -> Result<u64, Error> {
        Ok(self.rtcp_word(packet)?.index().into())
    }

    fn rtcp_word(&self, packet: &[u8]) -> Result<RtcpWord, Error> {
        let len = packet.len().checked_sub(self.profile.rtcp_overhead());
        let len = len.filter(|len| *len >= RTCP_HEADER);
        let len = len.ok_or(Error::Malformed)?;
        let at = match self.profile.is_aead() {
            true => len + aead::MAX_TAG_LEN,
            false => len,
        };
        word(packet, at).map(RtcpWord).ok_or(Error::Malformed)
    }

    /// Checks and decrypts an RTCP packet; returns its length without index and tag. A packet that
    /// is refused may have been overwritten.
    pub(crate) fn open_rtcp(&self, packet: &mut [u8], ssrc: u32) -> Result<usize, Error> {
        let word = self.rtcp_word(packet)?;
        let len = packet.len() - self.profile.rtcp_overhead();
        let (body, trailer) = packet.split_at_mut(len);
        match &self.keys {
            Keys::Cm(keys) => {
                let cm = &keys.rtcp;
                if !cm.hmac.verify(body, word.0, &trailer[4..]) {
                    return Err(Error::Authentication);
                }
                if word.is_encrypted() {
                    cm.apply(ssrc, word.index().into(), &mut body[RTCP_HEADER..]);
                }
            }
            Keys::Gcm(keys) => {
                let gcm = &keys.rtcp;
                let mut tag = [0; aead::MAX_TAG_LEN];
                tag.copy_from_slice(&trailer[..aead::MAX_TAG_LEN]);
                let nonce = gcm.nonce(ssrc, word.index().into());
                if word.is_encrypted() {
                    let (header, payload) = body.split_at_mut(RTCP_HEADER);
                    gcm.open(nonce, &associated(header, word.0), payload, &tag)?;
                } else {
                    // All of it is associated data, the index next to it.
                    packet[len..len + 4].copy_from_slice(&word.0.to_be_bytes());
                    gcm.open(nonce, &packet[..len + 4], &mut [], &tag)?;
                }
            }
        }
        Ok(len)
    }
}

/// The last word of a protected RTCP packet: E flag and index.
///
/// # Source
/// RFC 3711 §3.4
#[derive(Clone, Copy)]
struct RtcpWord(u32);

impl RtcpWord {
    fn index(self) -> u32 {
        self.0 & !ENCRYPTED
    }

    fn is_encrypted(self) -> bool {
        self.0 & ENCRYPTED != 0
    }
}

const ENCRYPTED: u32 = 1 << 31;

/// AES in counter mode, with HMAC-SHA1.
///
/// # Source
/// RFC 3711 §4.1.1, §4.2.1
struct Cm {
    aes: Aes,
    salt: [u8; SALT_LEN],
    hmac: Hmac,
}

impl Cm {
    fn new(keys: &SessionKeys) -> Self {
        Self {
            aes: Aes::new(keys.encryption()),
            salt: *keys.salt(),
            hmac: Hmac::new(keys.authentication()),
        }
    }

    /// Encrypts or decrypts: it is the same.
    fn apply(&self, ssrc: u32, index: u64, payload: &mut [u8]) {
        let mut iv = [0; 16];
        iv[..SALT_LEN].copy_from_slice(&self.salt);
        xor(&mut iv[4..8], &ssrc.to_be_bytes());
        xor(&mut iv[8..14], &index.to_be_bytes()[2..]);
        self.aes.apply_keystream(iv, payload);
    }
}

/// AES in Galois counter mode.
///
/// # Source
/// RFC 7714 §5
struct Gcm {
    key: LessSafeKey,
    salt: [u8; SALT_LEN],
}

impl Gcm {
    fn new(keys: &SessionKeys) -> Result<Self, Error> {
        Ok(Self {
            key: Self::key(keys.encryption())?,
            salt: *keys.salt(),
        })
    }

    fn key(bytes: &[u8]) -> Result<LessSafeKey, Error> {
        let algorithm = match bytes.len() {
            16 => &aead::AES_128_GCM,
            _ => &aead::AES_256_GCM,
        };
        let key = UnboundKey::new(algorithm, bytes).map_err(|_| Error::KeyLength)?;
        Ok(LessSafeKey::new(key))
    }

    /// The initialisation vector: source, rollover counter and sequence number, or source and
    /// SRTCP index, which takes the place of both.
    ///
    /// # Source
    /// RFC 7714 §8.1, §9.1
    fn nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let mut nonce = [0; aead::NONCE_LEN];
        nonce.copy_from_slice(&self.salt[..aead::NONCE_LEN]);
        xor(&mut nonce[2..6], &ssrc.to_be_bytes());
        xor(&mut nonce[6..], &index.to_be_bytes()[2..]);
        Nonce::assume_unique_for_key(nonce)
    }

    fn seal(
        &self,
        nonce: Nonce,
        associated: &[u8],
        payload: &mut [u8],
        place: &mut [u8],
    ) -> Result<(), Error> {
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(associated), payload)
            .map_err(|_| Error::Exhausted)?;
        place.copy_from_slice(tag.as_ref());
        Ok(())
    }

    fn open(
        &self,
        nonce: Nonce,
        associated: &[u8],
        payload: &mut [u8],
        tag: &[u8],
    ) -> Result<(), Error> {
        self.key
            .open_in_place_separate_tag(nonce, Aad::from(associated), tag, payload)
            .map(|_| ())
            .map_err(|_| Error::Authentication)
    }
}

impl Drop for Cm {
    fn drop(&mut self) {
        // The ciphers wipe themselves.
        self.salt.zeroize();
    }
}

impl Drop for Gcm {
    fn drop(&mut self) {
        // The provider wipes all memory that it frees, the key's too.
        self.salt.zeroize();
    }
}

/// AES as a stream of keys, with a key of 16, 24 or 32 bytes.
pub(crate) enum Aes {
    Of128(aes::Aes128Enc),
    Of192(aes::Aes192Enc),
    Of256(aes::Aes256Enc),
}

impl Aes {
    pub(crate) fn new(key: &[u8]) -> Self {
        if let Ok(key) = key.try_into() {
            Self::Of128(aes::Aes128Enc::new(key))
        } else if let Ok(key) = key.try_into() {
            Self::Of192(aes::Aes192Enc::new(key))
        } else {
            let key = key.try_into().expect("a master key has 16, 24 or 32 bytes");
            Self::Of256(aes::Aes256Enc::new(key))
        }
    }

    /// Combines `data` with the key stream that starts at `iv`.
    pub(crate) fn apply_keystream(&self, iv: [u8; 16], data: &mut [u8]) {
        match self {
            Self::Of128(aes) => counter_mode(aes, iv, data),
            Self::Of192(aes) => counter_mode(aes, iv, data),
            Self::Of256(aes) => counter_mode(aes, iv, data),
        }
    }
}

fn counter_mode<C>(cipher: &C, iv: [u8; 16], data: &mut [u8])
where
    C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>,
{
    let core = CtrCore::<&C, Ctr128BE>::inner_iv_init(cipher, &iv.into());
    StreamCipherCoreWrapper::from_core(core).apply_keystream(data);
}

/// What GCM authenticates of an encrypted RTCP packet: its header, and E flag with index.
fn associated(header: &[u8], word: u32) -> [u8; RTCP_HEADER + 4] {
    let mut bytes = [0; RTCP_HEADER + 4];
    bytes[..RTCP_HEADER].copy_from_slice(&header[..RTCP_HEADER]);
    bytes[RTCP_HEADER..].copy_from_slice(&word.to_be_bytes());
    bytes
}

fn xor(bytes: &mut [u8], others: &[u8]) {
    for (byte, other) in bytes.iter_mut().zip(others) {
        *byte ^= other;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let value = |digit: u8| char::from(digit).to_digit(16).unwrap() as u8;
        let pairs = digits.as_chunks::<2>().0;
        pairs
            .iter()
            .map(|[a, b]| value(*a) << 4 | value(*b))
            .collect()
    }

    #[test]
    fn rfc3711_4_1_1_key_stream_of_appendix_b_2() {
        let cm = Cm {
            aes: Aes::new(&hex("2B7E151628AED2A6ABF7158809CF4F3C")),
            salt: hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").try_into().unwrap(),
            hmac: Hmac::new(&[0; 20]),
        };
        let mut stream = vec![0; 0xff02 * 16];
        cm.apply(0, 0, &mut stream);
        let first = "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB
                     41E95B3BB0A2E8DD477901E4FCA894C0";
        assert_eq!(stream[..48], hex(first));
        let later = "EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE
                     6A2CC3787889374FBEB4C81B17BA6C44";
        assert_eq!(stream[0xfeff * 16..], hex(later));
    }

    #[test]
    fn rfc6188_7_1_key_stream_with_256_bits() {
        let cm = Cm {
            aes: Aes::new(&hex(
                "57f82fe3613fd170a85ec93c40b1f0922ec4cb0dc025b58272147cc438944a98",
            )),
            salt: hex("f0f1f2f3f4f5f6f7f8f9fafbfcfd").try_into().unwrap(),
            hmac: Hmac::new(&[0; 20]),
        };
        let mut stream = [0; 48];
        cm.apply(0, 0, &mut stream);
        let expected = "92bdd28a93c3f52511c677d08b5515a4 9da71b2378a854f67050756ded165bac
                        63c4868b7096d88421b563b8c94c9a31";
        assert_eq!(stream[..], hex(expected));
    }

    /// A session whose keys are given, not derived.
    fn gcm(profile: Profile, key: &str) -> Session {
        let mut salt = [0; SALT_LEN];
        salt[..12].copy_from_slice(&hex("51756964 2070726f 2071756f"));
        let gcm = || {
            let key = Gcm::key(&hex(key)[..profile.key_len()]).unwrap();
            Gcm { key, salt }
        };
        let (rtp, rtcp) = (gcm(), gcm());
        Session {
            keys: Keys::Gcm(Pair { rtp, rtcp }),
            profile,
        }
    }

    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const RTP: &str = "8040f17b 8041f8d3 5501a0b2
         47616c6c 69612065 7374206f 6d6e6973 20646976 69736120
         696e2070 61727465 73207472 6573";

    fn seals_and_opens_rtp(profile: Profile, expected: &str) {
        let session = gcm(profile, KEY);
        let plain = hex(RTP);
        let rtp = Rtp::parse(&plain).unwrap();
        let mut packet = [plain.clone(), vec![0; 16]].concat();
        let len = session.seal_rtp(&mut packet, plain.len(), rtp, 0xf17b);
        assert_eq!(len, Ok(packet.len()));
        assert_eq!(packet, hex(expected));
        let len = session.open_rtp(&mut packet, rtp, 0xf17b).unwrap();
        assert_eq!(packet[..len], plain);
    }

    #[test]
    fn rfc7714_16_1_rtp_with_128_bits() {
        let expected = "8040f17b 8041f8d3 5501a0b2
             f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f
             42a5f47a 51c7d19b 36de3adf 8833
             899d7f27 beb16a91 52cf765e e4390cce";
        seals_and_opens_rtp(Profile::AeadAes128Gcm, expected);
    }

    #[test]
    fn rfc7714_16_2_rtp_with_256_bits() {
        let expected = "8040f17b 8041f8d3 5501a0b2
             32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3
             b50b2a02 76ffae0f 1ba63799 b87b7aa3 db36dfff d6b0f9bb
             7878d7a7 6c13";
        seals_and_opens_rtp(Profile::AeadAes256Gcm, expected);
    }

    const RTCP: &str = "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a
         0000e930 4c756e61 deadbeef deadbeef deadbeef deadbeef deadbeef";

    #[test]
    fn rfc7714_17_1_rtcp_with_128_bits() {
        let session = gcm(Profile::AeadAes128Gcm, KEY);
        let plain = hex(RTCP);
        let mut packet = [plain.clone(), vec![0; 20]].concat();
        let len = session.seal_rtcp(&mut packet, plain.len(), 0x4d61_7273, 0x5d4);
        assert_eq!(len, Ok(packet.len()));
        let expected = "81c8000d 4d617273
             63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1
             730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872
             45d9eade 800005d4";
        assert_eq!(packet, hex(expected));
        let len = session.open_rtcp(&mut packet, 0x4d61_7273).unwrap();
        assert_eq!(packet[..len], plain);
    }

    #[test]
    fn rfc7714_17_3_rtcp_that_is_authenticated_only() {
        let session = gcm(Profile::AeadAes128Gcm, KEY);
        let plain = hex(RTCP);
        let tag = "841dd968 3dd78ec9 2ae58790 125f62b3";
        let mut packet = [plain.clone(), hex(tag), hex("000005d4")].concat();
        assert_eq!(session.open_rtcp(&mut packet, 0x4d61_7273), Ok(plain.len()));
        assert_eq!(packet[..plain.len()], plain);
        packet[20] ^= 1;
        let forged = session.open_rtcp(&mut packet, 0x4d61_7273);
        assert_eq!(forged, Err(Error::Authentication));
    }
}
