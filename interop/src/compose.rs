//! The compose files of `deploy/compose`, run by podman-compose.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::peer;
use crate::podman::{Image, done, password};

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
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/compose");
        let own = [("IMAGE", image.name())];
        let variables = own.iter().chain(variables);
        let compose = Self {
            image,
            file: PathBuf::from(folder).join(file),
            project: image.name().replace(['/', ':'], "-"),
            environment: variables.map(|&(k, v)| (k.into(), v.into())).collect(),
        };
        compose.ask(&["up", "--no-build", "--detach"])?;
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
        let program = peer::folder(&peer::PODMAN_COMPOSE)?.join("bin/podman-compose");
        let mut command = Command::new(program);
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
