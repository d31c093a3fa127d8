//! Protected packets and handshakes, with the libraries that others use.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use interop::libsrtp::{Libsrtp, bytes};
use interop::process::Process;
use interop::wait::until;
use interop::{Lab, peer};
use media::dtls::{Endpoint, Error, Fingerprint, Hash, Identity, Output, Setup};
use srtp::dtls::{EXPORTER_LABEL, Keys, Role};
use srtp::{MAX_OVERHEAD, MasterKey, Profile, Receiver, Sender};

#[test]
fn rfc3711_packets_are_those_of_libsrtp_to_the_byte() -> Result<()> {
    if !peer::ensure_all(&[peer::LIBSRTP])? {
        return Ok(());
    }
    Lab::run_quietly("libsrtp", |lab| {
        let mut theirs = Libsrtp::start(lab.root())?;
        // With 192 bits, libsrtp 2.5 derives session keys by AES-256, not as RFC 6188 §3 has it; there
        // we go by the test vectors of the RFC.
        let same = Profile::ALL
            .into_iter()
            .filter(|profile| profile.key_len() != 24);
        for profile in same {
            same_rtp(&mut theirs, profile).with_context(|| format!("RTP, {profile:?}"))?;
            same_rtcp(&mut theirs, profile).with_context(|| format!("RTCP, {profile:?}"))?;
        }
        Ok(())
    })
}

fn key(profile: Profile) -> Result<MasterKey> {
    let bytes: Vec<u8> = (0..MasterKey::len_for(profile))
        .map(|n| (37 * n + 11) as u8)
        .collect();
    Ok(MasterKey::parse(profile, &bytes)?)
}

/// Payloads of all lengths, header extensions, several sources, out of order, over two turns of the
/// sequence number.
fn rtp_packets() -> impl Iterator<Item = Vec<u8>> {
    (0..400u32).map(|n| {
        let step = if matches!(n % 10, 6 | 7) { n ^ 1 } else { n };
        let sequence = (65_000 + 317 * step) as u16;
        let mut packet = vec![if n % 3 == 0 { 0x91 } else { 0x80 }, 0];
        packet.extend(sequence.to_be_bytes());
        packet.extend((160 * n).to_be_bytes());
        packet.extend([0, 0, 0, (n % 10 / 9) as u8]);
        if n % 3 == 0 {
            packet.extend([1, 2, 3, 4, 0xbe, 0xde, 0, 1, 0x10, 0xaa, 0, 0]);
        }
        packet.extend((0..n).map(|byte| (byte ^ n) as u8));
        packet
    })
}

fn same_rtp(theirs: &mut Libsrtp, profile: Profile) -> Result<()> {
    let key = key(profile)?;
    theirs.key(profile, &key)?;
    let mut sender = Sender::new(profile, &key)?;
    let mut receiver = Receiver::new(profile, &key)?;
    for plain in rtp_packets() {
        let expected = theirs.packet("protect", &plain);
        let mut packet = [&plain[..], &[0; MAX_OVERHEAD]].concat();
        let len = sender.protect_rtp(&mut packet, plain.len());
        let (Ok(len), Ok(expected)) = (len, expected) else {
            bail!("one of us refuses to send {plain:02x?}");
        };
        ensure!(packet[..len] == expected, "{plain:02x?} differs");
        ensure!(theirs.packet("unprotect", &packet[..len])? == plain);
        ensure!(receiver.unprotect_rtp(&mut packet[..len])? == plain.len());
        ensure!(packet[..plain.len()] == plain);
    }
    Ok(())
}

fn same_rtcp(theirs: &mut Libsrtp, profile: Profile) -> Result<()> {
    let key = key(profile)?;
    theirs.key(profile, &key)?;
    let mut sender = Sender::new(profile, &key)?;
    let mut receiver = Receiver::new(profile, &key)?;
    for n in 0..100u8 {
        let mut plain = vec![0x80, 201, 0, 1, 0, 0, 0, n % 4, 0x81, 202, 0, n % 20 + 2];
        plain.extend(vec![n; 4 * usize::from(n % 20 + 2)]);
        let expected = theirs.packet("protect_rtcp", &plain)?;
        let mut packet = [&plain[..], &[0; MAX_OVERHEAD]].concat();
        let len = sender.protect_rtcp(&mut packet, plain.len())?;
        ensure!(packet[..len] == expected, "{plain:02x?} differs");
        ensure!(theirs.packet("unprotect_rtcp", &packet[..len])? == plain);
        ensure!(receiver.unprotect_rtcp(&mut packet[..len])? == plain.len());
        ensure!(packet[..plain.len()] == plain);
    }
    Ok(())
}

/// Our certificate in these tests.
static IDENTITY: LazyLock<Result<Arc<Identity>, Error>> =
    LazyLock::new(|| Identity::generate().map(Arc::new));

/// What OpenSSL calls the profiles that both of us have in DTLS.
const NAMES: [(&str, Profile); 3] = [
    ("SRTP_AES128_CM_SHA1_80", Profile::Aes128CmSha1_80),
    ("SRTP_AEAD_AES_128_GCM", Profile::AeadAes128Gcm),
    ("SRTP_AEAD_AES_256_GCM", Profile::AeadAes256Gcm),
];

#[test]
fn rfc5764_4_openssl_as_client_has_the_same_keys() -> Result<()> {
    openssl("openssl-client", client_has_the_same_keys)
}

/// Many desk phones, and baresip, have RSA certificates.
#[test]
fn rfc5764_4_openssl_as_client_with_rsa_has_the_same_keys() -> Result<()> {
    openssl_with("openssl-client-rsa", Key::Rsa, client_has_the_same_keys)
}

fn client_has_the_same_keys(
    lab: &mut Lab,
    openssl: &OpenSsl,
    name: &str,
    profile: Profile,
) -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let address = socket.local_addr()?.to_string();
    let mut command = openssl.command("s_client", name, profile);
    command.args(["-connect", &address]);
    let log = lab.path(&format!("{name}.log"));
    let (process, _stdin) = Process::start_with_stdin(&mut command, &log)?;
    let keys = agree(&socket, None, Setup::Passive, openssl.fingerprint)?;
    same_keys(&process, Role::Client, &keys, profile)
}

#[test]
fn rfc5764_4_openssl_as_server_has_the_same_keys() -> Result<()> {
    openssl("openssl-server", server_has_the_same_keys)
}

#[test]
fn rfc5764_4_openssl_as_server_with_rsa_has_the_same_keys() -> Result<()> {
    openssl_with("openssl-server-rsa", Key::Rsa, server_has_the_same_keys)
}

fn server_has_the_same_keys(
    lab: &mut Lab,
    openssl: &OpenSsl,
    name: &str,
    profile: Profile,
) -> Result<()> {
    let port = lab.ports().port()?;
    let mut command = openssl.command("s_server", name, profile);
    command.args(["-Verify", "1", "-accept", &format!("127.0.0.1:{port}")]);
    let log = lab.path(&format!("{name}.log"));
    let (process, _stdin) = Process::start_with_stdin(&mut command, &log)?;
    until("the server's socket", Duration::from_secs(20), || {
        Ok(process.output()?.contains("ACCEPT").then_some(()))
    })?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let peer = SocketAddr::from(([127, 0, 0, 1], port));
    let keys = agree(&socket, Some(peer), Setup::Active, openssl.fingerprint)?;
    same_keys(&process, Role::Server, &keys, profile)
}

#[test]
fn rfc5763_5_another_certificate_of_openssl_is_refused() -> Result<()> {
    openssl("openssl-stranger", |lab, openssl, name, profile| {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let address = socket.local_addr()?.to_string();
        let mut command = openssl.command("s_client", name, profile);
        command.args(["-connect", &address]);
        let log = lab.path(&format!("{name}.log"));
        let (_process, _stdin) = Process::start_with_stdin(&mut command, &log)?;
        let signalled = Fingerprint::of(Hash::Sha256, b"another certificate");
        let refused = agree(&socket, None, Setup::Passive, signalled);
        let error = refused.err().context("it was accepted")?;
        ensure!(error.downcast_ref() == Some(&Error::Fingerprint), "{error}");
        Ok(())
    })
}

/// Runs a test with each profile, and an ECDSA key of OpenSSL's.
fn openssl(
    name: &str,
    test: impl Fn(&mut Lab, &OpenSsl, &str, Profile) -> Result<()>,
) -> Result<()> {
    openssl_with(name, Key::Ecdsa, test)
}

/// The kind of a certificate's key.
#[derive(Clone, Copy)]
enum Key {
    Ecdsa,
    Rsa,
}

fn openssl_with(
    name: &str,
    key: Key,
    test: impl Fn(&mut Lab, &OpenSsl, &str, Profile) -> Result<()>,
) -> Result<()> {
    if !peer::ensure_all(&[peer::OPENSSL])? {
        return Ok(());
    }
    Lab::run_quietly(name, |lab| {
        let openssl = OpenSsl::certificate(lab, key)?;
        for (name, profile) in NAMES {
            test(lab, &openssl, name, profile).with_context(|| name.to_owned())?;
        }
        Ok(())
    })
}

/// A certificate for OpenSSL's program.
struct OpenSsl {
    folder: std::path::PathBuf,
    fingerprint: Fingerprint,
}

impl OpenSsl {
    fn certificate(lab: &Lab, key: Key) -> Result<Self> {
        let folder = lab.folder("openssl")?;
        let key = match key {
            Key::Ecdsa => rcgen::KeyPair::generate()?,
            Key::Rsa => rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256)?,
        };
        let certificate = rcgen::CertificateParams::default().self_signed(&key)?;
        std::fs::write(folder.join("key.pem"), key.serialize_pem())?;
        std::fs::write(folder.join("cert.pem"), certificate.pem())?;
        let fingerprint = Fingerprint::of(Hash::Sha256, certificate.der());
        Ok(Self {
            folder,
            fingerprint,
        })
    }

    fn command(&self, side: &str, name: &str, profile: Profile) -> Command {
        let mut command = Command::new("openssl");
        command.args([side, "-dtls1_2", "-use_srtp", name]);
        command.arg("-cert").arg(self.folder.join("cert.pem"));
        command.arg("-key").arg(self.folder.join("key.pem"));
        let len = Keys::material_len(profile).to_string();
        command.args(["-keymatexport", EXPORTER_LABEL, "-keymatexportlen", &len]);
        command
    }
}

/// Runs our side of the handshake, with a peer who is known or speaks first.
fn agree(
    socket: &UdpSocket,
    mut peer: Option<SocketAddr>,
    setup: Setup,
    expected: Fingerprint,
) -> Result<Keys> {
    let identity = IDENTITY.as_ref().map_err(Clone::clone)?;
    let start = Instant::now();
    let mut endpoint = Endpoint::new(Arc::clone(identity), setup, expected, start);
    let mut keys = None;
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    while start.elapsed() < Duration::from_secs(20) {
        while let Some(output) = endpoint.poll() {
            match output {
                Output::Packet(packet) => {
                    let peer = peer.context("nobody to send to")?;
                    socket.send_to(&packet, peer)?;
                }
                Output::Keys(agreed) => keys = Some(agreed),
                Output::Failed(error) => return Err(error.into()),
                Output::Closed => bail!("closed"),
            }
        }
        if let Some(keys) = keys {
            return Ok(keys);
        }
        let mut buffer = [0; 2048];
        match socket.recv_from(&mut buffer) {
            Ok((len, from)) => {
                peer = Some(from);
                endpoint.handle(&buffer[..len], Instant::now());
            }
            Err(_) => endpoint.handle_timeout(Instant::now()),
        }
    }
    bail!("no keys in time")
}

/// Compares the keys with what OpenSSL prints.
fn same_keys(process: &Process, theirs: Role, ours: &Keys, profile: Profile) -> Result<()> {
    let material = until("OpenSSL's keys", Duration::from_secs(20), || {
        let output = process.output()?;
        let line = output.split_once("Keying material: ");
        let digits = line.and_then(|(_, rest)| rest.split_once('\n'));
        Ok(digits.and_then(|(digits, _)| bytes(digits.trim())))
    })?;
    let theirs = Keys::parse(profile, theirs, &material)?;
    ensure!(ours.profile == profile, "{:?}", ours.profile);
    ensure!(ours.local == theirs.remote && ours.remote == theirs.local);
    Ok(())
}
