//! One call, from its beginning to its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use media::Profile;
use media::dtls::Identity;
use ue::Softphone;
use ue::phone::{self, CallNumber, Command, End, Event, Protection};

use super::Dial;
use super::account::Account;
#[cfg(feature = "audio")]
use super::audio::SoundServer;
use super::keys::Keyboard;
use super::report::{self, Ended, Report, refusal};
use super::signals::Signals;
use super::sound::Sound;

/// A phone, its call, and whoever holds it.
pub(super) struct Session<'a> {
    dial: &'a Dial,
    account: Account,
    phone: Softphone,
    report: Report,
    signals: Signals,
    keyboard: Option<Keyboard>,
    #[cfg(feature = "audio")]
    sound_server: Option<SoundServer>,
    begun: Instant,
    call: Option<CallNumber>,
    talk: Option<Talk>,
    /// What may be heard before the answer, until it is and that has been told.
    early: Option<phone::Sound>,
    /// Why we have hung up, and when.
    leaving: Option<(&'static str, Instant)>,
    /// Why the talk could not go on.
    fault: Option<anyhow::Error>,
}

/// A call that has sound.
struct Talk {
    /// Since when it has been up. Before the answer we listen, and say nothing.
    answered: Option<Instant>,
    /// When the next 20 ms are due.
    due: Instant,
    sound: Sound,
    /// Samples a second of what is heard.
    rate: u32,
    said: Vec<i16>,
    heard: Vec<i16>,
}

impl<'a> Session<'a> {
    /// Gets everything ready that the call needs, so that nobody is called in vain.
    pub(super) fn new(dial: &'a Dial, account: Account) -> Result<Self> {
        #[cfg(feature = "audio")]
        let sound_server = dial.audio.then(SoundServer::connect).transpose()?;
        let phone = phone(dial, &account)?;
        Ok(Self {
            report: Report::begin(dial, &account)?,
            signals: Signals::catch()?,
            keyboard: Keyboard::open(),
            #[cfg(feature = "audio")]
            sound_server,
            begun: Instant::now(),
            dial,
            account,
            phone,
            call: None,
            talk: None,
            early: None,
            leaving: None,
            fault: None,
        })
    }

    /// Calls, talks and hangs up.
    pub(super) fn run(mut self) -> Result<()> {
        let number = self.dial.number.replace('#', "%23");
        let uri = format!("sip:{number}@{}", self.account.server);
        self.begun = Instant::now();
        self.phone
            .command(self.begun, Command::Dial(uri))
            .with_context(|| format!("{} can't be reached", self.account.server))?;
        loop {
            let now = Instant::now();
            self.phone.step(now).context("the call can't go on")?;
            while let Some(event) = self.phone.event() {
                if let Some(end) = self.event(now, event)? {
                    return self.over(now, end);
                }
            }
            self.tell_early(now)?;
            self.press_typed()?;
            self.speak_and_listen(now);
            self.look_for_an_end(now)?;
            self.phone.wait(Instant::now(), self.next(now))?;
        }
    }

    /// How the call ended, if it has.
    fn event(&mut self, now: Instant, event: Event) -> Result<Option<End>> {
        let after = now.saturating_duration_since(self.begun);
        match event {
            Event::Dialing(call) => self.call = Some(call),
            Event::Progress(_, status) => self.report.progress(status, after)?,
            Event::Early { sound, .. } => {
                self.early = Some(sound);
                if let Err(fault) = self.listen(now) {
                    self.fail(now, fault);
                }
            }
            Event::Up {
                sound: Some(sound), ..
            } => {
                self.report.answered(&sound, after)?;
                if let Err(fault) = self.answered(now) {
                    self.fail(now, fault);
                }
            }
            Event::Ended(_, end) => return Ok(Some(end)),
            _ => {}
        }
        Ok(None)
    }

    /// Hears what comes from now on, as it was agreed last.
    fn listen(&mut self, now: Instant) -> Result<&mut Talk> {
        let voice = self.phone.voice().context("there is no sound")?;
        voice.listen_in_time();
        let (rate, turn) = (voice.rate(), voice.turn());
        let talk = match &mut self.talk {
            Some(talk) => talk,
            none => none.insert(Talk::new(now, Sound::open(self.dial, rate)?)),
        };
        if talk.rate == rate {
            return Ok(talk);
        }
        talk.sound.change_rate(rate);
        #[cfg(feature = "audio")]
        if let Some(server) = &self.sound_server {
            talk.sound.join(server.open(rate)?);
        }
        talk.rate = rate;
        talk.said = vec![0; turn];
        Ok(talk)
    }

    fn answered(&mut self, now: Instant) -> Result<()> {
        let dial = self.dial;
        let talk = self.listen(now)?;
        talk.sound.begin(dial, talk.rate)?;
        talk.answered = Some(now);
        if let Some(voice) = self.phone.voice() {
            voice.count_anew();
        }
        self.press(dial.keys.iter().flat_map(|keys| keys.chars()))
    }

    /// Tells of the first sound that comes before the answer.
    fn tell_early(&mut self, now: Instant) -> Result<()> {
        let is_up = self.answered_at().is_some();
        let comes = self.phone.voice().is_some_and(|voice| voice.packets() > 0);
        if let Some(sound) = self.early.take_if(|_| comes && !is_up) {
            let after = now.saturating_duration_since(self.begun);
            self.report.early(&sound, after)?;
        }
        Ok(())
    }

    fn answered_at(&self) -> Option<Instant> {
        self.talk.as_ref()?.answered
    }

    fn press_typed(&mut self) -> Result<()> {
        let answered = self.answered_at();
        let keyboard = self.keyboard.as_ref().filter(|_| answered.is_some());
        let typed: Vec<_> = keyboard.map_or_else(Vec::new, |keyboard| keyboard.typed().collect());
        self.press(typed.into_iter().filter(|key| !key.is_whitespace()))
    }

    fn press(&mut self, keys: impl Iterator<Item = char>) -> Result<()> {
        let Some(voice) = self.phone.voice() else {
            return Ok(());
        };
        for key in keys {
            self.report.key(key, voice.press(key))?;
        }
        Ok(())
    }

    /// Says and hears what is due.
    fn speak_and_listen(&mut self, now: Instant) {
        while let Some(talk) = &mut self.talk
            && talk.due <= now
            && self.leaving.is_none()
        {
            // A machine that slept has nothing to make up for.
            if now.saturating_duration_since(talk.due) > LONGEST_DELAY {
                talk.due = now;
            }
            talk.due += TURN;
            let Some(voice) = self.phone.voice() else {
                return;
            };
            if let Err(fault) = talk.turn(now, voice) {
                self.fail(now, fault);
            }
        }
    }

    /// Hangs up if it is time to.
    fn look_for_an_end(&mut self, now: Instant) -> Result<()> {
        let asked = self.signals.count();
        if asked > 1 {
            bail!("ended without a word to the other side, as you wished");
        }
        match (self.reason(now), self.leaving) {
            _ if asked > 0 && self.leaving.is_none() => self.hang_up(now, ASKED),
            (Some(why), None) => self.hang_up(now, why),
            (_, Some((_, since))) if now.saturating_duration_since(since) > PATIENCE => {
                bail!(
                    "we hung up, and {} does not say that it heard",
                    self.account.server
                )
            }
            _ => Ok(()),
        }
    }

    /// Why to hang up now.
    fn reason(&mut self, now: Instant) -> Option<&'static str> {
        let up = self.talk.as_ref();
        let Some((talk, since)) = up.and_then(|talk| Some((talk, talk.answered?))) else {
            let waited = now.saturating_duration_since(self.begun);
            return (waited >= self.dial.wait).then_some(NO_ANSWER);
        };
        let talked = now.saturating_duration_since(since);
        let said = self.phone.voice().is_none_or(|voice| voice.keys_are_said());
        match self.dial.seconds {
            Some(seconds) => (talked >= seconds).then_some("the time is over"),
            None => (talk.sound.is_over() && said).then_some("the file has been said"),
        }
    }

    fn hang_up(&mut self, now: Instant, why: &'static str) -> Result<()> {
        let Some(call) = self.call else {
            bail!("{why}");
        };
        self.leaving = Some((why, now));
        self.phone
            .command(now, Command::HangUp(call))
            .context("it can't be hung up")
    }

    /// The talk can't go on.
    fn fail(&mut self, now: Instant, fault: anyhow::Error) {
        let hung_up = self.hang_up(now, "of a fault here");
        self.fault.get_or_insert(match hung_up {
            Ok(()) => fault,
            Err(error) => fault.context(error),
        });
    }

    /// The call has ended.
    fn over(mut self, now: Instant, end: End) -> Result<()> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let why = self.leaving.map(|(why, _)| why);
        let answered = self.answered_at();
        let talk = self.talk.take();
        let written = talk.map_or(Ok(()), |talk| talk.sound.end());
        let failure = match (answered, self.phone.voice(), end) {
            (Some(since), Some(voice), End::Here | End::There) => {
                written?;
                let by = why
                    .filter(|_| end == End::Here)
                    .map_or(Ended::There, Ended::Here);
                let talked = now.saturating_duration_since(since);
                return self.report.ended(by, talked, voice);
            }
            (_, _, End::Failed(failure)) => refusal(failure, self.dial, &self.account),
            _ => {
                let (number, why) = (&self.dial.number, why.unwrap_or("given up"));
                format!("{number} has not answered: {why}")
            }
        };
        written.with_context(|| failure.clone())?;
        bail!(failure)
    }

    /// When there is something to do at the latest.
    fn next(&self, now: Instant) -> Instant {
        let look = now + LOOK;
        let talk = self.talk.as_ref().filter(|_| self.leaving.is_none());
        talk.map_or(look, |talk| talk.due.min(look))
    }
}

impl Talk {
    /// One that begins before its answer.
    fn new(now: Instant, sound: Sound) -> Self {
        Self {
            answered: None,
            due: now,
            sound,
            rate: 0,
            said: Vec::new(),
            heard: Vec::new(),
        }
    }

    /// Hears 20 ms and says as much: silence before the answer, so that firewalls and servers on the way know where
    /// the sound is to go.
    fn turn(&mut self, now: Instant, voice: &mut ue::Voice) -> Result<()> {
        self.heard.clear();
        voice.hear(now, &mut self.heard);
        self.sound.hear(&self.heard)?;
        self.sound.say(&mut self.said)?;
        if self.answered.is_none() {
            // What the microphone took meanwhile is not said behind the answer either.
            self.said.fill(0);
        }
        voice.speak(&self.said).context("the sound can't be sent")
    }
}

/// A phone of the account.
fn phone(dial: &Dial, account: &Account) -> Result<Softphone> {
    let identity = Arc::new(Identity::generate()?);
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("the system has no randomness")?;
    let set = |settings: &mut phone::Settings| {
        if account.server.is_ipv6() {
            settings.domain = format!("[{}]", account.server.ip());
        }
        settings.codecs.clone_from(&dial.codec);
        settings.keys = true;
        if dial.srtp {
            settings.protection = Protection::Sdes(Profile::Aes128CmSha1_80);
        }
    };
    let (user, password) = (account.user.as_str(), account.password.as_str());
    Softphone::over(
        &account.link,
        (user, password),
        account.server,
        &identity,
        (seed, 0.0),
        set,
    )
    .with_context(|| report::unreachable(dial.transport, account.server))
}

/// Sound goes in packets of this length.
const TURN: Duration = Duration::from_millis(20);
/// More that was not said in time is left out.
const LONGEST_DELAY: Duration = Duration::from_millis(200);
/// How often to look whether somebody wants the end.
const LOOK: Duration = Duration::from_millis(100);
/// After we hung up: longer than any transaction lasts (RFC 3261 §17.1.2.2, Timer F).
const PATIENCE: Duration = Duration::from_secs(40);
const ASKED: &str = "you asked for it";
const NO_ANSWER: &str = "nobody came to the phone in time (--wait)";
