//! The proxy and registrar Kamailio, as a provider has it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::lab::Lab;
use crate::process::Process;
use crate::tls::Certificate;
use crate::wait::until;

/// What the provider does.
#[derive(Clone, Debug, Default)]
pub struct Provider<'a> {
    /// The number that must prove who it is to call, and the password of everybody.
    pub customer: (&'a str, &'a str),
    /// Whose calls need no password: who sends from this port.
    pub trusts: Option<u16>,
    /// Where numbers are that have not registered: the rest of the world.
    pub gateway: Option<SocketAddr>,
    /// Answers each call with this.
    pub refuses: Option<u16>,
    /// What it shows over TLS.
    pub certificate: Option<Certificate>,
}

/// A running Kamailio.
#[derive(Debug)]
pub struct Kamailio {
    process: Process,
    sip: SocketAddr,
    tls: SocketAddr,
}

impl Kamailio {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(lab: &mut Lab, provider: &Provider<'_>) -> Result<Self> {
        let sip = SocketAddr::from((Ipv4Addr::LOCALHOST, lab.sip_port()?));
        let tls = SocketAddr::from((Ipv4Addr::LOCALHOST, lab.ports().port()?));
        let folder = lab.folder(&format!("kamailio-{}", sip.port()))?;
        fs::write(folder.join("kamailio.cfg"), script(provider, sip, tls))?;
        Self::run(&folder, sip, tls)
    }

    /// Starts it with the `kamailio.cfg` of the folder, which has it listen there.
    ///
    /// # Errors
    /// When it does not start.
    pub fn run(folder: &Path, sip: SocketAddr, tls: SocketAddr) -> Result<Self> {
        let mut command = Command::new("kamailio");
        // Debian's own allocator checks every block; this is the quick one.
        command.args([
            "-DD", "-E", "-x", "tlsf", "-X", "tlsf", "-m", "32", "-M", "8",
        ]);
        command.arg("-f").arg(folder.join("kamailio.cfg"));
        command.arg("-Y").arg(folder);
        command
            .arg("-w")
            .arg(folder)
            .arg("-P")
            .arg(folder.join("pid"));
        // A group of its own, to be killed with its children.
        command.process_group(0);
        let mut process = Process::start(&mut command, &folder.join("kamailio.log"))?;
        until("Kamailio's answer", Duration::from_secs(20), || {
            let running = process.is_running()?;
            ensure!(running, "Kamailio ended: {}", process.output()?.trim());
            Ok(answers(sip)?.then_some(()))
        })?;
        Ok(Self { process, sip, tls })
    }

    /// Where it listens, UDP and TCP.
    #[must_use]
    pub fn sip(&self) -> SocketAddr {
        self.sip
    }

    /// Where it listens for TLS, if it has a certificate.
    #[must_use]
    pub fn tls(&self) -> SocketAddr {
        self.tls
    }

    /// Waits until a line of its log has all of these words, and returns it. For each request it
    /// writes `got METHOD to=… from=… pai=… user=… transport=…`.
    ///
    /// # Errors
    /// When no such line comes; shows what came.
    pub fn sees(&self, words: &[&str]) -> Result<String> {
        let found = until("a line of Kamailio's log", Duration::from_secs(20), || {
            let log = self.process.output()?;
            let mut lines = log.lines();
            let line = lines.find(|line| words.iter().all(|word| line.contains(word)));
            Ok(line.map(str::to_owned))
        });
        found.with_context(|| {
            let log = self.process.output().unwrap_or_default();
            let got: Vec<_> = log.lines().filter(|line| line.contains("got ")).collect();
            format!("{words:?} is not in:\n{}", got.join("\n"))
        })
    }

    /// How many lines of its log so far have all of these words.
    ///
    /// # Errors
    /// When the log can't be read.
    pub fn count(&self, words: &[&str]) -> Result<usize> {
        let log = self.process.output()?;
        let has_all = |line: &&str| words.iter().all(|word| line.contains(word));
        Ok(log.lines().filter(has_all).count())
    }

    /// Ends it as a crash would.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(mut self) -> Result<()> {
        self.process.kill_group()?;
        self.process.end(Duration::from_secs(20)).map(drop)
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        // Told to end it may wait a minute for children of its own that do not; this fails only
        // when it has ended.
        let _ = self.process.kill_group();
    }
}

fn answers(sip: SocketAddr) -> Result<bool> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    let here = socket.local_addr()?;
    let probe = crate::attack::request("OPTIONS", &sip.to_string(), 0, here, "");
    // While nobody listens these fail with "connection refused".
    let _ = socket.send_to(probe.as_bytes(), sip);
    Ok(socket.recv(&mut [0; 2048]).is_ok())
}

fn script(provider: &Provider<'_>, sip: SocketAddr, tls: SocketAddr) -> String {
    let mut script = format!(
        "debug=1\nlog_stderror=yes\nchildren=2\ntcp_children=2\ndns=no\nrev_dns=no\n\
         listen=udp:{sip}\nlisten=tcp:{sip}\n"
    );
    if provider.certificate.is_some() {
        script.push_str(&format!("enable_tls=yes\nlisten=tls:{tls}\n"));
    }
    script.push_str(MODULE_PATH);
    for module in MODULES {
        script.push_str(&format!("loadmodule \"{module}.so\"\n"));
    }
    if let Some(certificate) = &provider.certificate {
        script.push_str(&format!(
            "loadmodule \"tls.so\"\nmodparam(\"tls\", \"certificate\", \"{}\")\n\
             modparam(\"tls\", \"private_key\", \"{}\")\nmodparam(\"tls\", \"tls_method\", \"TLSv1.2+\")\n",
            certificate.certificate.display(),
            certificate.key.display(),
        ));
    }
    let (user, password) = provider.customer;
    // A customer is reached the way that it came, as providers have it because of NATs.
    script.push_str("modparam(\"usrloc\", \"db_mode\", 0)\n");
    script.push_str("modparam(\"registrar|nathelper\", \"received_avp\", \"$avp(RECEIVED)\")\n");
    let refusal = provider.refuses.map_or(String::new(), |status| {
        format!("if (is_method(\"INVITE\")) {{ sl_send_reply(\"{status}\", \"Refused\"); exit; }}")
    });
    let trusted = provider
        .trusts
        .map_or("0".to_owned(), |port| format!("$sp == {port}"));
    let gateway = provider.gateway.map_or(
        "sl_send_reply(\"404\", \"Not Found\"); exit;".to_owned(),
        |gateway| format!("$du = \"sip:{gateway}\"; route(RELAY);"),
    );
    script.push_str(
        &SCRIPT
            .replace("@REFUSAL@", &refusal)
            .replace("@TRUSTED@", &trusted)
            .replace("@GATEWAY@", &gateway)
            .replace("@USER@", user)
            .replace("@PASSWORD@", password),
    );
    script
}

/// Where Debian has the modules.
pub(crate) const MODULE_PATH: &str = "mpath=\"/usr/lib/x86_64-linux-gnu/kamailio/modules/:/usr/lib/aarch64-linux-gnu/kamailio/modules/\"\n";

const MODULES: [&str; 12] = [
    "tm",
    "sl",
    "rr",
    "pv",
    "maxfwd",
    "usrloc",
    "registrar",
    "auth",
    "textops",
    "xlog",
    "siputils",
    "nathelper",
];

/// A provider as small as can be: digest for its customer, the customer's phones by what they have
/// registered, everything else by the gateway.
const SCRIPT: &str = r#"
request_route {
    xlog("L_ERR", "got $rm to=$rU from=$fU pai=$hdr(P-Asserted-Identity) user=$au transport=$pr ruri=$ru\n");
    if (!mf_process_maxfwd_header("10")) {
        sl_send_reply("483", "Too Many Hops");
        exit;
    }
    if (is_method("OPTIONS") && uri == myself) {
        sl_send_reply("200", "OK");
        exit;
    }
    if (is_method("CANCEL")) {
        if (t_check_trans()) t_relay();
        exit;
    }
    if (has_totag()) {
        if (loose_route()) {
            route(RELAY);
        } else if (is_method("ACK")) {
            if (t_check_trans()) t_relay();
        } else {
            sl_send_reply("404", "Not here");
        }
        exit;
    }
    t_check_trans();
    @REFUSAL@
    if (is_method("REGISTER")) {
        if (!pv_www_authenticate("$td", "@PASSWORD@", "0") || $au != $tU) {
            www_challenge("$td", "1");
            exit;
        }
        fix_nated_register();
        save("location");
        exit;
    }
    if ($fU == "@USER@" && !(@TRUSTED@)) {
        if (!pv_proxy_authenticate("$fd", "@PASSWORD@", "0")) {
            proxy_challenge("$fd", "1");
            exit;
        }
        consume_credentials();
    }
    record_route();
    if (lookup("location")) {
        route(RELAY);
        exit;
    }
    @GATEWAY@
}

route[RELAY] {
    if (!t_relay()) sl_reply_error();
    exit;
}
"#;
