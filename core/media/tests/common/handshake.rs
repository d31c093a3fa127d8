//! Parties that agree on keys by DTLS.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use media::dtls::{self, Endpoint, Fingerprint, Identity, Output, Setup};
use media::{OwnCertificate, Remote, Security};

use super::PATIENCE;
use super::talker::{Guard, Talker};

/// The parties' certificate.
pub(crate) static IDENTITY: LazyLock<Arc<Identity>> =
    LazyLock::new(|| Arc::new(Identity::generate().unwrap()));

/// What signalling tells of a party that does DTLS; `setup` is the plane's side.
pub(crate) fn by_dtls(talker: &Talker, fingerprint: Fingerprint, setup: Setup) -> Remote {
    let mut remote = talker.remote();
    (remote.rtcp, remote.mux) = (remote.rtp, true);
    remote.security = Security::Dtls {
        fingerprint,
        setup,
        certificate: OwnCertificate::First,
    };
    remote
}

/// Shakes hands with the plane at `to` until there are keys, or the handshake has failed.
pub(crate) fn shake(
    talker: &mut Talker,
    endpoint: &mut Endpoint,
    to: SocketAddr,
) -> Option<dtls::Error> {
    let socket = &talker.phone.rtp;
    socket
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut result = None;
    while result.is_none() {
        assert!(Instant::now() < deadline, "no keys in time");
        endpoint.handle_timeout(Instant::now());
        while let Some(output) = endpoint.poll() {
            match output {
                Output::Packet(packet) => _ = socket.send_to(&packet, to).unwrap(),
                Output::Keys(keys) => result = Some(Ok(Guard::of(&keys))),
                Output::Failed(error) => result = Some(Err(error)),
                Output::Closed => {}
            }
        }
        let mut datagram = [0; 2048];
        if result.is_none()
            && let Ok((len, _)) = socket.recv_from(&mut datagram)
        {
            endpoint.handle(&datagram[..len], Instant::now());
        }
    }
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    match result? {
        Ok(guard) => talker.guard = Some(guard),
        Err(error) => return Some(error),
    }
    None
}
