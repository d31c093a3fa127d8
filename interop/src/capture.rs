//! What went over the wire, judged by tshark.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::process::Process;
use crate::rtp;
use crate::wait::until;

/// A running capture on the loopback interface.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    file: PathBuf,
    /// A port that nobody uses, for marks in the capture.
    mark: u16,
}

impl Capture {
    /// Captures all packets with a port of the block.
    ///
    /// # Errors
    /// When dumpcap may not capture.
    pub fn start(folder: &Path, block: (u16, u16)) -> Result<Self> {
        let file = folder.join("capture.pcap");
        let mut command = Command::new("dumpcap");
        command
            .args(["-q", "-P", "-i", "lo", "-B", "32", "-w"])
            .arg(&file);
        command.args(["-f", &format!("portrange {}-{}", block.0, block.1)]);
        let mut process = Process::start(&mut command, &folder.join("dumpcap.log"))?;
        until("the start of the capture", Duration::from_secs(10), || {
            let output = process.output()?;
            ensure!(
                process.is_running()?,
                "dumpcap may not capture: {}",
                output.trim()
            );
            Ok(output.contains("File: ").then_some(()))
        })?;
        Ok(Self {
            process,
            file,
            mark: block.1,
        })
    }

    /// Ends the capture; SIP is spoken at `sip_ports`.
    ///
    /// # Errors
    /// When dumpcap does not end.
    pub fn stop(mut self, sip_ports: &[u16]) -> Result<Trace> {
        let trace = self.so_far(sip_ports)?;
        self.process.signal(Signal::INT)?;
        self.process.end(Duration::from_secs(10))?;
        Ok(trace)
    }

    /// Everything that has been sent up to now; SIP is spoken at `sip_ports`.
    ///
    /// # Errors
    /// When the capture stands still.
    pub fn so_far(&self, sip_ports: &[u16]) -> Result<Trace> {
        let trace = Trace {
            file: self.file.clone(),
            sip_ports: sip_ports.to_vec(),
        };
        // Packets reach the file late and in order: when a mark of ours is there, so is the rest.
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (from, mark) = (
            socket.local_addr()?.port(),
            (Ipv4Addr::LOCALHOST, self.mark),
        );
        let mut rtp_header = [0; 12];
        rtp_header[0] = 0x80;
        socket.send_to(&rtp_header, mark)?;
        until("the end of the capture", Duration::from_secs(10), || {
            let mut packets = trace.rtp()?.into_iter().rev();
            Ok(packets.find(|packet| (packet.from, packet.to) == (from, self.mark)))
        })?;
        Ok(trace)
    }
}

/// What has been captured.
#[derive(Debug)]
pub struct Trace {
    file: PathBuf,
    sip_ports: Vec<u16>,
}

impl Trace {
    /// A capture that somebody else has written, and that says itself what is SIP.
    #[must_use]
    pub fn of(file: &Path) -> Self {
        Self {
            file: file.to_path_buf(),
            sip_ports: Vec::new(),
        }
    }

    /// Checks that no dissector complains about anything sent from our ports.
    ///
    /// # Errors
    /// Shows the packets and the complaints; or says that there are no packets of ours at all.
    pub fn nothing_malformed_from(&self, sip_port: u16, media: (u16, u16)) -> Result<()> {
        let signalling = format!("(udp.srcport=={sip_port} || tcp.srcport=={sip_port})");
        // Encrypted reports make no sense to a dissector, which tries to read them nevertheless where it has not
        // understood that they are: for whom one port of ours serves all.
        let (first, last) = media;
        let mut media = format!("(udp.srcport>={first} && udp.srcport<={last} && !srtcp)");
        let keyed = self.keyed()?;
        if !keyed.is_empty() {
            media = format!(
                "({media} && !(rtcp && udp.dstport in {{{}}}))",
                keyed.join(", ")
            );
        }
        let seen = self.read(&format!("sip && {signalling}"), &["frame.number"])?;
        ensure!(!seen.is_empty(), "the capture has no SIP of ours");
        let bad = format!("({signalling} || {media}) && ({COMPLAINTS})");
        let bad = self.read(
            &bad,
            &["frame.number", "_ws.col.Info", "_ws.expert.message"],
        )?;
        ensure!(
            bad.is_empty(),
            "tshark complains about what we sent:\n{}",
            bad.join("\n")
        );
        Ok(())
    }

    /// The ports to which reports are sent encrypted, by keys of a handshake there or of a session description.
    fn keyed(&self) -> Result<Vec<String>> {
        let mut ports = self.read("dtls && udp", &["udp.srcport"])?;
        for description in self.read("sdp", &["sdp.media", "sdp.media_attr"])? {
            let (media, attributes) = description.split_once('\t').unwrap_or_default();
            if !media.contains("RTP/SAVP") && !attributes.contains("crypto:") {
                continue;
            }
            // "audio 4000 RTP/SAVP 0 8", and so on for each of the media.
            for port in media.split(',').filter_map(|m| m.split(' ').nth(1)) {
                let port: u16 = port.parse().context("a port")?;
                ports.extend([port, port.saturating_add(1)].map(|port| port.to_string()));
            }
        }
        Ok(ports)
    }

    /// All RTP packets so far.
    ///
    /// # Errors
    /// When the capture can't be read.
    pub fn rtp(&self) -> Result<Vec<rtp::Packet>> {
        rtp::read(&self.file)
    }

    /// Waits until `count` RTP packets have been sent to one of the ports from now on, and returns
    /// them.
    ///
    /// # Errors
    /// When they do not come.
    pub fn next_rtp(&self, to: (u16, u16), count: usize) -> Result<Vec<rtp::Packet>> {
        let before = self.rtp()?.len();
        until("RTP packets", Duration::from_secs(20), || {
            let later = self.rtp()?.into_iter().skip(before);
            let packets: Vec<_> = later
                .filter(|packet| (to.0..=to.1).contains(&packet.to))
                .collect();
            Ok((packets.len() >= count).then_some(packets))
        })
    }

    /// Waits until what arrives at one of the ports (first, last) is a tone of `hertz`, for at least
    /// one second without a gap.
    ///
    /// # Errors
    /// Says what arrives instead.
    pub fn hears(&self, to: (u16, u16), hertz: f64) -> Result<()> {
        let mut last = None;
        // After a change what was on its way before still comes.
        for _ in 0..TRIES {
            let packets = self.next_rtp(to, 60)?;
            match rtp::pcmu(&packets).ensure_tone(hertz, 1.0) {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        last.map_or(Ok(()), |error| {
            Err(error.context(format!("{hertz} Hz at {to:?}")))
        })
    }

    /// Waits until a packet has come that a display filter lets through; captured packets reach the
    /// file with a delay.
    ///
    /// # Errors
    /// When none comes.
    pub fn see(&self, filter: &str) -> Result<()> {
        until(
            &format!("a packet with {filter}"),
            Duration::from_secs(10),
            || Ok((!self.read(filter, &["frame.number"])?.is_empty()).then_some(())),
        )
    }

    /// The given fields of all packets that a display filter lets through, tab-separated.
    ///
    /// # Errors
    /// When tshark fails.
    pub fn read(&self, filter: &str, fields: &[&str]) -> Result<Vec<String>> {
        let mut command = Command::new("tshark");
        command
            .arg("-r")
            .arg(&self.file)
            .args(["-Y", filter, "-T", "fields"]);
        // Where a session description did not say so, or something came in between.
        command.args([
            "--enable-heuristic",
            "rtp_udp",
            "--enable-heuristic",
            "rtcp_udp",
        ]);
        for port in &self.sip_ports {
            for transport in ["udp", "tcp"] {
                command.args(["-d", &format!("{transport}.port=={port},sip")]);
            }
        }
        for field in fields {
            command.args(["-e", field]);
        }
        let output = command.output().context("start tshark")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "tshark: {errors}");
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().map(str::to_owned).collect())
    }
}

/// Windows that may pass before a tone is there.
const TRIES: u32 = 8;

const COMPLAINTS: &str = "_ws.malformed || _ws.expert.severity == error";
