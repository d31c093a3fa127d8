//! Echo, tone and welcome (600, 601, 602) for phones of every protection and codec that is served.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use codec::Codec;
use interop::{Lab, Server};
use media::Profile;
use media::dtls::Identity;
use ue::Softphone;
use ue::phone::{CallNumber, Command, Event, Protection};

const CODECS: [Codec; 4] = [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus];
/// What the phones say, in hertz, and what 601 says.
const TONE: f32 = 700.0;
const STEADY: f32 = 1004.0;
/// Of the end of what is heard, in milliseconds: whole cycles of either.
const MEASURED_MS: u32 = 500;
const PATIENCE: Duration = Duration::from_secs(60);

/// RFC 3711, RFC 5764.
#[test]
fn every_protection_and_codec_is_served() -> Result<()> {
    Lab::run_quietly("served", |lab| {
        let server = lab.server()?;
        let password = server.password("1001")?;
        let identity = Arc::new(Identity::generate()?);
        let protections = [
            Protection::None,
            Protection::Sdes(Profile::Aes128CmSha1_80),
            Protection::Sdes(Profile::AeadAes256Gcm),
            Softphone::by_handshake(&identity),
        ];
        for protection in protections {
            for codec in CODECS {
                let phone = Softphone::new(
                    ("1001", &password),
                    server.sip(),
                    &identity,
                    ([7; 32], TONE),
                    |settings| (settings.codecs, settings.protection) = (vec![codec], protection),
                );
                let mut phone = phone?;
                serve(&mut phone, &server).with_context(|| format!("{codec} {protection:?}"))?;
            }
        }
        server.settles()
    })
}

fn serve(phone: &mut Softphone, server: &Server) -> Result<()> {
    let call = dial(phone, server, "600")?;
    talk(phone, 40, true)?;
    let voice = phone.voice().context("no voice")?;
    let heard = voice.measure(TONE, MEASURED_MS).context("too little")?;
    ensure!(
        heard.level.abs() < 3.0 && heard.clarity > 18.0,
        "echo: {heard:?}"
    );
    hang_up(phone, call)?;

    let call = dial(phone, server, "601")?;
    talk(phone, 40, false)?;
    let voice = phone.voice().context("no voice")?;
    let heard = voice.measure(STEADY, MEASURED_MS).context("too little")?;
    ensure!(
        heard.level.abs() < 3.0 && heard.clarity > 18.0,
        "tone: {heard:?}"
    );
    hang_up(phone, call)?;

    let call = dial(phone, server, "602")?;
    talk(phone, 40, false)?;
    let voice = phone.voice().context("no voice")?;
    let loudest = voice
        .heard()
        .iter()
        .map(|sample| sample.unsigned_abs())
        .max();
    ensure!(loudest > Some(1000), "welcome: {loudest:?}");
    hang_up(phone, call)
}

fn dial(phone: &mut Softphone, server: &Server, number: &str) -> Result<CallNumber> {
    let uri = format!("sip:{number}@{}", server.sip());
    phone.command(Instant::now(), Command::Dial(uri))?;
    let call = until(phone, number, |event| match event {
        Event::Up { call, .. } => Ok(Some(*call)),
        Event::Ended(_, end) => bail!("{number}: {end:?}"),
        _ => Ok(None),
    })?;
    let deadline = Instant::now() + PATIENCE;
    while !phone.voice().context("no voice")?.is_ready() {
        phone.step(Instant::now())?;
        ensure!(Instant::now() < deadline, "{number}: no keys in time");
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(call)
}

/// Hears so many packets more. Each is answered by one, of a tone or of silence.
fn talk(phone: &mut Softphone, packets: u64, tone: bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let before = phone.voice().context("no voice")?.packets();
    for n in 0..packets {
        phone.voice().context("no voice")?.say(!tone)?;
        while phone.voice().context("no voice")?.packets() <= before + n {
            phone.step(Instant::now())?;
            ensure!(Instant::now() < deadline, "only {n} packets came");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

fn hang_up(phone: &mut Softphone, call: CallNumber) -> Result<()> {
    phone.command(Instant::now(), Command::HangUp(call))?;
    until(phone, "the end", |event| {
        Ok(matches!(event, Event::Ended(..)).then_some(()))
    })
}

fn until<T>(
    phone: &mut Softphone,
    what: &str,
    hear: impl Fn(&Event) -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        phone.step(Instant::now())?;
        while let Some(event) = phone.event() {
            if let Some(found) = hear(&event)? {
                return Ok(found);
            }
        }
        ensure!(Instant::now() < deadline, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(1));
    }
}
