//! Random walks: phones with random manners, users who do random things, in random weather.

use std::sync::Arc;
use std::time::Duration;

use pbx::config::{Forward, Redirects};
use pbx::trunk::config::Proxy;
use pbx::{Config, Extension, Step, TrunkSettings, Trunks, User};
use sip::digest::Account;
use sip::locate::Server;

use crate::dice::Dice;
use crate::network::Weather;
use crate::phone::{Command, Manner, PROVIDER_ACCOUNT, Reply};
use crate::server::Death;
use crate::world::{Names, PhoneId, Place, Settings, World};

/// The settings of the walk with this seed.
#[must_use]
pub fn settings(seed: u64) -> Settings {
    let mut dice = Dice::new(seed, 2);
    let mut settings = Settings::calm(seed);
    settings.weather = Weather::random(&mut dice);
    settings.ports = dice.pick(&[6, 16, 64, 64]) as usize;
    change_config(&mut settings.config, &mut dice);
    if dice.chance(40) {
        add_provider(&mut settings.config, &mut dice);
    }
    let forwarded = extension("4XXXX", Step::Proxy("{number}".to_owned()));
    settings.config.dialplan.extensions.insert(0, forwarded);
    settings
}

/// A trunk whose provider is the first phone of the walk: numbers that begin with 0 are there.
fn add_provider(config: &mut Config, dice: &mut Dice) {
    let server = Server {
        port: Some(5060),
        ..Server::named("10.0.0.1")
    };
    let proxy = Proxy {
        server,
        priority: 0,
        weight: 1,
    };
    let mut trunk = TrunkSettings::new("provider", "provider.sim", vec![proxy]);
    trunk.account = Some(Account {
        user: PROVIDER_ACCOUNT.to_owned(),
        password: PROVIDER_ACCOUNT.to_owned(),
    });
    trunk.max_channels = dice.pick(&[1, 10]) as usize;
    (trunk.qualify, trunk.keep_alive) = (Duration::ZERO, Duration::ZERO);
    let step = Step::Trunk {
        trunks: vec!["provider".to_owned()],
        number: "{number}".to_owned(),
    };
    let extensions = &mut config.dialplan.extensions;
    extensions.insert(0, extension("0XXXX", step));
    config.trunks = Trunks::new(vec![trunk], &Trunks::default());
}

/// Numbers with one digit in front.
fn extension(number: &str, step: Step) -> Extension {
    Extension {
        number: number.to_owned(),
        strip: 1,
        steps: vec![step],
        ..Extension::default()
    }
}

/// The provider's switch, if the configuration has one.
fn provider(world: &mut World, dice: &mut Dice) -> Option<PhoneId> {
    world.server.config().trunks.iter().next()?;
    let manner = Manner {
        challenges: Some(dice.pick(&[1, 2, 100])),
        named: false,
        ..manner(dice)
    };
    Some(world.phone("provider", Place::Udp, manner))
}

/// What happens at a provider.
fn at_provider(world: &mut World, dice: &mut Dice, provider: PhoneId) {
    let number = dice
        .pick(&["1001", "1002", "1003", "600", "01234"])
        .to_owned();
    match dice.number(0..10) {
        0..=4 => world.tell(provider, Command::Dial(number)),
        5 => world.tell(provider, Command::HangUp),
        6 => {
            let (hold, update) = (dice.chance(50), dice.chance(50));
            world.tell(provider, Command::Hold { hold, update });
        }
        7 => {
            let wait = dice.millis(0..3000);
            world.at_mut(provider).manner().reply = match dice.chance(50) {
                true => Reply::Refuse(wait, dice.pick(&[503, 500, 486, 404])),
                false => Reply::Answer(wait),
            };
        }
        8 => world.kill(provider, dice.chance(50)),
        _ => world.reboot(provider),
    }
}

fn change_config(config: &mut Config, dice: &mut Dice) {
    config.calls.redirects = dice.pick(&[Redirects::Never, Redirects::Users, Redirects::Anywhere]);
    for number in ["1001", "1002", "1003"] {
        change_user(config, dice, number);
    }
    config.calls.session_expires = Duration::from_secs(dice.pick(&[0, 90, 180, 1800]));
    config.calls.ring_timeout = Duration::from_secs(dice.pick(&[5, 40]));
    config.calls.max_duration = Duration::from_secs(dice.pick(&[0, 0, 100]));
    config.calls.max_calls = dice.pick(&[2, 100, 100]) as usize;
    config.registrar.qualify = Duration::from_secs(dice.pick(&[0, 30, 60]));
    config.nonce_lifetime = Duration::from_secs(dice.pick(&[5, 300]));
}

/// A user forwards calls, or does not want any.
fn change_user(config: &mut Config, dice: &mut Dice, number: &str) {
    let Some(user) = config.users.get(number) else {
        return;
    };
    let mut user = User::clone(user);
    let mut target = |percent: u32| {
        let number = dice.pick(&["1001", "1002", "1003", "1005", "600", "602"]);
        dice.chance(percent).then(|| number.to_owned())
    };
    user.forward = Forward {
        always: target(4),
        busy: target(10),
        no_answer: target(10),
        unreachable: target(10),
        after: None,
    };
    user.forward.after = dice.chance(30).then(|| dice.millis(1000..20_000));
    user.do_not_disturb = dice.chance(4);
    user.call_waiting = !dice.chance(15);
    let user = Arc::new(user);
    config.users.insert(number.to_owned(), Arc::clone(&user));
    config.numbers.insert(number.to_owned(), user);
}

/// Walks through the world of [`settings`] with the same seed.
pub fn walk(world: &mut World, seed: u64) {
    let mut dice = Dice::new(seed, 3);
    let provider = provider(world, &mut dice);
    let phones = people(world, &mut dice);
    for phone in &phones {
        world.tell_after(dice.millis(0..2000), *phone, Command::Register);
    }
    world.run(Duration::from_secs(4));
    if dice.chance(40) {
        converse(world, &mut dice, &phones);
        return;
    }
    for _ in 0..dice.number(3..25) {
        let phone = dice.pick(&phones);
        match provider.filter(|_| dice.chance(20)) {
            Some(provider) => at_provider(world, &mut dice, provider),
            None => happen(world, &mut dice, phone),
        }
        let pause = dice.pick(&[50, 1000, 8000, 60_000]);
        world.run(dice.millis(0..pause));
    }
}

/// Walks with phones that keep the rules, in a network that loses little. Nothing may end but by a
/// user's will, and in the end both parties of each call must agree.
pub fn walk_politely(world: &mut World, seed: u64) {
    let mut dice = Dice::new(seed, 4);
    if dice.chance(70) {
        world.set_weather(Weather {
            loss: dice.pick(&[0, 3, 8]),
            duplicates: dice.pick(&[0, 10]),
            delay: 1..dice.pick(&[15, 100]),
            stragglers: dice.pick(&[0, 10]),
            straggle: dice.pick(&[200, 800]),
        });
    }
    let phones: Vec<_> = (0..dice.number(2..6))
        .map(|_| {
            let user = dice.pick(&["1001", "1002", "1003"]);
            let place = dice.pick(&Place::ALL);
            let manner = manner(&mut dice).polite();
            world.phone(user, place, manner)
        })
        .collect();
    for phone in &phones {
        world.tell(*phone, Command::Register);
    }
    world.run(Duration::from_secs(20));
    for phone in &phones {
        let whom = dice.pick(&["1001", "1002", "1003"]).to_owned();
        world.tell(
            *phone,
            Command::Watch {
                event: "dialog",
                whom,
            },
        );
    }
    converse(world, &mut dice, &phones);
    world.set_weather(Weather::calm());
    // Long enough for a parked call to come back, and for a user who thinks about it.
    world.run(Duration::from_secs(200));
    world.check_calls();
    world.check_lamps();
}

/// The settings of the polite walk with this seed.
#[must_use]
pub fn polite_settings(seed: u64) -> Settings {
    let mut settings = settings(seed);
    settings.config.trunks = Trunks::default();
    settings.ports = 200;
    settings.weather = Weather::calm();
    settings.config.calls.max_calls = 100;
    settings.config.calls.max_duration = Duration::ZERO;
    settings.config.calls.ring_timeout = Duration::from_secs(40);
    settings
}

/// Few calls in which much happens.
fn converse(world: &mut World, dice: &mut Dice, phones: &[PhoneId]) {
    for phone in phones {
        let manner = world.at_mut(*phone).manner();
        manner.reply = Reply::Answer(dice.millis(0..3000));
        manner.talk = None;
        manner.patience = None;
    }
    for _ in 0..dice.number(1..4) {
        let number = dice.pick(&["1001", "1002", "1002", "1003", "600"]);
        let caller = dice.pick(phones);
        world.tell(caller, Command::Dial(number.to_owned()));
        world.run(dice.millis(0..8000));
    }
    for _ in 0..dice.number(5..40) {
        let phone = dice.pick(phones);
        let (hold, update) = (dice.chance(50), dice.chance(50));
        let number = dice
            .pick(&["1001", "1002", "1003", "600", "711"])
            .to_owned();
        let command = match dice.number(0..15) {
            12 => Command::Transfer(number),
            13 => Command::TransferAttended,
            14 if dice.chance(50) => Command::Dial(number),
            0 => Command::AddVideo,
            1 => Command::Reoffer,
            2 => Command::Key('5'),
            3 if dice.chance(50) => Command::CancelChange,
            3 => Command::Poke,
            4 if dice.chance(20) => Command::HangUp,
            _ => Command::Hold { hold, update },
        };
        world.tell(phone, command);
        let pause = dice.pick(&[20, 100, 1000, 5000, 100_000]);
        world.run(dice.millis(0..pause));
    }
}

fn people(world: &mut World, dice: &mut Dice) -> Vec<PhoneId> {
    (1..dice.number(4..8))
        .map(|number| {
            let user = dice.pick(&["1001", "1002", "1002", "1003"]);
            let place = dice.pick(&Place::ALL);
            let mut manner = manner(dice);
            if dice.chance(15) {
                manner.flow = number;
            }
            world.phone(user, place, manner)
        })
        .collect()
}

impl Manner {
    /// The same phone without its bad habits.
    fn polite(self) -> Self {
        Self {
            refreshes: true,
            answers_too_late: false,
            both_answer: false,
            senseless: false,
            expires: 600,
            withholds: Vec::new(),
            ..self
        }
    }
}

fn manner(dice: &mut Dice) -> Manner {
    let seconds = |dice: &mut Dice, most: u32| dice.millis(0..most * 1000);
    let reply = match dice.number(0..10) {
        0 => Reply::Never,
        1 => Reply::Refuse(
            seconds(dice, 5),
            dice.pick(&[486, 603, 404, 480, 503, 302, 500]),
        ),
        _ => Reply::Answer(seconds(dice, 8)),
    };
    let reliable = dice.chance(30);
    Manner {
        ring: (!dice.chance(10)).then(|| seconds(dice, 2)),
        reply,
        talk: dice.chance(50).then(|| seconds(dice, 120)),
        patience: dice.chance(30).then(|| seconds(dice, 10)),
        early_media: dice.chance(20),
        reliable,
        demands_reliable: reliable && dice.chance(20),
        update: dice.chance(60),
        session: dice.chance(40).then(|| dice.pick(&[30, 90, 600])),
        refreshes: !dice.chance(20),
        offerless: dice.chance(10),
        video: dice.chance(30),
        calls: dice.pick(&[1, 4]),
        reuses_nonce: dice.chance(50),
        expires: dice.pick(&[10, 60, 300, 5000]),
        answers_too_late: dice.chance(20),
        meets_many: false,
        byes_early: dice.chance(20),
        brief: dice.chance(50),
        senseless: dice.chance(3),
        first_cseq: dice.pick(&[0, 0, 4711, (1 << 31) - 100_000]),
        considers: dice.chance(20).then(|| seconds(dice, 6)),
        forks: dice.chance(10),
        both_answer: dice.chance(50),
        flow: 0,
        challenges: None,
        refuses_info: dice.chance(10),
        named: dice.chance(15),
        leaves_when_referred: dice.chance(30),
        refers_silently: dice.chance(20),
        redirects_to: dice.pick(&["1001", "1002", "1003", "1009", "600"]),
        withholds: match dice.number(0..20) {
            0 => vec!["ACK "],
            1 => vec!["PRACK "],
            2 => vec!["BYE "],
            3 => vec!["SIP/2.0 200"],
            4 => vec!["SIP/2.0 4"],
            _ => Vec::new(),
        },
    }
}

fn happen(world: &mut World, dice: &mut Dice, phone: PhoneId) {
    let number = dice.pick(&[
        "1001", "1002", "1002", "1003", "1004", "600", "602", "603", "700", "800", "9", "711",
        "711", "*81002", "*81003", "*91001", "01234", "01234", "41001", "41002", "41003",
    ]);
    match dice.number(0..57) {
        53 | 54 => world.tell(phone, Command::Write(number.to_owned())),
        55 | 56 => {
            let ends = dice.chance(30);
            world.tell(phone, Command::Publish { ends });
        }
        40..=42 => world.tell(phone, Command::Transfer(number.to_owned())),
        43 | 44 => {
            world.tell(phone, Command::Dial(number.to_owned()));
            world.run(dice.millis(0..12_000));
            world.tell(phone, Command::TransferAttended);
        }
        45 => operator_transfers(world, dice, number),
        46 => world.tell(phone, Command::TransferAttended),
        48..=51 => watch(world, dice, phone),
        52 => world.tell(phone, Command::Unwatch),
        0..=15 => world.tell(phone, Command::Dial(number.to_owned())),
        16..=19 => world.tell(phone, Command::HangUp),
        20..=23 => {
            let (hold, update) = (dice.chance(50), dice.chance(50));
            world.tell(phone, Command::Hold { hold, update });
        }
        24 => world.tell(phone, Command::AddVideo),
        25 => world.tell(phone, Command::Reoffer),
        26 => world.tell(phone, Command::Key('5')),
        27 if dice.chance(50) => world.tell(phone, Command::CancelChange),
        27 => world.tell(phone, Command::Poke),
        28 => {
            let all = dice.chance(30);
            world.tell(phone, Command::Unregister { all });
        }
        29 => world.tell(phone, Command::Register),
        30 => world.kill(phone, dice.chance(50)),
        31 => world.reboot(phone),
        32 => world.cut_off(phone, dice.millis(1000..70_000)),
        33 => world.break_connections(phone),
        34 if dice.chance(30) => world.crash(dice.millis(100..3000)),
        34 => world.crash_at_record(dice.pick(&[Death::BeforeWriting, Death::AfterWriting])),
        35 if dice.chance(30) => world.operate(&pbx::Command::HangupAll),
        35 => reload(world, dice),
        36 if dice.chance(30) => world.set_names(Names::random(dice)),
        36 => world.set_weather(Weather::random(dice)),
        37 | 38 if dice.chance(50) => world.tamper(dice),
        _ => glare(world, dice),
    }
}

/// An operator changes the configuration, perhaps even who there is.
fn reload(world: &mut World, dice: &mut Dice) {
    let mut config = world.server.config().clone();
    change_config(&mut config, dice);
    if dice.chance(30) && config.users.remove("1003").is_some() {
        config.numbers.remove("1003");
    }
    world.reload(config);
}

/// A phone wants to know what somebody does.
fn watch(world: &mut World, dice: &mut Dice, phone: PhoneId) {
    let event = dice.pick(&["dialog", "dialog", "presence", "message-summary", "reg"]);
    let whom = dice.pick(&["1001", "1002", "1003", "711"]).to_owned();
    world.tell(phone, Command::Watch { event, whom });
}

/// An operator sends somebody elsewhere.
fn operator_transfers(world: &mut World, dice: &mut Dice, number: &str) {
    let calls = world.server.ledger().open();
    if calls.is_empty() {
        return;
    }
    let call = calls[dice.number(0..calls.len() as u32) as usize];
    world.operate(&pbx::Command::Transfer {
        call,
        who: dice.pick(&[media::Side::Caller, media::Side::Callee]),
        number: number.to_owned(),
    });
}

/// Everybody changes something at once.
fn glare(world: &mut World, dice: &mut Dice) {
    for phone in world.phones() {
        let (hold, update) = (dice.chance(50), dice.chance(50));
        world.tell_after(dice.millis(0..30), phone, Command::Hold { hold, update });
    }
}
