use std::fs;

use api::{Problem, Severity};

use super::*;
use crate::seed;

const USERS: &str = "[user.1001]\npassword = \"abcd-efgh-2345\"\n";

/// Loads a folder with these files; the dial plan is the seeded one if it is empty.
fn load_files(
    server: &str,
    users: &str,
    dialplan: &str,
    set: &[&str],
) -> Result<Loaded, Vec<Problem>> {
    let root = tempfile::tempdir().unwrap();
    let folder = Folder::new(root.path());
    folder.create().unwrap();
    let dialplan = if dialplan.is_empty() {
        seed::DIALPLAN
    } else {
        dialplan
    };
    fs::write(folder.server_file(), server).unwrap();
    fs::write(folder.users_file(), users).unwrap();
    fs::write(folder.dialplan_file(), dialplan).unwrap();
    let overrides: Vec<_> = set
        .iter()
        .map(|s| Override::from_option(s).unwrap())
        .collect();
    load(&folder, &overrides).map_err(|invalid| invalid.0)
}

/// The only problem of these files, as `file:line:column: key: message; remedy`.
fn only_problem(server: &str, users: &str, dialplan: &str) -> String {
    let problems = load_files(server, users, dialplan, &[]).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:#?}");
    let text = problems[0].to_string();
    text.split_once("/etc/").unwrap().1.to_owned()
}

#[test]
fn every_wrong_setting_is_named_with_place_and_remedy() {
    for (text, expected) in [
        (
            "[sip]\nlisten = [\"udp:0.0.0.0:5060\", \"udp:1.2.3.4\"]",
            "2:31: sip.listen: “1.2.3.4” has no port; write it like “udp:0.0.0.0:5060”",
        ),
        (
            "[sip]\nlisten = [\"sctp:0.0.0.0:5060\"]",
            "2:11: sip.listen: the transport “sctp” is unknown; use udp, tcp or tls; WebSockets are for [http]",
        ),
        (
            "[sip]\nlisten = [\"udp:0.0.0.0:70000\"]",
            "2:11: sip.listen: “0.0.0.0:70000” is not an address with a port; write",
        ),
        (
            "[sip]\nlisten = []",
            "2:10: sip.listen: is empty; name at least one",
        ),
        (
            "[sip]\nlisten = [\"udp:1.2.3.4:1\", \"udp:1.2.3.4:1\"]",
            "2:10: sip.listen: udp:1.2.3.4:1 is there twice; remove",
        ),
        (
            "[sip]\nlisten = 5060",
            "2:10: sip.listen: must be a list, but is a whole number; give it a list",
        ),
        (
            "[sip]\nlisen = []",
            "2:1: sip.lisen: there is no such setting; did you mean listen?",
        ),
        (
            "[tls]\ncertificate = \"cert.pem\"\nkey = \"\"",
            "2:15: tls.certificate: ",
        ),
        (
            "[tls]\nclient_certificates = \"require\"",
            "1:1: tls.client_ca: is missing, so that no client's certificate can be verified; name",
        ),
        (
            "[tls.peer.\"no name\"]",
            "1:11: tls.peer.no name: “no name” is no host name; use the domain",
        ),
        (
            "[sip]\nxyzzy = 1",
            "2:1: sip.xyzzy: there is no such setting; remove it; there are listen, adv",
        ),
        (
            "[spi]\nlisten = []",
            "1:2: spi: there is no such setting; did you mean sip?",
        ),
        (
            "[sip]\nadvertise = \"pbx.example.com\"",
            "2:13: sip.advertise: “pbx.example.com” is not an IP address; write",
        ),
        (
            "[sip]\nadvertise = \"0.0.0.0\"",
            "2:13: sip.advertise: nobody can be reached at 0.0.0.0; give",
        ),
        (
            "[sip]\nlocal_networks = [\"10.0.0.0/33\"]",
            "2:19: sip.local_networks: “10.0.0.0/33” is not a network; write",
        ),
        (
            "[sip]\nrealm = \"a\\\"b\"",
            "2:9: sip.realm: is empty or has quotes or backslashes; use",
        ),
        (
            "[sip]\nthreads = 0",
            "2:11: sip.threads: 0 is out of range; use a number from 1 to 256, or “auto”",
        ),
        (
            "[sip.tcp]\nmax_connections = -1",
            "2:19: sip.tcp.max_connections: -1 is out of range; use",
        ),
        (
            "[media]\nstun = \"stun.example.com:x\"",
            "2:8: media.stun: “stun.example.com:x” is not a server; write it like",
        ),
        (
            "[media]\nports = \"20000\"",
            "2:9: media.ports: “20000” is not a range of ports; write it like",
        ),
        (
            "[media]\nshared = true\nports = \"20000-\"",
            "3:9: media.ports: “20000-” is not a range of ports; write it like “10000” or",
        ),
        (
            "[media]\nports = \"20000-20002\"",
            "2:9: media.ports: is too small for two calls, which need four ports each; use a",
        ),
        (
            "[media]\nports = \"200-300\"",
            "2:9: media.ports: 200 is a port of system services; begin at 1024",
        ),
        (
            "[media]\nports = \"20001-20000\"",
            "2:9: media.ports: 20000 is below 20001; write “20000-20001”",
        ),
        (
            "[media]\nports = \"20000-20003\"",
            "2:9: media.ports: is too small for two calls, which need",
        ),
        (
            "[media]\ntimeout = \"1 minute\"",
            "2:11: media.timeout: is not a time span; write it like “90s”",
        ),
        (
            "[media]\ntimeout = 1",
            "2:11: media.timeout: 1s is out of range; use 5s to 1d",
        ),
        (
            "[media]\ntimeout = true",
            "2:11: media.timeout: must be a time span, but is true or false; give",
        ),
        (
            "[auth]\nalgorithms = [\"SHA256\"]",
            "2:15: auth.algorithms: “SHA256” is unknown; did you mean “SHA-256”?",
        ),
        (
            "[auth]\nalgorithms = [\"MD5\", \"MD5\"]",
            "2:14: auth.algorithms: names an algorithm twice; remove",
        ),
        (
            "[registrar]\nmin_expires = \"2h\"",
            "1:1: registrar.default_expires: min_expires, default_expires and max",
        ),
        (
            "[calls]\nsession_expires = \"2m\"\nmin_session_expires = \"5m\"",
            "1:1: calls.min_session_expires: is above session_expires; make",
        ),
        (
            "[calls]\nsession_expires = 30",
            "2:19: calls.session_expires: 30s is out of range; use 90s to 1d, or “off”",
        ),
        (
            "[log]\nlevel = \"verbose\"",
            "2:9: log.level: “verbose” is unknown; use one of: off, error",
        ),
        (
            "[log]\npersonal = \"hide\"",
            "2:12: log.personal: “hide” is unknown; use one of: mask, show",
        ),
        (
            "sip = 3",
            "1:7: sip: must be a table, but is a whole number; give it a table",
        ),
        ("[sip]\nrealm = \"x", "2:11: "),
    ] {
        let problem = only_problem(text, USERS, "");
        let expected = format!("dialtone.toml:{expected}");
        assert!(
            problem.starts_with(&expected),
            "got  {problem}\nwant {expected}"
        );
    }
}

#[test]
fn every_wrong_user_is_named_with_place_and_remedy() {
    for (text, expected) in [
        (
            "[user.1001]",
            "1:1: user.1001.password: is missing; set one with `dialtone user passwd 1001`",
        ),
        (
            "[user.1001]\npassword = \"\"",
            "2:12: user.1001.password: the password is empty; choose",
        ),
        (
            "[user.1001]\npassword = 12345678",
            "2:12: user.1001.password: must be a string in quotes, but is a whole",
        ),
        (
            "[user.1001]\npasword = \"abcd-efgh\"\npassword = \"abcd-efgh\"",
            "2:1: user.1001.pasword: there is no such setting; did you mean password?",
        ),
        (
            "[user.\"a b\"]\npassword = \"abcd-efgh\"",
            "1:7: user.a b: “a b” can't be a user's name; use",
        ),
        (
            "[user.a]\npassword = \"abcd-efgh\"\nnumber = \"1 2\"",
            "3:10: user.a.number: “1 2” can't be a number; use",
        ),
        (
            "[user.a]\npassword = \"abcd-efgh\"\nnumber = \"7\"\n[user.7]\npassword = \"abcd-efgh\"",
            "4:7: user.7.number: 7 is already the number of a; give",
        ),
        (
            "[user.a]\npassword = \"abcd-efgh\"\nmax_contacts = 0",
            "3:16: user.a.max_contacts: 0 is out of range; use a number from 1 to 100",
        ),
        (
            "[users.a]\npassword = \"abcd-efgh\"",
            "1:2: users: there is no such setting; did you mean user?",
        ),
    ] {
        let problem = only_problem("", text, "");
        let expected = format!("users.toml:{expected}");
        assert!(
            problem.starts_with(&expected),
            "got  {problem}\nwant {expected}"
        );
    }
}

#[test]
fn every_wrong_extension_is_named_with_place_and_remedy() {
    let extension = |line: &str| format!("[[extension]]\nnumber = \"600\"\nsteps = {line}\n");
    for (text, expected) in [
        (
            extension("[\"ecco\"]"),
            "3:10: extension.steps: “ecco” is no step; did you mean “echo”?",
        ),
        (
            extension("[{ ply = \"welcome\" }]"),
            "3:18: extension.steps: “ply” is no step; did you mean { play = … }?",
        ),
        (
            extension("[{ play = \"welcom\" }]"),
            "3:19: extension.steps: there is no prompt “welcom”; did you mean “welcome”?",
        ),
        (
            extension("[{ tone = 5 }]"),
            "3:19: extension.steps: a tone of 5 Hz doesn't get through a telephone; use 20",
        ),
        (
            extension("[{ conference = \"a b\" }]"),
            "3:25: extension.steps: “a b” is no name of a room; use letters",
        ),
        (
            extension("[{ conference = \"a\", pin = \"12x\" }]"),
            "3:36: extension.steps: is no PIN; use 1 to 16 digits",
        ),
        (
            extension("[{ conference = \"a\", lecture = true }]"),
            "3:10: extension.steps: a lecture has nobody who may speak; add moderator_pin",
        ),
        (
            extension("[{ conference = \"a\", locked = true }]"),
            "3:10: extension.steps: nobody may come in and open the room; add moderator_pin",
        ),
        (
            extension("[{ conference = \"a\", record = \"mp3\" }]"),
            "3:39: extension.steps: “mp3” is no format of a recording; use “wav”",
        ),
        (
            "[conference.\"a b\"]\nnumber = \"800\"\n".to_owned(),
            "1:13: conference.a b: “a b” is no name of a room; use letters",
        ),
        (
            "[conference.sales]\nannounce = \"loud\"\n".to_owned(),
            "2:12: conference.sales: “loud” is no announcement; use “tone”",
        ),
        (
            "[conference.sales]\nsize = 3\n".to_owned(),
            "2:1: conference.sales: a conference has no “size”; there are number, pin",
        ),
        (
            extension("[{ tone = \"busy\", answer = false }, \"echo\"]"),
            "3:45: extension.steps: comes after something that is heard before the call is",
        ),
        (
            extension("[{ dial = \"1\", answer = false }]"),
            "3:10: extension.steps: nothing can be heard of it before the call is answered; use",
        ),
        (
            extension("[{ hangup = 200 }]"),
            "3:21: extension.steps: 200 is no refusal; use a SIP status from 400",
        ),
        (
            extension("[{ dial = \"a b\" }]"),
            "3:19: extension.steps: “a b” can't be dialled; use",
        ),
        (
            extension("[{ proxy = \"a b\" }]"),
            "3:20: extension.steps: “a b” can't be dialled; use a number, “{number}” for",
        ),
        (
            extension("[{ proxy = \"sip:{number}@\" }]"),
            "3:20: extension.steps: “sip:{number}@” is no SIP URI; write it like",
        ),
        (
            extension("[{ proxy = \"sip:1@h?Subject=x\" }]"),
            "3:20: extension.steps: “sip:1@h?Subject=x” has header fields; leave out",
        ),
        (
            extension("[{ dial = \"1\" }, { proxy = \"2\" }]"),
            "3:26: extension.steps: hands the whole call over, so nothing can happen before",
        ),
        (
            extension("[{ proxi = \"2\" }]"),
            "3:20: extension.steps: “proxi” is no step; did you mean { proxy = … }?",
        ),
        (
            extension("[\"echo\", { dial = \"1\" }]"),
            "3:10: extension.steps: is never over, so the steps after it never happen; make",
        ),
        (
            extension("[{ dial = \"1\", play = \"welcome\" }]"),
            "3:10: extension.steps: a step is one thing; put",
        ),
        (
            extension("[]"),
            "3:9: extension.steps: is empty; name at least one step",
        ),
        (
            extension("\"echo\""),
            "3:9: extension.steps: must be a list of steps, but is a string; give",
        ),
        (
            "[[extension]]\nsteps = [\"echo\"]\n".into(),
            "1:1: extension.number: is missing; say what is dialled",
        ),
        (
            "[[extension]]\nnumber = \"6.0\"\nsteps = [\"echo\"]\n".into(),
            "2:10: extension.number: has a “.” that is not its last character",
        ),
        (
            "[[extension]]\nnumber = \"6 0\"\nsteps = [\"echo\"]\n".into(),
            "2:10: extension.number: “ ” can't be dialled; use",
        ),
        (
            "[extension]\nnumber = \"600\"\n".into(),
            "1:1: extension: must be a list of tables, but is a table; begin each extension with [[ext",
        ),
    ] {
        let problem = only_problem("", USERS, &text);
        let expected = format!("dialplan.toml:{expected}");
        assert!(
            problem.starts_with(&expected),
            "got  {problem}\nwant {expected}"
        );
    }
}

#[test]
fn all_problems_of_all_files_are_found_at_once() {
    let problems = load_files(
        "[sip]\nx = 1\nthreads = 0\n[meida]",
        "[user.a]",
        "[[extension]]",
        &[],
    );
    let problems = problems.unwrap_err();
    let places: Vec<_> = problems.iter().map(|p| (p.line, p.key.as_str())).collect();
    assert_eq!(
        places,
        [
            (Some(2), "sip.x"),
            (Some(3), "sip.threads"),
            (Some(4), "meida"),
            (Some(1), "user.a.password"),
            (Some(1), "extension.number"),
            (Some(1), "extension.steps"),
        ]
    );
}

#[test]
fn easily_guessed_passwords_are_warned_of() {
    let loaded = load_files("", "[user.10010010]\npassword = \"10010010\"", "", &[]).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    assert_eq!(loaded.warnings[0].severity, Severity::Warning);
    assert_eq!(loaded.warnings[0].line, Some(2));
}

#[test]
fn many_weak_passwords_make_few_warnings() {
    let users: String = (0..50)
        .map(|n| format!("[user.u{n}]\npassword = \"pw{n}\"\n"))
        .collect();
    let warnings = load_files("", &users, "", &[]).unwrap().warnings;
    assert_eq!(warnings.len(), 4);
    assert!(warnings[3].message.contains("46 more"), "{}", warnings[3]);
}

#[test]
fn options_override_files_and_are_checked_like_them() {
    let set = [
        "sip.listen=[\"udp:127.0.0.1:5070\"]",
        "media.ports=20000-20999",
        "sip.realm=\"quoted\"",
        "sip.tcp.max_connections=5",
        "calls.max_calls=1",
        "calls.max_calls=2",
    ];
    let loaded = load_files("[sip]\nrealm = \"file\"\n", USERS, "", &set).unwrap();
    let server = loaded.settings.server;
    assert_eq!(server.sip.listen.len(), 1);
    assert_eq!(server.media.ports, 20000..=20999);
    assert_eq!(server.sip.realm, "quoted");
    assert_eq!(server.sip.tcp.max_connections, 5);
    assert_eq!(server.calls.max_calls, 2);

    for (set, expected) in [
        (
            "media.ports=true",
            "--set media.ports: media.ports: must be a string in quotes",
        ),
        (
            "media.ports=9-5000",
            "--set media.ports: media.ports: 9 is a port of system services",
        ),
        (
            "sip.lisen=[]",
            "--set sip.lisen: sip.lisen: there is no such setting; did you mean listen?",
        ),
        (
            "nothing.x=1",
            "--set nothing.x: nothing: there is no such setting",
        ),
        (
            "extension.number=600",
            "--set extension.number: extension.number: the dial plan is a list",
        ),
    ] {
        let problems = load_files("", USERS, "", &[set]).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(
            problems[0].to_string().starts_with(expected),
            "{}",
            problems[0]
        );
    }
}

#[test]
fn the_environment_overrides_too_and_other_variables_are_ignored() {
    let variables = [
        ("DIALTONE_SIP__REALM", "example.com"),
        ("DIALTONE_SIP__TCP__MAX_CONNECTIONS", "many"),
        ("DIALTONE_DATA", "/srv"),
        ("PATH", "a__b"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let overrides = Override::from_environment(variables.into_iter());
    assert_eq!(overrides.len(), 2);
    let root = tempfile::tempdir().unwrap();
    let folder = Folder::new(root.path());
    folder.create().unwrap();
    seed::seed(&folder).unwrap();
    let problems = load(&folder, &overrides).unwrap_err().0;
    let expected = "environment variable DIALTONE_SIP__TCP__MAX_CONNECTIONS: sip.tcp.max_connections: \
                    “many” is not a number";
    assert!(
        problems[0].to_string().starts_with(expected),
        "{}",
        problems[0]
    );
    assert_eq!(problems.len(), 1);
}

#[test]
fn missing_files_have_defaults_or_a_remedy() {
    let root = tempfile::tempdir().unwrap();
    let folder = Folder::new(root.path());
    folder.create().unwrap();
    fs::write(folder.users_file(), USERS).unwrap();
    let problems = load(&folder, &[]).unwrap_err().0;
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].source.ends_with("dialplan.toml"),
        "{}",
        problems[0]
    );
    assert!(problems[0].remedy.contains("empty file"), "{}", problems[0]);
    fs::write(folder.dialplan_file(), "").unwrap();
    load(&folder, &[]).unwrap();
    fs::write(folder.server_file(), b"\xff").unwrap();
    assert!(
        load(&folder, &[]).unwrap_err().0[0]
            .message
            .contains("UTF-8")
    );
}

/// RFC 8489 §6: what a STUN server tells goes before the address of signalling, and after that of media.
#[test]
fn a_learnt_address_is_that_of_media_if_none_is_set() {
    let secrets = snapshot::Secrets {
        nonces: [7; 32],
        routes: [8; 32],
    };
    let learnt = "198.51.100.9".parse().ok();
    let trunks = pbx::Trunks::default();
    for (set, told) in [
        (&["sip.advertise=203.0.113.7"][..], "198.51.100.9"),
        (&["media.advertise=203.0.113.8"], "203.0.113.8"),
        (&["media.stun=stun:[2001:db8::1]:5349"], "198.51.100.9"),
    ] {
        let loaded = load_files("", "", "", set).unwrap();
        let config = snapshot::snapshot(&loaded.settings, secrets, &trunks, None, learnt);
        assert_eq!(config.network.media, told.parse().ok());
        assert_ne!(config.network.signalling, learnt);
    }
    for (text, host, port) in [
        ("stun.example.com", "stun.example.com", 3478),
        ("stun:192.0.2.1:19302", "192.0.2.1", 19_302),
        ("2001:db8::1", "2001:db8::1", 3478),
        ("[2001:db8::1]:99", "2001:db8::1", 99),
    ] {
        let loaded = load_files("", "", "", &[&format!("media.stun={text}")]).unwrap();
        let stun = loaded.settings.server.media.stun.unwrap();
        assert_eq!((&*stun.host, stun.port), (host, port));
    }
}

#[test]
fn the_snapshot_finds_users_by_name_and_number() {
    let users = "[user.zoe]\npassword = \"abcd-efgh-2345\"\nnumber = \"2000\"\nmax_contacts = 3\n\
                 [user.1001]\npassword = \"abcd-efgh-2345\"\n";
    let set = ["sip.advertise=203.0.113.7", "registrar.max_contacts=4"];
    let loaded = load_files("", users, "", &set).unwrap();
    let secrets = snapshot::Secrets {
        nonces: [7; 32],
        routes: [8; 32],
    };
    let config = snapshot::snapshot(
        &loaded.settings,
        secrets,
        &pbx::Trunks::default(),
        None,
        None,
    );
    assert_eq!(config.users["zoe"].number, "2000");
    assert_eq!(config.numbers["2000"].name, "zoe");
    assert_eq!(
        (
            config.users["zoe"].max_contacts,
            config.users["1001"].max_contacts
        ),
        (3, 4)
    );
    assert_eq!(config.network.media, config.network.signalling);
    assert!(config.network.signalling.is_some());
}

#[test]
fn a_room_of_the_file_has_a_number_and_lends_its_rules_to_steps() {
    let plan = "[conference.sales]\nnumber = \"8000\"\npin = \"42\"\nmoderator_pin = \"4711\"\n\
                locked = true\nrecord = \"opus\"\nannounce = \"none\"\n\
                [[extension]]\nnumber = \"8XXX\"\nsteps = [{ conference = \"sales\", max = 3 }]\n\
                [[extension]]\nnumber = \"9\"\nsteps = [{ conference = \"other\" }]\n";
    let loaded = load_files("", USERS, plan, &[]).unwrap();
    let rules: Vec<_> = loaded
        .settings
        .dialplan
        .extensions
        .iter()
        .map(rules)
        .collect();
    assert_eq!(rules[0].0, "8000");
    let sales = &rules[0].1;
    assert!(sales.locked && !sales.announce && sales.record.unwrap().opus);
    assert_eq!(sales.pin.as_deref(), Some("42"));
    assert_eq!(
        rules[1].1,
        pbx::Conference {
            max: 3,
            ..sales.clone()
        }
    );
    let other = pbx::Conference {
        room: "other".to_owned(),
        ..pbx::Conference::default()
    };
    assert_eq!(rules[2].1, other);
}

#[test]
fn a_room_announces_by_a_sound_or_by_name() {
    for (word, expected) in [
        ("\"tone\"", (true, false)),
        ("\"name\"", (true, true)),
        ("\"none\"", (false, false)),
        ("true", (true, false)),
    ] {
        let plan = format!("[conference.sales]\nnumber = \"8000\"\nannounce = {word}\n");
        let loaded = load_files("", USERS, &plan, &[]).unwrap();
        let sales = rules(&loaded.settings.dialplan.extensions[0]).1;
        assert_eq!((sales.announce, sales.names), expected, "{word}");
    }
}

/// The number of an extension that leads to a room, and the room's rules.
fn rules(extension: &pbx::Extension) -> (String, pbx::Conference) {
    let [pbx::Step::Conference(rules)] = &*extension.steps else {
        panic!("{extension:?}");
    };
    (extension.number.clone(), rules.clone())
}
