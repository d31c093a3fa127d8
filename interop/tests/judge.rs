//! The judge of every other test is no rubber stamp.

use std::net::UdpSocket;

use anyhow::{Result, ensure};
use interop::Lab;

#[test]
fn a_malformed_message_of_ours_fails_a_test() -> Result<()> {
    let verdict = judge("judge-bad", "Expires\r\n");
    let Err(error) = verdict else {
        anyhow::bail!("a header without colon went unnoticed");
    };
    let error = format!("{error:#}");
    ensure!(
        error.contains("Header has no colon"),
        "failed for another reason: {error}"
    );
    let folder = format!("dialtone-judge-bad-{}", std::process::id());
    std::fs::remove_dir_all(std::env::temp_dir().join(folder))?;
    Ok(())
}

#[test]
fn a_sound_message_passes() -> Result<()> {
    judge("judge-good", "Expires: 60\r\n")
}

/// What the lab says of one message with this header, sent from the port of the server.
fn judge(name: &str, header: &str) -> Result<()> {
    Lab::run(name, &[], |lab| {
        let server = UdpSocket::bind(lab.sip())?;
        let phone = lab.ports().port()?;
        let message = format!(
            "OPTIONS sip:phone@127.0.0.1:{phone} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {server};branch=z9hG4bK-judge\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:{server}>;tag=1\r\n\
             To: <sip:phone@127.0.0.1>\r\n\
             Call-ID: judge\r\n\
             CSeq: 1 OPTIONS\r\n\
             {header}\
             Content-Length: 0\r\n\r\n",
            server = lab.sip(),
        );
        server.send_to(message.as_bytes(), ("127.0.0.1", phone))?;
        Ok(())
    })
}
