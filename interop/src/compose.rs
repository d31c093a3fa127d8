//! The compose files of `deploy/compose`, run by podman-compose.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::peer;
use crate::podman::{Image, done, password};

/// A compose file with these values for its variables, and no others. `extends` and what is in a profile are left as
/// they are.
///
/// # Errors
/// When podman-compose refuses it; carries what it says.
pub fn config(file: &str, variables: &[(&str, &str)]) -> Result<Value> {
    let mut command = Command::new(tool("podman-compose")?);
    let kept = ["HOME", "PATH"].map(|name| Some((name, std::env::var_os(name)?)));
    command.env_clear().envs(kept.into_iter().flatten());
    command.envs(variables.iter().copied());
    command.arg("--file").arg(path(file)).arg("config");
    yaml(&String::from_utf8(done(&mut command)?.stdout)?)
}

/// What a document in YAML says.
///
/// # Errors
/// When it is none.
pub fn yaml(text: &str) -> Result<Value> {
    let program = "import json, sys, yaml; json.dump(yaml.safe_load(sys.argv[1]), sys.stdout)";
    let mut command = Command::new(tool("python3")?);
    let output = done(command.args(["-c", program, text]))?;
    serde_json::from_slice(&output.stdout).context("read what was YAML")
}

/// The path of a file in `deploy/compose`.
#[must_use]
pub fn path(file: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/compose");
    PathBuf::from(folder).join(file)
}

/// A program of what [`peer::PODMAN_COMPOSE`] brings.
fn tool(name: &str) -> Result<PathBuf> {
    Ok(peer::folder(&peer::PODMAN_COMPOSE)?.join("bin").join(name))
}

/// The services of one compose file, with a volume of their own.
#[derive(Debug)]
pub struct Compose<'a> {
    image: &'a Image,
    file: PathBuf,
    project: String,
    environment: Vec<(String, String)>,
}

impl<'a> Compose<'a> {
    /// Starts a file's services from `image`, with these values for its variables, and waits until the
    /// server is well.
    ///
    /// # Errors
    /// When they do not start; says what the server printed.
    pub fn up(image: &'a Image, file: &str, variables: &[(&str, &str)]) -> Result<Self> {
        Self::start(image, file, variables, &[])
    }

    /// Does the same with the server's service alone.
    ///
    /// # Errors
    /// When it does not start; says what the server printed.
    pub fn server_alone(image: &'a Image, file: &str, variables: &[(&str, &str)]) -> Result<Self> {
        Self::start(image, file, variables, &["dialtone"])
    }

    fn start(
        image: &'a Image,
        file: &str,
        variables: &[(&str, &str)],
        services: &[&str],
    ) -> Result<Self> {
        let own = [("IMAGE", image.name())];
        let variables = own.iter().chain(variables);
        let compose = Self {
            image,
            file: path(file),
            project: image.name().replace(['/', ':'], "-"),
            environment: variables.map(|&(k, v)| (k.into(), v.into())).collect(),
        };
        compose.ask(&[&["up", "--no-build", "--detach"], services].concat())?;
        image.becomes_healthy(&compose.server())?;
        Ok(compose)
    }

    /// The password that a user was given at the first start.
    ///
    /// # Errors
    /// When none was printed.
    pub fn password(&self, user: &str) -> Result<String> {
        password(&self.image.log(&self.server())?, user)
    }

    /// What podman knows of the server's container, in a format of its.
    ///
    /// # Errors
    /// When it knows nothing.
    pub fn inspect(&self, format: &str) -> Result<String> {
        let container = self.server();
        self.image.ask(&["inspect", "--format", format, &container])
    }

    /// Runs a command of the server by the service that is there for it.
    ///
    /// # Errors
    /// When it fails.
    pub fn cli(&self, args: &[&str]) -> Result<String> {
        // Docker takes a service that is named for one that is wanted.
        let run = ["--profile", "tools", "run", "--rm", "-T", "cli"];
        self.ask(&[&run, args].concat())
    }

    /// Restarts the server.
    ///
    /// # Errors
    /// When it does not come up again.
    pub fn restart(&self) -> Result<()> {
        self.ask(&["restart", "dialtone"])?;
        self.image.becomes_healthy(&self.server())
    }

    /// Stops and removes all; the volume stays until this is dropped.
    ///
    /// # Errors
    /// When something can't be stopped.
    pub fn down(&self) -> Result<()> {
        self.ask(&["down"]).map(drop)
    }

    fn server(&self) -> String {
        format!("{}_dialtone_1", self.project)
    }

    fn ask(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(tool("podman-compose")?);
        command.env("CONTAINERS_CONF", self.image.settings());
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        command.args(["--project-name", &self.project, "--file"]);
        command.arg(&self.file).args(args);
        let output = done(&mut command)?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl Drop for Compose<'_> {
    fn drop(&mut self) {
        // Fails only when there is nothing to remove.
        let _ = self.ask(&["down", "--volumes", "--timeout", "0"]);
    }
}
