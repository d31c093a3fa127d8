//! The machine's speaker and microphone, by the native protocol of PulseAudio, which PipeWire speaks as well.

use std::collections::VecDeque;
use std::env;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use pulseaudio::protocol::stream::{BufferAttr, StreamFlags};
use pulseaudio::protocol::{
    ChannelMap, DEFAULT_SINK, DEFAULT_SOURCE, PlaybackStreamParams, Prop, Props,
    RecordStreamParams, SampleFormat, SampleSpec,
};
use pulseaudio::{AsPlaybackSource, Client, PlaybackStream, RecordStream};
use tokio::runtime::{Builder, Runtime};

/// A sound server that has let us in.
pub(super) struct SoundServer {
    client: Client,
    runtime: Runtime,
}

/// The sound of one call at the sound server. Its thread and ours meet at two rings.
pub(super) struct Streams {
    speaker: Arc<Mutex<Ring>>,
    microphone: Arc<Mutex<Ring>>,
    /// They are there as long as these are.
    _streams: (PlaybackStream, RecordStream),
}

/// Samples on their way between two clocks.
#[derive(Debug)]
struct Ring {
    samples: VecDeque<i16>,
    /// Where reading begins, and begins again when nothing was left: enough to bear the uneven pace of both sides.
    start: usize,
    /// At most so many; of more, the oldest are left out, as they would only be a delay.
    most: usize,
    is_flowing: bool,
}

impl SoundServer {
    /// Connects to the server that the environment names.
    pub(super) fn connect() -> Result<Self> {
        let path = socket(|name| env::var_os(name)?.into_string().ok())?;
        let shown = path.display();
        let socket = UnixStream::connect(&path).with_context(|| {
            format!(
                "--audio: nobody answers at {shown}; PULSE_SERVER names the socket of PulseAudio or \
                 PipeWire, which must be mounted in a container"
            )
        })?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let client = Client::new_unix(c"dialtone", socket, cookie()?);
        let client = client.with_context(|| {
            format!(
                "--audio: the sound server at {shown} does not let us in; PULSE_COOKIE names the file \
                 with its cookie, and the socket must belong to the user that we run as"
            )
        })?;
        let runtime = Builder::new_current_thread().enable_time().build()?;
        Ok(Self { client, runtime })
    }

    /// Opens the default speaker and microphone, at so many samples a second.
    pub(super) fn open(&self, rate: u32) -> Result<Streams> {
        let (speaker, microphone) = (Ring::shared(rate), Ring::shared(rate));
        let spec = SampleSpec {
            format: SampleFormat::S16Le,
            channels: 1,
            sample_rate: rate,
        };
        let octets = |milliseconds: u32| rate / 1000 * 2 * milliseconds;
        let flags = StreamFlags {
            adjust_latency: true,
            ..StreamFlags::default()
        };
        let playback = PlaybackStreamParams {
            sample_spec: spec,
            channel_map: ChannelMap::mono(),
            sink_name: Some(DEFAULT_SINK.to_owned()),
            buffer_attr: BufferAttr {
                target_length: octets(LATENCY_MS),
                minimum_request_length: octets(TURN_MS),
                ..BufferAttr::default()
            },
            props: props(),
            flags,
            ..PlaybackStreamParams::default()
        };
        let record = RecordStreamParams {
            sample_spec: spec,
            channel_map: ChannelMap::mono(),
            source_name: Some(DEFAULT_SOURCE.to_owned()),
            buffer_attr: BufferAttr {
                fragment_size: octets(TURN_MS),
                ..BufferAttr::default()
            },
            props: props(),
            flags,
            ..RecordStreamParams::default()
        };
        let (played, spoken) = (Arc::clone(&speaker), Arc::clone(&microphone));
        let source = move |octets: &mut [u8]| locked(&played, |ring| ring.read_octets(octets));
        let sink = move |octets: &[u8]| locked(&spoken, |ring| ring.write_octets(octets));
        let opening = async {
            let playback = self
                .client
                .create_playback_stream(playback, source.as_playback_source());
            let playback = playback.await.context("--audio: no speaker")?;
            let record = self.client.create_record_stream(record, sink).await;
            anyhow::Ok((playback, record.context("--audio: no microphone")?))
        };
        let opening = async { tokio::time::timeout(PATIENCE, opening).await };
        let streams = self.runtime.block_on(opening);
        Ok(Streams {
            speaker,
            microphone,
            _streams: streams.context("--audio: the sound server does not answer")??,
        })
    }
}

impl Streams {
    /// Fills `pcm` with what the microphone hears.
    pub(super) fn say(&mut self, pcm: &mut [i16]) -> Result<()> {
        // The other end of each ring goes with the thread that serves the sound server.
        ensure!(
            Arc::strong_count(&self.microphone) > 1 && Arc::strong_count(&self.speaker) > 1,
            "--audio: the sound server has ended; the call cannot be heard any more"
        );
        locked(&self.microphone, |ring| ring.read(pcm));
        Ok(())
    }

    /// Plays what was heard.
    pub(super) fn hear(&mut self, pcm: &[i16]) {
        locked(&self.speaker, |ring| ring.write(pcm.iter().copied()));
    }
}

impl Ring {
    fn shared(rate: u32) -> Arc<Mutex<Self>> {
        let samples = |milliseconds: u32| (rate / 1000 * milliseconds) as usize;
        Arc::new(Mutex::new(Self {
            samples: VecDeque::with_capacity(samples(MOST_MS)),
            start: samples(START_MS),
            most: samples(MOST_MS),
            is_flowing: false,
        }))
    }

    fn write(&mut self, pcm: impl Iterator<Item = i16>) {
        self.samples.extend(pcm);
        let excess = self.samples.len().saturating_sub(self.most);
        self.samples.drain(..excess);
    }

    /// Fills `pcm`; what there is not is silence.
    fn read(&mut self, pcm: &mut [i16]) {
        self.is_flowing |= self.samples.len() >= self.start;
        for sample in pcm {
            let next = self.is_flowing.then(|| self.samples.pop_front());
            *sample = next.flatten().unwrap_or_else(|| {
                self.is_flowing = false;
                0
            });
        }
    }

    fn write_octets(&mut self, octets: &[u8]) {
        let samples = octets.chunks_exact(2);
        self.write(samples.map(|octets| i16::from_le_bytes([octets[0], octets[1]])));
    }

    /// Fills `octets`, and says how many that are: never none, which would be the end.
    fn read_octets(&mut self, octets: &mut [u8]) -> usize {
        for pair in octets.chunks_exact_mut(2) {
            let mut sample = [0];
            self.read(&mut sample);
            pair.copy_from_slice(&sample[0].to_le_bytes());
        }
        octets.len()
    }
}

fn locked<T>(ring: &Mutex<Ring>, work: impl FnOnce(&mut Ring) -> T) -> T {
    // Samples are samples, whatever happened to who wrote them.
    work(&mut ring.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Other sound may give way to a telephone.
fn props() -> Props {
    let mut props = Props::new();
    props.set(Prop::MediaName, c"telephone call");
    props.set(Prop::MediaRole, c"phone");
    props
}

/// The socket, from variables of the environment.
fn socket(variable: impl Fn(&str) -> Option<String>) -> Result<PathBuf> {
    let Some(server) = variable("PULSE_SERVER").filter(|server| !server.is_empty()) else {
        let pulse =
            variable("PULSE_RUNTIME_PATH").map(|folder| PathBuf::from(folder).join("native"));
        let user =
            variable("XDG_RUNTIME_DIR").map(|folder| PathBuf::from(folder).join("pulse/native"));
        return pulse.or(user).context(
            "--audio: PULSE_SERVER does not say where the sound server is; \
             set it to its socket: PULSE_SERVER=unix:/run/user/1000/pulse/native",
        );
    };
    let path = server.strip_prefix("unix:").unwrap_or(&server);
    if !path.starts_with('/') {
        bail!(
            "--audio: PULSE_SERVER={server} is no socket of this machine; \
             write PULSE_SERVER=unix:/path/to/the/socket"
        );
    }
    Ok(PathBuf::from(path))
}

/// What proves that we may use the sound server. Without one it may let us in all the same, by the user that we are.
fn cookie() -> Result<Option<Vec<u8>>> {
    if let Some(path) = env::var_os("PULSE_COOKIE").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        let cookie = fs::read(&path);
        let cookie = cookie.with_context(|| {
            format!(
                "--audio: PULSE_COOKIE names {}, which can't be read",
                path.display()
            )
        })?;
        return Ok(Some(cookie));
    }
    let home = env::var_os("HOME").map(PathBuf::from);
    let places = home
        .into_iter()
        .flat_map(|home| COOKIES.map(|place| home.join(place)));
    Ok(places.into_iter().find_map(|place| fs::read(place).ok()))
}

/// Where cookies are, in the user's home.
const COOKIES: [&str; 2] = [".config/pulse/cookie", ".pulse-cookie"];
/// How long a sound server may think about anything.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between the sound server's buffer and the speaker.
const LATENCY_MS: u32 = 60;
/// Of a piece of sound.
const TURN_MS: u32 = 20;
const START_MS: u32 = 40;
const MOST_MS: u32 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn found(server: &str, folder: &str) -> Result<PathBuf> {
        socket(|name| match name {
            "PULSE_SERVER" => Some(server.to_owned()),
            "XDG_RUNTIME_DIR" => Some(folder.to_owned()).filter(|folder| !folder.is_empty()),
            _ => None,
        })
    }

    #[test]
    fn the_socket_is_where_the_environment_says() {
        for (server, folder, path) in [
            ("unix:/run/p", "/run/user/1", "/run/p"),
            ("/run/p", "", "/run/p"),
            ("", "/run/user/1", "/run/user/1/pulse/native"),
        ] {
            assert_eq!(found(server, folder).unwrap(), PathBuf::from(path));
        }
        for (server, hint) in [("", "set it to"), ("tcp:10.0.0.1", "unix:/path")] {
            let error = found(server, "").unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
    }

    #[test]
    fn a_ring_waits_for_enough_and_leaves_out_the_oldest() {
        let ring = Ring::shared(8000);
        let mut ring = ring.lock().unwrap();
        let mut heard = [0; 160];
        ring.write((1..=160).map(|n| n as i16));
        ring.read(&mut heard);
        assert_eq!(heard, [0; 160], "20 ms are too little to begin with");
        ring.write(std::iter::repeat_n(7, 160));
        ring.read(&mut heard);
        assert_eq!((heard[0], heard[159]), (1, 160));
        ring.write(std::iter::repeat_n(9, 8000));
        assert_eq!((ring.samples.len(), ring.samples[0]), (1600, 9));
        let mut octets = vec![1; 4000];
        assert_eq!(ring.read_octets(&mut octets), 4000);
        assert_eq!(
            (octets[3198], octets[3200]),
            (9, 0),
            "and silence behind it"
        );
    }
}
