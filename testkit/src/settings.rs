//! The configuration of the simulated server.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pbx::config::{Algorithm, CallConfig, Dtmf, Forward, Redirects, RegistrarConfig};
use pbx::{Conference, Config, DialPlan, Extension, Network, Step, User};

use crate::network::Weather;
use crate::world::{Settings, password};

impl Settings {
    /// A calm world with users 1001 to 1006, and these numbers: 600 echo, 601 tone, 602 a prompt and
    /// then the end, 603 a prompt and then echo, 650 a conference room for two, 651 with the moderators'
    /// PIN 5, 652 with the PIN 77, 653 where names are said, 654 where they are said after the PIN 77,
    /// 655 with the moderators' PIN 5; 700 refused with 486, 800 user 1002 and, after
    /// them, user 1003; 710 to 719 orbits in which calls are parked; *81002 picks up what rings at 1002,
    /// *91002 asks the phones of 1002 to answer by themselves.
    #[must_use]
    pub fn calm(seed: u64) -> Self {
        Self {
            seed,
            weather: Weather::calm(),
            config: config(),
            ports: 64,
            media_timeout: Duration::from_secs(60),
        }
    }
}

fn config() -> Config {
    let users: HashMap<_, _> = (1001..=1006)
        .map(|number| user(number.to_string()))
        .collect();
    Config {
        realm: "sim".into(),
        algorithms: vec![Algorithm::Md5],
        nonce_lifetime: Duration::from_secs(300),
        guesses: 20,
        nonce_secret: [7; 32],
        route_secret: [8; 32],
        numbers: users.clone(),
        users,
        dialplan: dialplan(),
        trunks: pbx::Trunks::default(),
        network: Network::default(),
        registrar: RegistrarConfig {
            min_expires: Duration::from_secs(60),
            default_expires: Duration::from_secs(600),
            max_expires: Duration::from_secs(900),
            qualify: Duration::from_secs(60),
        },
        calls: CallConfig {
            music: true,
            ring_timeout: Duration::from_secs(40),
            session_expires: Duration::from_secs(1800),
            min_session_expires: Duration::from_secs(90),
            max_duration: Duration::ZERO,
            redirects: Redirects::default(),
            max_calls: 100,
        },
        server: "".into(),
    }
}

fn user(name: String) -> (String, Arc<User>) {
    let dtmf = match &*name {
        "1003" => Dtmf::Info,
        _ => Dtmf::Auto,
    };
    let user = User {
        number: name.clone(),
        password: password(&name),
        display_name: String::new(),
        max_contacts: MAX_CONTACTS,
        do_not_disturb: false,
        call_waiting: true,
        forward: Forward::default(),
        media: pbx::sound::telling(pbx::sound::with_codecs(Vec::new()), dtmf),
        // Phones at WebSockets describe plain media, as the others do.
        webrtc: Some(false),
        dtmf,
        name: name.clone(),
    };
    (name, Arc::new(user))
}

fn dialplan() -> DialPlan {
    let extension = |number: &str, steps: Vec<Step>| Extension {
        number: number.to_owned(),
        strip: 0,
        steps,
        ..Extension::default()
    };
    let dial = |number: &str| Step::Dial(number.to_owned());
    let play = || Step::Play("welcome".to_owned());
    let room = |pin: Option<&str>, moderator_pin: Option<&str>| {
        Step::Conference(Conference {
            room: "{number}".to_owned(),
            pin: pin.map(Into::into),
            moderator_pin: moderator_pin.map(Into::into),
            max: 2,
            ..Conference::default()
        })
    };
    let names = |pin: Option<&str>, moderator_pin: Option<&str>| {
        Step::Conference(Conference {
            room: "{number}".to_owned(),
            pin: pin.map(Into::into),
            moderator_pin: moderator_pin.map(Into::into),
            names: true,
            ..Conference::default()
        })
    };
    DialPlan {
        extensions: vec![
            extension("600", vec![Step::Echo]),
            extension("601", vec![Step::Tone(1004.0)]),
            extension("602", vec![play()]),
            extension("603", vec![play(), Step::Echo]),
            extension("650", vec![room(None, None)]),
            extension("651", vec![room(None, Some("5"))]),
            extension("652", vec![room(Some("77"), None)]),
            extension("653", vec![names(None, None)]),
            extension("654", vec![names(Some("77"), None)]),
            extension("655", vec![names(None, Some("5"))]),
            extension("700", vec![Step::Hangup(486)]),
            extension("800", vec![dial("1002"), dial("1003")]),
            Extension {
                strip: 2,
                ..extension("*8XXXX", vec![Step::Pickup("{number}".to_owned())])
            },
            Extension {
                strip: 2,
                ..extension("*9XXXX", vec![Step::Intercom("{number}".to_owned())])
            },
            extension("71X", vec![Step::Park("{number}".to_owned())]),
            extension("XXXX", vec![dial("{number}")]),
        ],
    }
}

/// Phones that each user may have.
pub(crate) const MAX_CONTACTS: usize = 4;
