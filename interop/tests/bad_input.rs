//! Peers that err, loiter or attack. The server has an answer to each and goes on.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Result, ensure};
use interop::wait::until;
use interop::{Lab, Server};

#[test]
fn datagrams_that_are_not_sip() -> Result<()> {
    Lab::run("not-sip", &[], |lab| {
        let mut server = lab.server()?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        for datagram in [
            &b"hello"[..],
            b"",
            b"\0\x01\xff",
            b"INVITE",
            b"GET / HTTP/1.1\r\n\r\n",
        ] {
            socket.send_to(datagram, server.sip())?;
        }
        socket.send_to(&vec![b'x'; 65_000], server.sip())?;
        server.is_well()?;
        server.stop()
    })
}

#[test]
fn a_length_that_lies_is_refused() -> Result<()> {
    Lab::run("lying-length", &[], |lab| {
        let mut server = lab.server()?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let lie = options(
            socket.local_addr()?,
            server.sip(),
            "UDP",
            "Content-Length: 5000\r\n",
        );
        socket.send_to(lie.as_bytes(), server.sip())?;
        let mut answer = [0; 2048];
        let length = socket.recv(&mut answer)?;
        ensure!(
            answer[..length].starts_with(b"SIP/2.0 400 "),
            "the answer is no 400"
        );
        server.is_well()?;
        server.stop()
    })
}

#[test]
fn a_header_of_64_kilobytes() -> Result<()> {
    Lab::run("huge-header", &[], |lab| {
        let mut server = lab.server()?;
        let mut stream = connect(&server)?;
        let header = format!("Subject: {}\r\n", "x".repeat(64 * 1024));
        let huge = options(stream.local_addr()?, server.sip(), "TCP", &header);
        // It may close while we are still talking.
        let _ = stream.write_all(huge.as_bytes());
        ensure!(is_refused(&mut stream)?, "the huge header was accepted");
        server.is_well()?;
        server.stop()
    })
}

#[test]
fn a_peer_that_dribbles_is_cut_off() -> Result<()> {
    Lab::run("dribble", &[], |lab| {
        let mut server = Server::start(lab, &[("sip.tcp.message_timeout", "\"1s\"")])?;
        let mut stream = connect(&server)?;
        stream.set_read_timeout(Some(Duration::from_millis(100)))?;
        let message = options(stream.local_addr()?, server.sip(), "TCP", "");
        // One octet each tenth of a second: the message would take half a minute.
        for octet in message.as_bytes() {
            if stream.write_all(&[*octet]).is_err() || has_ended(&mut stream) {
                server.is_well()?;
                return server.stop();
            }
        }
        anyhow::bail!("the message was taken octet by octet");
    })
}

#[test]
fn ten_thousand_idle_connections() -> Result<()> {
    Lab::run("idle-connections", &[], |lab| {
        let mut server = lab.server()?;
        let mut connections = Vec::new();
        raise_file_limit()?;
        for n in 0..10_000_u32 {
            // A thousand from each of ten addresses.
            let source = Ipv4Addr::new(127, 1, 0, u8::try_from(n / 1000 + 1)?);
            connections.push(connect_from(source, server.sip())?);
        }
        server.is_well()?;
        drop(connections);
        until("room for a new connection", PATIENCE, || {
            let mut stream = connect(&server)?;
            let question = options(stream.local_addr()?, server.sip(), "TCP", "");
            Ok(stream
                .write_all(question.as_bytes())
                .is_ok_and(|()| is_answered(&mut stream))
                .then_some(()))
        })?;
        let lines = server.log()?.lines().count();
        ensure!(lines < 1000, "the log got {lines} lines for it");
        server.stop()
    })
}

fn connect(server: &Server) -> Result<TcpStream> {
    let stream = TcpStream::connect(server.sip())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn connect_from(source: Ipv4Addr, server: SocketAddr) -> Result<TcpStream> {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddr::from((source, 0)))?;
    connect(&socket, &server)?;
    Ok(socket.into())
}

fn raise_file_limit() -> Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    const NEEDED: u64 = 11_000;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < NEEDED) {
        limit.current = Some(NEEDED);
        limit.maximum = limit.maximum.map(|maximum| maximum.max(NEEDED));
        setrlimit(Resource::Nofile, limit)?;
    }
    Ok(())
}

/// Whether the next thing that comes is a refusal, or the end.
fn is_refused(stream: &mut TcpStream) -> Result<bool> {
    let mut answer = [0; 12];
    let length = match stream.read(&mut answer) {
        Ok(length) => length,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
        Err(error) => return Err(error.into()),
    };
    Ok(length == 0 || answer.starts_with(b"SIP/2.0 4") || answer.starts_with(b"SIP/2.0 5"))
}

fn is_answered(stream: &mut TcpStream) -> bool {
    let mut answer = [0; 12];
    stream
        .read(&mut answer)
        .is_ok_and(|_| answer.starts_with(b"SIP/2.0 "))
}

/// Whether the peer has closed the connection, or does so within the stream's time-out.
fn has_ended(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 512]) {
        Ok(length) => length == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

fn options(local: SocketAddr, remote: SocketAddr, transport: &str, extra: &str) -> String {
    let length = if extra.starts_with("Content-Length") {
        ""
    } else {
        "Content-Length: 0\r\n"
    };
    format!(
        "OPTIONS sip:{remote} SIP/2.0\r\n\
         Via: SIP/2.0/{transport} {local};rport;branch=z9hG4bK-bad-input\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:stranger@{local}>;tag=1\r\n\
         To: <sip:{remote}>\r\n\
         Call-ID: bad-input-{port}\r\n\
         CSeq: 1 OPTIONS\r\n\
         {extra}{length}\r\n",
        port = local.port(),
    )
}

const PATIENCE: Duration = Duration::from_secs(10);
