//! The container image, run by podman.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::lab::Lab;
use crate::peer;
use crate::server::binary;
use crate::wait::until;

/// An image with the binary under test, as `cargo xtask image` makes it.
#[derive(Debug)]
pub struct Image {
    name: String,
    settings: PathBuf,
    /// Whether it is for another machine, so that an emulator runs the program.
    emulated: bool,
}

/// A container of it, with a volume of its own at `/srv`.
#[derive(Debug)]
pub struct Container<'a> {
    image: &'a Image,
    name: String,
}

impl Image {
    /// Makes the image and loads it.
    ///
    /// # Errors
    /// When it can't be made, or podman does not like it.
    pub fn load(lab: &Lab) -> Result<Self> {
        let (image, loaded) = Self::load_archive(lab, &Self::archive(lab, "image.tar")?)?;
        // Other tests load one of the same name.
        image.ask(&["tag", &loaded, &image.name])?;
        Ok(image)
    }

    /// Makes the image for arm64 with this binary and loads it; [`peer::QEMU`] is what runs it.
    ///
    /// # Errors
    /// When it can't be made, or podman does not like it.
    pub fn load_for_arm64(lab: &Lab, binary: &Path) -> Result<Self> {
        let archive = lab.path("arm64.tar");
        make(&archive, binary, &["--arch", "arm64"])?;
        let (mut image, loaded) = Self::load_archive(lab, &archive)?;
        image.emulated = true;
        let id = image.ask(&["image", "inspect", "--format", "{{.Id}}", &loaded])?;
        // Nobody shall find it by a name that is that of an image for this machine.
        image.ask(&["untag", &id])?;
        image.ask(&["tag", &id, &image.name])?;
        Ok(image)
    }

    /// Loads an archive; returns the name that it had there, too.
    fn load_archive(lab: &Lab, archive: &Path) -> Result<(Self, String)> {
        let settings = lab.path("containers.conf");
        fs::write(&settings, SETTINGS)?;
        // Other tests have images too, some of them in this process.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("localhost/dialtone-test:{}-{number}", std::process::id());
        let image = Self {
            name,
            settings,
            emulated: false,
        };
        let loaded = image.podman(["load", "-q", "-i"].map(OsStr::new), archive)?;
        let loaded = loaded.rsplit("Loaded image: ").next().unwrap_or_default();
        Ok((image, loaded.trim().to_owned()))
    }

    /// Makes the image's archive and returns its path.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn archive(lab: &Lab, name: &str) -> Result<PathBuf> {
        let archive = lab.path(name);
        make(&archive, &binary()?, &[])?;
        Ok(archive)
    }

    /// What podman knows of the image, in a format of its.
    ///
    /// # Errors
    /// When it knows nothing.
    pub fn inspect(&self, format: &str) -> Result<String> {
        self.ask(&["image", "inspect", "--format", format, &self.name])
    }

    /// Its name, with the tag.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The file that tells podman about this machine.
    pub(crate) fn settings(&self) -> &Path {
        &self.settings
    }

    /// Waits until the health check of a container succeeds.
    pub(crate) fn becomes_healthy(&self, container: &str) -> Result<()> {
        let emulated = [&["exec", container][..], &self.program(), &["health"]].concat();
        until("a healthy container", PATIENCE, || {
            // The check in the image starts the program without an emulator.
            let checked = match self.emulated {
                true => self.ask(&emulated),
                false => self.ask(&["healthcheck", "run", container]),
            };
            Ok(checked.ok().map(drop))
        })
        .with_context(|| self.log(container).unwrap_or_default())
    }

    /// Everything that a container printed.
    pub(crate) fn log(&self, container: &str) -> Result<String> {
        let mut command = Command::new("podman");
        command.env("CONTAINERS_CONF", &self.settings);
        let output = done(command.args(["logs", container]))?;
        let both = [output.stdout, output.stderr].concat();
        Ok(String::from_utf8_lossy(&both).into_owned())
    }

    /// How its program is started in a container.
    fn program(&self) -> Vec<&'static str> {
        match self.emulated {
            true => vec![EMULATOR, PROGRAM],
            false => vec![PROGRAM],
        }
    }

    pub(crate) fn ask(&self, args: &[&str]) -> Result<String> {
        self.podman(args.iter().map(OsStr::new), "")
    }

    fn podman<'a>(
        &self,
        args: impl IntoIterator<Item = &'a OsStr>,
        last: impl AsRef<OsStr>,
    ) -> Result<String> {
        let mut command = Command::new("podman");
        command.env("CONTAINERS_CONF", &self.settings).args(args);
        if !last.as_ref().is_empty() {
            command.arg(last);
        }
        let output = done(&mut command)?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // Fails when it is gone already.
        let _ = self.ask(&["rmi", "-f", &self.name]);
    }
}

impl<'a> Container<'a> {
    /// Starts the image with a read-only root, no capabilities, and these settings in its
    /// environment, beside the lab's ports.
    ///
    /// # Errors
    /// When it does not start.
    pub fn run(image: &'a Image, lab: &Lab, settings: &[(&str, &str)]) -> Result<Self> {
        let site = lab.site();
        let listen = format!("[\"udp:{0}\",\"tcp:{0}\"]", site.sip);
        let media = format!("{}-{}", site.media.0, site.media.1);
        let name = format!("dialtone-test-{}", std::process::id());
        let mut args: Vec<String> = ["run", "-d", "--network", "host", "--read-only"]
            .map(str::to_owned)
            .to_vec();
        args.extend(["--cap-drop=all", "--security-opt=no-new-privileges"].map(str::to_owned));
        args.extend([format!("--name={name}"), format!("--volume={name}:/srv")]);
        let own = [
            ("DIALTONE_SIP__LISTEN", &*listen),
            ("DIALTONE_MEDIA__PORTS", &*media),
            ("DIALTONE_HTTP__LISTEN", "[]"),
        ];
        for (key, value) in own.iter().chain(settings) {
            args.push(format!("--env={key}={value}"));
        }
        if image.emulated {
            let volume = format!("--volume=/usr/bin/{}:{EMULATOR}:ro", peer::EMULATOR);
            args.extend([volume, format!("--entrypoint={EMULATOR}")]);
            args.push("--platform=linux/arm64".to_owned());
        }
        args.push(image.name.clone());
        if image.emulated {
            args.extend([PROGRAM, "run"].map(str::to_owned));
        }
        let container = Self { image, name };
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        image.ask(&args)?;
        container.becomes_healthy()?;
        Ok(container)
    }

    /// Waits until its health check succeeds.
    ///
    /// # Errors
    /// When it does not; says what the container printed.
    pub fn becomes_healthy(&self) -> Result<()> {
        self.image.becomes_healthy(&self.name)
    }

    /// Everything that it printed.
    ///
    /// # Errors
    /// When podman has forgotten it.
    pub fn log(&self) -> Result<String> {
        self.image.log(&self.name)
    }

    /// The password that a user was given at the first start.
    ///
    /// # Errors
    /// When none was printed.
    pub fn password(&self, user: &str) -> Result<String> {
        password(&self.log()?, user)
    }

    /// Runs the image's program in it, as people do.
    ///
    /// # Errors
    /// When it fails.
    pub fn exec(&self, args: &[&str]) -> Result<String> {
        let program = self.image.program();
        self.ask(&[&["exec", &self.name][..], &program, args].concat())
    }

    /// Sends it SIGTERM.
    ///
    /// # Errors
    /// When it has ended.
    pub fn terminate(&self) -> Result<()> {
        self.ask(&["kill", "--signal", "TERM", &self.name])
            .map(drop)
    }

    /// Waits for its end and says with which code.
    ///
    /// # Errors
    /// When podman does not know.
    pub fn wait(&self) -> Result<String> {
        self.ask(&["wait", &self.name])
    }

    /// Starts it again.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(&self) -> Result<()> {
        self.ask(&["start", &self.name])?;
        self.becomes_healthy()
    }

    fn ask(&self, args: &[&str]) -> Result<String> {
        self.image.ask(args)
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        // Both fail only when there is nothing to remove.
        let _ = self.ask(&["rm", "-f", "-t", "0", &self.name]);
        let _ = self.ask(&["volume", "rm", "-f", &self.name]);
    }
}

/// Makes an image's archive.
fn make(archive: &Path, binary: &Path, more: &[&str]) -> Result<()> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.args(["run", "-q", "-p", "xtask", "--", "image", "--binary"]);
    command.arg(binary).arg("--output").arg(archive).args(more);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    done(&mut command).map(drop)
}

/// The password that a first start prints for a user.
pub(crate) fn password(log: &str, user: &str) -> Result<String> {
    let words = log.lines().find_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        (words.len() == 4 && words[..3] == ["user", user, "password"]).then(|| words[3])
    });
    let words = words.with_context(|| format!("no password in {log}"))?;
    Ok(words.to_owned())
}

pub(crate) fn done(command: &mut Command) -> Result<Output> {
    let output = command
        .output()
        .with_context(|| format!("start {command:?}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {errors}");
    Ok(output)
}

/// Where the image has its program.
const PROGRAM: &str = "/usr/bin/dialtone";
/// Where an emulator is put beside it.
const EMULATOR: &str = "/emulator";
const PATIENCE: Duration = Duration::from_secs(60);

/// For machines without systemd, and such as have small limits themselves.
const SETTINGS: &str = "\
[containers]
default_ulimits = [\"nofile=20000:20000\", \"nproc=32768:32768\"]
[engine]
runtime = \"runc\"
cgroup_manager = \"cgroupfs\"
events_logger = \"file\"
";
