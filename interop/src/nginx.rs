//! The web server nginx, as a reverse proxy before ours.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::lab::Lab;
use crate::process::Process;
use crate::tls::Certificate;
use crate::traefik::Traefik;
use crate::wait::until;

/// A running proxy that ends TLS.
#[derive(Debug)]
pub struct Nginx {
    _process: Process,
    https: SocketAddr,
}

impl Nginx {
    /// Starts it before the lab's server, and waits until it listens; `says` is the header that names
    /// clients, and what is in it.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(lab: &mut Lab, shows: &Certificate, says: &str) -> Result<Self> {
        let https = SocketAddr::from((Ipv4Addr::LOCALHOST, lab.ports().port()?));
        let servers = format!(
            "server {{\n\
               listen {https} ssl;\n\
               {}\n\
               location / {{\n\
                 {}\n\
                 proxy_set_header {says};\n\
               }}\n\
             }}\n",
            certificate(shows),
            passes_to(lab.site().http)
        );
        Self::run(lab, &servers, https)
    }

    /// Starts it to do what Traefik is told: at the same ports and for the same name, with the same redirection, and
    /// to the same server. Of clients it says what Traefik says of those whom it does not know for proxies, in its
    /// middleware `forwardedheaders`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn instead_of(traefik: &Traefik, lab: &Lab, shows: &Certificate) -> Result<Self> {
        let Traefik {
            http,
            https,
            domain,
            server,
            ..
        } = traefik;
        let certificate = certificate(shows);
        let servers = format!(
            "server {{ listen {http}; return 301 https://$host$request_uri; }}\n\
             server {{ listen {https} ssl http2 default_server; {certificate} return 404; }}\n\
             server {{\n\
               listen {https} ssl http2; server_name {domain}; {certificate}\n\
               location / {{\n\
                 {}\n\
                 proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;\n\
                 proxy_set_header X-Real-Ip $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;\n\
               }}\n\
             }}\n",
            passes_to(*server)
        );
        Self::run(lab, &servers, (Ipv4Addr::LOCALHOST, *https).into())
    }

    fn run(lab: &Lab, servers: &str, https: SocketAddr) -> Result<Self> {
        let folder = lab.folder(&format!("nginx-{}", https.port()))?;
        let file = folder.join("nginx.conf");
        let place = folder.display();
        let config = format!(
            "daemon off; master_process off; pid {place}/pid; error_log stderr;\n\
             events {{ worker_connections 64; }}\n\
             http {{\n\
               access_log off; client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;\n\
               fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;\n\
               {servers}\
             }}\n"
        );
        fs::write(&file, config)?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(&folder).arg("-c").arg(&file);
        command.args(["-e", "stderr"]);
        let mut process = Process::start(&mut command, &folder.join("nginx.log"))?;
        until("nginx", Duration::from_secs(30), || {
            let running = process.is_running()?;
            ensure!(running, "nginx ended: {}", process.output()?.trim());
            Ok(TcpStream::connect(https).ok().map(drop))
        })?;
        Ok(Self {
            _process: process,
            https,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn https(&self) -> SocketAddr {
        self.https
    }
}

fn certificate(shows: &Certificate) -> String {
    let (certificate, key) = (shows.certificate.display(), shows.key.display());
    format!("ssl_certificate {certificate}; ssl_certificate_key {key};")
}

fn passes_to(server: SocketAddr) -> String {
    format!(
        "proxy_pass http://{server}; proxy_http_version 1.1; proxy_read_timeout 1h;\n\
         proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";"
    )
}
