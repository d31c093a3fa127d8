//! The server is killed, and nobody who was registered notices.

use anyhow::Result;
use interop::{Lab, peer};

#[test]
fn registered_phones_are_called_after_a_crash() -> Result<()> {
    Lab::run("crash", &[peer::SIPP], |lab| {
        let users: Vec<_> = (0..PHONES)
            .map(|n| (format!("{}", 2000 + n), format!("pw-{n}")))
            .collect();
        lab.write_users(&users)?;
        let server = lab.server_for_scripts()?;
        let registrations = lab.sipp("register.xml")?.to(server.sip());
        let registrations = registrations.users(users.iter().map(|(user, pw)| (&**user, &**pw)))?;
        let phones = registrations.port();
        registrations.run()?;

        server.crash()?;
        let server = lab.server_for_scripts()?;

        let answers = lab.sipp("answer.xml")?.at(phones).calls(PHONES).start()?;
        let (user, password) = &users[0];
        let calls = lab.sipp("call.xml")?.to(server.sip()).auth(user, password);
        calls
            .numbers(users.iter().map(|(user, _)| &**user))?
            .run()?;
        answers.finish()?;
        server.stop()
    })
}

const PHONES: u32 = 100;
