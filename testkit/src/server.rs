//! The simulated server: PBX machines behind steering, with a disk and media workers that are played.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use base::{Clock, Mint, SLOTS, Slot, Token};
use engine::{Answer, Ask, Input, Machine as _, Out};
use pbx::{CallRecord, Command, Config, Event, Load, Pbx, Services};
use sdp::bridge::Fingerprint;
use sip::{Flow, Message};
use store::{Bindings, Guesses, Lines, Mailboxes, Messages, Publications, Watchers};

use crate::dice::{Dice, seed_bytes};
use crate::media_plane::{MediaPlane, SLOWEST};

/// The server.
#[derive(Debug)]
pub struct Server {
    slots: Vec<Option<Box<Pbx>>>,
    deadlines: Vec<Option<Instant>>,
    config: Arc<Config>,
    services: Services,
    open: Arc<AtomicBool>,
    /// The simulated disk: survives a crash.
    disk: Vec<Vec<u8>>,
    /// The media workers.
    pub media: MediaPlane,
    clock: Clock,
    seed: u64,
    incarnation: u8,
    out: Out<Event>,
    asked: Vec<Ask>,
    ledger: Ledger,
    /// Die at the next record.
    pub(crate) dies: Option<Death>,
    pub(crate) faults: Vec<String>,
    plane: (usize, Duration),
}

/// When a server dies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Death {
    /// Before the next record is on disk.
    BeforeWriting,
    /// After the next record is on disk, before its answer leaves.
    AfterWriting,
}

/// What the events told.
#[derive(Debug, Default)]
pub struct Ledger {
    open: BTreeMap<Token, bool>,
    /// Records of ended calls.
    pub records: Vec<CallRecord>,
    /// Calls that a crash cut off.
    pub cut_off: usize,
    /// Calls that were forwarded.
    pub proxied: BTreeSet<Token>,
    /// All events but records, in words.
    pub events: Vec<String>,
}

impl Server {
    pub(crate) fn new(
        config: Arc<Config>,
        clock: Clock,
        seed: u64,
        plane: (usize, Duration),
    ) -> Self {
        let open = Arc::new(AtomicBool::new(true));
        Self {
            slots: (0..SLOTS).map(|_| None).collect(),
            deadlines: vec![None; SLOTS],
            services: services(&open),
            open,
            config,
            disk: Vec::new(),
            media: MediaPlane::new(plane.0, plane.1),
            clock,
            seed,
            incarnation: 0,
            out: Out::new(),
            asked: Vec::new(),
            ledger: Ledger::default(),
            dies: None,
            faults: Vec::new(),
            plane,
        }
    }

    /// What all slots hold together.
    #[must_use]
    pub fn load(&self) -> Load {
        let mut sum = Load::default();
        for load in self.slots.iter().flatten().map(|pbx| pbx.load()) {
            sum.calls += load.calls;
            sum.transactions += load.transactions;
            sum.sessions += load.sessions;
            sum.legs += load.legs;
            sum.subscriptions += load.subscriptions;
            sum.publications += load.publications;
            sum.messages += load.messages;
            sum.searches += load.searches;
        }
        sum
    }

    /// What is inside the machines that are not idle.
    pub(crate) fn remains(&self) -> Vec<String> {
        self.slots
            .iter()
            .flatten()
            .filter(|pbx| pbx.load() != Load::default())
            .map(|pbx| format!("{pbx:?}"))
            .collect()
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How many calls the server counts.
    #[must_use]
    pub fn counted_calls(&self) -> usize {
        self.services.calls.load(Ordering::Relaxed)
    }

    /// Who is registered.
    #[must_use]
    pub fn bindings(&self) -> &Bindings {
        &self.services.bindings
    }

    /// How many voice messages wait.
    #[must_use]
    pub fn mailboxes(&self) -> &Mailboxes {
        &self.services.mailboxes
    }

    /// Instant messages that wait.
    #[must_use]
    pub fn messages(&self) -> &Messages {
        &self.services.messages
    }

    /// Who watches whom.
    #[must_use]
    pub fn watchers(&self) -> &Watchers {
        &self.services.watchers
    }

    /// Who is on the phone.
    #[must_use]
    pub fn lines(&self) -> &Lines {
        &self.services.lines
    }

    /// Who is in which conference room.
    #[must_use]
    pub fn rooms(&self) -> &pbx::Rooms {
        &self.services.rooms
    }

    /// Where calls are parked.
    #[must_use]
    pub fn orbits(&self) -> &pbx::Orbits {
        &self.services.orbits
    }

    /// What the events told.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Lets the disk take records of registrations, or not.
    pub fn set_disk_open(&self, open: bool) {
        self.open.store(open, Ordering::Relaxed);
    }

    /// When a slot wants to be called next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadlines.iter().flatten().min().copied()
    }

    /// The process is killed and starts afresh with what is on disk.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.incarnation += 1;
        self.dies = None;
        let kept = Arc::clone(&self.services.messages);
        kept.ready_all();
        self.services = services(&self.open);
        self.services.messages = kept;
        self.services
            .bindings
            .restore(&self.disk, self.clock.unix(now));
        self.media = MediaPlane::new(self.plane.0, self.plane.1);
        self.out.clear();
        self.ledger.cut_off += self.ledger.open.len();
        self.ledger.open.clear();
        self.slots = (0..SLOTS).map(|_| None).collect();
        self.deadlines = vec![None; SLOTS];
        let mut users = Vec::new();
        self.services
            .bindings
            .for_each(|user, _| users.push(engine::slot_of_user(user)));
        for slot in users {
            self.machine(now, slot);
        }
        self.wake(now);
    }

    /// Lets the slots that look after trunks begin.
    pub(crate) fn wake(&mut self, now: Instant) {
        let slots: Vec<_> = self
            .config
            .trunks
            .iter()
            .map(|trunk| trunk.slot())
            .collect();
        for slot in slots {
            self.machine(now, slot);
        }
    }

    /// A message from the network, from its arrival to its machine.
    pub(crate) fn receive(&mut self, now: Instant, flow: Flow, message: &Message<'_>) {
        if let Some(slot) = engine::steer(message) {
            self.input(now, slot, Input::Message { flow, message });
        }
    }

    /// Calls all machines whose deadline has come.
    pub(crate) fn expire(&mut self, now: Instant) {
        for number in 0..SLOTS {
            if self.deadlines[number].is_some_and(|at| at <= now) {
                let slot = Slot::new(number as u8);
                self.input(now, slot, Input::Timer);
                if self.deadlines[number].is_some_and(|at| at <= now) {
                    self.faults
                        .push(format!("slot {slot} does not move its deadline"));
                    self.deadlines[number] = Some(now + Duration::from_millis(1));
                }
            }
        }
    }

    pub(crate) fn media_event(&mut self, now: Instant, event: media::Event) {
        self.input(now, event.session().slot(), Input::Media(event));
    }

    /// A name server's word.
    pub(crate) fn answer(&mut self, now: Instant, answer: Answer) {
        if let Some(slot) = Slot::of_token(answer.id.as_str().as_bytes()) {
            self.input(now, slot, Input::Answer(answer));
        }
    }

    /// What machines have asked.
    pub(crate) fn take_asked(&mut self) -> Vec<Ask> {
        std::mem::take(&mut self.asked)
    }

    pub(crate) fn unreachable(&mut self, now: Instant, flow: Flow) {
        for number in 0..SLOTS {
            if self.slots[number].is_some() {
                self.input(now, Slot::new(number as u8), Input::Unreachable { flow });
            }
        }
    }

    /// An operator's wish, to every slot.
    pub(crate) fn command(&mut self, now: Instant, command: &Command) {
        if let Command::Reload(config) = command {
            self.config = Arc::clone(config);
        }
        for number in 0..SLOTS {
            if self.slots[number].is_some() {
                self.input(
                    now,
                    Slot::new(number as u8),
                    Input::Command(command.clone()),
                );
            }
        }
    }

    fn input(&mut self, now: Instant, slot: Slot, input: Input<'_, Command>) {
        self.machine(now, slot);
        if let Some(machine) = &mut self.slots[slot.index()] {
            machine.handle(now, input, &mut self.out);
            self.deadlines[slot.index()] = machine.deadline();
        }
        while let Some(woken) = self.out.wake.pop() {
            self.input(now, woken, Input::Wake);
        }
    }

    fn machine(&mut self, now: Instant, slot: Slot) {
        if self.slots[slot.index()].is_some() {
            return;
        }
        let mut seed = seed_bytes(self.seed);
        seed[1] = self.incarnation;
        let mint = Mint::new(slot, seed);
        let (config, services) = (Arc::clone(&self.config), self.services.clone());
        let machine = Pbx::new(mint, self.clock, now, config, services);
        self.deadlines[slot.index()] = machine.deadline();
        self.slots[slot.index()] = Some(Box::new(machine));
    }

    /// Does what the machines want, in the engine's order: records, media, events. Returns what is to
    /// be sent, or nothing if the server died.
    pub(crate) fn commit(&mut self, now: Instant, dice: &mut Dice) -> Option<Vec<(Flow, Vec<u8>)>> {
        let records = std::mem::take(&mut self.out.records);
        if !records.is_empty() {
            match self.dies {
                Some(Death::BeforeWriting) => return None,
                Some(Death::AfterWriting) => {
                    self.disk.extend(records);
                    return None;
                }
                None => self.disk.extend(records),
            }
        }
        for command in std::mem::take(&mut self.out.media) {
            let delay = dice.millis(0..SLOWEST.as_millis() as u32 + 1);
            self.media.command(now, &command, delay);
        }
        self.asked.append(&mut self.out.ask);
        for event in std::mem::take(&mut self.out.events) {
            if let Err(fault) = self.ledger.enter(event) {
                self.faults.push(fault);
            }
        }
        let sent = self
            .out
            .send
            .iter()
            .map(|send| (send.flow, self.out.bytes[send.range.clone()].to_vec()))
            .collect();
        self.out.clear();
        Some(sent)
    }
}

impl Ledger {
    /// The calls that have not ended.
    #[must_use]
    pub fn open(&self) -> Vec<Token> {
        self.open.keys().copied().collect()
    }

    /// How many calls have not ended.
    #[must_use]
    pub fn open_calls(&self) -> usize {
        self.open.len()
    }

    fn enter(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::CallStarted { call, proxied, .. } => {
                self.proxied.extend(proxied.then_some(call));
                match self.open.insert(call, false) {
                    None => Ok(()),
                    Some(_) => Err(format!("call {call} started twice")),
                }
            }
            Event::CallRinging { call } if !self.open.contains_key(&call) => {
                Err(format!("call {call} rings, but is not there"))
            }
            Event::CallAnswered { call, .. } => match self.open.get_mut(&call) {
                Some(answered) if !*answered => {
                    *answered = true;
                    Ok(())
                }
                other => Err(format!("call {call} answered, but was {other:?}")),
            },
            Event::CallEnded(record) => self.close(*record),
            other => {
                self.events.push(format!("{other:?}"));
                Ok(())
            }
        }
    }

    fn close(&mut self, record: CallRecord) -> Result<(), String> {
        let answered = self.open.remove(&record.call);
        let result = match answered {
            Some(answered) if answered == record.answered.is_some() => Ok(()),
            other => Err(format!("{record:?}, but it was {other:?}")),
        };
        self.records.push(record);
        result
    }
}

/// What the simulated media workers' certificates are known by.
const FINGERPRINTS: [&str; 2] = [
    "sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:\
                           00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF",
    "sha-256 01:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:\
                           00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF",
];

fn services(open: &Arc<AtomicBool>) -> Services {
    let open = Arc::clone(open);
    Services {
        bindings: Arc::new(Bindings::new()),
        lines: Arc::new(Lines::new()),
        mailboxes: Arc::new(Mailboxes::in_memory()),
        messages: Arc::new(Messages::in_memory()),
        publications: Arc::new(Publications::new()),
        watchers: Arc::new(Watchers::new()),
        orbits: Arc::default(),
        rooms: Arc::default(),
        guesses: Arc::new(Guesses::new()),
        calls: Arc::new(AtomicUsize::new(0)),
        registrations_open: Arc::new(move || open.load(Ordering::Relaxed)),
        calls_open: Arc::new(|| true),
        way_out: Arc::new(|protocol, remote| {
            Some(crate::world::server_address(protocol, remote.is_ipv6()))
        }),
        fingerprints: Arc::new(LazyLock::new(Box::new(|| {
            let both = FINGERPRINTS.map(Fingerprint::parse);
            let [first, second] = both;
            Some([first?, second?])
        }))),
    }
}
