//! What a newcomer is told, once.

use std::io::{self, Write};
use std::path::Path;

use engine::Listen;

use super::network::reachable;
use crate::folder::Folder;
use crate::seed::SeededUser;
use crate::settings::Settings;

/// Prints addresses, users and test numbers on standard output.
pub(super) fn print(
    folder: &Folder,
    settings: &Settings,
    users: &[SeededUser],
    listening: &[Listen],
) -> io::Result<()> {
    let text = text(&folder.etc(), settings, users, listening);
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

fn text(etc: &Path, settings: &Settings, users: &[SeededUser], listening: &[Listen]) -> String {
    let etc = std::path::absolute(etc).unwrap_or_else(|_| etc.to_owned());
    let mut lines = vec![
        "dialtone is ready. Register two phones and call one from the other.".to_owned(),
        String::new(),
    ];
    let advertised = settings
        .server
        .sip
        .advertise
        .map(|ip| format!("  server    {ip} (from outside)"));
    lines.extend(advertised);
    lines.extend(servers(listening));
    let users = users.iter();
    lines.extend(
        users.map(|user| format!("  user      {}   password {}", user.name, user.password)),
    );
    lines.extend([
        "  dial      600 to hear yourself, 601 for a tone, 602 for a welcome".into(),
        String::new(),
        format!(
            "The configuration is in {}; this is not shown again.",
            etc.display()
        ),
        "See who is there with `dialtone phones`; add users with `dialtone user add NAME`.".into(),
        String::new(),
    ]);
    lines.join("\n")
}

/// A line for each address, with its transports.
fn servers(listening: &[Listen]) -> Vec<String> {
    let mut servers: Vec<(String, Vec<&str>)> = Vec::new();
    for listen in listening {
        for address in reachable(listen.address) {
            let address = address.to_string();
            let transport = listen.protocol.via_name();
            match servers.iter_mut().find(|(known, _)| *known == address) {
                Some((_, transports)) => transports.push(transport),
                None => servers.push((address, vec![transport])),
            }
        }
    }
    let line = |(address, transports): (String, Vec<&str>)| {
        format!("  server    {address} ({})", transports.join(", "))
    };
    servers.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{seed, settings};

    #[test]
    fn it_names_addresses_users_passwords_and_numbers() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path());
        folder.create().unwrap();
        let users = seed::seed(&folder).unwrap().unwrap();
        let settings = settings::load(&folder, &[]).unwrap().settings;
        let listen = |protocol| Listen {
            protocol,
            address: "192.0.2.7:5060".parse().unwrap(),
        };
        let listening = [listen(sip::Protocol::Udp), listen(sip::Protocol::Tcp)];
        let text = text(&folder.etc(), &settings, &users, &listening);
        assert!(
            text.contains("server    192.0.2.7:5060 (UDP, TCP)"),
            "{text}"
        );
        for user in &users {
            assert!(
                text.contains(&format!("{}   password {}", user.name, user.password)),
                "{text}"
            );
        }
        assert!(text.contains("600") && text.contains("602"), "{text}");
        assert!(text.contains(&folder.etc().display().to_string()), "{text}");
    }
}
