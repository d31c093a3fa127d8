//! Media relays that speak the ng protocol, and a Kamailio that uses one.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::kamailio::{self, Kamailio};
use crate::lab::Lab;
use crate::process::Process;
use crate::server;
use crate::wait::until;

/// Who relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Our own binary.
    Dialtone,
    /// The program that the protocol comes from, without its kernel module.
    Rtpengine,
}

/// A running media relay.
#[derive(Debug)]
pub struct Relay {
    process: Process,
    ng: SocketAddr,
}

impl Relay {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(lab: &mut Lab, kind: Kind) -> Result<Self> {
        let here = [("relay.interfaces", "[\"127.0.0.1\"]")];
        Self::start_with(lab, kind, &here)
    }

    /// As [`start`](Self::start); our own binary has these settings instead of an interface.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_with(lab: &mut Lab, kind: Kind, settings: &[(&str, &str)]) -> Result<Self> {
        let ng = SocketAddr::from((Ipv4Addr::LOCALHOST, lab.ports().port()?));
        let (first, last) = lab.ports().range(40)?;
        let mut command = match kind {
            Kind::Dialtone => {
                let folder = lab.folder(&format!("relay-{}", ng.port()))?;
                let mut command = Command::new(server::binary()?);
                command.args(["run", "--role", "relay", "--data"]);
                command.arg(folder);
                let mut set = |key: &str, value: String| {
                    command.args(["--set", &format!("{key}={value}")]);
                };
                set("relay.listen", format!("[\"udp:{ng}\"]"));
                set("media.ports", format!("{first}-{last}"));
                for (key, value) in settings {
                    set(key, (*value).to_owned());
                }
                command
            }
            Kind::Rtpengine => {
                let mut command = Command::new("rtpengine");
                command.args(["--config-file=none", "--foreground", "--table=-1"]);
                command.args(["--interface=127.0.0.1", "--num-threads=2", "--log-stderr"]);
                command.arg(format!("--listen-ng={ng}"));
                command.arg(format!("--port-min={first}"));
                command.arg(format!("--port-max={last}"));
                command
            }
        };
        let log = lab.path(&format!("relay-{}.log", ng.port()));
        let mut process = Process::start(&mut command, &log)?;
        until("the relay's answer", Duration::from_secs(20), || {
            let running = process.is_running()?;
            ensure!(running, "the relay ended: {}", process.output()?.trim());
            let answer = ask(ng, "d7:command4:pinge")?;
            Ok(answer.is_some_and(|a| a.contains("pong")).then_some(()))
        })?;
        Ok(Self { process, ng })
    }

    /// Where it is asked.
    #[must_use]
    pub fn ng(&self) -> SocketAddr {
        self.ng
    }

    /// Asks it as a proxy does; values are bencoded. The answer is the dictionary as it came.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn ask(&self, entries: &[(&str, String)]) -> Result<String> {
        let mut entries: Vec<_> = entries.to_vec();
        entries.sort();
        let pairs = entries.iter().map(|(key, value)| text(key) + value);
        let dictionary = format!("d{}e", pairs.collect::<String>());
        let mut answer = None;
        until("the relay's answer", Duration::from_secs(10), || {
            answer = ask(self.ng, &dictionary)?;
            Ok(answer.as_ref().map(|_| ()))
        })?;
        Ok(answer.unwrap_or_default())
    }

    /// Waits until a line of its log has all of these words.
    ///
    /// # Errors
    /// When none has.
    pub fn wait_for_log(&self, words: &[&str]) -> Result<()> {
        until("a line in the relay's log", Duration::from_secs(60), || {
            let log = self.process.output()?;
            let has = |line: &str| words.iter().all(|word| line.contains(word));
            Ok(log.lines().any(has).then_some(()))
        })
    }

    /// Waits until it has no call.
    ///
    /// # Errors
    /// When there still is one.
    pub fn settles(&self) -> Result<()> {
        until(
            "the end of all calls at the relay",
            Duration::from_secs(20),
            || {
                let list = ask(self.ng, "d7:command4:liste")?;
                Ok(list
                    .is_some_and(|list| list.contains("5:callsle"))
                    .then_some(()))
            },
        )
    }

    /// Asks it to stop and waits for its end.
    ///
    /// # Errors
    /// When it does not end, or not with success.
    pub fn stop(mut self) -> Result<()> {
        let status = self.process.stop(Duration::from_secs(10))?;
        ensure!(status.success(), "the relay ended with {status}");
        Ok(())
    }
}

/// A text in bencode.
#[must_use]
pub fn text(word: &str) -> String {
    format!("{}:{word}", word.len())
}

/// A list of texts in bencode.
#[must_use]
pub fn list(words: &[&str]) -> String {
    let words = words.iter().map(|word| text(word));
    format!("l{}e", words.collect::<String>())
}

/// The answer to one dictionary, if one comes soon.
fn ask(ng: SocketAddr, dictionary: &str) -> Result<Option<String>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    let cookie = format!("interop_{}", socket.local_addr()?.port());
    // While nobody listens these fail with "connection refused".
    let _ = socket.send_to(format!("{cookie} {dictionary}").as_bytes(), ng);
    let mut buffer = [0; 8192];
    let length = socket.recv(&mut buffer).unwrap_or(0);
    let answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
    Ok((length > 0).then_some(answer))
}

/// Starts a Kamailio that lets everybody register and has all media relayed by the first relay. What a
/// phone wants is told by the beginning of its name: `sdes…`, `wide…` (G.722, converted); others want
/// RTP as it ever was. Calls to `far…` go through the second relay too, and between the two like those
/// of browsers: with DTLS, ICE and RTCP on one port.
///
/// # Errors
/// When it does not start.
pub fn proxy(lab: &mut Lab, relays: [SocketAddr; 2]) -> Result<Kamailio> {
    let sip = SocketAddr::from((Ipv4Addr::LOCALHOST, lab.sip_port()?));
    let mut script = format!(
        "debug=1\nlog_stderror=yes\nchildren=2\ntcp_children=1\ndns=no\nrev_dns=no\n\
         listen=udp:{sip}\nlisten=tcp:{sip}\n"
    );
    script.push_str(kamailio::MODULE_PATH);
    for module in MODULES {
        script.push_str(&format!("loadmodule \"{module}.so\"\n"));
    }
    script.push_str("modparam(\"usrloc\", \"db_mode\", 0)\n");
    for (set, relay) in (1..).zip(relays) {
        script.push_str(&format!(
            "modparam(\"rtpengine\", \"rtpengine_sock\", \"{set} == udp:{relay}\")\n"
        ));
    }
    script.push_str(SCRIPT);
    let folder = lab.folder(&format!("kamailio-{}", sip.port()))?;
    fs::write(folder.join("kamailio.cfg"), script)?;
    Kamailio::run(&folder, sip, sip)
}

const MODULES: [&str; 13] = [
    "tm",
    "sl",
    "rr",
    "pv",
    "maxfwd",
    "usrloc",
    "registrar",
    "textops",
    "textopsx",
    "xlog",
    "siputils",
    "nathelper",
    "rtpengine",
];

/// As small as a proxy with a media relay can be.
const SCRIPT: &str = r#"
request_route {
    if (!mf_process_maxfwd_header("10")) {
        sl_send_reply("483", "Too Many Hops");
        exit;
    }
    if (is_method("OPTIONS") && uri == myself) {
        sl_send_reply("200", "OK");
        exit;
    }
    if (is_method("REGISTER")) {
        save("location");
        exit;
    }
    if (is_method("CANCEL")) {
        route(FORGET);
        if (t_check_trans()) t_relay();
        exit;
    }
    if (has_totag()) {
        if (!loose_route()) {
            if (is_method("ACK") && t_check_trans()) t_relay();
            exit;
        }
        if (is_method("BYE")) route(FORGET);
        route(RELAY);
    }
    t_check_trans();
    if (!lookup("location")) {
        sl_send_reply("404", "Not Found");
        exit;
    }
    route(RELAY);
}

route[RELAY] {
    if (is_method("INVITE|UPDATE") && has_body("application/sdp")) {
        $var(who) = $tU;
        route(WISHES);
        if ($var(who) =~ "^far") {
            set_rtpengine_set("1");
            rtpengine_offer("$var(browser)");
            msg_apply_changes();
            set_rtpengine_set("2");
        } else {
            set_rtpengine_set("1");
        }
        if (!rtpengine_offer("$var(wishes)")) {
            sl_send_reply("488", "No Media");
            exit;
        }
        t_on_reply("MEDIA");
        t_on_failure("MEDIA");
    }
    # Behind it the message could not be changed once more.
    if (!has_totag()) record_route();
    if (!t_relay()) sl_reply_error();
    exit;
}

onreply_route[MEDIA] {
    if (has_body("application/sdp")) {
        $var(who) = $fU;
        route(WISHES);
        if ($tU =~ "^far") {
            set_rtpengine_set("2");
            rtpengine_answer("$var(browser)");
            msg_apply_changes();
        }
        set_rtpengine_set("1");
        rtpengine_answer("$var(wishes)");
    }
}

failure_route[MEDIA] {
    route(FORGET);
}

route[FORGET] {
    set_rtpengine_set("2");
    rtpengine_delete();
    set_rtpengine_set("1");
    rtpengine_delete();
}

route[WISHES] {
    $var(wishes) = "trust-address replace-origin replace-session-connection ";
    $var(browser) = $var(wishes) + "UDP/TLS/RTP/SAVPF ICE=force SDES-off rtcp-mux-offer";
    if ($var(who) =~ "^sdes") {
        $var(wishes) = $var(wishes) + "RTP/SAVP ICE=remove DTLS=off SDES-no-AEAD_AES_256_GCM SDES-no-AEAD_AES_128_GCM rtcp-mux-demux";
    } else if ($var(who) =~ "^wide") {
        $var(wishes) = $var(wishes) + "RTP/AVP ICE=remove codec-mask-all codec-transcode-G722";
    } else {
        $var(wishes) = $var(wishes) + "RTP/AVP ICE=remove rtcp-mux-demux";
    }
}
"#;
