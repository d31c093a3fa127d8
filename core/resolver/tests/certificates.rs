//! Certificates from a real web server on this machine.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, IsCa, Issuer, KeyPair, date_time_ymd,
};
use resolver::{Certificates, Names, Settings, Trust};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use stir::{Attest, Call, Certificate, Fault, Identity, Signer, SigningKey};

/// A root, and what it has signed.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::new(params, key);
        Self { issuer, root }
    }

    /// A certificate in PEM and its key.
    fn sign(&self, change: impl FnOnce(&mut CertificateParams)) -> (String, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key)
    }
}

/// A web server that gives everybody the same answer. Its thread ends with the process.
fn serve(web: &Authority, answer: Vec<u8>) -> String {
    let (pem, key) = web.sign(|_| {});
    let chain = Trust::read_pem(pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(session, stream);
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut octet = [0];
                match stream.read(&mut octet) {
                    Ok(1) => request.push(octet[0]),
                    _ => break,
                }
            }
            let _ = stream.write_all(&answer);
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    format!("https://{address}/shaken.pem")
}

fn ok(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").into()
}

fn settings(web: &Authority, roots: &[&Authority]) -> Settings {
    Settings {
        servers: vec!["127.0.0.1:9".parse().unwrap()],
        limit: Duration::from_secs(20),
        trust: Trust {
            roots: roots.iter().map(|root| root.root.clone()).collect(),
            web_roots: vec![web.root.clone()],
            private: vec![("127.0.0.0".parse().unwrap(), 8)],
        },
        ..Settings::default()
    }
}

async fn fetch(settings: &Settings, url: &str) -> Result<Arc<Certificate>, Fault> {
    let names = Names::new(settings).unwrap();
    Certificates::new(settings, names).fetch(url.into()).await
}

#[tokio::test]
async fn rfc8226_5_a_number_is_verified_up_to_a_root() {
    let (web, sti) = (Authority::new(), Authority::new());
    let (pem, key) = sti.sign(|params| {
        // RFC 8226 §9: one service provider code.
        let list = b"\x30\x08\xa0\x06\x16\x04709J".to_vec();
        let list = CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 26], list);
        params.custom_extensions.push(list);
    });
    let url = serve(&web, ok(&pem));
    let settings = settings(&web, &[&sti]);
    let certificate = fetch(&settings, &url).await.unwrap();
    assert_eq!(certificate.authority.as_ref().unwrap().providers, ["709J"]);
    let key = SigningKey::from_pem(&key.serialize_pem()).unwrap();
    let call = Call {
        orig: "12155550112".into(),
        dest: "12155550113".into(),
    };
    let now = certificate.not_before + 1;
    let header = Signer::new(key, &url, Attest::Partial, "x").sign(&call, now);
    let claim = Identity::parse(&header).unwrap().examine(&call, now, None);
    let claim = claim.unwrap();
    assert_eq!(claim.url(), url);
    let passport = claim.verify_with(&certificate, now).unwrap();
    assert_eq!(passport.attest, Some(Attest::Partial));
}

#[tokio::test]
async fn a_stranger_s_certificate_is_not_trusted_nor_an_old_one() {
    let (web, sti, other) = (Authority::new(), Authority::new(), Authority::new());
    let (stranger, _) = other.sign(|_| {});
    let (old, _) = sti.sign(|params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let settings = settings(&web, &[&sti]);
    for body in [stranger, old, String::new(), "no certificate".into()] {
        let url = serve(&web, ok(&body));
        assert_eq!(fetch(&settings, &url).await, Err(Fault::Untrusted));
    }
}

#[tokio::test]
async fn what_can_not_be_fetched_is_said_to_be_unreachable() {
    let (web, sti) = (Authority::new(), Authority::new());
    let settings = settings(&web, &[&sti]);
    let gone = serve(
        &web,
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
    );
    let elsewhere =
        b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1/\r\nContent-Length: 0\r\n\r\n";
    let elsewhere = serve(&web, elsewhere.to_vec());
    let large = serve(&web, ok(&"x".repeat(100_000)));
    let nonsense = serve(&web, b"hello".to_vec());
    let unknown = serve(&sti, ok(""));
    let plain = gone.replace("https", "http");
    for url in [&gone, &elsewhere, &large, &nonsense, &unknown, &plain, "x"] {
        assert_eq!(
            fetch(&settings, url).await,
            Err(Fault::Unreachable),
            "{url}"
        );
    }
}

#[tokio::test]
async fn machines_inside_are_not_reached_by_a_caller_s_url() {
    let (web, sti) = (Authority::new(), Authority::new());
    let (pem, _) = sti.sign(|_| {});
    let url = serve(&web, ok(&pem));
    let mut settings = settings(&web, &[&sti]);
    assert!(fetch(&settings, &url).await.is_ok());
    settings.trust.private.clear();
    assert_eq!(fetch(&settings, &url).await, Err(Fault::Unreachable));
}

#[tokio::test]
async fn a_silent_web_server_keeps_nobody_waiting() {
    let (web, sti) = (Authority::new(), Authority::new());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/x", listener.local_addr().unwrap());
    let mut settings = settings(&web, &[&sti]);
    settings.limit = Duration::from_millis(300);
    assert_eq!(fetch(&settings, &url).await, Err(Fault::Unreachable));
}
