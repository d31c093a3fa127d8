//! The web server nginx, as a reverse proxy before ours.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::lab::Lab;
use crate::process::Process;
use crate::tls::Certificate;
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
        let folder = lab.folder(&format!("nginx-{}", https.port()))?;
        let file = folder.join("nginx.conf");
        let place = folder.display();
        let (certificate, key) = (shows.certificate.display(), shows.key.display());
        let server = lab.site().http;
        let config = format!(
            "daemon off; master_process off; pid {place}/pid; error_log stderr;\n\
             events {{ worker_connections 64; }}\n\
             http {{\n\
               access_log off; client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;\n\
               fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;\n\
               server {{\n\
                 listen {https} ssl;\n\
                 ssl_certificate {certificate}; ssl_certificate_key {key};\n\
                 location / {{\n\
                   proxy_pass http://{server}; proxy_http_version 1.1; proxy_read_timeout 1h;\n\
                   proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";\n\
                   proxy_set_header {says};\n\
                 }}\n\
               }}\n\
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
